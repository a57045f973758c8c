"""Links, external storage, virtual datasets and filters of HDF5: followed, or refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.allowances import check_inside

_DEPTH = 16  # links that may lead to links
_DEEPEST, _GROUPS = 64, 10_000  # groups that are looked through for arrays

_FILTERS = {
    307: "bzip2", 32001: "Blosc", 32004: "LZ4", 32008: "bitshuffle", 32013: "ZFP", 32015: "zstd", 32017: "SZ",
    32018: "FCIDECOMP", 32026: "Blosc2",
}  # fmt: skip
"""Registered HDF5 filters that hdf5plugin brings."""


def follow(place: Any, name: str, container: str, depth: int = 0) -> Any:
    """The dataset or group that a name leads to, through links of every kind; None where there is none.

    Args:
        place: an open file or group.
        name: the path inside it.
        container: the file that was opened, in whose folder links to other files must end.

    Raises:
        NeuropilError: a link that leads nowhere, out of the folder, or around in a circle.
    """
    import h5py

    if depth > _DEPTH:
        raise NeuropilError(f"links in {container} lead around in a circle at {name!r}")
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
                raise NeuropilError(f"{told} in {container} leads to {link.path}, which is not there")
            place = found
        elif isinstance(link, h5py.ExternalLink):
            place = _external(place, part, link, told, container, depth)
        else:
            place = place[part]
    return place


def datasets(
    group: Any, container: str, prefix: str = "", above: tuple[Any, ...] = (), seen: list[str] | None = None
) -> Iterator[tuple[str, Any]]:
    """Every dataset below a group, by each name that leads to it. Links that lead nowhere or outside are told.

    Raises:
        NeuropilError: groups too deep or too many to be looked through.
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


def check_readable(dataset: Any, container: str, path: str) -> None:
    """Refuse a dataset whose voxels lie in files that are missing or elsewhere, or are packed by an unknown filter.

    Raises:
        NeuropilError: one of these.
    """
    for file, _, _ in dataset.external or ():
        check_inside(container, file, f"the external storage of {dataset.name}")
    if dataset.is_virtual:
        for source in dataset.virtual_sources():
            named, told = source.file_name, f"the virtual dataset {dataset.name}"
            if "%" in named:  # a number goes there: the folder of all these files
                named = str(Path(named).parent)
            if "%" in named:
                raise NeuropilError(f"expected numbers in names of files, got {source.file_name!r}, in {path}")
            if named != ".":
                check_inside(container, named, told)
    properties = dataset.id.get_create_plist()
    for number in range(properties.get_nfilters()):
        code, _, _, name = properties.get_filter(number)
        _check_filter(code, name, path)
    chunked = dataset.chunks is not None and not dataset.is_virtual
    if chunked and dataset.id.get_storage_size() == 0:
        tell(f"nothing was ever written into {path}: all its voxels are {dataset.fillvalue}")


def _external(place: Any, part: str, link: Any, told: str, container: str, depth: int) -> Any:
    """What an external link leads to; links in the other file are followed too."""
    import h5py

    file = check_inside(container, link.filename, told)
    try:
        other = place[part].file
    except (KeyError, OSError):
        raise NeuropilError(f"{told} in {container} leads to {link.path} in {file}, which is not there") from None
    found = follow(other, link.path, container, depth + 1)
    assert found is None or isinstance(found, h5py.HLObject)
    return found


def _check_filter(code: int, name: bytes, path: str) -> None:
    from h5py import h5z

    if h5z.filter_avail(code):
        return
    with suppress(ImportError):
        import hdf5plugin  # noqa: F401  (registers its filters)
    if h5z.filter_avail(code):
        return
    told = _FILTERS.get(code) or name.decode(errors="replace") or f"number {code}"
    raise NeuropilError(
        f"{path} is packed by the HDF5 filter {told}, which h5py does not have; "
        "install hdf5plugin (pip install 'neuropil[formats]'), or write the file anew with gzip"
    )
