"""Choose shapes by voxel size: downsampling of the network, patch, offsets, and the split of a volume."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from math import floor, log10, prod

import numpy as np
from numpy.typing import NDArray

from neuropil.errors import NeuropilError
from neuropil.geometry import NEAREST, Box, Offsets, Triple, VoxelSize

PATCH_VOXELS = 16 * 144 * 144
"""Voxels of a patch: a training step of a small network takes about a second on two cores."""

LONG_NM = (54, 162)
"""Lengths of the long offsets in nm: a third and all of the diameter of a neurite."""

VALIDATION, TEST = 0.2, 0.2
"""Shares of the labelled voxels of a volume for validation and test."""

SMALLEST = 1e6
"""nm³ below which a segment joins its neighbour: a cube of 100 nm."""

ISOTROPIC = 1.5
"""Largest ratio of the sides of a voxel that counts as a cube."""


def is_isotropic(size: VoxelSize) -> bool:
    """Whether voxels are about isotropic.

    >>> is_isotropic((10, 8, 8)), is_isotropic((30, 6, 6))
    (True, False)
    """
    return max(size) < ISOTROPIC * min(size)


def downsampling(size: VoxelSize, levels: int = 4) -> tuple[Triple, ...]:
    """Downsampling factors between levels: each halves the finest axes, until voxels are about isotropic.

    >>> downsampling((30, 6, 6))
    ((1, 2, 2), (1, 2, 2), (2, 2, 2))
    >>> downsampling((8, 8, 8))
    ((2, 2, 2), (2, 2, 2), (2, 2, 2))
    """
    factors: list[Triple] = []
    now = size
    for _ in range(levels - 1):
        z, y, x = (2 if n < 1.5 * min(now) else 1 for n in now)
        factors.append((z, y, x))
        now = (now[0] * z, now[1] * y, now[2] * x)
    return tuple(factors)


def flat_levels(size: VoxelSize, downsample: tuple[Triple, ...]) -> int:
    """Number of the finest levels with voxels at least three times as deep as wide: there kernels are 2-D.

    >>> flat_levels((30, 6, 6), downsampling((30, 6, 6))), flat_levels((8, 8, 8), downsampling((8, 8, 8)))
    (1, 0)
    """
    count, (depth, *plane) = 0, size
    for factor in ((1, 1, 1), *downsample):
        depth *= factor[0]
        plane = [n * f for n, f in zip(plane, factor[1:], strict=True)]
        if depth < 3 * min(plane):
            break
        count += 1
    return count


def patch_for(size: VoxelSize, shape: Triple, downsample: tuple[Triple, ...]) -> tuple[Triple, int]:
    """A patch about as deep as wide in nm, divisible at all levels; and the axis along which to split the data.

    Along that axis the patch is at most a fifth of the data (in small boxes two fifths), so that validation can hold
    one, and it is wider along the others instead.

    Raises:
        NeuropilError: too few voxels for a training patch and a validation patch.

    >>> patch_for((30, 6, 6), (80, 1024, 1024), downsampling((30, 6, 6)))
    ((16, 144, 144), 0)
    """
    step = step_of(downsample)
    edge = (PATCH_VOXELS * prod(size)) ** (1 / 3)  # nm
    wanted = [edge / n for n in size]
    axis = max(range(3), key=lambda a: (min(shape[a] / wanted[a], 3), -a))  # z, where three patches fit in it
    room = [_held_back(n, w) if a == axis else n for a, (n, w) in enumerate(zip(shape, wanted, strict=True))]
    stretch = max(wanted[axis] / room[axis], 1) ** 0.5 if room[axis] else 1
    long = [n / stretch**2 if a == axis else n * stretch for a, n in enumerate(wanted)]
    z, y, x = (min(max(round(n / t), 1), r // t) * t for n, r, t in zip(long, room, step, strict=True))
    if min(z, y, x) == 0:
        raise NeuropilError(
            f"expected at least {by(step)} voxels to learn from and as many to choose with, got {by(shape)}; label "
            "more, or join volumes by hand under data.train"
        )
    return (z, y, x), axis


def cube_for(size: VoxelSize, shape: Triple, factors: tuple[Triple, ...]) -> tuple[Triple, int]:
    """A cubic patch, to which all symmetries apply, larger if a stem saves work; and the axis along which to split.

    Validation boxes may be thinner than the patch: a fifth of the data.

    Raises:
        NeuropilError: too few voxels for training and validation.

    >>> cube_for((10, 10, 10), (150, 250, 250), ((2, 2, 2), *downsampling((10, 10, 10))))
    ((80, 80, 80), 1)
    """
    step = step_of(factors)
    axis = max(range(3), key=lambda a: (shape[a], -a))
    least = max(step)
    room = [round(n * (1 - VALIDATION - TEST)) if a == axis else n for a, n in enumerate(shape)]
    edge = (PATCH_VOXELS * max(prod(factors[0]) / 5, 1)) ** (1 / 3)  # most of what a stem saves goes into more steps
    cube = min(max(round(edge / least), 1), min(room) // least) * least
    if cube == 0 or shape[axis] < cube + step[axis]:
        raise NeuropilError(
            f"expected at least {by([least] * 3)} voxels to learn from and {least} more along an axis to choose with, "
            f"got {by(shape)}; label more, or join volumes by hand under data.train"
        )
    return (cube, cube, cube), axis


def min_size_for(size: VoxelSize) -> int:
    """Voxels of the smallest segment that is kept, rounded down to one digit.

    >>> min_size_for((30, 6, 6)), min_size_for((10, 10, 10)), min_size_for((40, 16, 16))
    (900, 1000, 90)
    """
    voxels = SMALLEST / prod(size)
    unit = int(10 ** max(floor(log10(max(voxels, 1))), 0))
    return max(floor(voxels / unit), 1) * unit


def step_of(factors: Iterable[Triple]) -> Triple:
    """The numbers of which the lengths of a patch must be multiples, z, y, x."""
    z, y, x = (prod(axis) for axis in zip(*factors, strict=True))
    return z, y, x


def _held_back(length: int, wanted: float) -> int:
    """How much of an axis is kept for validation: a fifth, or up to two fifths if a fifth is far less than a patch."""
    small = length // 5 < wanted / 2
    return max(length // 5, min(length * 2 // 5, round(wanted)) if small else 0, min(length // 2, 8))


def offsets_for(size: VoxelSize, patch: Triple) -> Offsets:
    """The nearest edges and two long ones per axis; across thick sections two and three sections far.

    >>> offsets_for((30, 6, 6), (16, 144, 144))[3:]
    ((-2, 0, 0), (-3, 0, 0), (0, -9, 0), (0, 0, -9), (0, -27, 0), (0, 0, -27))
    """
    thick = size[0] >= 2 * min(size[1:])
    found = list(NEAREST)
    for axis, nm in [(0, LONG_NM[0]), (0, LONG_NM[1]), *((a, nm) for nm in LONG_NM for a in (1, 2))]:
        long = (2 if nm == LONG_NM[0] else 3) if axis == 0 and thick else round(nm / size[axis])
        z, y, x = (-max(long, 2) if a == axis else 0 for a in range(3))
        if max(long, 2) <= patch[axis] // 2 and (z, y, x) not in found:
            found.append((z, y, x))
    return tuple(found)


def split(
    region: Box, axis: int, patch: Triple, along: NDArray[np.int64] | None = None, least: int | None = None
) -> tuple[Box, Box, Box]:
    """Boxes for training, validation and test, one after the other along an axis.

    Validation and test get a fifth of the labelled voxels each. If less than a patch would be left for training, the
    test box is the validation box. Every box has labels if the first and the last plane of the region have.

    Args:
        region: the box to split.
        axis: the axis along which to split.
        patch: voxels of a sample.
        along: labelled voxels of each plane of the region along the axis; by default the same in all planes.
        least: validation gets a multiple of this many planes; by default at least as many as a patch.

    >>> [str(box) for box in split(Box.whole((80, 8, 8)), 0, (16, 8, 8))]
    ['0:48,0:8,0:8', '48:64,0:8,0:8', '64:80,0:8,0:8']
    >>> sparse = np.array([5] * 10 + [0] * 60 + [5] * 10)
    >>> [str(box) for box in split(Box.whole((80, 8, 8)), 0, (4, 8, 8), sparse)]
    ['0:72,0:8,0:8', '72:76,0:8,0:8', '76:80,0:8,0:8']
    """
    length = region.shape[axis]
    held = np.cumsum(np.ones(length, np.int64) if along is None else along)
    first, last = (int(np.searchsorted(held, round(n * held[-1]))) + 1 for n in (1 - VALIDATION - TEST, 1 - TEST))
    report = length - last
    choose = max(last - first, patch[axis]) if least is None else max((last - first) // least, 1) * least
    if length - choose - report < patch[axis]:
        choose, report = max(report, patch[axis]) if least is None else least, 0
    edges = [0, length - choose - report, length - report, length]
    boxes = []
    for begin, end in pairwise(edges):
        start, stop = list(region.start), list(region.stop)
        start[axis], stop[axis] = region.start[axis] + begin, region.start[axis] + end
        boxes.append(Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2])))
    train, validation, test = boxes
    return train, validation, test if report else validation


def by(numbers: Iterable[float]) -> str:
    """Numbers with a × between them.

    >>> by((30, 6, 6))
    '30 × 6 × 6'
    """
    return " × ".join(f"{n:g}" for n in numbers)
