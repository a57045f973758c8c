"""The region graph to the merge tree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neuropil import _native
from neuropil.errors import NeuropilError
from neuropil.segmentation.codes import Affinities, Labels
from neuropil.segmentation.graph import RegionGraph, region_graph
from neuropil.segmentation.merge_tree import MergeTree
from neuropil.volumes import Encoding


def agglomerate(
    affinities: Affinities,
    fragments: Labels,
    score: str = "mean",
    *,
    offsets: str | Sequence[Sequence[int]] | None = None,
    encoding: Encoding | None = None,
    threads: int | None = None,
) -> MergeTree:
    """Merge touching regions, best score first, until nothing touches; every merge is recorded.

    The score of two regions is the mean affinity of all faces between them. Scores are compared as exact rationals;
    between equal scores the smaller key is better, where an edge's key is its largest face index. The tree is
    the same for any number of threads.

    Args:
        affinities: [edge, z, y, x] as for :func:`neuropil.watershed`.
        fragments: [z, y, x], integers, 0 = background, which merges with nothing.
        score: ``mean``.
        offsets, encoding, threads: as for :func:`neuropil.watershed`.

    Raises:
        NeuropilError: as :func:`neuropil.region_graph`, or an unknown score.

    >>> affinities = np.full((3, 1, 1, 3), 0.9)
    >>> affinities[2, 0, 0, 2] = 0.2
    >>> agglomerate(affinities, np.array([[[1, 2, 3]]])).score.round(3).tolist()
    [0.9, 0.2]
    """
    check_score(score)
    return agglomerate_graph(region_graph(affinities, fragments, offsets=offsets, encoding=encoding, threads=threads))


def agglomerate_graph(graph: RegionGraph, score: str = "mean") -> MergeTree:
    """The same from a region graph.

    >>> graph = region_graph(np.full((3, 1, 2, 2), 0.25), np.array([[[1, 2], [1, 2]]]))
    >>> len(agglomerate_graph(graph))
    1
    """
    check_score(score)
    kernels = _native if graph.a.dtype == np.uint32 else _native.wide
    a, b, scores = kernels.agglomerate(graph.nodes, graph.columns, graph.top, graph.scale)
    return MergeTree(a, b, scores, graph.nodes, graph.ids)


def check_score(score: str) -> None:
    """Refuse a score that there is not."""
    if score != "mean":
        raise NeuropilError(f"expected score 'mean', got {score!r}")
