"""Merging by size and affinity (single linkage), as in zwatershed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil import _native
from neuropil.errors import NeuropilError
from neuropil.segmentation.codes import voxel_count
from neuropil.segmentation.columns import described
from neuropil.segmentation.graph import RegionGraph, check_edges, check_statistics
from neuropil.segmentation.scores import Score


def merge_by_size(
    graph: RegionGraph,
    sizes: npt.NDArray[Any],
    *,
    size: int = 800,
    weight: float = 0.2,
    dust: int = 600,
    score: str = "max",
) -> npt.NDArray[Any]:
    """Single linkage that never unites two large regions.

    Each edge of the graph is visited once, best score first (ties: smaller key first), down to ``weight``. It unites
    its two regions if one of them still has fewer than ``size`` voxels. Regions with fewer than ``dust`` voxels at the
    end are dropped. zwatershed's ``T_threshes``, ``T_aff[2]`` and ``T_dust`` are ``size``, ``weight`` and ``dust``; its
    ``T_aff[:2]`` are ``low`` and ``high`` of :func:`neuropil.watershed`; its relative thresholds are percentiles of the
    affinities.

    Args:
        graph: region graph of the fragments.
        sizes: voxels of each node, [nodes + 1], index 0 for the background: ``np.bincount`` of the fragments, or
            counts of the ids where the graph has ids.
        size: a region with at least so many voxels is large.
        weight: lowest affinity at which an edge unites.
        dust: fewest voxels of a region that stays.
        score: order of the edges, ``max`` (as in zwatershed) or ``mean``, of two fragments; never pooled.

    Returns:
        lut [nodes + 1]: the segment of each node, from 1 in the order of their smallest nodes; 0 where dropped.

    Raises:
        NeuropilError: sizes that are not those of the graph's nodes, another score, a NaN, sizes that are no whole
            numbers from 0, or a hand-made graph that is not as :class:`neuropil.RegionGraph` says.

    Zlateski and Seung, "Image Segmentation by Size-Dependent Single Linkage Clustering of a Watershed Basin Graph"
    (2015).

    >>> from neuropil import region_graph
    >>> fragments = np.array([[[1, 2, 2, 2, 3, 3, 3]]])
    >>> graph = region_graph(np.full((3, 1, 1, 7), 0.5), fragments)
    >>> merge_by_size(graph, np.bincount(fragments.ravel()), size=3, dust=0).tolist()
    [0, 1, 1, 2]
    """
    check_edges(graph)
    sizes = np.asarray(sizes)
    if sizes.shape != (graph.nodes + 1,) or sizes.dtype.kind not in "ui" or sizes.min() < 0:
        raise NeuropilError(
            f"expected {graph.nodes + 1} integers from 0 on, a size for 0 and every node; got {described(sizes)}"
        )
    size, dust = voxel_count(size, "size"), voxel_count(dust, "dust")
    if not weight == weight:
        raise NeuropilError("weight is an affinity, got NaN")
    order = _best_first(graph, score, weight)
    region = _native.merge_by_size(graph.a, graph.b, order, np.ascontiguousarray(sizes, np.uint64), size, dust)
    kept = np.unique(region)
    return np.asarray(np.searchsorted(kept, region), region.dtype) + (len(kept) > 0 and kept[0] > 0)


def merge_in_order(
    ends: npt.NDArray[Any], sizes: npt.NDArray[Any], *, size: int, dust: int
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint64]]:
    """The merging of :func:`merge_by_size` along a list of edges, with exactly zwatershed's result.

    While zwatershed numbers the regions that stay, it may overwrite the count of a region it has not reached yet. So a
    region that is too small may stay, with the count written over its own. This function does the same.

    Args:
        ends: integers [edges, 2], pairs of ids 0 … len(sizes) - 1, in the order in which they unite.
        sizes: voxels of each id, index 0 for the background, which joins nothing.
        size, dust: as for :func:`merge_by_size`.

    Returns:
        lut [ids]: the segment of each id, from 1 in the order of their first ids, 0 where dropped; and the counts of
        the segments, [segments + 1].

    Raises:
        NeuropilError: ends that are no such pairs, sizes that are no whole numbers from 0.

    >>> lut, counts = merge_in_order(np.array([[1, 2], [2, 3]]), np.array([0, 1, 3, 3]), size=3, dust=0)
    >>> lut.tolist(), counts.tolist()
    ([0, 1, 1, 2], [0, 4, 3])
    """
    sizes, ends = np.asarray(sizes), np.asarray(ends)
    if sizes.ndim != 1 or not 0 < len(sizes) < 1 << 32 or sizes.dtype.kind not in "ui" or sizes.min() < 0:
        raise NeuropilError(f"expected integers, a size for 0 and every id; got {described(sizes)}")
    if ends.ndim != 2 or ends.shape[1] != 2 or ends.min(initial=0) < 0 or ends.max(initial=0) >= len(sizes):
        raise NeuropilError(f"expected ends [edges, 2] from 0 to {len(sizes) - 1}, got {described(ends)}")
    one, other = (np.ascontiguousarray(ends[:, end], np.uint32) for end in range(2))
    counts = np.ascontiguousarray(sizes, np.uint64)
    return _native.merge_in_order(one, other, counts, voxel_count(size, "size"), voxel_count(dust, "dust"))


def _best_first(graph: RegionGraph, score: str, weight: float) -> npt.NDArray[np.uint64]:
    """Positions of the edges of at least this weight, best first."""
    if score not in ("max", "mean"):
        raise NeuropilError(f"expected the score max or mean, got {score!r}")
    chosen = Score.parse(score)
    check_statistics(graph, chosen)
    if score == "max":
        affinity, total, count = graph.encoding.table[graph.max], graph.max.astype(np.uint64), np.ones_like(graph.count)
    else:
        affinity, total, count = graph.mean, graph.sum, graph.count
    order = _native.merge_order(total, count, graph.key, chosen.top(graph.encoding), 1)
    return np.ascontiguousarray(order[affinity[order] >= weight])
