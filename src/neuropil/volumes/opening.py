"""The doors of this room: open a volume, create one, write one."""

from __future__ import annotations

import copyreg
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError
from neuropil.volumes.location import Location, parse_location
from neuropil.volumes.metadata import Metadata
from neuropil.volumes.volume import ArrayStore, Mode, Volume, array_volume, check_array


def open_volume(path: str | Path, mode: Mode = "r") -> Volume:
    """Open an array in a file, a bucket or a stack of sections. No voxel is read; `read(box)` does that.

    ``path`` names a container and, after it, an array inside: ``a.h5/main``, ``b.zarr/volumes/raw``, ``c.tif``,
    ``dir/*.png``, ``tiles.json``, ``precomputed://…``, ``s3://…/d.zarr``. The array may be left out where there is only
    one. Axes are z, y, x, after channels where there are any; a 2-D file is one section.

    Raises:
        NeuropilError: no such file or array, several arrays and none named, not 3 or 4 axes, no voxels, damaged.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_volume(f"{folder}/a.h5", np.zeros((4, 5, 6), np.uint8), Metadata(voxel_size=(30, 6, 6)))
    ...     volume = open_volume(f"{folder}/a.h5")
    ...     volume.shape, volume.metadata.voxel_size
    ((4, 5, 6), (30.0, 6.0, 6.0))
    """
    location = parse_location(path)
    if location.format == "hdf5":
        from neuropil.volumes.hdf5 import open_hdf5

        return open_hdf5(location, mode)
    if location.format == "tiff":
        from neuropil.volumes.tiff import open_tiff

        return open_tiff(location, mode)
    if location.format == "sections":
        from neuropil.volumes.sections import open_sections

        return open_sections(location, mode)
    if location.format == "tiles":
        from neuropil.volumes.tiles import open_tiles

        return open_tiles(location, mode)
    from neuropil.volumes.stores import open_store

    return open_store(location, mode)


@contextmanager
def create_volume(
    path: str | Path,
    shape: Sequence[int],
    dtype: npt.DTypeLike,
    metadata: Metadata | None = None,
    chunks: Sequence[int] | None = None,
) -> Iterator[Volume]:
    """A new volume to fill box by box. It takes its name when the block is left; after an exception nothing of it
    remains, and what had that name before is still there.

    A file name without an array makes ``main`` in HDF5 and the root array in Zarr 3. Voxels never written are 0.

    Raises:
        NeuropilError: not 3 or 4 axes, no voxels, a dtype that the format cannot hold, or a folder that cannot
            be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with create_volume(f"{folder}/a.h5", (4, 5, 6), np.uint8) as volume:
    ...         volume.write(volume.box, np.ones((4, 5, 6), np.uint8))
    ...     int(open_volume(f"{folder}/a.h5").read().sum())
    120
    """
    location, kind = parse_location(path), np.dtype(dtype).newbyteorder("=")
    check_array(shape, kind, str(path))
    with _create(location, tuple(int(n) for n in shape), kind, metadata or Metadata(), chunks) as volume:
        yield volume


def write_volume(path: str | Path, array: npt.NDArray[Any], metadata: Metadata | None = None) -> None:
    """Write a whole array `[y, x]`, `[z, y, x]` or `[c, z, y, x]` with its metadata; what was there is replaced only
    when the new one is complete.

    Raises:
        NeuropilError: as :func:`create_volume`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_volume(f"{folder}/a.h5", np.arange(6, dtype=np.uint8).reshape(1, 2, 3))
    ...     open_volume(f"{folder}/a.h5").read().tolist()
    [[[0, 1, 2], [3, 4, 5]]]
    """
    array = np.asarray(array)
    array = array[np.newaxis] if array.ndim == 2 else array
    with create_volume(path, array.shape, array.dtype, metadata) as volume:
        volume.write(volume.box, array)


def as_volume(source: Volume | npt.NDArray[Any] | str | Path) -> Volume:
    """A volume from whatever a user holds: a volume, an array in memory, or a path to open.

    >>> as_volume(np.zeros((2, 3, 4))).shape
    (2, 3, 4)
    """
    if isinstance(source, Volume):
        return source
    if isinstance(source, str | Path):
        return open_volume(source)
    return array_volume(source)


def spare_input(source: Volume, output: str | Path) -> None:
    """Refuse an output that would take the place of the very array it is made from.

    Raises:
        NeuropilError: they are the same array.

    >>> spare_input(array_volume(np.zeros((2, 3, 4))), "a.h5")
    """
    if type(source.store) is ArrayStore:  # in memory; a subclass maps a file
        return
    if _identity(source.path) == _identity(output):
        raise NeuropilError(f"{output} would replace {source.path}, which it is made from; choose another name")


def _identity(path: str | Path) -> tuple[str, str]:
    location = parse_location(path)
    array = location.array.strip("/") or ("main" if location.format == "hdf5" else "")
    return location.container.rstrip("/") if location.remote else str(Path(location.container).resolve()), array


@contextmanager
def borrowed(source: Volume | npt.NDArray[Any] | str | Path) -> Iterator[Volume]:
    """The same for a while: what was opened here is closed at the end, a volume that was handed in stays open.

    >>> with borrowed(np.zeros((2, 3, 4))) as volume:
    ...     volume.shape
    (2, 3, 4)
    """
    volume = as_volume(source)
    try:
        yield volume
    finally:
        if volume is not source:
            volume.close()


def _create(
    location: Location, shape: tuple[int, ...], dtype: np.dtype[Any], metadata: Metadata, chunks: Sequence[int] | None
) -> Any:
    if location.format == "hdf5":
        from neuropil.volumes.hdf5 import create_hdf5

        return create_hdf5(location, shape, dtype, metadata, chunks)
    if location.format == "tiff":
        from neuropil.volumes.tiff import create_tiff

        return create_tiff(location, shape, dtype, metadata)
    if location.format == "sections":
        from neuropil.volumes.sections import create_sections

        return create_sections(location, shape, dtype, metadata)
    if location.format == "tiles":
        raise NeuropilError(f"tiles are only read; write {Path(location.container).with_suffix('.zarr')} instead")
    from neuropil.volumes.store_creation import create_store

    return create_store(location, shape, dtype, metadata, chunks)


def _pickled(volume: Volume) -> tuple[Any, ...]:
    """Pickled for another process, a volume is opened again there; one in memory is copied."""
    if type(volume.store) is ArrayStore:  # a subclass maps a file
        return array_volume, (volume.store.array, volume.metadata)
    return open_volume, (volume.path, volume.mode)


copyreg.pickle(Volume, _pickled)
