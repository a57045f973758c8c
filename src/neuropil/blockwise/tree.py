"""The tree of blocks: two neighbouring blocks form a larger one, level by level, up to the whole volume."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod

from neuropil.errors import NeuropilError
from neuropil.geometry import Box, Triple

Node = tuple[int, int]
"""A block of the tree: its level (0 = the smallest blocks) and its number on that level, in z, y, x order."""

OUTER = 6
"""Faces of a block: before and after it on z, y, x. Face 2 · axis is the lower one, 2 · axis + 1 the upper."""


@dataclass(frozen=True)
class BlockTree:
    """A volume of ``shape`` voxels in blocks of ``block`` voxels; those at the upper ends may be smaller.

    Each level joins blocks on the axis on which they are shortest. So the largest faces become inner faces first, in
    many blocks in parallel, and the last level, a single block, has only the smallest face.

    >>> tree = BlockTree((10, 10, 10), (10, 4, 5))
    >>> tree.levels, [tree.count(level) for level in range(4)], tree.root
    (4, [6, 4, 2, 1], (3, 0))
    >>> str(tree.box((1, 3))), tree.children((1, 1)), tree.children((2, 1))
    ('0:10,8:10,5:10', [(0, 1), (0, 3)], [(1, 2), (1, 3)])
    """

    shape: Triple
    block: Triple

    def __post_init__(self) -> None:
        if min(self.block) < 1:
            raise NeuropilError(f"blocks need at least one voxel on each axis, got {self.block}")

    @cached_property
    def joined(self) -> list[Triple]:
        """For each level how often blocks have been doubled on z, y, x."""
        times = [(0, 0, 0)]
        while max(grid := self._grid(times[-1])) > 1:
            length = [min(b << t, n) for b, t, n in zip(self.block, times[-1], self.shape, strict=True)]
            axis = min((axis for axis in range(3) if grid[axis] > 1), key=lambda axis: length[axis])
            times.append(as_triple(t + (d == axis) for d, t in enumerate(times[-1])))
        return times

    @cached_property
    def grids(self) -> list[Triple]:
        """Number of blocks on z, y, x at each level; the last is 1, 1, 1."""
        return [self._grid(times) for times in self.joined]

    def _grid(self, times: Triple) -> Triple:
        return as_triple(-(-n // (b << t)) for n, b, t in zip(self.shape, self.block, times, strict=True))

    @property
    def levels(self) -> int:
        return len(self.grids)

    @property
    def root(self) -> Node:
        return self.levels - 1, 0

    def count(self, level: int) -> int:
        """Number of blocks at a level."""
        return prod(self.grids[level])

    def place(self, node: Node) -> Triple:
        """Position of a block in the grid of its level."""
        level, index = node
        _, y, x = self.grids[level]
        return index // (y * x), index // x % y, index % x

    def at(self, level: int, place: Triple) -> Node:
        """The block at a position of the grid of its level."""
        _, y, x = self.grids[level]
        return level, (place[0] * y + place[1]) * x + place[2]

    def box(self, node: Node) -> Box:
        """The voxels of a block."""
        size = [b << t for b, t in zip(self.block, self.joined[node[0]], strict=True)]
        start = [p * s for p, s in zip(self.place(node), size, strict=True)]
        return Box.at(start, size).intersect(Box.whole(self.shape))

    def parent(self, node: Node) -> Node:
        """The block of the next level that holds it."""
        level = node[0] + 1
        return self.at(
            level, as_triple(p >> t for p, t in zip(self.place(node), self._times(node[0], level), strict=True))
        )

    def children(self, node: Node) -> list[Node]:
        """The blocks of the level below that it is made of."""
        return [self.at(node[0] - 1, as_triple(place)) for place in product(*self._span(node, node[0] - 1))]

    def _times(self, below: int, level: int) -> Triple:
        """How often blocks are doubled on z, y, x between two levels."""
        return as_triple(t - s for s, t in zip(self.joined[below], self.joined[level], strict=True))

    def _span(self, node: Node, below: int) -> list[range]:
        """The blocks of a level below, on z, y, x, that a block holds."""
        times, grid = self._times(below, node[0]), self.grids[below]
        return [range(p << t, min((p + 1) << t, n)) for p, t, n in zip(self.place(node), times, grid, strict=True)]

    def _middle(self, node: Node, below: int) -> tuple[int, range]:
        """The axis on which the children of a block are joined, and the range of blocks of a level below at both sides
        of the face between them; empty if the block has only one child."""
        (axis,) = (axis for axis, times in enumerate(self._times(node[0] - 1, node[0])) if times)
        span = self._span(node, below)[axis]
        middle = span.start + (1 << self._times(below, node[0])[axis] - 1)
        return axis, range(middle - 1, middle + 1) if middle in span else range(0)

    def before(self, leaf: Node, axis: int) -> Node | None:
        """The block before a block of the same level on an axis, if there is one."""
        place = list(self.place(leaf))
        place[axis] -= 1
        return None if place[axis] < 0 else self.at(leaf[0], as_triple(place))

    def outer(self, node: Node) -> int:
        """The outer faces of a block, those with another block behind them, one bit each."""
        place, grid = self.place(node), self.grids[node[0]]
        bits = 0
        for axis in range(3):
            bits |= (place[axis] > 0) << (2 * axis) | (place[axis] + 1 < grid[axis]) << (2 * axis + 1)
        return bits

    def meets(self, node: Node, side: int) -> int:
        """The level of the block that holds both sides of an outer face of a block."""
        axis, level = side // 2, node[0]
        place = self.place(node)[axis]
        needed = self.joined[level][axis] + (place ^ (place + (1 if side % 2 else -1))).bit_length()
        return next(above for above in range(level, self.levels) if self.joined[above][axis] == needed)

    def facing(self, node: Node) -> list[Node]:
        """All blocks of lower levels with a face that becomes an inner face in this block."""
        found: set[Node] = set()
        for level in range(node[0]):
            axis, both = self._middle(node, level)
            across = [both if other == axis else span for other, span in enumerate(self._span(node, level))]
            found |= {self.at(level, as_triple(place)) for place in product(*across)}
        return sorted(found)

    def inner_faces(self, node: Node) -> list[tuple[Node, int]]:
        """The faces between the children of a block: each as the smallest block at its upper side, and the axis."""
        axis, both = self._middle(node, 0)
        across = [both[1:] if other == axis else span for other, span in enumerate(self._span(node, 0))]
        return [(self.at(0, as_triple(place)), axis) for place in product(*across)]


def as_triple(numbers: Iterable[int]) -> Triple:
    """Three numbers as z, y, x."""
    z, y, x = numbers
    return (z, y, x)
