"""Links of HDF5, soft, hard and to other files: followed inside the folder of the opened file, or refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.allowances import check_inside
from neuropil.volumes.formats.hdf5_heaps import check_heaps
from neuropil.volumes.volume import first_line

_DEPTH = 16  # links that may lead to links
_DEEPEST, _GROUPS = 64, 10_000  # depth and number of groups up to which arrays are searched


def follow(place: Any, name: str, container: str, depth: int = 0) -> Any:
    """The dataset or group that a name leads to, through links of every kind; None where there is none.

    Args:
        place: an open file or group.
        name: the path inside it.
        container: the file that was opened, in whose folder links to other files must end.

    Raises:
        NeuropilError: a link that is broken, leads out of the folder, or is circular.
    """
    import h5py

    if depth > _DEPTH:
        raise NeuropilError(f"links in {container} are circular, at {name!r}")
    if name.startswith("/"):
        place = place.file
    for part in (part for part in name.split("/") if part not in ("", ".")):
        if not isinstance(place, h5py.Group):
            return None
        link = place.get(part, getlink=True)
        if link is None:
            return None
        told = f"the link {place.name.rstrip('/')}/{part}"
        if isinstance(link, h5py.SoftLink):
            found = follow(place, link.path, container, depth + 1)
            if found is None:
                raise NeuropilError(f"{told} in {container} leads to {link.path}, which does not exist")
            place = found
        elif isinstance(link, h5py.ExternalLink):
            place = _external(place, link, told, container, depth)
        else:
            place = place[part]
    return place


def datasets(
    group: Any, container: str, prefix: str = "", above: tuple[Any, ...] = (), seen: list[str] | None = None
) -> Iterator[tuple[str, Any]]:
    """Every dataset below a group, by each name that leads to it. Broken links and those to outside are reported.

    Raises:
        NeuropilError: groups are nested too deep, or too many.
    """
    import h5py

    seen = [] if seen is None else seen
    seen.append(prefix)
    if len(above) > _DEEPEST or len(seen) > _GROUPS:
        how = f"are nested deeper than {_DEEPEST}" if len(above) > _DEEPEST else f"have more than {_GROUPS:,} names"
        raise NeuropilError(f"the groups of {container} {how}; name the array, as {container}/volumes/raw")
    for part in group:
        try:
            item = follow(group, part, container)
        except NeuropilError as error:
            tell(str(error))
            continue
        if isinstance(item, h5py.Dataset):
            yield prefix + part, item
        elif isinstance(item, h5py.Group) and item not in (group, *above):
            yield from datasets(item, container, f"{prefix}{part}/", (group, *above), seen)


def holder(place: Any, container: str) -> str:
    """The path of the file that holds an open group or dataset: the container, or one that a link has led to."""
    name = str(place.file.filename)
    return name if Path(name).is_file() else container  # h5py knows no path of a file object that it writes to


def open_other(path: Path, opened: Any, told: str) -> Any:
    """Open another file in the mode of an open one; returns the open one if they are the same file.

    Raises:
        NeuropilError: the file cannot be opened.
    """
    import h5py

    here = Path(str(opened.filename))
    if here.is_file() and here.samefile(path):
        return opened
    try:
        check_heaps(path)
        return h5py.File(path, opened.mode)
    except OSError as error:
        raise NeuropilError(f"{told} leads to {path}, which cannot be opened: {first_line(error)}") from None


def _external(place: Any, link: Any, told: str, container: str, depth: int) -> Any:
    """The target of an external link; links in the other file are followed by the same rule."""
    import h5py

    path = check_inside(container, link.filename, told, holder(place, container))
    other = open_other(path, place.file, told)
    found = follow(other, link.path, container, depth + 1)
    if found is None:
        raise NeuropilError(f"{told} in {container} leads to {link.path} in {path}, which does not exist")
    assert isinstance(found, h5py.HLObject)
    return found
