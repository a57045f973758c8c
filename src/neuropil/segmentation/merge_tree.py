"""Agglomeration: merges the regions of a region graph, and keeps all merges in a tree to cut at any threshold."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from neuropil import _native
from neuropil.errors import NeuropilError
from neuropil.geometry import Triple
from neuropil.segmentation.codes import (
    Affinities,
    Labels,
    count_labels,
    face_codes,
    label_array,
    largest_label,
    relabelled,
    steps,
    thread_count,
    voxel_count,
)
from neuropil.segmentation.columns import check_ids, described, load_fields, no_ids, save_fields, saved
from neuropil.segmentation.graph import RegionGraph, nodes_of, positions
from neuropil.segmentation.scores import Score, fixed_point
from neuropil.volumes import Encoding


@dataclass(frozen=True)
class MergeTree:
    """All merges of an agglomeration, best first.

    Merge i joins region ``a[i]`` and region ``b[i]`` at affinity ``score[i]``. A region is named by its smallest
    fragment, ``a[i] < b[i]``, and the joined region is called ``a[i]``. Scores never rise along the tree; merges of
    equal score stand in the order of their keys (see :class:`RegionGraph`). So the first k merges are the segmentation
    after k steps of greedy merging, for every k.

    Args:
        a, b: regions, 1…fragments, uint32 or uint64.
        score: affinity of each merge, float64 in [0, 1], descending.
        fragments: largest fragment.
        ids: ids of the fragments, ascending, uint64, if they are too sparse to be indices; fragment i of the tree is
            then the one with ``ids[i - 1]``. Else empty.
        pooling: the score that merges were made by, ``mean``, ``max``, ``min`` or ``qNN``.

    Raises:
        NeuropilError: columns of other types or lengths, or merges out of order.

    >>> tree = MergeTree(np.array([1, 1]), np.array([3, 2]), np.array([0.9, 0.4]), fragments=3)
    >>> tree.cut(0.5).tolist()
    [0, 1, 2, 1]
    """

    a: npt.NDArray[Any]
    b: npt.NDArray[Any]
    score: npt.NDArray[np.float64]
    fragments: int
    ids: npt.NDArray[np.uint64] = field(default_factory=no_ids)
    pooling: str = "mean"
    graph: RegionGraph | None = field(default=None, repr=False, compare=False)
    """The region graph that the merges were made from; None where they were made from affinities, or loaded."""
    recut: Callable[[float, int], tuple[npt.NDArray[Any], ...]] | None = field(default=None, repr=False, compare=False)
    """Of a tree made from affinities: merges again down to (threshold, minimum size), and returns nodes and lut."""

    def __post_init__(self) -> None:
        columns = self.a, self.b, self.score
        if not all(isinstance(column, np.ndarray) and column.shape == self.a.shape for column in columns):
            raise NeuropilError(f"a tree needs arrays a, b and score alike; got {', '.join(map(described, columns))}")
        kinds = [column.dtype.kind for column in columns]
        if self.a.ndim != 1 or kinds[0] not in "ui" or kinds[1] not in "ui" or kinds[2] != "f":
            raise NeuropilError(f"a tree has lists of integers and floats, got {', '.join(map(described, columns))}")
        if not isinstance(self.fragments, (int, np.integer)):
            raise NeuropilError(f"a tree has a whole number of fragments, got {self.fragments!r}")
        if len(self.a) and not (self.a.min() >= 1 and (self.a < self.b).all() and self.b.max() <= self.fragments):
            raise NeuropilError(f"a merge joins regions 1 <= a < b <= {self.fragments}, the number of fragments")
        if np.isnan(self.score).any() or not (self.score[1:] <= self.score[:-1]).all():
            raise NeuropilError("the merges of a tree stand in the order of descending scores")
        check_ids(self.ids, self.fragments, "fragments")

    def __len__(self) -> int:
        return len(self.a)

    def cut(self, threshold: float) -> npt.NDArray[Any]:
        """The segment of every fragment when all merges with ``score >= threshold`` are made.

        Returns:
            lut [fragments + 1]: ``lut[f]`` is the segment of fragment f, numbered from 1 in the order of their
            smallest fragments; ``lut[0] = 0``.

        Raises:
            NeuropilError: the threshold is NaN.
        """
        if not threshold == threshold:
            raise NeuropilError("a threshold is an affinity, got NaN")
        count = int(np.searchsorted(-self.score, -threshold, side="right"))
        index = np.uint32 if self.fragments < (1 << 32) - 2 else np.uint64
        return _native.cut(self.fragments, self.a.astype(index), self.b.astype(index), count)

    def nodes(self, fragments: Labels) -> npt.NDArray[Any]:
        """Fragments [z, y, x] as indices into a lut of :meth:`cut`, 0…``self.fragments``.

        Raises:
            NeuropilError: labels that are not this tree's fragments.
        """
        labels = label_array(fragments)
        if len(self.ids):
            return positions(labels, self.ids)
        if largest_label(labels) > self.fragments:
            raise NeuropilError(f"the tree has {self.fragments} fragments, the labels go up to {labels.max()}")
        return labels

    def segment(
        self,
        fragments: Labels,
        threshold: float,
        min_size: int = 0,
        graph: RegionGraph | None = None,
    ) -> npt.NDArray[Any]:
        """The segmentation at a threshold.

        With ``min_size``: while a segment has fewer voxels than that, the smallest (of equals the one with the
        smallest fragment) joins the neighbour with the best pooled edge; one without neighbours becomes 0. Edges are
        pooled as they were for the tree. This needs the region graph. Without ``graph`` a tree that was made from
        affinities is merged again; a tree that was loaded from a file needs ``graph``.

        Returns:
            uint32 (uint64 where ids need it) [z, y, x]; ids from 1 in the order of their smallest fragments.

        Raises:
            NeuropilError: labels that are not this tree's fragments; ``min_size`` that is no whole number, with a graph
                of another volume, or without a graph for a loaded tree; a threshold that is no affinity.

        >>> tree = MergeTree(np.array([1]), np.array([2]), np.array([0.7]), fragments=2)
        >>> tree.segment(np.array([[[1, 2, 0]]]), threshold=0.5).tolist()
        [[[1, 1, 0]]]
        """
        if math.isfinite(threshold) and not -1 <= threshold <= 2:  # just below 0 or above 1: merge all, or nothing
            raise NeuropilError(f"a threshold is an affinity between 0 and 1, got {threshold}")
        nodes = self.nodes(fragments)
        return relabelled(nodes, self.lut(threshold, min_size, graph, nodes))

    def lut(
        self, threshold: float, min_size: int, graph: RegionGraph | None, nodes: npt.NDArray[Any]
    ) -> npt.NDArray[Any]:
        """The segment of every fragment in :meth:`segment`, ``[fragments + 1]``; ``nodes`` as :meth:`nodes` gives them.

        Raises:
            NeuropilError: as :meth:`segment`.
        """
        min_size = voxel_count(min_size, "min_size")
        if min_size <= 1:
            return self.cut(threshold)
        graph = self.graph if graph is None else graph
        if graph is None and self.recut is not None:
            return self.recut(threshold, min_size)[1]
        if graph is None:
            raise NeuropilError("min_size needs the graph: segment(…, graph=region_graph(affinities, fragments))")
        self._check_graph(graph)
        sizes = count_labels(nodes, self.fragments + 1)
        return _absorb_small(self.cut(threshold), sizes, graph, min_size, Score.parse(self.pooling))

    def _check_graph(self, graph: RegionGraph) -> None:
        if not int(self.b.max(initial=0)) <= graph.nodes <= self.fragments or not np.array_equal(graph.ids, self.ids):
            raise NeuropilError(
                f"min_size needs the graph that the tree was made from: got one of {graph.nodes} nodes, and a tree of "
                f"{self.fragments} fragments, or other ids"
            )

    def save(self, path: str | Path) -> None:
        """Write the tree to one .npz file (the name is used as it is).

        Raises:
            NeuropilError: it cannot be written there.
        """
        save_fields(path, {name: getattr(self, name) for name in _STORED})

    @classmethod
    def load(cls, path: str | Path) -> MergeTree:
        """Read what :meth:`save` wrote.

        Raises:
            NeuropilError: the file is not a saved merge tree.
        """
        with saved(path, "merge tree"):
            stored = load_fields(path, _STORED)
            pooling = str(stored["pooling"])
            Score.parse(pooling)
            return cls(**{**stored, "fragments": int(stored["fragments"]), "pooling": pooling})


_STORED = tuple(field.name for field in fields(MergeTree) if field.name not in ("graph", "recut"))


def _absorb_small(
    lut: npt.NDArray[Any], fragment_sizes: npt.NDArray[np.uint64], graph: RegionGraph, min_size: int, score: Score
) -> npt.NDArray[Any]:
    """The lut of a cut, with segments below the minimum size joined or dropped, numbered anew without gaps."""
    sizes = np.bincount(lut, weights=fragment_sizes).astype(np.uint64)
    graph.check(score)
    target = _native.absorb_small(
        graph.columns, graph.bins, score.arguments(graph.encoding), lut.astype(graph.a.dtype), sizes, min_size
    )
    kept = np.unique(target[1:])
    number = np.zeros(len(target), lut.dtype)
    kept = kept[kept > 0]
    number[kept] = np.arange(1, len(kept) + 1)
    return np.asarray(number[target][lut])


BLOCK: Triple = (32, 16, 256)
"""Voxels of a block whose faces and graph stay in a core's cache; rows are long, as memory is read ahead along them."""


def agglomerate(
    affinities: Affinities,
    fragments: Labels,
    score: str = "mean",
    *,
    block: Triple = BLOCK,
    offsets: str | Sequence[Sequence[int]] | None = None,
    encoding: Encoding | None = None,
    threads: int | None = None,
) -> MergeTree:
    """Merge touching regions, best score first, until no regions touch; every merge is recorded.

    The score of two regions is taken over all faces between them. Of equal scores the edge with the smaller key comes
    first; an edge's key is its largest face index. Regions that are not connected by edges of at least a score S cannot
    merge at S or above. So the connected components of these edges are merged in parallel down to S, and the rest at
    the next lower score. The tree is the same for any block and any number of threads.

    Args:
        affinities: [edge, z, y, x] as for :func:`neuropil.watershed`.
        fragments: [z, y, x], integers, 0 = background, which merges with nothing.
        score: ``mean``; ``max``; ``min``; or a quantile ``qNN``, the face of rank min(n, ⌊n·NN/100⌋ + 1) of n
            (``q50`` is the median).
        block: voxels (z, y, x) of a unit of work: the blocks in which faces are scanned, and the size of pieces.
        offsets, encoding, threads: as for :func:`neuropil.watershed`.

    Raises:
        NeuropilError: as :func:`neuropil.region_graph`, or an unknown score.

    >>> import numpy as np
    >>> affinities = np.full((3, 1, 1, 3), 0.9)
    >>> affinities[2, 0, 0, 2] = 0.2
    >>> agglomerate(affinities, np.array([[[1, 2, 3]]])).score.round(3).tolist()
    [0.9, 0.2]
    """
    chosen = Score.parse(score)
    block = steps(block, "block")
    faces = face_codes(affinities, offsets, encoding, threads)
    labels, ids = nodes_of(fragments, faces, threads)
    table, scale = fixed_point(faces.encoding)
    count = len(ids) or largest_label(labels, threads)
    a, b, scores = _native.agglomerate(
        *faces.arguments, labels, count, table, chosen.arguments(faces.encoding), block, scale, thread_count(threads)
    )
    recut = partial(_cut_of, affinities, fragments, chosen, block, offsets, encoding, threads)
    return MergeTree(a, b, chosen.affinities(scores, faces.encoding), count, ids, score, recut=recut)


def segment_fragments(
    affinities: Affinities,
    fragments: Labels,
    threshold: float,
    score: str = "mean",
    *,
    min_size: int = 0,
    block: Triple = BLOCK,
    offsets: str | Sequence[Sequence[int]] | None = None,
    encoding: Encoding | None = None,
    threads: int | None = None,
    overwrite: bool = False,
) -> npt.NDArray[Any]:
    """The segmentation at one threshold, the same as ``agglomerate(…).segment(…)`` but faster.

    Merging stops at the threshold; the minimum size is applied to the graph that remains.

    Args:
        affinities, fragments, score, block, offsets, encoding, threads: as for :func:`agglomerate`.
        threshold, min_size: as for :meth:`neuropil.MergeTree.segment`.
        overwrite: the array of fragments is not needed any more: the result may take its place.

    Returns:
        uint32 (uint64 where ids need it) [z, y, x]; ids from 1 in the order of their smallest fragments.

    Raises:
        NeuropilError: as :func:`agglomerate`, a NaN, or a minimum size that is no whole number.

    >>> import numpy as np
    >>> affinities = np.full((3, 1, 1, 3), 0.9)
    >>> affinities[2, 0, 0, 2] = 0.2
    >>> segment_fragments(affinities, np.array([[[1, 2, 3]]]), 0.5).tolist()
    [[[1, 1, 2]]]
    """
    chosen = Score.parse(score)
    block, min_size = steps(block, "block"), voxel_count(min_size, "min_size")
    found = _cut_of(affinities, fragments, chosen, block, offsets, encoding, threads, threshold, min_size)
    return relabelled(*found, threads, overwrite=overwrite)


def _cut_of(
    affinities: Affinities,
    fragments: Labels,
    score: Score,
    block: Triple,
    offsets: str | Sequence[Sequence[int]] | None,
    encoding: Encoding | None,
    threads: int | None,
    threshold: float,
    min_size: int,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Fragments as nodes [z, y, x], and the segment of each of these."""
    if not threshold == threshold:
        raise NeuropilError("a threshold is an affinity, got NaN")
    faces = face_codes(affinities, offsets, encoding, threads)
    labels, ids = nodes_of(fragments, faces, threads)
    table, scale = fixed_point(faces.encoding)
    stop = float(threshold) if score.kind == "mean" else float(faces.last_below(threshold) + 1)
    lut = _native.segment_fragments(
        *faces.arguments, labels, len(ids) or largest_label(labels, threads), table, score.arguments(faces.encoding),
        block, stop, scale, min_size, thread_count(threads),
    )  # fmt: skip
    return labels, lut


def agglomerate_graph(graph: RegionGraph, score: str = "mean", *, threads: int | None = None) -> MergeTree:
    """The same tree from a region graph; a quantile needs one with histograms.

    Raises:
        NeuropilError: an unknown score, a quantile without histograms, or a hand-made graph that is not as
            :class:`RegionGraph` says.

    >>> import numpy as np
    >>> from neuropil import region_graph
    >>> graph = region_graph(np.full((3, 1, 2, 2), 0.25), np.array([[[1, 2], [1, 2]]]))
    >>> len(agglomerate_graph(graph))
    1
    """
    chosen = Score.parse(score)
    graph.check(chosen)
    a, b, scores = _native.agglomerate_graph(
        graph.columns, graph.bins, chosen.arguments(graph.encoding), chosen.top(graph.encoding),
        fixed_point(graph.encoding)[1], thread_count(threads),
    )  # fmt: skip
    return MergeTree(a, b, chosen.affinities(scores, graph.encoding), graph.nodes, graph.ids, score, graph)


def agglomerate_in_queue_order(graph: RegionGraph, score: str, queue: Literal["heap", "bins"] = "heap") -> MergeTree:
    """Merge one by one, ties in the order of a priority queue of edges, as waterz does.

    The tree differs from that of :func:`agglomerate_graph` only in ties. All edges enter the queue in the order of the
    graph. When two edges become one, the one with the better score keeps its place (of equal scores that of the region
    with the larger name); at the front it enters the queue again, with the score of both. This runs on one core.

    Args:
        graph: sorted by (a, b), as :func:`neuropil.region_graph` makes it; a quantile needs histograms.
        score: ``max``, ``min`` or a quantile: scores that are codes.
        queue: order of equal scores. ``heap``: as a binary heap returns them; ``bins``: first in, first out.

    Raises:
        NeuropilError: ``mean``, or as :func:`agglomerate_graph`.

    >>> import numpy as np
    >>> from neuropil import region_graph
    >>> graph = region_graph(np.full((3, 1, 1, 3), 0.25), np.array([[[1, 2, 3]]]))
    >>> agglomerate_in_queue_order(graph, "max", "bins").b.tolist()
    [2, 3]
    """
    chosen = Score.parse(score)
    if chosen.kind == "mean":
        raise NeuropilError("a queue holds codes: expected the score max, min or qNN, got 'mean'")
    graph.check(chosen)
    a, b, scores = _native.agglomerate_in_queue_order(
        graph.columns, graph.bins, chosen.arguments(graph.encoding), graph.nodes, queue == "bins"
    )
    return MergeTree(a, b, chosen.affinities(scores, graph.encoding), graph.nodes, graph.ids, score, graph)
