"""Open a volume, create one, write one, or list the arrays of a container."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError, Note
from neuropil.inputs import note_input
from neuropil.volumes.arrays import Listed, check_array
from neuropil.volumes.formats import CHUNKED
from neuropil.volumes.formats.base import Colour, Location
from neuropil.volumes.location import parse_location
from neuropil.volumes.metadata import Metadata
from neuropil.volumes.roles import check_exact
from neuropil.volumes.units import question
from neuropil.volumes.volume import Mode, Volume, array_volume, first_line


def open_volume(path: str | Path, mode: Mode = "r", colour: Colour = "", axes: str = "") -> Volume:
    """Open an array in a file, a bucket or a stack of sections. No voxel is read; `read(box)` does that.

    ``path`` names a container and, after it, an array inside: ``a.h5/main``, ``b.zarr/volumes/raw``, ``c.tif``,
    ``dir/*.png``, ``tiles.json``, ``precomputed://…``, ``s3://…/d.zarr``. The array may be left out where there is only
    one. The volume is [z, y, x], or [c, z, y, x] with channels; a 2-D file is one section.

    Args:
        path: of the array.
        mode: ``r`` to read, ``r+`` to change existing voxels.
        colour: how colours in TIFF and PNG are read: ``image``, as brightness, inverted where 0 means white;
            ``segmentation``, as ids that VAST exports, 65536·R + 256·G + B. Without it they are refused.
        axes: names of the axes as stored, such as ``xyz`` or ``z,y,x,c``, in place of what the file says; sizes that
            are stored next to the array are in the same order.

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
    with _damage_told(path):
        volume = location.format.open(replace(location, colour=colour, axes=_axes(axes, location)), mode)
    if colour == "segmentation":
        check_exact(volume)
    note_input(location.container)
    question(volume.metadata.voxel_size, volume.path)
    return volume


def _axes(text: str, location: Location) -> tuple[str, ...]:
    """Names of axes as typed; empty where none are."""
    if not text:
        return ()
    names = tuple(part.strip().lower() for part in (text.split(",") if "," in text else text))
    if not {"x", "y"} <= set(names) <= set("tczyx") or len(set(names)) != len(names):
        raise NeuropilError(f"--axes: expected each of t, c, z, y, x at most once, as xyz or t,c,z,y,x; got {text!r}")
    if not location.format.axes:
        raise NeuropilError(f"--axes {text}: {location.format.title} says itself which axes it has; leave it out")
    return names


def list_arrays(path: str | Path) -> dict[str, Listed]:
    """Shape and dtype, as stored, of every array in a container, by the name to open it by: the datasets of an HDF5
    file, the arrays of a Zarr or N5 folder, the scales of a precomputed volume; "" for a file that is one array.

    Raises:
        NeuropilError: no such container, or it cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_volume(f"{folder}/a.h5/volumes/raw", np.zeros((4, 5, 6), np.uint8))
    ...     [f"{name} {listed}" for name, listed in list_arrays(f"{folder}/a.h5").items()]
    ['volumes/raw 4×5×6 uint8']
    """
    location = parse_location(path)
    with _damage_told(path):
        return location.format.list(location)


@contextmanager
def _damage_told(path: str | Path) -> Iterator[None]:
    """Turn the many errors that libraries raise over damaged metadata into one."""
    try:
        yield
    except (NeuropilError, Note):
        raise
    except Exception as error:
        problem = f"{type(error).__name__}: {first_line(error)}"
        raise NeuropilError(f"cannot open {path}: its metadata are damaged ({problem})") from error


@contextmanager
def create_volume(
    path: str | Path,
    shape: Sequence[int],
    dtype: npt.DTypeLike,
    metadata: Metadata | None = None,
    chunks: Sequence[int] | None = None,
    sharded: bool = False,
) -> Iterator[Volume]:
    """Create a volume of ``shape`` [z, y, x] or [c, z, y, x] to fill box by box. It gets its name when the block is
    left; after an exception it is removed, and what had that name before is still there.

    A file name without an array makes ``main`` in HDF5 and the root array in Zarr 3. Voxels never written are 0.
    ``chunks`` are z, y, x, or one number per axis. ``sharded`` packs many chunks into one file (Zarr 3, precomputed):
    then write boxes of whole shards.

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
    create = location.format.create
    if create is None:
        other = Path(location.container).with_suffix(CHUNKED.suffixes[0])
        raise NeuropilError(f"{location.format.title} is only read, not written; write {other} instead")
    if sharded and not location.format.sharded:
        raise NeuropilError(
            f"{location.format.title} cannot pack chunks into shards; Zarr 3 and precomputed can: {path}"
        )
    location = replace(location, sharded=sharded)
    with create(location, tuple(int(n) for n in shape), kind, metadata or Metadata(), chunks) as volume:
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
    """A volume from a volume (returned itself), an array in memory, or a path to open.

    >>> as_volume(np.zeros((2, 3, 4))).shape
    (2, 3, 4)
    """
    if isinstance(source, Volume):
        return source
    if isinstance(source, str | Path):
        return open_volume(source)
    return array_volume(source)


@contextmanager
def borrowed(source: Volume | npt.NDArray[Any] | str | Path) -> Iterator[Volume]:
    """As :func:`as_volume`, in a ``with`` block: what was opened here is closed at its end, a given volume stays open.

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
