"""The region graph to the merge tree."""

from __future__ import annotations

from collections.abc import Sequence

from neuropil import _native
from neuropil.geometry import Triple
from neuropil.segmentation.codes import Affinities, Labels, face_codes, steps, thread_count
from neuropil.segmentation.graph import RegionGraph, nodes_of
from neuropil.segmentation.merge_tree import MergeTree
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
    faces = face_codes(affinities, offsets, encoding)
    labels, ids = nodes_of(fragments, faces)
    table, scale = fixed_point(faces.encoding)
    count = len(ids) or int(labels.max(initial=0))
    a, b, scores = _native.agglomerate(
        *faces.arguments, labels, count, table, chosen.arguments(faces.encoding), block, scale, thread_count(threads)
    )
    return MergeTree(a, b, chosen.affinities(scores, faces.encoding), count, ids, score)


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
    a, b, scores = graph.kernels.agglomerate_graph(
        graph.columns, graph.bins, chosen.arguments(graph.encoding), chosen.top(graph.encoding),
        fixed_point(graph.encoding)[1], thread_count(threads),
    )  # fmt: skip
    return MergeTree(a, b, chosen.affinities(scores, graph.encoding), graph.nodes, graph.ids, score)
