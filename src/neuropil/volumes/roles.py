"""Check that a volume can be used as an image, as ids or as a mask, or together with another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.volume import Index, Volume, WrappedStore, unwrapped


def require_image(volume: Volume) -> Volume:
    """The volume itself, if it can be an image: `[z, y, x]`."""
    if len(volume.shape) != 3:
        raise NeuropilError(f"expected an image [z, y, x], got shape {volume.shape}, in {volume.path}")
    return volume


def is_lossy(volume: Volume) -> bool:
    """Whether a volume is stored with lossy compression, such as JPEG."""
    return bool(getattr(unwrapped(volume.store), "lossy", False))


def check_exact(volume: Volume) -> None:
    """Refuse ids or a mask that are stored with lossy compression.

    Raises:
        NeuropilError: the compression is lossy.
    """
    if is_lossy(volume):
        raise NeuropilError(
            f"expected ids without lossy compression, got JPEG or another that may change them, in {volume.path}; save "
            "them as PNG, or as TIFF, HDF5 or Zarr with deflate or zstd"
        )


def require_labels(volume: Volume) -> Volume:
    """The volume itself, if it can be labels or a segmentation: `[z, y, x]`, integers; floats that hold whole numbers,
    as some programs write ids, are read as such.

    Raises:
        NeuropilError: another number of axes; lossy compression; fractions or negative floats, when they are read.

    >>> from neuropil.volumes import array_volume
    >>> require_labels(array_volume(np.zeros((2, 3, 4), np.uint64))).shape
    (2, 3, 4)
    """
    if len(volume.shape) != 3:
        raise NeuropilError(f"expected labels [z, y, x], got shape {volume.shape}, in {volume.path}")
    check_exact(volume)
    if volume.dtype.kind == "f":
        return replace(volume, store=WholeStore(volume.store, volume.path))
    return volume


@dataclass(frozen=True, eq=False)
class WholeStore(WrappedStore):
    """Ids that are stored as floats, read as integers; a fraction or a negative number is refused."""

    path: str

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint64 if self.inner.dtype.itemsize > 4 else np.uint32)

    def read(self, index: Index) -> npt.NDArray[Any]:
        found = np.asarray(self.inner.read(index))
        most = 2 ** (np.finfo(found.dtype).nmant + 1)  # beyond, floats have no room for every whole number
        if not bool(((found == np.rint(found)) & (found >= 0) & (found <= most)).all()):
            raise NeuropilError(
                f"expected integer ids as labels, got {found.dtype} that are no whole numbers from 0 to {most}, in "
                f"{self.path}; store them as uint32 or uint64"
            )
        return found.astype(self.dtype)

    def write(self, index: Index, array: npt.NDArray[Any]) -> None:
        raise NeuropilError(f"ids in floats are read-only; write {self.path} as uint32 or uint64")


def check_overlay(first: Volume, second: Volume) -> None:
    """Refuse two volumes with different axis directions, if both store them; report two of one shape of which only one
    stores an origin.

    Raises:
        NeuropilError: the directions differ.
    """
    known = [volume.metadata.origin for volume in (first, second)]
    if None in known and first.shape[-3:] == second.shape[-3:] and first.box != second.box:
        here, other = (first, second) if known[1] is None else (second, first)
        tell(
            f"{here.path} begins at voxel {here.metadata.start}, {other.path} stores no origin and is taken to begin "
            "at (0, 0, 0), although both have the same shape; if they show the same voxels, store the origin in both"
        )
    leads = [value for volume in (first, second) for value in volume.metadata.directions.values()]
    if len(leads) < 2 or leads[0] == leads[1]:
        return
    if len({set("".join(map(str, lead))) <= set("+-") for lead in leads if isinstance(lead, list)}) > 1:
        return  # anatomical directions cannot be compared with + and -
    raise NeuropilError(
        f"the axes z, y, x of {first.path} have the directions {leads[0]}, those of {second.path} {leads[1]}, so their "
        "voxels do not correspond; flip one, and store it with the directions of the other"
    )
