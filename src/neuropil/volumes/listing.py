"""Which arrays a container holds."""

from __future__ import annotations

from pathlib import Path

from neuropil.volumes.arrays import Listed
from neuropil.volumes.location import parse_location
from neuropil.volumes.opening import open_volume


def list_arrays(path: str | Path) -> dict[str, Listed]:
    """Shape and dtype, as stored, of every array in a container, by the name to open it by: the datasets of an HDF5
    file, the arrays of a Zarr or N5 folder, the scales of a precomputed volume; "" for a file that is one array.

    Raises:
        NeuropilError: no such container, or it cannot be read.

    >>> import numpy as np, tempfile
    >>> from neuropil.volumes import write_volume
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_volume(f"{folder}/a.h5/volumes/raw", np.zeros((4, 5, 6), np.uint8))
    ...     [f"{name} {listed}" for name, listed in list_arrays(f"{folder}/a.h5").items()]
    ['volumes/raw 4×5×6 uint8']
    """
    location = parse_location(path)
    if location.format in ("tiff", "sections", "tiles"):
        with open_volume(path) as volume:
            return {"": Listed(volume.shape, volume.dtype)}
    if location.format == "hdf5":
        from neuropil.volumes.hdf5 import list_hdf5

        return list_hdf5(location.container)
    from neuropil.volumes.stores import list_store

    return list_store(location)
