"""The region graph to the merge tree."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy.typing as npt

from neuropil import _native
from neuropil.errors import NeuropilError
from neuropil.geometry import Triple
from neuropil.segmentation.codes import Affinities, Labels, face_codes, steps, thread_count, voxel_count
from neuropil.segmentation.graph import RegionGraph, nodes_of, region_graph
from neuropil.segmentation.merge_tree import MergeTree
from neuropil.segmentation.relabel import largest_label, relabelled
from neuropil.segmentation.scores import Score, fixed_point
from neuropil.volumes import Encoding

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
    """Merge touching regions, best score first, until nothing touches; every merge is recorded.

    The score of two regions is taken over all faces between them. Between equal scores the smaller key is better, where
    an edge's key is its largest face index. Regions that no path of edges of at least some score
    joins cannot merge at that score or above, so the pieces that such paths hold together are merged side by side on
    all cores, down to that score, and what is left at the next. The tree is the same for any block and any number of
    threads.

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
    graph = partial(
        region_graph, affinities, fragments, histograms=chosen.kind == "quantile", offsets=offsets, encoding=encoding,
        threads=threads,
    )  # fmt: skip
    return MergeTree(a, b, chosen.affinities(scores, faces.encoding), count, ids, score, graph)


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
) -> npt.NDArray[Any]:
    """The segmentation at one threshold, without the rest of the tree: what ``agglomerate(…).segment(…)`` gives.

    Merging stops at the threshold, and the minimum size runs on the graph that is then left.

    Args:
        affinities, fragments, score, block, offsets, encoding, threads: as for :func:`agglomerate`.
        threshold, min_size: as for :meth:`neuropil.MergeTree.segment`.

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
    if not threshold == threshold:
        raise NeuropilError("a threshold is an affinity, got NaN")
    faces = face_codes(affinities, offsets, encoding, threads)
    labels, ids = nodes_of(fragments, faces, threads)
    table, scale = fixed_point(faces.encoding)
    stop = float(threshold) if chosen.kind == "mean" else float(faces.last_below(threshold) + 1)
    lut = _native.segment_fragments(
        *faces.arguments, labels, len(ids) or largest_label(labels, threads), table, chosen.arguments(faces.encoding),
        block, stop, scale, min_size, thread_count(threads),
    )  # fmt: skip
    return relabelled(labels, lut, threads)


def agglomerate_graph(graph: RegionGraph, score: str = "mean", *, threads: int | None = None) -> MergeTree:
    """The same tree from a region graph; a quantile needs one with histograms.

    Raises:
        NeuropilError: an unknown score, a quantile without histograms, or a graph by hand that is not as
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
    return MergeTree(a, b, chosen.affinities(scores, graph.encoding), graph.nodes, graph.ids, score, lambda: graph)


def agglomerate_in_queue_order(graph: RegionGraph, score: str, queue: Literal["heap", "bins"] = "heap") -> MergeTree:
    """Merge one by one, equal scores in the order of a queue, as programs with a queue of edges do (waterz).

    The tree is that of :func:`agglomerate_graph` but for ties. Edges queue by their score, at first in the order of
    the graph; where two edges become one, the one with the better score stays in its place (of equals that of the
    region with the larger name) and queues again with the score of both when it comes to the front. ``heap``: equals
    leave a binary heap in its own order; ``bins``: first in, first out. This runs on one core.

    Args:
        graph: sorted by (a, b), as :func:`neuropil.region_graph` makes it; a quantile needs histograms.
        score: ``max``, ``min`` or a quantile: scores that are codes.
        queue: how equals queue.

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
    return MergeTree(a, b, chosen.affinities(scores, graph.encoding), graph.nodes, graph.ids, score, lambda: graph)
