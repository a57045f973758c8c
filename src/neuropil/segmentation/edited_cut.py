"""Apply a proofreader's decisions to a segmentation: join segments, separate them by a minimum cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil import _native
from neuropil.errors import NeuropilError
from neuropil.geometry import Box, Triple
from neuropil.segmentation.edits import Edit, section
from neuropil.segmentation.graph import RegionGraph
from neuropil.segmentation.merge_tree import MergeTree
from neuropil.volumes import Volume

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Dendrogram:
    """The fragments of a merge tree, ordered such that every region of the tree is one interval.

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
        """Sums of ``values``, one per fragment ``[fragments + 1]``, over each of the two sides of every merge."""
        total = np.concatenate([[0], np.cumsum(values[self.leaf].astype(np.int64))])
        middle = total[self.middle]
        return middle - total[self.start], total[self.end] - middle

    def common_merge(self, u: NDArray[Any], v: NDArray[Any]) -> Integers:
        """The merge that brings each pair of different fragments together; ``len(start)`` where none does."""
        p, q = self.position[u], self.position[v]
        return np.asarray(_native.largest_between(self.gap, np.minimum(p, q), np.maximum(p, q)))

    def uniform(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """For each merge: whether all fragments of its region have the same of ``values``, ``[fragments + 1]``."""
        laid = values[self.leaf]
        changes = np.concatenate([[0], np.cumsum(laid[1:] != laid[:-1])])
        return np.asarray(changes[self.end - 1] == changes[self.start])


Ends = tuple[Edit, int, int]
"""A join or a separation, and the fragments at its two points."""

UNCUTTABLE = 1 << 60
"""Capacity of an edge that a decision made: no cut goes through it."""


@dataclass
class EditedCut:
    """Which segment each fragment (supervoxel) belongs to, while decisions are applied one after the other.

    Ids of segments that no decision touches stay as they are. A joined segment keeps the smaller id. Of a separated
    segment the side with more voxels keeps the id (of equal sides that of point a); the other gets the largest id + 1.

    A separation keeps all merges of the tree that hold only fragments of this segment and do not bring the two points
    together. The regions so merged are the nodes of a graph; the minimum cut of summed affinities between the nodes of
    the two points divides it. So a region that was merged after the wrong merge goes to the side that fits it better.

    Args:
        tree: the merge tree.
        graph: the region graph that it was made from.
        sizes: voxels of each fragment, ``[fragments + 1]``.
        lut: segment of each fragment before any decision, ``[fragments + 1]``.
        threshold: affinity at which ``lut`` was cut.

    >>> from neuropil import region_graph
    >>> affinities = np.full((3, 1, 1, 4), 0.9)
    >>> affinities[2, 0, 0, 2] = 0.6
    >>> fragments = np.array([[[1, 2, 3, 4]]])
    >>> tree = MergeTree(np.array([1, 3, 1]), np.array([2, 4, 3]), np.array([0.9, 0.9, 0.6]), fragments=4)
    >>> cut = EditedCut(tree, region_graph(affinities, fragments), np.ones(5, np.int64), tree.cut(0.5), 0.5)
    >>> cut.separate(1, 4)
    >>> cut.lut.tolist()
    [0, 1, 1, 2, 2]
    """

    tree: MergeTree
    graph: RegionGraph
    sizes: NDArray[np.int64]
    lut: NDArray[Any]
    threshold: float
    layout: Dendrogram = None  # type: ignore[assignment]  # made from the tree if not given

    def __post_init__(self) -> None:
        self.lut = self.lut.copy()
        self.layout = self.layout or Dendrogram.of(self.tree)
        self.joins: list[tuple[int, int, Edit | None]] = []
        self.separations: list[tuple[int, int, Edit | None]] = []

    def apply(self, edits: Iterable[Edit], fragments: Volume) -> None:
        """Apply decisions in their order.

        Args:
            edits: those that were not undone, :meth:`EditLog.active`.
            fragments: ``[z, y, x]``, to look up what lies at their points.

        Raises:
            NeuropilError: a point outside the volume or in the background, or decisions that contradict each other
                (both are named).
        """
        self.follow(self.ends(edits, fragments))

    def ends(self, edits: Iterable[Edit], fragments: Volume) -> list[Ends]:
        """The joins and separations among decisions, and the fragments at their two points.

        Raises:
            NeuropilError: a point outside the volume or in the background.
        """
        changing = [edit for edit in edits if edit.kind in ("join", "separate")]
        return [(e, self.fragment_at(fragments, e.a, e), self.fragment_at(fragments, e.b, e)) for e in changing]

    def follow(self, decisions: Iterable[Ends]) -> None:
        """Apply joins and separations in their order.

        Raises:
            NeuropilError: decisions that contradict each other.
        """
        for edit, a, b in decisions:
            (self.join if edit.kind == "join" else self.separate)(a, b, edit)

    def fragment_at(self, fragments: Volume, point: Triple | None, edit: Edit) -> int:
        """The fragment at a voxel of the whole volume, which must be part of a segment."""
        fragment = int(self.tree.nodes(voxel_at(fragments, point, edit)).reshape(-1)[0])
        if self.lut[fragment] == 0:
            raise in_background(point, edit)
        return fragment

    def divisible(self, decisions: Iterable[Ends]) -> NDArray[np.bool_]:
        """Which fragments lie in a segment that a separation among the decisions may divide, ``[fragments + 1]``.

        Only edges between two of these are needed to apply the decisions. They are those of the segments at the points
        of separations, and of all segments that are joined to these, whenever that is.
        """
        ids, place = np.unique(self.lut, return_inverse=True)
        known = list(decisions)
        joined = np.array([(place[a], place[b]) for e, a, b in known if e.kind == "join"], np.uint64).reshape(-1, 2)
        ends = [place[f] for e, a, b in known if e.kind == "separate" for f in (a, b)]
        group = _native.unite(len(ids), np.ascontiguousarray(joined[:, 0]), np.ascontiguousarray(joined[:, 1]))
        chosen = np.isin(group, group[np.array(ends, np.int64)])
        return np.asarray(chosen[place])

    def join(self, a: int, b: int, edit: Edit | None = None) -> None:
        """Unite the segments of two fragments.

        Raises:
            NeuropilError: an earlier decision separated the two.
        """
        mine, other = self.lut[a], self.lut[b]
        for c, d, earlier in self.separations:
            if {self.lut[c], self.lut[d]} == {mine, other} and mine != other:
                raise NeuropilError(f"{_name(edit, 'a join')} contradicts {_name(earlier, 'a separation')}; undo one")
        self.joins.append((a, b, edit))
        if mine != other:
            self.lut[self.lut == max(mine, other)] = min(mine, other)

    def separate(self, a: int, b: int, edit: Edit | None = None) -> None:
        """Divide the segment that holds both fragments; nothing changes if they are in two.

        Raises:
            NeuropilError: both are the same fragment, or an earlier decision joined them.
        """
        if a == b:
            raise NeuropilError(f"{_name(edit, 'a separation')}: both points lie in fragment {a}, which is not divided")
        self.separations.append((a, b, edit))
        segment = self.lut[a]
        if segment != self.lut[b]:
            return
        inside = self.lut == segment
        members, node = self._nodes(inside, a, b)
        u, v, capacity = self._edges(inside, node)
        side = _native.minimum_cut(int(node.max()) + 1, u, v, capacity, int(node[a]), int(node[b]))
        for c, d, earlier in self.joins:
            if inside[c] and inside[d] and side[node[c]] != side[node[d]]:
                self.separations.pop()
                raise NeuropilError(f"{_name(edit, 'a separation')} contradicts {_name(earlier, 'a join')}; undo one")
        with_a = members[side[node[members]] == 1]
        with_b = members[side[node[members]] == 0]
        new = with_a if self.sizes[with_a].sum() < self.sizes[with_b].sum() else with_b
        self.lut[new] = self._new_id(edit)

    def _new_id(self, edit: Edit | None) -> int:
        """The largest id + 1."""
        found = int(self.lut.max()) + 1
        if found > np.iinfo(self.lut.dtype).max:
            raise NeuropilError(
                f"{_name(edit, 'a separation')} needs the id {found}, which {self.lut.dtype} cannot hold; convert the "
                "segmentation to a larger type first: neuropil convert --dtype"
            )
        return found

    def _nodes(self, inside: NDArray[np.bool_], a: int, b: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The fragments of a segment, and for every fragment the node of the cut graph that it is part of, from 0."""
        layout = self.layout
        made = int(np.searchsorted(-self.tree.score, -self.threshold, side="right"))
        first, last = sorted((layout.position[a], layout.position[b]))
        valid = layout.uniform(inside) & ~((layout.start <= first) & (last < layout.end))
        valid[made:] = False
        held = np.append(valid, False)[layout.gap]
        node = np.zeros(len(inside), np.int64)
        node[layout.leaf] = np.concatenate([[0], np.cumsum(~held)]) if len(layout.leaf) else 0
        members = np.flatnonzero(inside)
        node[members] = np.unique(node[members], return_inverse=True)[1]
        node[~inside] = 0
        return members, node

    def _edges(self, inside: NDArray[np.bool_], node: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
        """Edges of the cut graph with their summed affinities, and uncuttable edges for earlier joins."""
        graph = self.graph
        kept = np.flatnonzero(inside[graph.a] & inside[graph.b])
        u, v, capacity = node[graph.a[kept]], node[graph.b[kept]], graph.sum[kept].astype(np.int64)
        between = u != v
        made = [(node[c], node[d]) for c, d, _ in self.joins if inside[c] and inside[d] and node[c] != node[d]]
        extra = np.array(made, np.int64).reshape(-1, 2)
        return (
            np.concatenate([u[between], extra[:, 0]]),
            np.concatenate([v[between], extra[:, 1]]),
            np.concatenate([capacity[between], np.full(len(extra), UNCUTTABLE, np.int64)]),
        )


def segments_of(fragments: Volume, segmentation: Volume, count: int) -> NDArray[Any]:
    """The segment of each fragment in a segmentation of the same box, ``[count + 1]``; reads section by section.

    Raises:
        NeuropilError: other boxes, or a fragment that lies in two segments.
    """
    lut = np.zeros(count + 1, segmentation.dtype)
    if fragments.box != segmentation.box:
        raise NeuropilError(
            f"expected a segmentation of {fragments.box}, got {segmentation.box} in {segmentation.path}"
        )
    for check in (False, True):
        for z in range(fragments.box.start[0], fragments.box.stop[0]):
            pieces, segments = (volume.read(section(volume.box, z))[0] for volume in (fragments, segmentation))
            if not check:
                lut[pieces] = segments
            elif (wrong := (pieces > 0) & (lut[pieces] != segments)).any():
                y, x = (int(c[0]) for c in np.nonzero(wrong))
                raise other_fragments(segmentation.path, (z, y, x))
    lut[0] = 0
    return lut


def voxel_at(volume: Volume, point: Triple | None, edit: Edit) -> NDArray[Any]:
    """The label at a point of a decision, ``[1, 1, 1]``.

    Raises:
        NeuropilError: a point outside the volume or in the background.
    """
    assert point is not None
    voxel = Box.at(point, (1, 1, 1))
    if not volume.box.contains(voxel):
        raise NeuropilError(f"{edit}: expected points inside the volume, {volume.box}; got {point}")
    found = volume.read(voxel)
    if not found.any():
        raise in_background(point, edit)
    return found


def in_background(point: Triple | None, edit: Edit) -> NeuropilError:
    """The error about a point of a decision that lies in no segment."""
    return NeuropilError(f"{edit}: point {point} lies in the background; choose one inside a segment")


def other_fragments(path: str, at: Sequence[int]) -> NeuropilError:
    """The error about a segmentation in which the fragment at a voxel lies in several segments."""
    return NeuropilError(
        f"{path} is no segmentation of these fragments: the one at {tuple(at)} lies in several segments; give the "
        "affinities, low and high that it was made from"
    )


def _name(edit: Edit | None, else_: str) -> str:
    return else_ if edit is None else str(edit)
