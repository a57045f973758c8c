"""Agglomeration of a volume that is worked on in blocks: graphs of blocks, merging with frozen borders, one tree.

A tree of boxes is climbed from its leaves. A leaf is a block; its graph is :func:`part_graph`. :func:`merge_part`
merges what no voxel outside the box can change, and what it leaves (``rest``) goes to the parent, which merges the
rests of all its children, and so on to the box of the whole volume, which freezes nothing. :func:`merge_tree` puts the
merges of all parts in order: the same tree as :func:`neuropil.agglomerate` makes of the whole volume, for any tree of
boxes (Lu, Zlateski and Seung 2021 have it for the mean).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil import _native
from neuropil.errors import NeuropilError
from neuropil.geometry import Box, Triple
from neuropil.segmentation.block_fragments import with_halo
from neuropil.segmentation.codes import face_codes, label_array, thread_count
from neuropil.segmentation.columns import no_ids
from neuropil.segmentation.graph import RegionGraph, check_bins, check_edges, check_statistics
from neuropil.segmentation.merge_tree import MergeTree
from neuropil.segmentation.scores import Score, fixed_point
from neuropil.volumes import Encoding

NamesArray = npt.NDArray[np.uint64]

_COLUMNS = ("a", "b", "count", "sum", "key", "max", "min")


@dataclass(frozen=True)
class Merges:
    """Merges of one part. Merge i joins regions ``a[i] < b[i]``, named by their smallest fragments, into ``a[i]``.

    Args:
        a, b: regions, uint64.
        sum, count: the score as an exact fraction: fixed-point sum and number of faces for the mean, a code and 1 for
            the other scores; uint64.
        key: the edge's key, which decides ties; uint64.
    """

    a: NamesArray
    b: NamesArray
    sum: npt.NDArray[np.uint64]
    count: npt.NDArray[np.uint64]
    key: npt.NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.a)


@dataclass(frozen=True)
class MergedPart:
    """A part after merging.

    Args:
        merges: what was merged, in the order of the whole volume's merges among themselves.
        rest: edges of regions that may still merge, between regions named by their smallest fragments. Of its columns
            only those are filled that the score needs.
        names, regions: every region of the part's graph, ascending, and the region it is now; uint64.
    """

    merges: Merges
    rest: RegionGraph
    names: NamesArray
    regions: NamesArray


def part_graph(
    affinities: npt.NDArray[Any],
    fragments: npt.NDArray[Any],
    box: Box,
    shape: Triple,
    *,
    histograms: bool = False,
    offsets: str | Sequence[Sequence[int]] | None = None,
    encoding: Encoding | None = None,
) -> RegionGraph:
    """The region graph of one block's faces.

    A face belongs to the block that holds its upper voxel, so that each is counted in one block, and
    :func:`add_graphs` of all blocks is :func:`neuropil.region_graph` of the volume.

    Args:
        affinities: [edge, z, y, x] of :func:`with_halo` ``(box, shape)``.
        fragments: [z, y, x] of the same voxels (of the halo, only the voxels before the box are looked at); ids of the
            whole volume, 0 = background.
        box: the block, in voxels of the volume.
        shape: the whole volume's, z y x.
        histograms: count the faces of every code, too, which quantile scores need.
        offsets, encoding: as for :func:`neuropil.watershed`.

    Returns:
        A graph whose nodes are the fragments' own ids (uint64) and whose keys count in the whole volume.

    Raises:
        NeuropilError: as :func:`neuropil.region_graph`; arrays that are not those of the box and its halo; a volume of
            more than 2**63 voxels.

    >>> graph = part_graph(np.full((3, 1, 1, 3), 0.5), np.array([[[8, 9, 9]]]), Box((0, 0, 5), (1, 1, 7)), (1, 1, 7))
    >>> graph.a.tolist(), graph.b.tolist(), graph.key.tolist()
    ([8], [9], [14])
    """
    if 3 * Box.whole(shape).size > np.iinfo(np.uint64).max:
        raise NeuropilError(f"faces of a volume of shape {shape} cannot be numbered in 64 bits")
    around = with_halo(box, shape)
    faces = face_codes(affinities, offsets, encoding)
    if faces.shape != around.shape:
        raise NeuropilError(f"expected affinities of the box {around}, shape {around.shape}; got {faces.shape}")
    labels = label_array(fragments, faces.shape).astype(np.uint64, copy=False)
    inner = box.relative_to(around.start)
    columns, bins = _native.part_graph(
        *faces.arguments, labels, fixed_point(faces.encoding)[0], inner.start, inner.stop, histograms
    )
    graph = _graph(columns, bins, faces.encoding)
    return replace(graph, key=_key_in_volume(graph.key, around, shape))


def frozen_fragments(fragments: npt.NDArray[Any], box: Box, shape: Triple) -> NamesArray:
    """Fragments that reach beyond a box, ascending, uint64: what :func:`merge_part` must not merge there.

    Fragments must be connected by faces, as a watershed's are.

    Args:
        fragments: [z, y, x] of :func:`with_halo` ``(box, shape)``, ids of the whole volume, 0 = background.
        box: in voxels of the volume.
        shape: the whole volume's, z y x.

    >>> frozen_fragments(np.array([[[4, 5, 6, 7]]]), Box((0, 0, 0), (1, 1, 3)), (1, 1, 9)).tolist()
    [6, 7]
    """
    around = with_halo(box, shape)
    labels = label_array(fragments, around.shape)
    inner = box.relative_to(around.start)
    seen = [np.zeros(0, np.uint64)]
    for axis in range(3):
        inside = [slice(a, b) for a, b in zip(inner.start, inner.stop, strict=True)]
        for first, last in ((0, inner.start[axis] + 1), (inner.stop[axis] - 1, around.shape[axis])):
            if last - first < 2:
                continue  # the volume ends here
            inside[axis] = slice(first, last)
            seen.append(np.unique(labels[tuple(inside)]).astype(np.uint64))
    names = np.unique(np.concatenate(seen))
    return names[names > 0]


def merge_part(
    graphs: RegionGraph | Sequence[RegionGraph],
    frozen: npt.NDArray[Any],
    score: str = "mean",
    *,
    threshold: float | None = None,
) -> MergedPart:
    """Make the merges of the whole volume that can be known within one part of it.

    Two regions merge when neither is frozen and each is the other's best among all its edges, those to frozen regions
    included. A region whose best edge leads to a frozen or a waiting one waits.

    Args:
        graphs: the part's graph, or several that add up to it (the same edge may be in more than one): of
            :func:`part_graph`, or rests of parts below.
        frozen: ids of regions that reach beyond the part, in any order; ids that are not in the graph are ignored. A
            fragment that touches the side of a part was frozen in every part below, and is a region by itself.
        score: as for :func:`neuropil.agglomerate`; a quantile needs graphs with histograms.
        threshold: make no merge below it, and drop the edges of regions that will never have one that reaches it. The
            tree is then right down to this threshold. All merges when not given.

    Raises:
        NeuropilError: no graph, graphs of different encodings or by hand and not as :class:`RegionGraph` says, an
            unknown score or one without histograms, a NaN.

    >>> chain = np.array([[[1, 2, 3, 4]]])
    >>> affinities = np.array([0, 0.5, 0.9, 0.7]).reshape(1, 1, 1, 4).repeat(3, 0)
    >>> left = part_graph(affinities[..., :4], chain, Box((0, 0, 0), (1, 1, 3)), (1, 1, 4))
    >>> done = merge_part(left, frozen_fragments(chain, Box((0, 0, 0), (1, 1, 3)), (1, 1, 4)))
    >>> len(done.merges), done.rest.a.tolist(), done.rest.b.tolist()  # 2 would like 3, which is frozen; 1 would like 2
    (0, [1, 2], [2, 3])
    """
    graph = _together([graphs] if isinstance(graphs, RegionGraph) else list(graphs))
    chosen = Score.parse(score)
    check_statistics(graph, chosen)
    scale = fixed_point(graph.encoding)[1]
    merges, rest, bins, names, regions = _native.merge_part(
        graph.columns, graph.bins, np.ascontiguousarray(frozen, np.uint64), chosen.arguments(graph.encoding),
        chosen.top(graph.encoding), scale, _limit(threshold, chosen, graph.encoding),
    )  # fmt: skip
    order = np.argsort(names)
    left = _graph(rest, bins, graph.encoding)
    return MergedPart(Merges(*merges), left, names[order], regions[order])


def merge_tree(
    parts: Iterable[Merges], fragments: int, encoding: Encoding, score: str = "mean", *, threads: int | None = None
) -> MergeTree:
    """One tree of the merges of all parts.

    Args:
        parts: merges of every part, in any order.
        fragments: largest fragment id; ids are nodes of the tree as they are.
        encoding: what the graphs' codes mean.
        score: the one merged by.
        threads: as for :func:`neuropil.watershed`.
    """
    chosen = Score.parse(score)
    lists = list(parts)
    a, b, total, count, key = (
        np.concatenate([np.zeros(0, np.uint64), *(getattr(part, name) for part in lists)])
        for name in ("a", "b", "sum", "count", "key")
    )
    order = _native.merge_order(total, count, key, chosen.top(encoding), thread_count(threads))
    a, b, total, count = a[order], b[order], total[order], count[order]
    values = _exact_means(total, count, fixed_point(encoding)[1]) if chosen.kind == "mean" else total
    index = np.uint32 if fragments < (1 << 32) - 2 else np.uint64
    affinities = chosen.affinities(values, encoding)
    return MergeTree(a.astype(index), b.astype(index), affinities, fragments, no_ids(), score)


def add_graphs(graphs: Iterable[RegionGraph]) -> RegionGraph:
    """One graph of partial ones: edges with the same ends pooled, ordered by (a, b).

    Raises:
        NeuropilError: no graph, or graphs of different encodings.
    """
    graph = _together(list(graphs))
    order = np.lexsort((graph.b, graph.a))
    a, b = graph.a[order], graph.b[order]
    new = np.flatnonzero(np.concatenate([[True], (a[1:] != a[:-1]) | (b[1:] != b[:-1])])) if len(a) else order
    pooled = replace(
        graph,
        a=a[new],
        b=b[new],
        count=_reduce(np.add, graph.count[order], new),
        sum=_reduce(np.add, graph.sum[order], new),
        key=_reduce(np.maximum, graph.key[order], new),
        max=_reduce(np.maximum, graph.max[order], new),
        min=_reduce(np.minimum, graph.min[order], new),
    )
    if not len(graph.bin_start):
        return pooled
    edge = np.empty(len(order), np.int64)
    edge[order] = np.searchsorted(new, np.arange(len(order)), side="right") - 1
    sizes = graph.bin_start[1:] - graph.bin_start[:-1]
    owner = np.repeat(edge, sizes.astype(np.int64))
    order = np.lexsort((graph.bin_code, owner))
    owner, code = owner[order], graph.bin_code[order]
    new = np.flatnonzero(np.concatenate([[True], (owner[1:] != owner[:-1]) | (code[1:] != code[:-1])]))
    new = new[: len(owner)]
    start = np.searchsorted(owner[new], np.arange(len(pooled) + 1)).astype(np.uint64)
    return replace(pooled, bin_start=start, bin_code=code[new], bin_count=_reduce(np.add, graph.bin_count[order], new))


def _reduce(operation: np.ufunc, values: npt.NDArray[Any], starts: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
    return np.asarray(operation.reduceat(values, starts)) if len(starts) else values[:0]


def _together(graphs: list[RegionGraph]) -> RegionGraph:
    """All edges in one graph, in 64 bits, with the same pair as often as it comes; checked."""
    if not graphs:
        raise NeuropilError("expected at least one graph, got none")
    first = graphs[0]
    if any(graph.encoding != first.encoding for graph in graphs):
        raise NeuropilError("expected graphs of one encoding; these differ in what their codes mean")
    if any(len(graph.ids) for graph in graphs):
        raise NeuropilError("expected graphs whose nodes are fragments' own ids, got one with a list of ids")
    for graph in graphs:
        check_edges(graph)
        check_bins(graph)
    columns = [np.concatenate([getattr(graph, name) for graph in graphs]) for name in _COLUMNS]
    columns[:2] = (ends.astype(np.uint64, copy=False) for ends in columns[:2])
    bins = [np.zeros(0, np.uint64), np.zeros(0, np.uint16), np.zeros(0, np.uint64)]
    if all(len(graph.bin_start) == len(graph) + 1 for graph in graphs):
        before = np.cumsum([0, *(len(graph.bin_code) for graph in graphs)], dtype=np.uint64)
        starts = [graph.bin_start[:-1] + start for graph, start in zip(graphs, before[:-1], strict=True)]
        bins[0] = np.concatenate([*starts, before[-1:]])
        bins[1] = np.concatenate([graph.bin_code for graph in graphs])
        bins[2] = np.concatenate([graph.bin_count for graph in graphs])
    return _graph(columns, bins, first.encoding)


def _graph(columns: Sequence[Any], bins: Sequence[Any], encoding: Encoding) -> RegionGraph:
    """A graph of what kernels return, whose nodes are ids of fragments."""
    a, b, count, total, key, largest, smallest = columns
    start, code, number = bins
    nodes = int(b.max(initial=0))
    return RegionGraph(a, b, count, total, key, largest, smallest, nodes, encoding, start, code, number, no_ids())


def _key_in_volume(key: npt.NDArray[np.uint64], around: Box, shape: Triple) -> npt.NDArray[np.uint64]:
    """Face indices of a box as those of the volume. The order of faces is the same in both."""
    lower, axis = key // np.uint64(3), key % np.uint64(3)
    _, y, x = (np.uint64(n) for n in around.shape)
    z0, y0, x0 = (np.uint64(n) for n in around.start)
    rows = (lower // (y * x) + z0) * np.uint64(shape[1]) + lower // x % y + y0
    return np.asarray(np.uint64(3) * (rows * np.uint64(shape[2]) + lower % x + x0) + axis)


def _limit(threshold: float | None, score: Score, encoding: Encoding) -> float:
    """The threshold in what kernels return as a score: affinities for the mean, else codes."""
    if threshold is None:
        return -np.inf
    if not threshold == threshold:
        raise NeuropilError("a threshold is an affinity, got NaN")
    if score.kind == "mean":
        return float(threshold)
    return float(np.searchsorted(encoding.table, threshold, side="left"))


def _exact_means(total: npt.NDArray[np.uint64], count: npt.NDArray[np.uint64], scale: float) -> npt.NDArray[np.float64]:
    """Means rounded as the kernels round them."""
    mean = total.astype(np.longdouble) / (count.astype(np.longdouble) * np.longdouble(scale))
    return np.asarray(mean, np.float64)
