"""Groups above an array: the folders between it and the top of its store, which may describe it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from neuropil.errors import NeuropilError
from neuropil.volumes.formats.keys import in_folder


class ReadGroup(Protocol):
    """Reads the attributes of the group of a name in a container; None where there is no group."""

    def __call__(self, container: str, name: str) -> Mapping[str, Any] | None: ...


@dataclass(frozen=True)
class Group:
    """A group above an array.

    Args:
        container: folder or URL.
        name: of the group inside the container; "" for the container itself.
        inside: the name of the array as seen from the group.
        attributes: of the group.
    """

    container: str
    name: str
    inside: str
    attributes: Mapping[str, Any]

    @property
    def path(self) -> str:
        """As a user would type it."""
        return f"{self.container.rstrip('/')}/{self.name}".rstrip("/")


def groups_above(container: str, name: str, read: ReadGroup) -> Iterator[Group]:
    """The groups above an array, the nearest first, up to the top of the store.

    The top may lie above the container: a path says where the array is, not where its store begins.

    Args:
        container: folder or URL.
        name: of the array inside the container.
        read: reads the attributes of a group.
    """
    parts = [part for part in name.split("/") if part]
    for length in reversed(range(len(parts))):
        group = "/".join(parts[:length])
        attributes = read(container, group)
        if attributes is not None:
            yield Group(container, group, "/".join(parts[length:]), attributes)
    if in_folder(container):
        here = Path(container).absolute()
        above = [(str(folder), here.relative_to(folder).as_posix()) for folder in here.parents]
    elif "://" in container and not parts:
        scheme, _, rest = container.rstrip("/").partition("://")
        steps = rest.split("/")
        above = [(f"{scheme}://{'/'.join(steps[:n])}", "/".join(steps[n:])) for n in reversed(range(1, len(steps)))]
    else:
        return
    for folder, inside in above:
        attributes = None
        with suppress(NeuropilError):  # what lies above the store may be closed to us
            attributes = read(folder, "")
        if attributes is None:
            return
        yield Group(folder, "", "/".join(part for part in (inside, *parts) if part), attributes)
