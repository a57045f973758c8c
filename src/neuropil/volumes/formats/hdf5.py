"""HDF5 files, read and written through h5py."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError, tell
from neuropil.inputs import forced
from neuropil.volumes import arrays
from neuropil.volumes.arrangement import arrange
from neuropil.volumes.atomic import replacing
from neuropil.volumes.attributes import SIZES, axis_names, check_order, to_json
from neuropil.volumes.formats import hdf5_links, matlab
from neuropil.volumes.formats.base import Format, Location, stamp_file
from neuropil.volumes.formats.big_data_viewer import setup_of
from neuropil.volumes.formats.coordinates import Coordinates, coordinates, with_coordinates
from neuropil.volumes.formats.groups import MOST, Group, Neighbour, inherit
from neuropil.volumes.formats.hdf5_file import SparingFile
from neuropil.volumes.formats.hdf5_heaps import check_heaps
from neuropil.volumes.formats.hdf5_voxels import beside_file, check_readable
from neuropil.volumes.formats.meaning import as_meant
from neuropil.volumes.formats.transforms import spoken
from neuropil.volumes.marks import is_marked, marked
from neuropil.volumes.metadata import JSON, Metadata
from neuropil.volumes.naming import agreed, kind
from neuropil.volumes.volume import Index, Mode, Volume, arranged, first_line, readable, writable

_CACHE = 64 << 20  # bytes of decompressed chunks kept: a chunk that many small boxes touch is decompressed once
_MAIN = "main"
_VELOX = re.compile(r"/Data/Image/[0-9a-f]{32}/Data")
"""Images of Thermo's Velox (EMD), whose frames are the last axis."""


@dataclass(frozen=True, eq=False)
class Hdf5Store:
    """A dataset in an open file, with its own axes."""

    file: Any
    dataset: Any
    disk: SparingFile | None = None
    """The file object that h5py writes to; None for reading."""
    lossy: bool = False
    """Whether a filter may have changed values."""

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.dataset.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        stored: np.dtype[Any] = self.dataset.dtype
        return stored

    @property
    def chunks(self) -> tuple[int, ...] | None:
        return None if self.dataset.chunks is None else tuple(self.dataset.chunks)

    def read(self, index: Index) -> npt.NDArray[Any]:
        return np.asarray(self.dataset[index])

    def write(self, index: Index, array: npt.NDArray[Any]) -> None:
        self.dataset[index] = array
        if self.disk is not None:
            self.disk.check()

    def close(self) -> None:
        other = self.dataset.file if self.dataset else None  # another file, if a link led there
        if self.file:
            self.file.close()
        if other:
            other.close()
        if self.disk is not None and self.disk.handle >= 0:
            self.disk.close()
            self.disk.check()


def settle(location: Location) -> Location:
    """The location of an output: the array ``main`` where none is named."""
    return location if location.array.strip("/") else location.at(_MAIN)


def open_hdf5(location: Location, mode: Mode = "r") -> Volume:
    """Open a dataset of a file: the one named, or the only one."""
    import h5py

    disk = _open_disk(location.container) if mode == "r+" else None
    file = _open(location.container, mode, disk)
    try:
        name = location.array.strip("/")
        dataset = hdf5_links.follow(file, name, location.container) if name else None
        if not isinstance(dataset, h5py.Dataset):
            name = arrays.choose(_datasets(file, location.container), location.path, location.container, name)
            dataset = hdf5_links.follow(file, name, location.container)
        path = f"{location.container}/{name}"
        lossy = check_readable(dataset, location.container, path)
        attributes = _stored_attributes(dataset, path)
        matlab.check_numbers(attributes, path)
        named = location.axes or _axes(dataset, attributes, path)
        above = [*_groups(dataset, location.container), *setup_of(file, location.container, name)]
        if not location.axes:
            check_order([attributes, *(group.attributes for group in above)], path)
        plain, groups = spoken(attributes, above, named, dataset.ndim, path)
        about = inherit(plain, groups, dataset.ndim, path, bool(named))
        found = None if location.axes else _axes(dataset, about.attributes, path)
        about = with_coordinates(about, lambda: _coordinates(dataset, attributes), path)
        names = location.names(dataset.shape, found)
        arrangement = arrange(dataset.shape, names, path, True if "offsets" in attributes else None)
        metadata = Metadata.from_attributes(about.attributes, path, arrangement).found(about.where)
        dataset = beside_file(dataset, location.container) if dataset.external else dataset
        store = as_meant(Hdf5Store(file, dataset, disk, lossy), attributes, path)
        return Volume(path, arranged(store, arrangement), metadata, mode)
    except BaseException:
        file.close()
        if disk is not None:
            disk.close()
        raise


def list_hdf5(location: Location) -> dict[str, arrays.Listed]:
    """Shape and dtype of every dataset in a file, by name."""
    with _open(location.container, "r") as file:
        return _datasets(file, location.container)


@contextmanager
def create_hdf5(
    location: Location, shape: tuple[int, ...], dtype: np.dtype[Any], metadata: Metadata, chunks: Sequence[int] | None
) -> Iterator[Volume]:
    """Create a compressed dataset. It replaces one of that name when the block is left without an exception; the other
    arrays of the file stay."""
    import h5py

    container, name = Path(location.container), settle(location).array
    if container.is_dir():
        raise NeuropilError(f"cannot write {container}: it is a folder; choose another name")
    path = f"{location.container}/{name}"
    with replacing(container, lambda _: _made_here(container, name), keeps_inside=True) as temporary:
        with writable(path):
            disk = SparingFile(temporary)
        with closing(disk):
            with h5py.File(disk, "w", rdcc_nbytes=_CACHE) as file:
                with writable(path):
                    if _has_others(container):
                        _copy_others(location.container, file, name)
                    dataset = _make(file, name, shape, dtype, chunks)
                    for axis, label in enumerate("czyx"[-len(shape) :]):
                        dataset.dims[axis].label = label
                    dataset.attrs.update(_attributes(marked(metadata.to_attributes())))
                    disk.check()
                yield Volume(path, Hdf5Store(file, dataset, disk), metadata, "r+")
            with writable(path):
                disk.check()


def _make(file: Any, name: str, shape: Sequence[int], dtype: np.dtype[Any], chunks: Sequence[int] | None) -> Any:
    """Create a dataset in gzip, the one compression that every HDF5 reader has; its lowest level is a few times faster
    than the default and hardly larger on labels."""
    pieces = arrays.default_chunks(shape) if chunks is None else arrays.clip_chunks(chunks, shape)
    return file.create_dataset(
        name, tuple(shape), dtype, chunks=pieces, compression="gzip", compression_opts=1, shuffle=True, fletcher32=True
    )


def _has_others(container: Path) -> bool:
    """Whether there is a file whose other arrays stay; with ``--force`` one that is no HDF5 is replaced."""
    import h5py

    return container.exists() and container.stat().st_size > 0 and not (forced() and not h5py.is_hdf5(container))


def _made_here(container: Path, name: str) -> bool:
    """Whether the array of a name, if there is one, was written by neuropil. Version 0.1 left no mark; its arrays are
    known by the names of their axes together with their compression."""
    import h5py

    if not h5py.is_hdf5(container):
        return False
    with _open(str(container), "r") as file:
        item = file.get(name) if file.get(name, getlink=True) is not None else None
        if not isinstance(item, h5py.Dataset):
            return item is None and file.get(name, getlink=True) is None
        axes = [dimension.label for dimension in item.dims] == list("czyx"[-item.ndim :])
        return is_marked(item.attrs) or (axes and item.shuffle and item.compression_opts == 1)


def _open(container: str, mode: Mode, disk: SparingFile | None = None) -> Any:
    import h5py

    path = Path(container)
    if not path.exists():
        raise NeuropilError(f"no such file: {container}")
    if mode == "r":
        with readable(container), path.open("rb"):
            pass  # h5py's own message about a missing permission is a page of internals
    check_heaps(path)
    with _told(container, mode):
        return h5py.File(container if disk is None else disk, mode, rdcc_nbytes=_CACHE)


def _open_disk(container: str) -> SparingFile:
    if not Path(container).is_file():
        raise NeuropilError(f"no such file: {container}")
    check_heaps(Path(container))
    with _told(container, "r+"):
        return SparingFile(Path(container), new=False)


@contextmanager
def _told(container: str, mode: Mode) -> Iterator[None]:
    try:
        yield
    except PermissionError:
        raise NeuropilError(f"no permission to {'write' if mode == 'r+' else 'read'} {container}") from None
    except OSError as error:
        if isinstance(error, BlockingIOError) or "unable to lock file" in str(error):
            raise NeuropilError(
                f"{container} is open elsewhere; close it there, or set HDF5_USE_FILE_LOCKING=FALSE if nobody writes it"
            ) from None
        matlab.check_version(container)
        raise NeuropilError(f"cannot open {container}: damaged, truncated or no HDF5 ({first_line(error)})") from None


def _datasets(file: Any, container: str) -> dict[str, arrays.Listed]:
    """Every dataset of a file, by all of its names; soft links and links to other files count, too."""
    with readable(container):
        return {
            name: arrays.Listed(tuple(item.shape), np.dtype(item.dtype))
            for name, item in hdf5_links.datasets(file, container)
            if item.shape is not None and not matlab.internal(name, item)
        }


def _axes(dataset: Any, attributes: Mapping[str, Any], path: str) -> Sequence[str | None] | None:
    """Names of the axes: from attributes, dimension labels and scales, or of MATLAB, which stores them reversed."""
    if dataset.ndim >= 2 and (matlab.CLASS in attributes or matlab.of_octave(dataset)):
        return matlab.axes(dataset.shape, path)
    if _VELOX.fullmatch(dataset.name) and dataset.ndim == 3:
        return ["y", "x", "frame"]
    if "emd_group_type" in dataset.parent.attrs:
        axes = [dataset.parent.get(f"dim{number + 1}") for number in range(dataset.ndim)]
        return [None if axis is None else to_json(axis.attrs.get("name")) for axis in axes]  # EMD
    # From the attribute, not from `dims`: HDF5 itself crashes over damaged labels.
    stored = np.asarray(attributes.get("DIMENSION_LABELS", ()), object).ravel().tolist()
    labels = [one.decode(errors="replace") if isinstance(one, bytes) else str(one or "") for one in stored]
    return agreed([axis_names(attributes, path), labels, _scales(dataset, attributes)], path)


def _scales(dataset: Any, attributes: Mapping[str, Any]) -> list[str] | None:
    """Names of the dimension scales (netCDF), one for each axis; "" for an axis without one."""
    return [name for name, _ in _scale_of_each(dataset, attributes)] or None


def _scale_of_each(dataset: Any, attributes: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Name and dataset of the scale of each axis; of several the first with a name that is a known axis."""
    found = []
    for references in attributes.get("DIMENSION_LIST", ()):
        scales = [(scale.name.rpartition("/")[2], scale) for one in references if one and (scale := dataset.file[one])]
        known = (pair for pair in scales if kind(pair[0]) in "tczyx")
        found.append(next(known, scales[0] if scales else ("", None)))
    return found


def _coordinates(dataset: Any, attributes: Mapping[str, Any]) -> list[Coordinates | None]:
    """The scales of a dataset as coordinates of its axes."""
    pairs = zip(_scale_of_each(dataset, attributes), dataset.shape, strict=False)
    return [
        coordinates(name, scale[...], scale.attrs.get("units")) if scale is not None and scale.shape == (n,) else None
        for (name, scale), n in pairs
    ]


def _groups(dataset: Any, container: str) -> Iterator[Group]:
    """The groups above a dataset in its file, the nearest first."""
    group = dataset
    while group.name != "/":
        group = group.parent
        name = group.name.strip("/")
        told = f"the group {container}/{name}".rstrip("/")
        inside = dataset.name[len(group.name) :].strip("/")
        yield Group(container, name, inside, _stored_attributes(group, told), partial(_arrays, group))


def _arrays(group: Any) -> list[Neighbour]:
    """The first ``MOST`` datasets below a group."""
    import h5py

    found: list[Neighbour] = []

    def look(name: str, item: Any) -> bool | None:
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            found.append(Neighbour(name, item.shape, any(key in item.attrs for key in SIZES)))
        return len(found) >= MOST or None

    group.visititems(look)
    return found


def _copy_others(container: str, file: Any, name: str) -> None:
    """Copy everything but the array ``name`` from an old file to the new one."""
    import h5py

    with _open(container, "r") as old:
        if isinstance(old.get(name), h5py.Group):
            raise NeuropilError(f"{container}/{name} is a group of arrays; name an array inside it")
        _copy_group(old, file, name.strip("/").split("/"), container)


def _copy_group(old: Any, new: Any, skip: list[str], path: str) -> None:
    import h5py

    for key, value in old.attrs.items():
        new.attrs[key] = value
    for name in old:
        link = old.get(name, getlink=True)
        if name != skip[0] and isinstance(link, h5py.SoftLink | h5py.ExternalLink):
            new[name] = link
        elif name != skip[0]:
            old.copy(name, new)
        elif len(skip) > 1:
            if not isinstance(old[name], h5py.Group):
                raise NeuropilError(f"{path}/{name} is an array; it cannot hold {'/'.join(skip[1:])}")
            _copy_group(old[name], new.create_group(name), skip[1:], f"{path}/{name}")


def _stored_attributes(dataset: Any, path: str) -> dict[str, Any]:
    """The attributes of a dataset; those that h5py cannot read are reported."""
    found = {}
    for key in dataset.attrs:
        try:
            found[key] = dataset.attrs[key]
        except (OSError, TypeError, ValueError) as error:
            tell(f"{path}: its attribute {key} cannot be read ({first_line(error)}); ignored")
    return found


def _attributes(attributes: Mapping[str, JSON]) -> dict[str, Any]:
    """Attributes to write: numbers, strings and rows of numbers as they are, the rest as JSON text."""
    return {key: arrays.attribute(value) for key, value in attributes.items()}


FORMAT = Format(
    name="hdf5",
    title="HDF5",
    suffixes=(".h5", ".hdf5", ".hdf", ".mat"),
    open=open_hdf5,
    list=list_hdf5,
    stamp=stamp_file,
    create=create_hdf5,
    signatures=(b"\x89HDF\r\n\x1a\n",),
    several=True,
    axes=True,
    settle=settle,
)
