"""The region graph: which fragments touch, and statistics of the faces between them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil import _native
from neuropil.errors import NeuropilError
from neuropil.geometry import Triple
from neuropil.segmentation.codes import (
    Affinities,
    FaceCodes,
    Labels,
    face_codes,
    label_array,
    largest_label,
    thread_count,
)
from neuropil.segmentation.columns import (
    BinColumns,
    EdgeColumns,
    check_columns,
    check_ids,
    load_fields,
    no_ids,
    save_fields,
    saved,
)
from neuropil.segmentation.scores import Score, fixed_point
from neuropil.volumes import Encoding


@dataclass(frozen=True)
class RegionGraph:
    """Pairs of touching fragments with their pooled faces; edge i joins ``a[i] < b[i]``, ordered by (a, b).

    Args:
        a, b: nodes, 1…nodes: the fragments' own ids, or positions in ``ids`` (from 1) where those are given.
        count: number of faces, uint64.
        sum: sum of the faces' fixed-point values, uint64; ``mean`` is the affinity.
        key: largest face index (3 · linear index of the lower voxel + axis), uint64; decides ties.
        max, min: largest and smallest code, uint16.
        nodes: largest node.
        encoding: what the codes mean.
        bin_start, bin_code, bin_count: sparse histograms, where asked for: edge i has ``bin_count[j]`` faces with
            code ``bin_code[j]`` for j from ``bin_start[i]`` to ``bin_start[i + 1]``; uint64, uint16, uint64.
        ids: ids of the fragments, ascending, uint64, where they are too sparse to be nodes themselves; else empty.
    """

    a: npt.NDArray[Any]
    b: npt.NDArray[Any]
    count: npt.NDArray[np.uint64]
    sum: npt.NDArray[np.uint64]
    key: npt.NDArray[np.uint64]
    max: npt.NDArray[np.uint16]
    min: npt.NDArray[np.uint16]
    nodes: int
    encoding: Encoding
    bin_start: npt.NDArray[np.uint64]
    bin_code: npt.NDArray[np.uint16]
    bin_count: npt.NDArray[np.uint64]
    ids: npt.NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.a)

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Mean affinity of each edge, float64."""
        return self.sum / (self.count * fixed_point(self.encoding)[1])

    @property
    def columns(self) -> EdgeColumns:
        """What every kernel on graphs takes first."""
        return self.a, self.b, self.count, self.sum, self.key, self.max, self.min

    @property
    def bins(self) -> BinColumns:
        """The histograms, as kernels take them."""
        return self.bin_start, self.bin_code, self.bin_count

    def check(self, score: Score) -> None:
        """Refuse columns that kernels could not use, and a score that this graph has no statistics for.

        Raises:
            NeuropilError: what is wrong.
        """
        check_edges(self)
        check_order(self)
        check_statistics(self, score)

    def save(self, path: str | Path) -> None:
        """Write everything to one .npz file (the name is used as it is).

        Raises:
            NeuropilError: it cannot be written there.
        """
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        save_fields(path, {**arrays, "encoding": json.dumps(self.encoding.to_json())})

    @classmethod
    def load(cls, path: str | Path) -> RegionGraph:
        """Read what :meth:`save` wrote.

        Raises:
            NeuropilError: the file is not a saved region graph.
        """
        with saved(path, "region graph"):
            stored = load_fields(path, (field.name for field in fields(cls)))
            encoding = Encoding.from_json(json.loads(str(stored["encoding"])))
            graph = cls(**{**stored, "nodes": int(stored["nodes"]), "encoding": encoding})
            check_edges(graph)
            check_order(graph)
            for name in ("mean", "max", "min"):
                check_statistics(graph, Score.parse(name))
            check_bins(graph)
        return graph


def region_graph(
    affinities: Affinities,
    fragments: Labels,
    *,
    histograms: bool = False,
    offsets: str | Sequence[Sequence[int]] | None = None,
    encoding: Encoding | None = None,
    threads: int | None = None,
) -> RegionGraph:
    """Which fragments touch, with count, sum, extremes and key of the faces between each pair.

    Args:
        affinities: [edge, z, y, x] as for :func:`neuropil.watershed`.
        fragments: [z, y, x], integers, 0 = background, which touches nothing.
        histograms: also count the faces of every code, which quantile scores need.
        offsets, encoding, threads: as for :func:`neuropil.watershed`.

    Raises:
        NeuropilError: as :func:`neuropil.watershed`, or fragments of another shape or not integers from 0.

    >>> graph = region_graph(np.full((3, 1, 2, 2), 0.25), np.array([[[1, 2], [1, 2]]]))
    >>> len(graph), int(graph.count[0]), round(float(graph.mean[0]), 4)
    (1, 2, 0.25)
    """
    faces = face_codes(affinities, offsets, encoding, threads)
    labels, ids = nodes_of(fragments, faces, threads)
    arguments = (*faces.arguments, labels, fixed_point(faces.encoding)[0], thread_count(threads))
    a, b, count, total, key, largest, smallest = _native.region_graph(*arguments)
    none = np.zeros(0, np.uint64), np.zeros(0, np.uint16), np.zeros(0, np.uint64)
    start, code, number = _native.face_histograms(*arguments) if histograms else none
    nodes = len(ids) or largest_label(labels, threads)
    return RegionGraph(a, b, count, total, key, largest, smallest, nodes, faces.encoding, start, code, number, ids)


def faces_above(bins: BinColumns, encoding: Encoding, level: float) -> npt.NDArray[np.int64]:
    """How many faces of each edge have an affinity above a level; from histograms.

    >>> graph = region_graph(np.full((3, 1, 2, 2), 0.25), np.array([[[1, 2], [1, 2]]]), histograms=True)
    >>> faces_above(graph.bins, graph.encoding, 0.2).tolist(), faces_above(graph.bins, graph.encoding, 0.3).tolist()
    ([2], [0])
    """
    start, code, count = bins
    if not len(code):
        return np.zeros(0, np.int64)
    chosen = count * (encoding.table > level)[code]
    return np.add.reduceat(chosen, start[:-1].astype(np.int64)).astype(np.int64)


def nodes_of(
    fragments: Labels, faces: FaceCodes, threads: int | None = None
) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint64]]:
    """Fragments as nodes of a graph: dense ids as they are (then ``ids`` is empty), sparse ones as positions in ids."""
    labels = label_array(fragments, faces.shape)
    if largest_label(labels, threads) <= max(2 * labels.size, 1 << 16):
        return labels.astype(faces.index, copy=False), no_ids()
    ids = np.unique(labels).astype(np.uint64)
    ids = ids[ids > 0]
    return positions(labels, ids).astype(faces.index), ids


def positions(labels: npt.NDArray[Any], ids: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Position (from 1) of each label among ascending ids; 0 stays 0.

    Raises:
        NeuropilError: a label is not among the ids.
    """
    at = np.searchsorted(ids, labels)
    known = ids[np.minimum(at, len(ids) - 1)] == labels
    if not np.all(known | (labels == 0)):
        raise NeuropilError(f"fragment {labels[~known & (labels > 0)][0]} is not in the graph these labels belong to")
    return np.where(labels > 0, at + 1, 0)


_TYPES = ("u8", "u8", "u8", "u2", "u2")
"""Of count, sum, key, max and min."""


def coordinate_sums(labels: npt.NDArray[Any], count: int, start: Triple) -> npt.NDArray[np.int64]:
    """Sum of the coordinates of the voxels of each label, exact below 2⁵³; int64 ``[3, count]``.

    Args:
        labels: ``[z, y, x]``, integers from 0 to ``count - 1``.
        count: number of labels.
        start: coordinates of the first voxel.

    >>> coordinate_sums(np.array([[[0, 1, 1]], [[1, 0, 0]]]), 2, (10, 0, 0)).tolist()
    [[32, 31], [0, 0], [3, 3]]
    """
    found = np.zeros((3, count), np.int64)
    thick = max(1, (1 << 22) // max(labels[0].size, 1)) if len(labels) else 1
    for low in range(0, len(labels), thick):
        part = labels[low : low + thick]
        flat = part.reshape(-1)
        for axis, first in enumerate((start[0] + low, *start[1:])):
            line = np.arange(first, first + part.shape[axis], dtype=np.float64)
            line = line.reshape([-1 if other == axis else 1 for other in range(3)])
            weights = np.broadcast_to(line, part.shape).reshape(-1)
            found[axis] += np.bincount(flat, weights=weights, minlength=count).astype(np.int64)
    return found


def check_edges(graph: RegionGraph) -> None:
    """Refuse edges that kernels could not use: kernels do not check them, and a graph may be made by hand.

    Edges may come in any order, and the same pair more than once.

    Raises:
        NeuropilError: what is wrong with them.
    """
    index = "u8" if getattr(graph.a, "dtype", None) == np.uint64 else "u4"
    check_columns(graph.columns, (index, index, *_TYPES), "region graph")
    check_ids(graph.ids, graph.nodes, "nodes")
    if not len(graph):
        return
    if not (graph.a.min() >= 1 and (graph.a < graph.b).all() and graph.b.max() <= graph.nodes):
        raise NeuropilError(f"an edge of a region graph joins nodes 1 <= a < b <= {graph.nodes}")
    if index == "u4" and max(int(graph.count.max()), int(graph.key.max())) >= 1 << 32:
        raise NeuropilError("counts and keys beyond 32 bits need nodes of 64 bits, uint64")


def check_order(graph: RegionGraph) -> None:
    """Refuse edges out of order, or the same pair twice."""
    a, b = graph.a, graph.b
    if not ((a[1:] > a[:-1]) | ((a[1:] == a[:-1]) & (b[1:] > b[:-1]))).all():
        raise NeuropilError("the edges of a region graph are ordered by (a, b), each pair once")


def start_with_largest(graph: RegionGraph) -> RegionGraph:
    """The same graph with only the largest face of each edge, so that quantiles are taken over largest faces.

    waterz calls this ``InitWithMax``. Edges keep their keys.

    >>> graph = region_graph(np.full((3, 1, 2, 2), 0.25), np.array([[[1, 2], [1, 2]]]))
    >>> start_with_largest(graph).count.tolist()
    [1]
    """
    one = np.ones(len(graph), np.uint64)
    table = fixed_point(graph.encoding)[0]
    return replace(
        graph,
        count=one,
        sum=table[graph.max].astype(np.uint64),
        min=graph.max,
        bin_start=np.arange(len(graph) + 1, dtype=np.uint64),
        bin_code=graph.max,
        bin_count=one,
    )


def check_statistics(graph: RegionGraph, score: Score) -> None:
    """Refuse columns that a score cannot use; the others are not checked, since parts of a graph leave them empty.

    Raises:
        NeuropilError: what is wrong with them.
    """
    if score.kind == "quantile":
        if len(graph.bin_start) != len(graph) + 1:
            raise NeuropilError("a quantile needs the graph's histograms: region_graph(…, histograms=True)")
        check_bins(graph)
    if not len(graph):
        return
    if score.kind in ("mean", "quantile") and not graph.count.min() >= 1:
        raise NeuropilError("an edge of a region graph counts at least one face")
    if score.kind == "mean" and not (graph.sum // graph.count).max() <= score.top(graph.encoding):
        raise NeuropilError("the sums of a region graph cannot be those of its faces")
    if score.kind in ("max", "min") and not int(getattr(graph, score.kind).max()) < graph.encoding.codes:
        raise NeuropilError(f"the codes of a region graph cannot be those of its encoding {graph.encoding.kind}")


def check_bins(graph: RegionGraph) -> None:
    """Refuse histograms that do not hold all faces of their edges; a graph without histograms passes.

    Raises:
        NeuropilError: what is wrong with them.
    """
    start, code, count = graph.bins
    check_columns([start], ["u8"], "list of histograms")
    check_columns([code, count], ["u2", "u8"], "histogram")
    if not len(start):
        return
    ends = (start[0], start[-1]) if len(start) == len(graph) + 1 else (1, 0)
    if ends != (0, len(code)) or not (start[1:] > start[:-1]).all():
        raise NeuropilError("the histograms of a region graph are not one for each edge")
    if len(code) and (
        int(code.max()) >= graph.encoding.codes
        or not np.array_equal(np.add.reduceat(count, start[:-1].astype(np.int64)), graph.count)
    ):
        raise NeuropilError("the histograms of a region graph do not hold the faces that its edges count")
