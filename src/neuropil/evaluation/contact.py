"""Where two masks touch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.geometry import Triple

Mask = NDArray[np.bool_]


def middle_of_contact(one: Mask, other: Mask) -> Triple | None:
    """The voxel of ``one`` nearest to the middle of all those that share a face with ``other``; None if none does.

    >>> middle_of_contact(np.array([[[True, True, False]]]), np.array([[[False, False, True]]]))
    (0, 0, 1)
    """
    touching = np.argwhere(touches(one, other))
    return most_central(touching) if len(touching) else None


def touches(one: Mask, other: Mask) -> Mask:
    """The voxels of ``one`` that share a face with ``other``."""
    touching = np.zeros(one.shape, bool)
    for axis in range(one.ndim):
        low = (slice(None),) * axis + (slice(None, -1),)
        high = (slice(None),) * axis + (slice(1, None),)
        touching[low] |= one[low] & other[high]
        touching[high] |= one[high] & other[low]
    return touching


def most_central(voxels: NDArray[np.integer[Any]]) -> Triple:
    """Of voxels ``[voxel, 3]``, at least one, the one nearest to their centre of mass."""
    distance = ((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1)
    z, y, x = voxels[int(distance.argmin())].tolist()
    return (z, y, x)


def bounds(mask: Mask) -> tuple[slice, ...]:
    """The smallest box that holds all of a mask."""
    found = []
    for axis in range(mask.ndim):
        along = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        found.append(slice(int(along[0]), int(along[-1]) + 1))
    return tuple(found)


def within(voxel: Triple, part: tuple[slice, ...], start: Triple) -> Triple:
    """A voxel of a part of an array, in voxels of the image in which the array starts at ``start``."""
    z, y, x = (n + piece.start + a for n, piece, a in zip(voxel, part, start, strict=True))
    return (z, y, x)
