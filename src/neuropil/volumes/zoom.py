"""Resample volumes to a finer or coarser grid with the corner voxels aligned, as ``scipy.ndimage.zoom`` does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError
from neuropil.volumes.volume import Index, Volume, WrappedStore

Factors = tuple[float, float, float]
"""How many times as many voxels, (z, y, x)."""


@dataclass(frozen=True, eq=False)
class ZoomedStore(WrappedStore):
    """A store [z, y, x] on another grid: grey values are linear between voxels, ids those of the nearest."""

    grid: tuple[int, ...]
    nearest: bool
    path: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.grid

    @property
    def chunks(self) -> tuple[int, ...] | None:
        return None

    def read(self, index: Index) -> npt.NDArray[Any]:
        places = []
        for part, size, there in zip(index, self.shape, self.inner.shape, strict=True):
            at = np.arange(*part.indices(size), dtype=np.float64) * ((there - 1) / max(size - 1, 1))
            places.append(np.floor(at + 0.5) if self.nearest else at)
        first = [int(np.floor(at.min(initial=0))) for at in places]
        last = [min(int(np.floor(at.max(initial=0))) + 2, n) for at, n in zip(places, self.inner.shape, strict=True)]
        found = np.asarray(self.inner.read(tuple(slice(a, b) for a, b in zip(first, last, strict=True))))
        for axis, (at, start) in enumerate(zip(places, first, strict=True)):
            found = _between(found, axis, at - start, self.nearest)
        if found.dtype == self.dtype:
            return found
        return (np.floor(found + 0.5) if self.dtype.kind in "ui" else found).astype(self.dtype)

    def write(self, index: Index, array: npt.NDArray[Any]) -> None:
        raise NeuropilError(f"a resampled volume is read-only; open {self.path} itself to write")


def _between(found: npt.NDArray[Any], axis: int, at: npt.NDArray[np.float64], nearest: bool) -> npt.NDArray[Any]:
    low = np.floor(at).astype(np.int64)
    if nearest:
        return found.take(low, axis)
    high = np.minimum(low + 1, found.shape[axis] - 1)
    share = (at - low).reshape([-1 if a == axis else 1 for a in range(3)])
    return np.asarray(found.take(low, axis) * (1 - share) + found.take(high, axis) * share)


def zoomed(volume: Volume, factors: Factors, nearest: bool = False) -> Volume:
    """A volume with ``factors`` times as many voxels; itself where all are 1.

    Args:
        volume: [z, y, x].
        factors: above 0; the voxels of an axis are rounded to a whole number, of at least 1.
        nearest: take the nearest voxel, for ids and masks; else grey values are linear between voxels.

    Raises:
        NeuropilError: more than three axes, or factors not above 0.

    >>> from neuropil.volumes import array_volume
    >>> zoomed(array_volume(np.array([[[0, 10]]], np.uint8)), (1, 1, 1.5)).read().tolist()
    [[[0, 5, 10]]]
    """
    if all(factor == 1 for factor in factors):
        return volume
    if len(volume.shape) != 3 or min(factors) <= 0:
        raise NeuropilError(f"expected a volume [z, y, x] and factors above 0, got {volume.shape} and {factors}")
    z, y, x = (max(1, round(n * factor)) for n, factor in zip(volume.shape, factors, strict=True))
    size = volume.metadata.voxel_size
    if size is not None:
        size = (size[0] * volume.shape[0] / z, size[1] * volume.shape[1] / y, size[2] * volume.shape[2] / x)
    store = ZoomedStore(volume.store, (z, y, x), nearest, volume.path)
    return Volume(volume.path, store, replace(volume.metadata, voxel_size=size, origin=None))
