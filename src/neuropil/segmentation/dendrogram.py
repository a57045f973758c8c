"""A merge tree laid out so that every region is one interval of fragments: sizes and common merges are then fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil import _native
from neuropil.segmentation.merge_tree import MergeTree

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Dendrogram:
    """The fragments of a merge tree in an order in which every region that ever exists is one interval.

    Merge i joins the fragments ``leaf[start[i]:middle[i]]`` and ``leaf[middle[i]:end[i]]``.

    >>> tree = MergeTree(np.array([1, 1]), np.array([3, 2]), np.array([0.9, 0.4]), fragments=3)
    >>> found = Dendrogram.of(tree)
    >>> found.leaf.tolist(), found.start.tolist(), found.middle.tolist(), found.end.tolist()
    ([1, 3, 2], [0, 0], [1, 2], [2, 3])
    >>> found.common_merge(np.array([1, 1]), np.array([3, 2])).tolist()
    [0, 1]
    """

    leaf: Integers
    """Fragment at each position, ``[fragments]``."""
    position: Integers
    """Position of each fragment, ``[fragments + 1]``; that of fragment 0 has no meaning."""
    start: Integers
    middle: Integers
    end: Integers
    gap: Integers
    """Merge that joined the fragments at positions p and p + 1, ``[fragments - 1]``; ``len(start)`` where none did."""

    @classmethod
    def of(cls, tree: MergeTree) -> Dendrogram:
        """The layout of a tree, in one pass over its merges."""
        a, b = tree.a.astype(np.int64), tree.b.astype(np.int64)
        leaf, start, middle, end = _native.tree_intervals(tree.fragments, a, b)
        position = np.zeros(tree.fragments + 1, np.int64)
        position[leaf] = np.arange(tree.fragments)
        gap = np.full(max(tree.fragments - 1, 0), len(start), np.int64)
        gap[middle - 1] = np.arange(len(start))
        return cls(leaf, position, start, middle, end, gap)

    def sums(self, values: NDArray[Any]) -> tuple[Integers, Integers]:
        """Sum of a value of each fragment, ``[fragments + 1]``, over both sides of each merge."""
        total = np.concatenate([[0], np.cumsum(values[self.leaf].astype(np.int64))])
        middle = total[self.middle]
        return middle - total[self.start], total[self.end] - middle

    def common_merge(self, u: NDArray[Any], v: NDArray[Any]) -> Integers:
        """The merge that brings each pair of different fragments together; ``len(start)`` where none does."""
        p, q = self.position[u], self.position[v]
        return np.asarray(_native.largest_between(self.gap, np.minimum(p, q), np.maximum(p, q)))

    def uniform(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether a value of each fragment, ``[fragments + 1]``, is the same all over the region that a merge makes."""
        laid = values[self.leaf]
        changes = np.concatenate([[0], np.cumsum(laid[1:] != laid[:-1])])
        return np.asarray(changes[self.end - 1] == changes[self.start])
