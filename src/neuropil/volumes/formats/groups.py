"""Groups above an array, up to the root of its store: their attributes may hold its voxel size, offset and axes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.attributes import OWN_UNITS, PLACES, SIZES, UNITS, axis_names, tell_unused, to_json
from neuropil.volumes.formats.keys import in_folder
from neuropil.volumes.marks import is_marked

MOST = 1000
"""Most arrays of a group that are looked at."""


def refuse_multiset(attributes: Mapping[str, Any], path: str) -> None:
    """Refuse label multisets of Paintera, which hold several ids per voxel in a variable number of bytes.

    Raises:
        NeuropilError: the attributes say that it is one.
    """
    if attributes.get("isLabelMultiset"):
        raise NeuropilError(
            f"expected one id per voxel, got a label multiset of Paintera, in {path}; export it as uint64 first"
        )


@dataclass(frozen=True)
class Neighbour:
    """An array below a group: its name there, its shape, and whether it has a voxel size of its own."""

    name: str
    shape: tuple[int, ...]
    sized: bool


class ReadGroup(Protocol):
    """Reads the attributes of the group of a name in a container; None where there is no group."""

    def __call__(self, container: str, name: str) -> Mapping[str, Any] | None: ...


@dataclass(frozen=True)
class Group:
    """A group above an array.

    Args:
        container: folder or URL.
        name: of the group inside the container; "" for the container itself.
        inside: the name of the array relative to the group.
        attributes: of the group.
        arrays: lists the arrays below the group; None where they cannot be listed.
    """

    container: str
    name: str
    inside: str
    attributes: Mapping[str, Any]
    arrays: Callable[[], list[Neighbour] | None]

    @property
    def path(self) -> str:
        """As a user would type it."""
        return f"{self.container.rstrip('/')}/{self.name}".rstrip("/")


class ListGroup(Protocol):
    """Lists the first ``MOST`` arrays below a group, by container and name; None in a bucket without a list."""

    def __call__(self, container: str, name: str) -> list[Neighbour] | None: ...


def groups_above(container: str, name: str, read: ReadGroup, list_group: ListGroup) -> Iterator[Group]:
    """The groups above an array, the nearest first, up to the root of the store.

    The root may lie above the container: a path says where the array is, not where its store begins.

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
            arrays = partial(list_group, container, group)
            yield Group(container, group, "/".join(parts[length:]), attributes, arrays)
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
        with suppress(NeuropilError):  # we may have no permission to read above the store
            attributes = read(folder, "")
        if attributes is None:
            return
        below = "/".join(part for part in (inside, *parts) if part)
        yield Group(folder, "", below, attributes, partial(list_group, folder, ""))


@dataclass(frozen=True)
class Inherited:
    """The attributes of an array, completed from the groups above it.

    Args:
        attributes: of both.
        where: names the group that the voxel size is from, as a suffix in messages; "" for the array itself.
    """

    attributes: dict[str, Any]
    where: str = ""


def inherit(own: Mapping[str, Any], groups: Iterable[Group], axes: int, path: str, named: bool = False) -> Inherited:
    """Take voxel size, offset, units and axes that an array lacks from the groups above, the nearest first.

    The voxel size of a group is not used if the arrays below it differ in shape, as the levels of a pyramid do: it may
    be meant for another one. What is not used is reported.

    Args:
        own: the attributes of the array.
        groups: above it, the nearest first.
        axes: their number.
        path: names the array in messages.
        named: whether the array names its axes elsewhere.
    """
    plain, where = dict(own), ""
    if is_marked(own):  # written here, with all there is to say
        return Inherited(plain)
    tell_unused(own, path)
    for group in groups:
        tell_unused(group.attributes, f"the group {group.path} of {path}")
        found = _of_group(group)
        names = axis_names(group.attributes, path)
        if names is not None and len(names) == axes and not named and axis_names(plain, path) is None:
            plain["axis_names"] = names
        sized, new = any(key in plain for key in SIZES), [key for key in SIZES if key in found]
        if new and not sized and not _open(group, found, own, path):
            plain, where = {**found, **plain}, f" of the group {group.path}"
        elif not new:
            plain = {**found, **plain} if not any(key in plain for key in PLACES) else _with_units(plain, found)
        elif sized:
            _tell_place(group, found, plain, path)
            plain = _with_units(plain, found)
        if new:
            break
    return Inherited(plain if any(key in plain for key in SIZES) else {**_names(plain), **own}, where)


def _names(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in plain.items() if key == "axis_names"}


def _of_group(group: Group) -> dict[str, Any]:
    """Voxel sizes, offsets and units among the attributes of a group."""
    known = (*SIZES, *PLACES, *UNITS, *OWN_UNITS)
    plain = {key: to_json(group.attributes[key]) for key in known if key in group.attributes}
    return {key: value for key, value in plain.items() if key in (*UNITS, *OWN_UNITS) or _are_numbers(value)}


def _are_numbers(value: object) -> bool:
    rows = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return bool(rows) and all(isinstance(n, int | float) and not isinstance(n, bool) for n in rows)


def _with_units(plain: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    units = {} if any(key in plain for key in UNITS) else {key: found[key] for key in UNITS if key in found}
    return {**plain, **units}


def _open(group: Group, found: Mapping[str, Any], own: Mapping[str, Any], path: str) -> bool:
    """Whether it is unclear if the group's voxel size is the array's; then this is reported."""
    key = next(key for key in SIZES if key in found)
    told = f"the group {group.path} of {path} has the attribute {key}, which is not used: "
    out = "; store it with the array, or give --voxel-size to `neuropil convert`"
    units = [tuple(str(to_json(place[key])) for key in UNITS if key in place) for place in (own, found)]
    if units[0] and units[0] != units[1]:
        tell(f"{told}it may be in other units than those of the array{out}")
        return True
    arrays, shapes = group.arrays(), dict[tuple[int, ...], str]()
    if arrays is None:
        tell(
            f"{path} gets the {key} of its group {group.path}; it cannot be checked whether that is meant for all "
            "arrays there"
        )
    for array in arrays or ():
        if len(array.shape) >= 3 and not array.sized:
            shapes.setdefault(array.shape[-3:], array.name)
    if len(shapes) > 1:
        some = ", ".join(f"{name} ({'×'.join(map(str, shape))})" for shape, name in list(shapes.items())[:3])
        tell(f"{told}the group holds arrays of different shapes, {some}{out}")
    return len(shapes) > 1


def _tell_place(group: Group, found: Mapping[str, Any], plain: Mapping[str, Any], path: str) -> None:
    """Report that an offset of the group is not used: like the group's voxel size it may be that of another level."""
    new = [key for key in PLACES if key in found]
    if new and not any(key in plain for key in PLACES):
        tell(
            f"the group {group.path} of {path} has the attribute {new[0]}, which is not used: it goes with the "
            "voxel size of the group, and the array has its own"
        )
