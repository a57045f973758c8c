"""Tiles of a box and their blending weights.

Tiles lie inside the box: the last one of an axis is moved inward, never padded. Overlapping tiles are blended by a bump
function, ``exp(-Σ_axis [x (1 - x)]^-1.5)`` with x from 0 to 1 across the tile, divided by the sum over tiles. The bump
and the grid of tiles are both products over axes, so the division is done once for each axis, and no array of weights
is needed. An edge counts in a tile if both its voxels are inside; its bump is that of the edges inside the tile.

Weights of an axis are multiples of 1/256 with sum 1. Products of three have 24 bits, which fit into float32, and their
sums are exact: where all tiles are 0 or all are 1, the blended value is exactly that.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError
from neuropil.geometry import Box, Offsets, Triple

LEVELS = 256
SIGMA = 0.2
"""Standard deviation of the Gaussian blend, in units of half a tile."""


@dataclass(frozen=True)
class Axis:
    """The tiles of one axis of ``size`` voxels: ``length`` voxels each, beginning at ``starts``."""

    size: int
    length: int
    starts: tuple[int, ...]

    def weights(self, offset: int) -> npt.NDArray[np.float32]:
        """Weight of each tile at its edges with this offset component: ``[tiles, length]``, sum over tiles 1."""
        return _weights(self.length, self.starts, offset)

    def support(self, tile: int, offsets: Sequence[int]) -> tuple[int, int]:
        """First and last + 1 voxel of the axis where a tile has weight for any of these offset components."""
        return _supports(self, tuple(sorted(set(offsets))))[tile]


def axis(size: int, tile: int, overlap: int, multiple: int = 1) -> Axis:
    """Cover an axis evenly with as few tiles as possible.

    Args:
        size: voxels of the axis.
        tile: voxels of a tile.
        overlap: least overlap of neighbours.
        multiple: pooling factor of the network. Tiles begin at multiples of it if possible, since pooling makes results
            depend on the position, and tiles that agree need less blending.

    >>> axis(1000, 368, 32, multiple=8)
    Axis(size=1000, length=368, starts=(0, 312, 632))
    """
    if tile >= size:
        return Axis(size, size, (0,))
    count = math.ceil((size - overlap) / (tile - overlap))
    even = [i * (size - tile) / (count - 1) for i in range(count)]
    aligned = [*(multiple * int(start // multiple) for start in even[:-1]), size - tile]
    steps = [b - a for a, b in itertools.pairwise(aligned)]
    fits = min(steps) > 0 and max(steps) <= tile - overlap
    return Axis(size, tile, tuple(aligned if fits else (round(start) for start in even)))


@dataclass(frozen=True)
class Tiling:
    """The tiles of a box; ``starts`` of the axes count from ``box.start``."""

    box: Box
    axes: tuple[Axis, Axis, Axis]
    blend: Literal["bump", "gaussian"] = "bump"

    @property
    def shape(self) -> Triple:
        """Voxels of a tile."""
        z, y, x = (a.length for a in self.axes)
        return (z, y, x)

    @property
    def counts(self) -> Triple:
        """Tiles along each axis."""
        z, y, x = (len(a.starts) for a in self.axes)
        return (z, y, x)

    @property
    def overhead(self) -> float:
        """Voxels in all tiles, per voxel of the box."""
        return math.prod(len(a.starts) * a.length / a.size for a in self.axes)

    def tile(self, index: Triple) -> Box:
        """The voxels of one tile."""
        start = [a.starts[i] for a, i in zip(self.axes, index, strict=True)]
        return Box.at(start, self.shape).shift(self.box.start)

    def support(self, index: Triple, offsets: Offsets) -> Box:
        """The part of a tile that has weight for any of these edges."""
        if self.blend == "gaussian":
            return self.tile(index)
        ends = [a.support(i, [o[d] for o in offsets]) for d, (a, i) in enumerate(zip(self.axes, index, strict=True))]
        (z0, z1), (y0, y1), (x0, x1) = ends
        return Box((z0, y0, x0), (z1, y1, x1)).shift(self.box.start)

    def weights(self, index: Triple, offset: Triple) -> tuple[npt.NDArray[np.float32], ...]:
        """Weights of one channel of a tile, one vector per axis; the weight is their product."""
        return tuple(a.weights(o)[i] for a, i, o in zip(self.axes, index, offset, strict=True))

    def share(self, index: Triple) -> npt.NDArray[np.float32]:
        """Weight of a tile at each of its voxels in a Gaussian blend, divided by the sum over tiles: ``[Z, Y, X]``."""
        return _gaussian_share(self.shape, tuple(self._near(axis, i) for axis, i in zip(self.axes, index, strict=True)))

    @staticmethod
    def _near(axis: Axis, tile: int) -> tuple[int, ...]:
        """The starts of the tiles that overlap a tile, relative to its own."""
        return tuple(start - axis.starts[tile] for start in axis.starts if abs(start - axis.starts[tile]) < axis.length)


def step_tiles(
    box: Box, tile: Triple, stride: Triple, offsets: Offsets, blend: Literal["bump", "gaussian"] = "bump"
) -> Tiling:
    """Lay tiles over a box at multiples of a stride, the last of an axis moved inward.

    Raises:
        NeuropilError: a stride so long that an edge of one of the offsets lies in no tile.

    >>> step_tiles(Box.whole((14, 122, 122)), (9, 65, 65), (4, 32, 32), ((0, 0, 0),)).axes[1].starts
    (0, 32, 57)
    """
    axes = []
    for d, (name, size, length, step) in enumerate(zip("zyx", box.shape, tile, stride, strict=True)):
        most = length - max(abs(o[d]) for o in offsets)
        if step > most and length < size:
            raise NeuropilError(f"expected a stride of at most {most} in {name} with tiles of {length}, got {step}")
        last = max(size - length, 0)
        starts = tuple(min(i * step, last) for i in range(math.ceil(last / step) + 1))
        axes.append(Axis(size, min(length, size), starts))
    return Tiling(box, (axes[0], axes[1], axes[2]), blend)


def lay_tiles(box: Box, tile: Triple, overlap: Triple, offsets: Offsets, multiple: Triple = (1, 1, 1)) -> Tiling:
    """Lay tiles over a box.

    Args:
        box: what to cover.
        tile: voxels of a tile; clipped to the box where that is smaller.
        overlap: least overlap; raised to the longest offset.
        offsets: the offsets to predict: every edge inside the box must lie in some tile.
        multiple: see :func:`axis`.

    Raises:
        NeuropilError: tiles that are not larger than their overlap.

    >>> lay_tiles(Box.whole((10, 600, 600)), (16, 320, 320), (4, 32, 32), ((0, -1, 0),)).counts
    (1, 2, 2)
    """
    longest = [max(abs(o[d]) for o in offsets) for d in range(3)]
    least = [max(a, b) for a, b in zip(overlap, longest, strict=True)]
    for name, n, t, o, far in zip("zyx", box.shape, tile, least, longest, strict=True):
        if t < 1 or (t < n and t <= o):
            raise NeuropilError(
                f"tiles must be longer than their overlap in {name}, got {t} voxels with overlap {o} "
                f"(the longest offset kept there is {far}); make the tile larger or the overlap smaller"
            )
    z, y, x = (axis(n, t, o, m) for n, t, o, m in zip(box.shape, tile, least, multiple, strict=True))
    return Tiling(box, (z, y, x))


def choose_tile(shape: Triple, voxels: int, overlap: Triple, multiple: Triple, context: Triple = (0, 0, 0)) -> Triple:
    """The tile of at most ``voxels`` voxels that covers a box with the fewest voxels predicted twice.

    The ``context`` around each tile counts as voxels, too.

    >>> choose_tile((10, 1024, 1024), 3_000_000, (4, 32, 32), (1, 8, 8))
    (10, 528, 528)
    """
    options = [_lengths(n, o, m) for n, o, m in zip(shape, overlap, multiple, strict=True)]
    best, cost = shape, math.inf
    smallest = tuple(o[-1][0] for o in options)
    for z, z_cost in options[0]:
        for y, y_cost in options[1]:
            for x, x_cost in options[2]:
                seen = math.prod(n + 2 * c for n, c in zip((z, y, x), context, strict=True))
                if seen > voxels and (z, y, x) != smallest:
                    continue
                # At equal cost the more compact tile, with fewer voxels near its faces.
                total = z_cost * y_cost * x_cost * seen / (z * y * x) * (1 + 1e-3 * abs(math.log(y / x)))
                if total < cost:
                    best, cost = (z, y, x), total
    return best


def _lengths(size: int, overlap: int, multiple: int) -> list[tuple[int, float]]:
    """Lengths of 1, 2, 3… tiles that cover an axis, each with voxels in tiles per voxel of the axis; at most 64."""
    options = [(size, 1.0)]
    for count in range(2, 65):
        needed = math.ceil((size + (count - 1) * overlap) / count)
        # The last tile must begin at a multiple, too, and steps rounded up to multiples must leave enough overlap.
        length = needed + (size - needed) % multiple
        while multiple * math.ceil((size - length) / multiple / (count - 1)) > length - overlap:
            length += multiple
        if length <= 2 * overlap or length >= options[-1][0]:
            break
        options.append((length, count * length / size))
    return options


@lru_cache(maxsize=256)
def _weights(length: int, starts: tuple[int, ...], offset: int) -> npt.NDArray[np.float32]:
    count, edges = len(starts), length - abs(offset)
    out = np.zeros((count, length), np.float32)
    if edges <= 0:
        return out
    x = np.arange(1, edges + 1) / (edges + 1)
    bump = np.full(length, -np.inf)
    first = max(-offset, 0)
    bump[first : first + edges] = -((x * (1 - x)) ** -1.5)
    for i, start in enumerate(starts):
        near = [j for j in range(count) if abs(starts[j] - start) < length]
        # The logarithms of all tiles at the voxels of tile i, their largest subtracted before the exponential.
        logs = np.full((len(near), length), -np.inf)
        for row, j in enumerate(near):
            d = start - starts[j]
            here = slice(max(-d, 0), min(length, length - d))
            logs[row, here] = bump[here.start + d : here.stop + d]
        top = logs.max(axis=0)
        known = np.isfinite(top)
        share = np.exp(logs[:, known] - top[known])
        steps = np.rint(share / share.sum(axis=0) * LEVELS)
        # The rounding error is added to the largest weight (the first of equal ones), the same in every tile.
        largest = steps.argmax(axis=0)
        steps[largest, np.arange(steps.shape[1])] += LEVELS - steps.sum(axis=0)
        out[i, known] = steps[near.index(i)] / LEVELS
    out.flags.writeable = False
    return out


@lru_cache(maxsize=32)
def _gaussian_share(shape: Triple, near: tuple[tuple[int, ...], ...]) -> npt.NDArray[np.float32]:
    own = gaussian_window(shape)
    total = np.zeros(shape, np.float32)
    for shift in itertools.product(*near):
        here = tuple(slice(max(d, 0), n + min(d, 0)) for d, n in zip(shift, shape, strict=True))
        there = tuple(slice(max(-d, 0), n - max(d, 0)) for d, n in zip(shift, shape, strict=True))
        total[here] += own[there]
    share = own / total
    share.flags.writeable = False
    return share


@lru_cache(maxsize=4)
def gaussian_window(shape: Triple) -> npt.NDArray[np.float32]:
    """``exp(-r² / 2σ²) + 1e-4``, each axis from -1 to 1 across the tile, as in PyTorch Connectomics."""
    axes = [np.linspace(-1, 1, n) ** 2 for n in shape]
    squared = axes[0][:, None, None] + axes[1][:, None] + axes[2]
    return (np.exp(-squared / (2 * SIGMA**2)) + 1e-4).astype(np.float32)


def bump_window(shape: Triple) -> npt.NDArray[np.float32]:
    """The bump of a single tile, 1 in the middle, plus 1e-4, as in PyTorch Connectomics."""
    axes = [np.linspace(0, 1, n + 2)[1:-1] for n in shape]
    logs = [-((x * (1 - x)) ** -1.5) for x in axes]
    total = logs[0][:, None, None] + logs[1][:, None] + logs[2]
    return np.asarray(np.exp(total - total.max()) + 1e-4, np.float32)


@lru_cache(maxsize=64)
def _supports(axis: Axis, offsets: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    used = np.any([axis.weights(o) > 0 for o in offsets], axis=0)
    first, last = used.argmax(axis=1), used.shape[1] - used[:, ::-1].argmax(axis=1)
    some = used.any(axis=1)
    return tuple(
        (start + int(a), start + int(b)) if any_ else (start, start)
        for start, a, b, any_ in zip(axis.starts, first, last, some, strict=True)
    )
