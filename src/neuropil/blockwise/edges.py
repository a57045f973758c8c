"""Edges between the regions of a block: pooled, merged, and stored for the block of the tree that needs them next.

A region that reaches beyond its block is frozen: it must not merge yet, and neither must a region whose best neighbour
is frozen. It can merge in the first block of the tree that holds all faces which it, or that neighbour, touches. An
edge is needed where the first of its two regions can merge, and is loaded only there. So a block of the tree loads only
the edges at faces that become inner faces there, and every edge is loaded once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil import _native
from neuropil.blockwise.job import SegmentJob, load_arrays, save_arrays
from neuropil.blockwise.tree import OUTER, BlockTree, Node
from neuropil.segmentation.columns import BinColumns, EdgeColumns
from neuropil.segmentation.scores import Score, fixed_point
from neuropil.volumes import Encoding

Names = npt.NDArray[np.uint64]
"""Regions by name: 1 + the smallest linear index, in the whole volume, of a voxel of the region."""


Levels = npt.NDArray[np.uint8]
"""For each region the level of the tree at which it can merge; 0 if it is not frozen."""


@dataclass(frozen=True)
class Edges:
    """Partial edges between regions, as columns; rows of the same pair are parts of one edge.

    Args:
        a, b: the two regions, names or positions in a list of names, uint64.
        count, sum, key, max, min: as in :class:`neuropil.RegionGraph`; those that the score does not need are empty.
        bin_start, bin_code, bin_count: histograms for quantiles, else empty.
    """

    a: Names
    b: Names
    count: npt.NDArray[np.uint64]
    sum: npt.NDArray[np.uint64]
    key: npt.NDArray[np.uint64]
    max: npt.NDArray[np.uint16]
    min: npt.NDArray[np.uint16]
    bin_start: npt.NDArray[np.uint64]
    bin_code: npt.NDArray[np.uint16]
    bin_count: npt.NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.a)

    @property
    def columns(self) -> EdgeColumns:
        """What kernels on graphs take first."""
        return self.a, self.b, self.count, self.sum, self.key, self.max, self.min

    @property
    def bins(self) -> BinColumns:
        """The histograms, as kernels take them."""
        return self.bin_start, self.bin_code, self.bin_count

    @classmethod
    def of(cls, columns: tuple[npt.NDArray[Any], ...], bins: tuple[npt.NDArray[Any], ...]) -> Edges:
        """Edges from what kernels return."""
        a, b, count, total, key, largest, smallest = columns
        wide = [np.asarray(column, np.uint64) for column in (a, b, count, total, key)]
        return cls(wide[0], wide[1], wide[2], wide[3], wide[4], largest, smallest, *bins)

    @classmethod
    def none(cls) -> Edges:
        """No edges."""
        wide, narrow = np.zeros(0, np.uint64), np.zeros(0, np.uint16)
        return cls(wide, wide, wide, wide, wide, narrow, narrow, wide, narrow, wide)

    @classmethod
    def joined(cls, parts: Iterable[Edges]) -> Edges:
        """All edges of several parts, concatenated column by column so that memory holds each column once."""
        lists = [[*part.columns, *part.bins] for part in parts if len(part)]
        if not lists:
            return cls.none()
        if len(lists[0][7]):
            shifts = np.cumsum([0, *(len(one[8]) for one in lists)], dtype=np.uint64)
            for one, shift in zip(lists, shifts[:-1], strict=True):
                one[7] = one[7][:-1] + shift
            lists[-1][7] = np.append(lists[-1][7], shifts[-1])
        columns = []
        for i in range(len(lists[0])):
            columns.append(np.concatenate([one[i] for one in lists]))
            for one in lists:
                one[i] = columns[0][:0]
        return cls.of(tuple(columns[:7]), tuple(columns[7:]))

    def renamed(self, a: npt.NDArray[Any], b: npt.NDArray[Any]) -> Edges:
        """The same edges between other regions; edges within one region are dropped."""
        a, b = np.minimum(a, b).astype(np.uint64), np.maximum(a, b).astype(np.uint64)
        return Edges.of((a, b, *self.columns[2:]), self.bins).chosen(a != b)

    def narrow(self) -> Edges:
        """The same with 32-bit positions where they fit, as they are stored."""
        small = np.uint32 if max(self.a.max(initial=0), self.b.max(initial=0)) < 1 << 32 else np.uint64
        ends: list[Any] = [end.astype(small) for end in (self.a, self.b)]
        return replace(self, a=ends[0], b=ends[1])

    def chosen(self, keep: npt.NDArray[np.bool_]) -> Edges:
        """The edges where ``keep`` is true."""
        if keep.all():
            return self
        bins = self.bins
        if len(self.bin_start):
            length = np.diff(self.bin_start).astype(np.int64)
            start = np.concatenate([np.zeros(1, np.uint64), np.cumsum(length[keep], dtype=np.uint64)])
            kept = np.repeat(keep, length)
            bins = start, self.bin_code[kept], self.bin_count[kept]
        return Edges.of(tuple(column[keep] for column in self.columns), bins)


def face_edges(
    a: Names, b: Names, code: npt.NDArray[Any], key: npt.NDArray[np.uint64], encoding: Encoding, score: Score
) -> Edges:
    """Pool single faces into edges, one for each pair of names.

    >>> from neuropil.volumes import LINEAR8
    >>> names, key = np.array([5, 5], np.uint64), np.array([3, 9], np.uint64)
    >>> edges = face_edges(names, names + 1, np.array([10, 20], np.uint8), key, LINEAR8, Score("mean"))
    >>> edges.count.tolist(), edges.sum.tolist(), edges.key.tolist()
    ([2], [30], [9])
    """
    if not len(a):
        return Edges.none()
    low, high = np.minimum(a, b), np.maximum(a, b)
    histograms = score.kind == "quantile"
    order = np.lexsort((code, high, low) if histograms else (high, low))
    low, high, code, key = low[order], high[order], code[order].astype(np.uint16), key[order]
    new = np.concatenate([[True], (low[1:] != low[:-1]) | (high[1:] != high[:-1])])
    first = np.flatnonzero(new)
    value = fixed_point(encoding)[0].astype(np.uint64)[code]
    columns = (
        low[first], high[first], np.diff(np.append(first, len(low))), np.add.reduceat(value, first),
        np.maximum.reduceat(key, first), np.maximum.reduceat(code, first), np.minimum.reduceat(code, first),
    )  # fmt: skip
    bins = (np.zeros(0, np.uint64), np.zeros(0, np.uint16), np.zeros(0, np.uint64))
    if histograms:
        step = np.flatnonzero(new | np.concatenate([[True], code[1:] != code[:-1]]))
        start = np.searchsorted(step, np.append(first, len(low)))
        bins = (start.astype(np.uint64), code[step], np.diff(np.append(step, len(low))).astype(np.uint64))
    return Edges.of(columns, bins)


def merge(
    columns: list[npt.NDArray[Any]],
    bins: BinColumns,
    held: npt.NDArray[np.uint8],
    score: Score,
    encoding: Encoding,
    threshold: float,
    threads: int = 1,
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], npt.NDArray[np.float64], Edges, npt.NDArray[np.uint8]]:
    """Merge the regions of a block that are not frozen, down to a threshold.

    Args:
        columns, bins: of the edges between regions 0 … ``len(held) - 1``. The list is emptied to free memory.
        held: uint8 [regions], above 0 for frozen regions, such as those that reach beyond the block. A region whose
            best neighbour is frozen becomes frozen, too, and takes its number.
        score, encoding, threshold: what is compared, and where merging stops.
        threads: the result does not depend on it.

    Returns:
        both regions of every merge, the smaller one first, which names the result, each merge after those that it
        needs; their scores as affinities; the edges left, between frozen regions; and ``held`` after merging.
    """
    (a, b, found), left, left_bins, waits = _native.merge_frozen(
        columns, bins, held, score.arguments(encoding), score.top(encoding),
        stop_at(threshold, score, encoding), fixed_point(encoding)[1], threads,
    )  # fmt: skip
    return a, b, score.affinities(found, encoding), Edges.of(left, left_bins), waits


def stop_at(threshold: float, score: Score, encoding: Encoding) -> float:
    """A threshold in the unit that kernels compare by: affinities for means, else codes."""
    if score.kind == "mean":
        return threshold
    return float(np.searchsorted(encoding.table, threshold, side="left"))


def united(count: int, a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    """For each of ``count`` items the smallest member of its set, after uniting pairs (union-find).

    >>> united(5, np.array([3, 1]), np.array([1, 4])).tolist()
    [0, 1, 2, 1, 1]
    """
    found: npt.NDArray[np.uint64] = _native.unite(count, a.astype(np.uint64), b.astype(np.uint64))
    return found


def edge_arrays(edges: Edges) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a file that stores edges."""
    columns: tuple[npt.NDArray[Any], ...] = edges.columns
    bins: tuple[npt.NDArray[Any], ...] = edges.bins
    found = {f"column{i}": column for i, column in enumerate(columns)}
    return found | {f"bin{i}": column for i, column in enumerate(bins)}


def load_edges(path: Path, *names: str) -> tuple[Edges, list[npt.NDArray[Any]]]:
    """Edges from a file, and other arrays of it by name."""
    wanted = [f"column{i}" for i in range(7)] + [f"bin{i}" for i in range(3)]
    found = load_arrays(path, *wanted, *names)
    return Edges.of(tuple(found[:7]), tuple(found[7:10])), found[10:]


def levels_of(tree: BlockTree, node: Node, outer: npt.NDArray[np.uint8]) -> Levels:
    """The levels at which regions can merge that touch these outer faces of a block, one bit per face.

    >>> levels_of(BlockTree((1, 1, 4), (1, 1, 1)), (0, 1), np.array([0, 16, 32, 48], np.uint8)).tolist()
    [0, 1, 2, 2]
    """
    meets = [tree.meets(node, side) if tree.outer(node) >> side & 1 else 0 for side in range(OUTER)]
    table = [max((meets[side] for side in range(OUTER) if bits >> side & 1), default=0) for bits in range(1 << OUTER)]
    found: Levels = np.array(table, np.uint8)[outer]
    return found


def store_edges(job: SegmentJob, node: Node, edges: Edges, level: Levels) -> Levels:
    """Store the edges between the frozen regions of a block, given by position, one file for each level of the tree
    that needs some; returns these levels."""
    needed = np.minimum(level[edges.a.astype(np.intp)], level[edges.b.astype(np.intp)])
    left = np.flatnonzero(np.bincount(needed)).astype(np.uint8)
    for at in left:
        save_arrays(_file(job, node, int(at)), edge_arrays(edges.chosen(needed == at).narrow()))
    return left


def stored_edges(job: SegmentJob, node: Node) -> Iterator[tuple[Edges, Names]]:
    """For each block below that has stored edges for this block of the tree: the edges, as positions in a list of
    names, and that list with the present names of the regions that are still frozen."""
    renamed: dict[Node, list[npt.NDArray[Any]]] = {}
    for below in job.tree.facing(node):
        (left,) = load_arrays(job.file("merge", below), "left")
        if node[0] not in left:
            continue
        edges, _ = load_edges(_file(job, below, node[0]))
        (names,) = load_arrays(job.file("merge", below), "names")
        between = job.tree.parent(below)
        while between != node:
            if between not in renamed:
                renamed[between] = load_arrays(job.file("merge", between), "old", "new")
            old, new = renamed[between]
            if len(old):
                at = np.minimum(np.searchsorted(old, names), len(old) - 1)
                names = np.where(old[at] == names, new[at], names)
            between = job.tree.parent(between)
        yield edges, names


def used_files(job: SegmentJob, node: Node) -> list[Path]:
    """The files of edges that can be removed once the file of a block of the tree is complete."""
    stored = [_file(job, below, node[0]) for below in job.tree.facing(node)]
    return [*stored, *(job.file(f"across{axis}", leaf) for leaf, axis in job.tree.inner_faces(node))]


def _file(job: SegmentJob, node: Node, level: int) -> Path:
    return job.file(f"edges{level}", node)
