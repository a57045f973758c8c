"""The questions for a proofreader: contacts of segments that may be one, and merges that may be wrong."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.config import SegmentConfig
from neuropil.geometry import Box, Triple
from neuropil.segmentation import merge_tree, region_graph, settle
from neuropil.segmentation.codes import Affinities
from neuropil.segmentation.edited_cut import Dendrogram, EditedCut, segments_of
from neuropil.segmentation.graph import coordinate_sums, faces_above
from neuropil.segmentation.scores import fixed_point
from neuropil.volumes import Volume, as_volume

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Keys = NDArray[np.uint64]

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
    key: Keys
    """Face index (:class:`neuropil.RegionGraph`) of the last face of the edge in the middle of the contact."""
    straight: Floats
    """Cosine of the angle between the way from the smaller side's centre to the contact and that from the contact to
    the larger side's centre: 1 where one goes on as the other ends, -1 where they lie side by side."""
    reach_small: Floats
    reach_large: Floats
    """Distance from the contact to the centre of the smaller and the larger side, in cube roots of its volume."""

    def __len__(self) -> int:
        return len(self.join)

    @classmethod
    def concatenated(cls, parts: Sequence[Candidates]) -> Candidates:
        """The questions of several parts, one after the other."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))

    def take(self, rows: NDArray[Any]) -> Candidates:
        """Some of the questions, in the given order."""
        return Candidates(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


@dataclass(frozen=True, eq=False)
class Contacts:
    """Columns of edges between fragments, ``[edge]``; no two of the same pair."""

    a: NDArray[Any]
    b: NDArray[Any]
    """The two fragments."""
    count: Keys
    sum: Keys
    key: Keys
    """As in :class:`neuropil.RegionGraph`."""
    likely: Integers
    strong: Integers
    """How many faces have an affinity above ``LIKELY``, and above ``STRONG``."""
    common: Integers
    """The merge of the tree that unites the two fragments."""


class Segmented(ABC):
    """A segmentation made of fragments, and the questions about it.

    Args:
        layout: the merge tree.
        sizes: voxels of each fragment, ``[fragments + 1]``.
        place: a volume of the same box and voxel size; it is not read.
        scale: fixed-point value of the affinity 1.
        smallest: fewest voxels of each side of a question.
    """

    def __init__(self, layout: Dendrogram, sizes: Integers, place: Volume, scale: float, smallest: int) -> None:
        self.layout, self.sizes, self.place, self.scale, self.smallest = layout, sizes, place, scale, smallest
        self.decided_pairs: list[tuple[int, int]] = []

    @property
    @abstractmethod
    def lut(self) -> NDArray[Any]:
        """The segment of each fragment, ``[fragments + 1]``."""

    @property
    @abstractmethod
    def outer(self) -> NDArray[Any]:
        """Above 0 where a fragment touches each of the six faces of the volume, ``[6, fragments + 1]``."""

    @property
    @abstractmethod
    def centres(self) -> NDArray[np.int64]:
        """Sum of the coordinates z, y, x of each fragment's voxels, from the first voxel on, ``[3, fragments + 1]``."""

    @abstractmethod
    def contacts(self) -> Iterable[Contacts]:
        """All edges between fragments, in one or several parts."""

    @cached_property
    def sides(self) -> tuple[Integers, Integers]:
        """Voxels of the two sides of each merge of the tree."""
        return self.layout.sums(self.sizes)

    @cached_property
    def large(self) -> NDArray[np.bool_]:
        """Whether both sides of each merge are large enough for a question; the last entry, False, is for no merge."""
        return np.append(np.minimum(*self.sides) >= self.smallest, False)

    def positions(self, keys: Keys) -> Integers:
        """The lower voxel of faces, counted from the first voxel, int64 ``[face, 3]``; z, y, x."""
        return np.stack(np.unravel_index((keys // 3).astype(np.int64), self.place.box.shape), axis=1)

    def candidates(self) -> Candidates:
        """All questions about the present segmentation that are not decided yet."""
        layout, (ids, segment) = self.layout, _numbered(self.lut)
        asked = self.large & np.append(layout.uniform(self.lut), False)
        separate = len(ids) ** 2  # groups from here on are merges, those below are pairs of segments

        def grouped() -> Iterator[tuple[Contacts, Integers, Integers]]:
            """Parts of the edges, the rows of those that belong to a question, and the groups of these rows."""
            for part in self.contacts():
                a, b = segment[part.a], segment[part.b]
                rows = np.flatnonzero((a > 0) & (b > 0) & ((a != b) | asked[part.common]))
                a, b, common = a[rows], b[rows], part.common[rows]
                pair = np.minimum(a, b) * len(ids) + np.maximum(a, b)
                yield part, rows, np.where(a != b, pair, separate + common)

        keys, pooled = self._pooled(grouped())
        count, total, likely, strong = pooled[:4]
        join = keys < separate
        merge = np.where(join, -1, keys - separate)
        whole = segment[layout.leaf[layout.start[merge]]] if len(layout.start) else merge
        ends = np.where(join, keys // len(ids), whole), np.where(join, keys % len(ids), whole)

        def sides(values: NDArray[Any]) -> NDArray[np.int64]:
            """The sum of a value of each fragment over both sides of each question, ``[2, question]``."""
            whole = np.bincount(segment, weights=values).astype(np.int64)
            parts = [np.append(part, 0)[merge] for part in layout.sums(values)]
            return np.stack([np.where(join, whole[end], part) for end, part in zip(ends, parts, strict=True)])

        side_a, side_b = sides(self.sizes)
        small = (side_a > side_b).astype(np.int64)
        outer: Integers = np.stack([sides(face) > 0 for face in self.outer]).sum(axis=0)
        at = np.arange(len(keys))
        mean = total / self.scale / np.maximum(count, 1)
        best = np.zeros(len(ids))
        for end in ends:
            np.maximum.at(best, end[join], mean[join])
        kept = np.minimum(side_a, side_b) >= self.smallest
        kept = np.flatnonzero(kept & ~self._decided(join, merge, *ends, segment))
        middle = self._middle(grouped(), keys[kept], (pooled[4:] / count)[:, kept].T)
        voxels, centre = np.stack([side_a, side_b]), np.stack([sides(axis) for axis in self.centres], axis=-1)
        near, far = (
            (voxels[end, at][kept], (centre[end, at] / voxels[end, at][:, None])[kept]) for end in (small, 1 - small)
        )
        return Candidates(
            join[kept], ids[ends[0]][kept], ids[ends[1]][kept], side_a[kept], side_b[kept], merge[kept],
            count[kept].astype(np.int64), mean[kept], likely[kept].astype(np.int64), strong[kept].astype(np.int64),
            outer[small, at][kept], outer[1 - small, at][kept], best[np.stack(ends)[small, at]][kept], middle,
            *self._directions(middle, *near, *far),
        )  # fmt: skip

    def _pooled(self, parts: Iterable[tuple[Contacts, Integers, Integers]]) -> tuple[Integers, Floats]:
        """The groups of edges, ascending, and sums over each: faces, affinities, likely and strong faces, and three
        coordinates of the last faces, weighted by faces. All are whole numbers, so that parts do not show."""
        found, sums = [np.zeros(0, np.int64)], [np.zeros((7, 0))]
        for part, rows, group in parts:
            at, count = self.positions(part.key[rows]), part.count[rows].astype(np.int64)
            values = [count, *(column[rows] for column in (part.sum, part.likely, part.strong)), *(count * at.T)]
            keys, group = np.unique(group, return_inverse=True)
            found.append(keys)
            sums.append(np.stack([np.bincount(group, weights=value, minlength=len(keys)) for value in values]))
        keys, group = np.unique(np.concatenate(found), return_inverse=True)
        columns = np.concatenate(sums, axis=1)
        return keys, np.stack([np.bincount(group, weights=column, minlength=len(keys)) for column in columns])

    def _middle(
        self, parts: Iterable[tuple[Contacts, Integers, Integers]], groups: Integers, centre: Floats
    ) -> NDArray[np.uint64]:
        """The last face of the edge of each group that lies nearest to a centre; of equal ones the smallest index."""
        nearest, found = np.full(len(groups), np.inf), np.zeros(len(groups), np.uint64)
        for part, rows, group in parts:
            at = np.searchsorted(groups, group)
            there = np.flatnonzero(np.append(groups, -1)[at] == group)
            key, at = part.key[rows[there]], at[there]
            distance = (((self.positions(key) - centre[at]) * self._nanometres) ** 2).sum(axis=1)
            order = np.lexsort((key, distance, at))
            which, first = np.unique(at[order], return_index=True)
            key, distance = key[order[first]], distance[order[first]]
            better = (distance < nearest[which]) | ((distance == nearest[which]) & (key < found[which]))
            nearest[which[better]], found[which[better]] = distance[better], key[better]
        return found

    @property
    def _nanometres(self) -> Floats:
        """Voxel size in nm, z, y, x; 1 if none is stored."""
        return np.array(self.place.metadata.voxel_size or (1.0, 1.0, 1.0), np.float64)

    def _directions(
        self, contact: Keys, small: Integers, small_centre: Floats, large: Integers, large_centre: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """``straight``, ``reach_small`` and ``reach_large`` of questions, from the voxels and the centres of sides."""
        nm, at = self._nanometres, self.positions(contact)
        to, on = (at - small_centre) * nm, (large_centre - at) * nm
        far_to, far_on = (np.sqrt((way**2).sum(axis=1)) for way in (to, on))
        straight = (to * on).sum(axis=1) / np.maximum(far_to * far_on, 1e-9)
        return straight, far_to / np.cbrt(small * nm.prod()), far_on / np.cbrt(large * nm.prod())

    def _decided(
        self, join: NDArray[np.bool_], merge: Integers, low: Integers, high: Integers, segment: Integers
    ) -> NDArray[np.bool_]:
        """Whether each question is decided already: its two sides hold the two fragments of a decision."""
        if not self.decided_pairs:
            return np.zeros(len(join), np.bool_)
        u, v = np.array(self.decided_pairs, np.int64).T
        s, t = segment[u], segment[v]
        pairs = np.minimum(s, t) * (int(segment.max()) + 1) + np.maximum(s, t)
        asked = low * (int(segment.max()) + 1) + high
        merges = self.layout.common_merge(u, v)
        return np.where(join, np.isin(asked, pairs), np.isin(merge, merges))


class Proofreading(Segmented):
    """A segmentation under proofreading, in memory: its fragments, its edited cut, and the questions about it.

    Args:
        cut: which segment each fragment belongs to, changed by decisions.
        fragments: ``[z, y, x]``.
        smallest: fewest voxels of each side of a question.
    """

    def __init__(self, cut: EditedCut, fragments: Volume, smallest: int = SMALLEST) -> None:
        super().__init__(cut.layout, cut.sizes, fragments, fixed_point(cut.graph.encoding)[1], smallest)
        self.cut, self.fragments = cut, fragments

    @property
    def lut(self) -> NDArray[Any]:
        """The segment of each fragment, ``[fragments + 1]``."""
        return self.cut.lut

    def again(self, lut: NDArray[Any], threshold: float) -> Proofreading:
        """The same fragments in another segmentation, without decisions; values computed per fragment are reused."""
        cut = self.cut
        new = Proofreading(EditedCut(cut.tree, cut.graph, cut.sizes, lut, threshold, cut.layout), self.fragments)
        new.smallest = self.smallest
        for name in ("edges", "sides", "large", "outer", "centres", "by_key"):
            new.__dict__[name] = getattr(self, name)
        return new

    @cached_property
    def outer(self) -> Integers:
        """Voxels of each fragment on each of the six faces of the volume, ``[6, fragments + 1]``."""
        array, count = self.fragments.read(), len(self.cut.lut)
        faces = [self.cut.tree.nodes(array.take([at], axis)) for axis in range(3) for at in (0, -1)]
        return np.stack([np.bincount(face.reshape(-1), minlength=count) for face in faces])

    @cached_property
    def centres(self) -> Integers:
        """Sum of the coordinates of each fragment's voxels, from the first voxel on, ``[3, fragments + 1]``."""
        return coordinate_sums(self.cut.tree.nodes(self.fragments.read()), len(self.cut.lut), (0, 0, 0))

    @cached_property
    def edges(self) -> Contacts:
        """All edges of the region graph."""
        graph = self.cut.graph
        likely, strong = (faces_above(graph.bins, graph.encoding, level) for level in (LIKELY, STRONG))
        common = self.layout.common_merge(graph.a, graph.b)
        return Contacts(graph.a, graph.b, graph.count, graph.sum, graph.key, likely, strong, common)

    def contacts(self) -> Iterable[Contacts]:
        """All edges of the region graph, in one part."""
        return [self.edges]

    @cached_property
    def by_key(self) -> Integers:
        """The edges of the region graph in the order of their keys."""
        return np.argsort(self.cut.graph.key)

    def edge_of(self, keys: Keys) -> Integers:
        """The edges of the region graph with these keys."""
        return self.by_key[np.searchsorted(self.cut.graph.key, keys, sorter=self.by_key)]

    def points(self, key: int) -> tuple[Triple, Triple]:
        """The two voxels of an edge's last face, the voxel of fragment a first; voxels of the whole volume."""
        graph, origin = self.cut.graph, self.fragments.box.start
        edge = int(self.edge_of(np.array([key], np.uint64))[0])
        index, axis = divmod(key, 3)
        low = [int(c) for c in np.unravel_index(index, self.fragments.shape)]
        high = [c + (i == axis) for i, c in enumerate(low)]
        one, other = (tuple(c + o for c, o in zip(at, origin, strict=True)) for at in (low, high))
        voxel = self.fragments.read(Box.at(one, (1, 1, 1)))
        first = int(self.cut.tree.nodes(voxel).reshape(-1)[0]) == int(graph.a[edge])
        return (one, other) if first else (other, one)  # type: ignore[return-value]


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
