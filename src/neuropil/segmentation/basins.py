"""The watershed with a search of plateaus, as zwatershed and waterz compute it, and the graph of its basins."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from neuropil import _native
from neuropil.errors import NeuropilError
from neuropil.segmentation.codes import label_array
from neuropil.segmentation.columns import described
from neuropil.volumes import LINEAR8

Scan = Literal["zyx", "xyz"]
"""Order in which voxels are visited, the outermost axis first."""


def basins(
    affinities: npt.NDArray[Any], *, low: float = 1e-4, high: float = 0.9999, scan: Scan = "zyx"
) -> npt.NDArray[np.uint64]:
    """Watershed fragments: a plateau (connected voxels of equal affinity) is divided among its nearest exits.

    This gives the same fragments as zwatershed and waterz: affinities are compared as float32, in one thread.
    :func:`neuropil.watershed` breaks ties by a fixed rule instead, and so runs on all cores and in blocks.

    Args:
        affinities: [3, z, y, x], floats from 0 to 1 or linear uint8 (code / 255); the channels are the offsets
            (-1, 0, 0), (0, -1, 0), (0, 0, -1).
        low, high: a voxel joins its best neighbours above ``low``, and all neighbours of at least ``high``.
        scan: order of the voxels; it numbers the basins and decides between equally near exits. ``zyx`` as in
            waterz, ``xyz`` as in zwatershed.

    Returns:
        uint64 [z, y, x]; ids from 1 in the order of their first voxel, 0 where no affinity is above ``low``.

    Raises:
        NeuropilError: affinities of another shape, type or range, another scan, or not 0 <= low < high.

    Zlateski and Seung, "Image Segmentation by Size-Dependent Single Linkage Clustering of a Watershed Basin Graph"
    (2015).

    >>> affinities = np.array([0, 0.9, 0.5, 0.5, 0.8], np.float32) * np.ones((3, 1, 1, 1), np.float32)
    >>> basins(affinities).tolist()
    [[[1, 1, 2, 2, 2]]]
    """
    values = _floats(affinities)
    if not 0 <= low < high:
        raise NeuropilError(f"expected 0 <= low < high, got low {low} and high {high}")
    if scan not in get_args(Scan):
        raise NeuropilError(f"expected the scan {' or '.join(get_args(Scan))}, got {scan!r}")
    labels = np.empty(values.shape[1:], np.uint64)
    _native.basins(values[0], values[1], values[2], float(low), float(high), scan == "xyz", labels)
    return labels


def basin_graph(affinities: npt.NDArray[Any], fragments: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The largest affinity between every two touching fragments.

    Args:
        affinities: as for :func:`basins`.
        fragments: integers [z, y, x], 0 = background.

    Returns:
        float32 [edges, 3], rows (id, id, affinity), the smaller id first; by descending affinity, ties by descending
        ids, as zwatershed sorts them.

    Raises:
        NeuropilError: as :func:`basins`, fragments of another shape, or ids from 2²⁴ on, which float32 does not hold.

    >>> affinities = np.array([0, 0.9, 0.25, 0.5], np.float32) * np.ones((3, 1, 1, 1), np.float32)
    >>> basin_graph(affinities, np.array([[[1, 1, 2, 3]]])).tolist()
    [[2.0, 3.0, 0.5], [1.0, 2.0, 0.25]]
    """
    values = _floats(affinities)
    labels = label_array(fragments, values.shape[1:]).astype(np.uint64)
    count = int(labels.max(initial=0)) + 1
    if count > 1 << 24:
        raise NeuropilError(
            f"expected ids up to {(1 << 24) - 1} in a graph of float32, got {count - 1}; cut the volume"
        )
    found = [_faces(values[axis], labels, axis, count) for axis in range(3)]
    pairs, where = np.unique(np.concatenate([pair for pair, _ in found]), return_inverse=True)
    best = np.zeros(len(pairs), np.float32)
    np.maximum.at(best, where, np.concatenate([value for _, value in found]))
    order = np.lexsort((pairs, best))[::-1]
    return np.stack([pairs // count, pairs % count, best], axis=1).astype(np.float32)[order]


def spanning_tree(graph: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.float32]:
    """The maximum spanning forest of a graph; each edge points towards the smallest id of its component.

    Args:
        graph: float32 [edges, 3], rows (id, id, affinity) of :func:`basin_graph`, best first, without background.
        count: largest id + 1.

    Returns:
        float32 [edges of the forest, 3], in the order of the graph.

    >>> edges = np.array([[2, 3, 0.9], [1, 3, 0.8], [1, 2, 0.7]], np.float32)
    >>> spanning_tree(edges, 4)[:, :2].tolist()
    [[2.0, 3.0], [3.0, 1.0]]
    """
    up = list(range(count))

    def find(node: int) -> int:
        while up[node] != node:
            up[node] = node = up[up[node]]
        return node

    neighbours: dict[int, list[int]] = {}
    chosen = []
    for row, (one, other) in enumerate(graph[:, :2].astype(np.int64).tolist()):
        a, b = find(one), find(other)
        if a != b:
            up[b] = a
            chosen.append(row)
            neighbours.setdefault(one, []).append(other)
            neighbours.setdefault(other, []).append(one)
    rank = np.asarray(_reached(neighbours, count))
    tree = graph[chosen]
    away = rank[tree[:, 1].astype(np.int64)] > rank[tree[:, 0].astype(np.int64)]
    tree[away, :2] = tree[away, 1::-1]
    return tree


def _reached(neighbours: dict[int, list[int]], count: int) -> list[int]:
    """When a breadth-first search from the smallest id of each component reaches each id: 0, 1, …"""
    rank = [-1] * count
    when = 0
    for start in range(count):
        ring = [start] if rank[start] < 0 else []
        for node in ring:  # grows
            if rank[node] >= 0:
                continue
            rank[node] = when
            when += 1
            ring += [other for other in neighbours.get(node, ()) if rank[other] < 0]
    return rank


def _faces(
    values: npt.NDArray[np.float32], labels: npt.NDArray[np.uint64], axis: int, count: int
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.float32]]:
    """Faces between two fragments along one axis: the pair as smaller id · count + larger id, and the affinity."""
    behind = (slice(None),) * axis
    before, after = labels[(*behind, slice(None, -1))], labels[(*behind, slice(1, None))]
    between = (before != after) & (before > 0) & (after > 0)
    one, other = before[between], after[between]
    pairs = np.minimum(one, other) * np.uint64(count) + np.maximum(one, other)
    return pairs, values[(*behind, slice(1, None))][between]


def _floats(affinities: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    if affinities.ndim != 4 or len(affinities) != 3 or (affinities.dtype.kind != "f" and affinities.dtype != np.uint8):
        raise NeuropilError(f"expected affinities [3, z, y, x], floats or uint8, got {described(affinities)}")
    if affinities.dtype == np.uint8:
        return LINEAR8.decode(affinities)
    values = np.ascontiguousarray(affinities, np.float32)
    if not (values.min(initial=0) >= 0 and values.max(initial=0) <= 1):  # NaN is neither
        raise NeuropilError("expected affinities from 0 to 1 without NaN")
    return values
