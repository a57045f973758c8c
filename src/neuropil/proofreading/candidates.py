"""The questions for a proofreader: contacts of segments that may be one, and merges that may be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.config import SegmentConfig
from neuropil.geometry import Box, Triple
from neuropil.segmentation import merge_tree, region_graph, settle
from neuropil.segmentation.codes import Affinities
from neuropil.segmentation.edited_cut import EditedCut, segments_of
from neuropil.segmentation.scores import fixed_point
from neuropil.volumes import Volume, as_volume

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

SMALLEST = 1000
"""Fewest voxels of each side of a question."""

LIKELY, STRONG = 0.1, 0.5
"""Affinities above which faces of a contact are counted."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Columns of all questions, ordered by kind, then by fragments: joins first.

    A *join* question: two touching segments, should they be one? A *separate* question: a merge of the tree within one
    segment, was it wrong?
    """

    join: NDArray[np.bool_]
    """Of each question, whether it is a join question, ``[question]``."""
    id_a: NDArray[Any]
    id_b: NDArray[Any]
    """Segments of the two sides, that with the smallest fragment first; equal in a separate question."""
    side_a: Integers
    side_b: Integers
    """Voxels of the two sides."""
    merge: Integers
    """The tree's merge of a separate question; -1 in a join question."""
    contact: Integers
    """Faces between the two sides."""
    mean: Floats
    """Mean affinity of these faces."""
    likely: Integers
    strong: Integers
    """Number of these faces with an affinity above 0.1, and above 0.5."""
    outer_small: Integers
    outer_large: Integers
    """Number of faces of the volume, 0 to 6, that the smaller and the larger side touch; neurons leave there."""
    best: Floats
    """Highest mean affinity that the smaller side has in any contact with another segment; 0 without one."""
    edge: Integers
    """The edge of the region graph in the middle of the contact."""

    def __len__(self) -> int:
        return len(self.join)

    @classmethod
    def concatenated(cls, parts: Sequence[Candidates]) -> Candidates:
        """The questions of several parts, one after the other."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))

    def take(self, rows: NDArray[Any]) -> Candidates:
        """Some of the questions, in the given order."""
        return Candidates(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


class Proofreading:
    """A segmentation under proofreading: its fragments, its edited cut, and the questions about it.

    Args:
        cut: which segment each fragment belongs to, changed by decisions.
        fragments: ``[z, y, x]``.
        smallest: fewest voxels of each side of a question.
    """

    def __init__(self, cut: EditedCut, fragments: Volume, smallest: int = SMALLEST) -> None:
        self.cut, self.fragments, self.smallest = cut, fragments, smallest
        self.decided_pairs: list[tuple[int, int]] = []

    def again(self, lut: NDArray[Any], threshold: float) -> Proofreading:
        """The same fragments in another segmentation, without decisions; values computed per fragment are reused."""
        cut = self.cut
        new = Proofreading(EditedCut(cut.tree, cut.graph, cut.sizes, lut, threshold, cut.layout), self.fragments)
        new.smallest = self.smallest
        for name in ("common", "sides", "large", "outer", "above"):
            new.__dict__[name] = getattr(self, name)
        return new

    @cached_property
    def common(self) -> Integers:
        """For each edge of the region graph the merge that unites its two fragments."""
        return self.cut.layout.common_merge(self.cut.graph.a, self.cut.graph.b)

    @cached_property
    def sides(self) -> tuple[Integers, Integers]:
        """Voxels of the two sides of each merge of the tree."""
        return self.cut.layout.sums(self.cut.sizes)

    @cached_property
    def large(self) -> NDArray[np.bool_]:
        """Whether both sides of each merge are large enough for a question; the last entry, False, is for no merge."""
        return np.append(np.minimum(*self.sides) >= self.smallest, False)

    @cached_property
    def outer(self) -> Integers:
        """Voxels of each fragment on each of the six faces of the volume, ``[6, fragments + 1]``."""
        array, count = self.fragments.read(), len(self.cut.lut)
        faces = [self.cut.tree.nodes(array.take([at], axis)) for axis in range(3) for at in (0, -1)]
        return np.stack([np.bincount(face.reshape(-1), minlength=count) for face in faces])

    @cached_property
    def above(self) -> tuple[Integers, Integers]:
        """How many faces of each edge have an affinity above ``LIKELY``, and above ``STRONG``."""
        start, code, count = self.cut.graph.bins
        if not len(code):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        likely, strong = (
            np.add.reduceat(count * (self.cut.graph.encoding.table > level)[code], start[:-1].astype(np.int64))
            for level in (LIKELY, STRONG)
        )
        return likely.astype(np.int64), strong.astype(np.int64)

    def _where(self, rows: Integers) -> NDArray[np.float64]:
        """Position in nm of the last face of some edges, ``[edge, 3]``; z, y, x."""
        at = np.unravel_index((self.cut.graph.key[rows] // 3).astype(np.int64), self.fragments.shape)
        size = self.fragments.metadata.voxel_size or (1.0, 1.0, 1.0)
        return np.stack([c * float(s) for c, s in zip(at, size, strict=True)], axis=1)

    def points(self, edge: int) -> tuple[Triple, Triple]:
        """The two voxels of an edge's last face, the voxel of fragment a first; voxels of the whole volume."""
        graph, origin = self.cut.graph, self.fragments.box.start
        index, axis = divmod(int(graph.key[edge]), 3)
        low = [int(c) for c in np.unravel_index(index, self.fragments.shape)]
        high = [c + (i == axis) for i, c in enumerate(low)]
        one, other = (tuple(c + o for c, o in zip(at, origin, strict=True)) for at in (low, high))
        voxel = self.fragments.read(Box.at(one, (1, 1, 1)))
        first = int(self.cut.tree.nodes(voxel).reshape(-1)[0]) == int(graph.a[edge])
        return (one, other) if first else (other, one)  # type: ignore[return-value]

    def candidates(self) -> Candidates:
        """All questions about the present segmentation that are not decided yet."""
        cut, graph = self.cut, self.cut.graph
        ids, segment = _numbered(cut.lut)
        a, b = segment[graph.a], segment[graph.b]
        whole = np.append(cut.layout.uniform(cut.lut), False)
        asked = (a > 0) & (b > 0) & ((a != b) | (self.large & whole)[self.common])
        rows = np.flatnonzero(asked)
        a, b, common = a[rows], b[rows], self.common[rows]
        between = a != b
        low, high = np.minimum(a, b), np.maximum(a, b)
        group = np.where(between, low * len(ids) + high, len(ids) ** 2 + common)
        keys, first, group = np.unique(group, return_index=True, return_inverse=True)
        join, ends = between[first], (low[first], high[first])
        merge = np.where(join, -1, common[first])

        def sides(values: Integers) -> NDArray[np.int64]:
            """The sum of a value of each fragment over both sides of each question, ``[2, question]``."""
            whole = np.bincount(segment, weights=values).astype(np.int64)
            parts = [np.append(part, 0)[merge] for part in cut.layout.sums(values)]
            return np.stack([np.where(join, whole[end], part) for end, part in zip(ends, parts, strict=True)])

        side_a, side_b = sides(cut.sizes)
        small = (side_a > side_b).astype(np.int64)
        outer: Integers = np.stack([sides(face) > 0 for face in self.outer]).sum(axis=0)
        at = np.arange(len(keys))
        count, total, likely, strong = (
            np.bincount(group, weights=values[rows]) for values in (graph.count, graph.sum, *self.above)
        )
        mean = total / fixed_point(graph.encoding)[1] / np.maximum(count, 1)
        best = np.zeros(len(ids))
        for end in ends:
            np.maximum.at(best, end[join], mean[join])
        everything = Candidates(
            join, ids[ends[0]], ids[ends[1]], side_a, side_b, merge, count.astype(np.int64), mean,
            likely.astype(np.int64), strong.astype(np.int64), outer[small, at], outer[1 - small, at],
            best[np.stack(ends)[small, at]], self._middle(rows, group, count, len(keys)),
        )  # fmt: skip
        asked = (np.minimum(side_a, side_b) >= self.smallest) & ~self._decided(everything, *ends, segment)
        return everything.take(np.flatnonzero(asked))

    def _middle(self, rows: Integers, group: Integers, count: NDArray[Any], groups: int) -> Integers:
        """The edge of each group that lies nearest to the group's centre of mass."""
        where, weight = self._where(rows), self.cut.graph.count[rows].astype(float)
        middle = np.stack([np.bincount(group, weights=weight * where[:, i]) for i in range(3)], axis=1) / count[:, None]
        distance = ((where - middle[group]) ** 2).sum(axis=1)
        order = np.lexsort((rows, distance, group))
        return rows[order[np.searchsorted(group[order], np.arange(groups))]]

    def _decided(self, found: Candidates, low: Integers, high: Integers, segment: Integers) -> NDArray[np.bool_]:
        """Whether each question is decided already: its two sides hold the two fragments of a decision."""
        if not self.decided_pairs:
            return np.zeros(len(found), np.bool_)
        u, v = np.array(self.decided_pairs, np.int64).T
        s, t = segment[u], segment[v]
        pairs = np.minimum(s, t) * (int(segment.max()) + 1) + np.maximum(s, t)
        asked = low * (int(segment.max()) + 1) + high
        merges = self.cut.layout.common_merge(u, v)
        return np.where(found.join, np.isin(asked, pairs), np.isin(found.merge, merges))


def _numbered(lut: NDArray[Any]) -> tuple[NDArray[Any], Integers]:
    """The ids of segments in the order of their smallest fragments, 0 first, and the place of each fragment's id there.

    So no question depends on the numbers that segments have: they differ when a segmentation is made by blocks.

    >>> ids, segment = _numbered(np.array([0, 7, 3, 7]))
    >>> ids.tolist(), segment.tolist()
    ([0, 7, 3], [0, 1, 2, 1])
    """
    ids, first, segment = np.unique(lut, return_index=True, return_inverse=True)
    order = np.argsort(np.where(ids == 0, -1, first))
    place = np.empty(len(ids), np.int64)
    place[order] = np.arange(len(ids))
    ids, segment = ids[order], place[segment]
    return (ids, segment) if ids[0] == 0 else (np.concatenate([ids[:1] * 0, ids]), segment + 1)


def proofreading_of(
    affinities: Affinities, segmentation: Volume | None = None, settings: SegmentConfig | None = None
) -> Proofreading:
    """The fragments, merge tree and segmentation of affinities, from which questions are made.

    Args:
        affinities: ``[edge, z, y, x]`` as for :func:`neuropil.watershed`.
        segmentation: of the same box, in which each fragment lies in one segment; made from the settings if not given.
        settings: those that the segmentation was made with; the defaults if not given.

    Raises:
        NeuropilError: a segmentation that was not made from the fragments of these affinities.

    >>> state = proofreading_of(np.full((3, 2, 4, 4), 0.9))
    >>> state.cut.lut.tolist(), len(state.candidates())
    ([0, 1], 0)
    """
    volume = as_volume(affinities)
    settings, _ = settle(volume, settings or SegmentConfig())
    made, threshold = merge_tree(volume, settings), settings.threshold
    assert threshold is not None
    if segmentation is None:
        lut = made.cut(threshold, settings.min_size or 0)
    else:
        lut = segments_of(made.placed(made.nodes), segmentation, made.tree.fragments)
    graph = region_graph(made.affinities, made.fragments, histograms=True)
    return Proofreading(EditedCut(made.tree, graph, made.sizes, lut, threshold), made.fragments)
