"""Clustering of fragments by signed edges of any offset, without a threshold: GASP and the mutex watershed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from neuropil import _native
from neuropil.errors import NeuropilError
from neuropil.geometry import Box, Offsets, Triple, parse_offsets
from neuropil.segmentation.codes import Affinities, Labels, all_codes, label_array, steps, thread_count
from neuropil.segmentation.columns import check_columns
from neuropil.segmentation.mutex import channel_biases, sweep_ranks
from neuropil.volumes import Encoding

Linkage = Literal["abs_max", "mean", "constrained_mean"]
"""Linkage between two clusters. ``abs_max``: their strongest edge; a repulsive one excludes for good (mutex watershed).
``mean``: the mean weight of their edges. ``constrained_mean``: likewise, and a negative mean excludes for good."""

_UNIT = 1 << 30
"""What a weight of 1 counts in sums: weights are at most 3, so 2**31 edges can be added before 64 bits are full."""


SignedColumns = tuple[
    npt.NDArray[np.uint64],
    npt.NDArray[np.uint64],
    npt.NDArray[np.int64],
    npt.NDArray[np.uint64],
    npt.NDArray[np.uint32],
    npt.NDArray[np.uint64],
]


@dataclass(frozen=True)
class SignedGraph:
    """Pairs of fragments that signed edges join; edge i joins ``a[i] < b[i]``, ordered by (a, b).

    Args:
        a, b: ids of fragments, uint64.
        sum: sum of the edges' weights in units of 2**-30, int64.
        count: number of edges, uint64.
        rank, voxel: which of them comes first in the sweep of the mutex watershed: its place among the strengths of
            all channels and codes, with bit 31 set where it repels (all bits: none has a weight), and the voxel of the
            whole volume where it is stored; uint32, uint64.
        encoding, offsets, bias: what the edges were made with.
    """

    a: npt.NDArray[np.uint64]
    b: npt.NDArray[np.uint64]
    sum: npt.NDArray[np.int64]
    count: npt.NDArray[np.uint64]
    rank: npt.NDArray[np.uint32]
    voxel: npt.NDArray[np.uint64]
    encoding: Encoding
    offsets: Offsets
    bias: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.a)

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Mean weight of each pair's edges, float64."""
        return np.asarray(self.sum / (self.count * float(_UNIT)))

    @property
    def columns(self) -> SignedColumns:
        """What kernels take."""
        return self.a, self.b, self.sum, self.count, self.rank, self.voxel

    def clusters(self, linkage: Linkage = "abs_max") -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        """The clusters of fragments by a linkage.

        Pairs of clusters come by descending linkage: its absolute value for ``abs_max`` and ``constrained_mean``, its
        value for ``mean``; ties by the first edge's place in the sweep. A positive linkage unites the two, unless they
        exclude each other; their edges to a common third cluster are pooled.

        Returns:
            The fragments of the graph, ascending, and for each the smallest fragment of its cluster; uint64.

        Raises:
            NeuropilError: an unknown linkage, or a hand-made graph whose columns are not as above.

        Bailoni et al., "GASP, a generalized framework for agglomerative clustering of signed graphs" (2022); Wolf et
        al., "The Mutex Watershed" (2018).
        """
        if linkage not in get_args(Linkage):
            raise NeuropilError(f"expected a linkage of {', '.join(get_args(Linkage))}; got {linkage!r}")
        top = int((1 + max((abs(b) for b in self.bias), default=0)) * _UNIT) + 1
        _check_columns(self, top)
        names, smallest = _native.signed_clusters(self.columns, linkage, top)
        return names, smallest


def signed_graph(
    affinities: Affinities,
    fragments: Labels,
    offsets: str | Sequence[Sequence[int]] | None = None,
    *,
    bias: float | Sequence[float] = -0.5,
    strides: Triple = (1, 1, 1),
    encoding: Encoding | None = None,
    threads: int | None = None,
) -> SignedGraph:
    """The signed edges between fragments, of all channels.

    Args:
        affinities: [edge, z, y, x] as for :func:`neuropil.mutex_watershed`; all channels are used.
        fragments: [z, y, x], integers, 0 = background, which has no edges.
        offsets, bias, strides, encoding, threads: as for :func:`neuropil.mutex_watershed`.

    Raises:
        NeuropilError: as :func:`neuropil.mutex_watershed`, or fragments of another shape or not integers from 0.

    >>> graph = signed_graph(np.full((1, 1, 1, 4), 0.9), np.array([[[1, 1, 2, 2]]]), [(0, 0, -2)])
    >>> graph.count.tolist(), graph.mean.round(2).tolist()
    ([2], [0.4])
    """
    array, parsed, encoding = all_codes(affinities, offsets, encoding, threads)
    _, z, y, x = array.shape
    labels = label_array(fragments, (z, y, x))
    whole = Box.whole((z, y, x))
    return _signed(array, labels, (whole, whole, (z, y, x)), (parsed, encoding, bias, strides), thread_count(threads))


def signed_part_graph(
    affinities: npt.NDArray[Any],
    fragments: npt.NDArray[Any],
    box: Box,
    shape: Triple,
    offsets: str | Sequence[Sequence[int]] | None = None,
    *,
    bias: float | Sequence[float] = -0.5,
    strides: Triple = (1, 1, 1),
    encoding: Encoding | None = None,
) -> SignedGraph:
    """The signed edges stored in one block; :func:`add_signed_graphs` of all blocks is the whole volume's graph.

    Args:
        affinities: [edge, z, y, x] of :func:`within_reach` ``(box, shape, offsets)``.
        fragments: [z, y, x] of the same voxels, ids of the whole volume, 0 = background.
        box: the block, in voxels of the volume.
        shape: the whole volume's, z y x.
        offsets, bias, strides, encoding: as for :func:`neuropil.mutex_watershed`.

    Raises:
        NeuropilError: as :func:`signed_graph`, or arrays that are not those of the box and what it reaches.
    """
    array, parsed, encoding = all_codes(affinities, offsets, encoding)
    around = within_reach(box, shape, parsed)
    if array.shape[1:] != around.shape:
        raise NeuropilError(f"expected affinities of the box {around}, shape {around.shape}; got {array.shape[1:]}")
    labels = label_array(fragments, around.shape)
    return _signed(array, labels, (box, around, shape), (parsed, encoding, bias, strides), 1)


def within_reach(box: Box, shape: Triple, offsets: str | Sequence[Sequence[int]]) -> Box:
    """The box with a halo of the longest offset on each axis, inside the volume.

    >>> str(within_reach(Box((0, 0, 4), (1, 1, 8)), (1, 1, 9), [(0, 0, -3), (0, 0, 1)]))
    '0:1,0:1,1:9'
    """
    parsed = parse_offsets(offsets)
    z, y, x = (max(abs(offset[axis]) for offset in parsed) for axis in range(3))
    return box.grow((z, y, x)).intersect(Box.whole(shape))


def add_signed_graphs(graphs: Iterable[SignedGraph]) -> SignedGraph:
    """Add graphs of parts: edges between the same two fragments are pooled and ordered by (a, b).

    Raises:
        NeuropilError: no graph, or graphs made with different encodings, offsets or biases.
    """
    parts = list(graphs)
    if not parts:
        raise NeuropilError("expected at least one graph, got none")
    first = parts[0]
    if any((p.encoding, p.offsets, p.bias) != (first.encoding, first.offsets, first.bias) for p in parts):
        raise NeuropilError("expected graphs made with one encoding, the same offsets and the same bias")
    a, b, total, count, rank, voxel = (
        np.concatenate(columns) for columns in zip(*(part.columns for part in parts), strict=True)
    )
    place = np.where(rank == 0xFFFFFFFF, rank, rank & 0x7FFFFFFF)
    order = np.lexsort((voxel, place, b, a))
    a, b = a[order], b[order]
    new = np.flatnonzero(np.concatenate([[True], (a[1:] != a[:-1]) | (b[1:] != b[:-1])])) if len(a) else order
    if not len(new):
        return first
    return replace(
        first,
        a=a[new],
        b=b[new],
        sum=np.add.reduceat(total[order], new),
        count=np.add.reduceat(count[order], new),
        rank=rank[order][new],
        voxel=voxel[order][new],
    )


def cluster_fragments(graph: SignedGraph, fragments: Labels, linkage: Linkage = "abs_max") -> npt.NDArray[Any]:
    """Fragments united by :meth:`SignedGraph.clusters`.

    Returns:
        uint32 (uint64 where ids need it) [z, y, x]; ids from 1 in the order of their smallest fragments, 0 stays 0.

    Raises:
        NeuropilError: fragments that are not integers from 0, an unknown linkage.

    >>> affinities = np.array([0, 0.9, 0.2, 0.9]).reshape(1, 1, 1, 4)
    >>> fragments = np.array([[[1, 2, 3, 4]]])
    >>> cluster_fragments(signed_graph(affinities, fragments, [(0, 0, -1)]), fragments).tolist()
    [[[1, 1, 2, 2]]]
    """
    labels = label_array(fragments)
    ids, inverse = np.unique(labels, return_inverse=True)
    names, smallest = graph.clusters(linkage)
    region = ids.astype(np.uint64)
    at = np.searchsorted(names, region)
    known = at < len(names)
    known[known] = names[at[known]] == region[known]
    region[known] = smallest[at[known]]
    kept = np.unique(region[region > 0])
    number = np.where(region > 0, np.searchsorted(kept, region) + 1, 0)
    dtype = np.uint32 if len(kept) < 1 << 32 else np.uint64
    return np.asarray(number.astype(dtype)[inverse].reshape(labels.shape))


def _check_columns(graph: SignedGraph, top: int) -> None:
    """Refuse columns that kernels could not use; the mean weight of an edge must be at most ``top``."""
    check_columns(graph.columns, ("u8", "u8", "i8", "u8", "u4", "u8"), "signed graph")
    if not len(graph):
        return
    if not (graph.a.min() >= 1 and (graph.a < graph.b).all() and graph.count.min() >= 1):
        raise NeuropilError("an edge of a signed graph joins fragments 1 <= a < b, and counts at least one edge")
    if (np.abs(graph.sum) // graph.count.astype(np.int64) > top).any():
        raise NeuropilError("the sums of a signed graph cannot be those of weights with its bias")


def _signed(
    array: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    where: tuple[Box, Box, Triple],
    chosen: tuple[Offsets, Encoding, float | Sequence[float], Triple],
    threads: int,
) -> SignedGraph:
    """The edges stored in the box ``where[0]``, from arrays of the box ``where[1]`` of a volume ``where[2]``."""
    box, around, shape = where
    offsets, encoding, bias, strides = chosen
    strides = steps(strides, "strides")
    ranks = sweep_ranks(encoding, offsets, bias)
    biases = channel_biases(bias, len(offsets))
    weights = np.rint((encoding.table + biases[:, None]) * _UNIT).astype(np.int64)
    inner = box.relative_to(around.start)
    columns = _native.signed_graph(
        array, np.array(offsets, np.int64), ranks, weights.reshape(-1), labels.astype(np.uint64, copy=False), strides,
        inner.start, inner.stop, around.start, shape, threads,
    )  # fmt: skip
    a, b, total, count, rank, voxel = columns
    return SignedGraph(a, b, total, count, rank, voxel, encoding, offsets, tuple(biases.tolist()))
