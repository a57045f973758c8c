"""The blocks of a volume, and the tree in which up to 2 × 2 × 2 of them become one larger block, up to the whole."""

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

    >>> tree = BlockTree((10, 10, 10), (10, 4, 5))
    >>> tree.levels, tree.count(0), tree.count(1), tree.root
    (3, 6, 2, (2, 0))
    >>> str(tree.box((1, 1))), tree.children((1, 1))
    ('0:10,8:10,0:10', [(0, 4), (0, 5)])
    """

    shape: Triple
    block: Triple

    def __post_init__(self) -> None:
        if min(self.block) < 1:
            raise NeuropilError(f"blocks need at least one voxel on each axis, got {self.block}")

    @cached_property
    def grids(self) -> list[Triple]:
        """Number of blocks on z, y, x at each level; the last is 1, 1, 1."""
        grids = [_triple(-(-n // b) for n, b in zip(self.shape, self.block, strict=True))]
        while max(grids[-1]) > 1:
            grids.append(_triple(-(-n // 2) for n in grids[-1]))
        return grids

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
        """Where in its level's grid a block stands."""
        level, index = node
        _, y, x = self.grids[level]
        return index // (y * x), index // x % y, index % x

    def at(self, level: int, place: Triple) -> Node:
        """The block that stands at a place of its level's grid."""
        _, y, x = self.grids[level]
        return level, (place[0] * y + place[1]) * x + place[2]

    def box(self, node: Node) -> Box:
        """Its voxels."""
        size = [b << node[0] for b in self.block]
        start = [p * s for p, s in zip(self.place(node), size, strict=True)]
        return Box.at(start, size).intersect(Box.whole(self.shape))

    def parent(self, node: Node) -> Node:
        """The block of the next level that holds it."""
        z, y, x = self.place(node)
        return self.at(node[0] + 1, (z // 2, y // 2, x // 2))

    def children(self, node: Node) -> list[Node]:
        """The blocks of the level below that it is made of."""
        level = node[0] - 1
        spans = [range(2 * p, min(2 * p + 2, n)) for p, n in zip(self.place(node), self.grids[level], strict=True)]
        return [self.at(level, _triple(place)) for place in product(*spans)]

    def before(self, leaf: Node, axis: int) -> Node | None:
        """The block before a block of the same level on an axis, if there is one."""
        place = list(self.place(leaf))
        place[axis] -= 1
        return None if place[axis] < 0 else self.at(leaf[0], _triple(place))

    def outer(self, node: Node) -> int:
        """The faces behind which the volume goes on, one bit each."""
        place, grid = self.place(node), self.grids[node[0]]
        bits = 0
        for axis in range(3):
            bits |= (place[axis] > 0) << (2 * axis) | (place[axis] + 1 < grid[axis]) << (2 * axis + 1)
        return bits

    def meets(self, node: Node, side: int) -> int:
        """The level of the block that holds both sides of an outer face of a block."""
        place = self.place(node)[side // 2]
        return node[0] + (place ^ (place + (1 if side % 2 else -1))).bit_length()

    def facing(self, node: Node) -> list[Node]:
        """All blocks below with a face that becomes an inner one in a block of the tree."""
        found: set[Node] = set()
        for level in range(node[0]):
            up = node[0] - level
            span = [_leaves(p, up, n) for p, n in zip(self.place(node), self.grids[level], strict=True)]
            for axis in range(3):
                middle = span[axis].start + (1 << up - 1)
                if middle in span[axis]:
                    across = [range(middle - 1, middle + 1) if other == axis else span[other] for other in range(3)]
                    found |= {self.at(level, _triple(place)) for place in product(*across)}
        return sorted(found)

    def seams(self, node: Node) -> list[tuple[Node, int]]:
        """The faces that become inner ones when a block is made of its children: each as the smallest block above the
        face, and the axis."""
        level, found = node[0], []
        span = [_leaves(p, level, n) for p, n in zip(self.place(node), self.grids[0], strict=True)]
        for axis in range(3):
            middle = span[axis].start + (1 << level - 1)
            if middle not in span[axis]:
                continue
            across = [range(middle, middle + 1) if other == axis else span[other] for other in range(3)]
            found += [(self.at(0, _triple(place)), axis) for place in product(*across)]
        return found


def _leaves(place: int, level: int, count: int) -> range:
    """The smallest blocks, on one axis, that a block of a level holds."""
    return range(place << level, min((place + 1) << level, count))


def _triple(numbers: Iterable[int]) -> Triple:
    z, y, x = numbers
    return (z, y, x)
