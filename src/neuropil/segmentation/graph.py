"""Fragments to the graph of which fragments touch, and what the faces between them say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from neuropil import _native
from neuropil.errors import NeuropilError
from neuropil.segmentation.codes import (
    Affinities,
    FaceCodes,
    Labels,
    face_codes,
    label_array,
    thread_count,
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
    def columns(self) -> tuple[npt.NDArray[Any], ...]:
        """What every kernel on graphs takes first."""
        return self.a, self.b, self.count, self.sum, self.key, self.max, self.min

    @property
    def bins(self) -> tuple[npt.NDArray[Any], ...]:
        """The histograms, as kernels take them."""
        return self.bin_start, self.bin_code, self.bin_count

    @property
    def kernels(self) -> Any:
        """The kernels compiled for the type of its nodes."""
        return _native if self.a.dtype == np.uint32 else _native.wide

    def check(self, score: Score) -> None:
        """Refuse a score that this graph cannot tell."""
        if score.kind == "quantile" and len(self.bin_start) != len(self) + 1:
            raise NeuropilError("a quantile needs the graph's histograms: region_graph(…, histograms=True)")

    def save(self, path: str | Path) -> None:
        """Write everything to one .npz file (the name is used as it is)."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        with Path(path).open("wb") as file:
            np.savez(file, **{**arrays, "encoding": json.dumps(self.encoding.to_json())})

    @classmethod
    def load(cls, path: str | Path) -> RegionGraph:
        """Read what :meth:`save` wrote.

        Raises:
            NeuropilError: the file is not a saved region graph.
        """
        with saved(path, "region graph"):
            stored = load_fields(path, cls)
            encoding = Encoding.from_json(json.loads(str(stored["encoding"])))
            graph = cls(**{**stored, "nodes": int(stored["nodes"]), "encoding": encoding})
            _check_columns(graph)
            _check_bins(graph)
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
    faces = face_codes(affinities, offsets, encoding)
    labels, ids = nodes_of(fragments, faces)
    arguments = (*faces.arguments, labels, fixed_point(faces.encoding)[0], thread_count(threads))
    a, b, count, total, key, largest, smallest = _native.region_graph(*arguments)
    none = np.zeros(0, np.uint64), np.zeros(0, np.uint16), np.zeros(0, np.uint64)
    start, code, number = _native.face_histograms(*arguments) if histograms else none
    nodes = len(ids) or int(labels.max(initial=0))
    return RegionGraph(a, b, count, total, key, largest, smallest, nodes, faces.encoding, start, code, number, ids)


def nodes_of(fragments: Labels, faces: FaceCodes) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint64]]:
    """Fragments as nodes of a graph: as they are where ids are dense (then no ids), else as positions among the ids."""
    labels = label_array(fragments, faces.shape)
    if int(labels.max(initial=0)) <= max(2 * labels.size, 1 << 16):
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


def no_ids() -> npt.NDArray[np.uint64]:
    """What ``ids`` is where fragments are counted by themselves."""
    return np.zeros(0, np.uint64)


@contextmanager
def saved(path: str | Path, what: str) -> Iterator[None]:
    """Whatever is wrong with a file that is being read becomes one message that names it."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, BadZipFile, NeuropilError) as problem:
        raise NeuropilError(f"expected a saved {what} (.npz) in {path}: {problem}") from problem


def load_fields(path: str | Path, cls: type) -> dict[str, Any]:
    """The fields of a dataclass from an .npz file."""
    with np.load(path, allow_pickle=False) as stored:
        return {field.name: stored[field.name] for field in fields(cls)}


_COLUMN_TYPES = {"count": "u8", "sum": "u8", "key": "u8", "max": "u2", "min": "u2"}


def _check_columns(graph: RegionGraph) -> None:
    """Refuse columns that kernels could not use: they trust what a graph says."""
    index = graph.a.dtype
    types = {"a": index.str[1:], "b": index.str[1:], **_COLUMN_TYPES}
    if index.str[1:] not in ("u4", "u8") or any(
        getattr(graph, name).shape != (len(graph.a),) or getattr(graph, name).dtype.str[1:] != kind
        for name, kind in types.items()
    ):
        raise NeuropilError("its columns are not all of one length and of the types of a graph")
    if len(graph.ids) not in (0, graph.nodes) or graph.ids.dtype.str[1:] != "u8" or graph.ids.ndim != 1:
        raise NeuropilError(f"expected ids of {graph.nodes} nodes, or none; got {len(graph.ids)}")
    if not len(graph):
        return
    if not (graph.a.min() >= 1 and (graph.a < graph.b).all() and graph.b.max() <= graph.nodes):
        raise NeuropilError(f"an edge joins nodes 1 <= a < b <= {graph.nodes}")
    top = int(fixed_point(graph.encoding)[0][-1])
    codes = max(int(graph.max.max()), int(graph.min.max()))
    if not (graph.count.min() >= 1 and (graph.sum // graph.count).max() <= top and codes < graph.encoding.codes):
        raise NeuropilError("its counts, sums or codes cannot be those of faces")


def _check_bins(graph: RegionGraph) -> None:
    """The same for histograms: those of each edge hold all its faces."""
    start, code, count = graph.bins
    if [column.dtype.str[1:] for column in graph.bins] != ["u8", "u2", "u8"]:
        raise NeuropilError("its histograms are not of the types of a graph")
    if not len(start):
        return
    ends = (start[0], start[-1]) if len(start) == len(graph) + 1 else (1, 0)
    if ends != (0, len(code)) or len(code) != len(count) or not (start[1:] > start[:-1]).all():
        raise NeuropilError("its histograms are not one for each edge")
    if len(code) and (
        int(code.max()) >= graph.encoding.codes
        or not np.array_equal(np.add.reduceat(count, start[:-1].astype(np.int64)), graph.count)
    ):
        raise NeuropilError("its histograms do not hold the faces that its edges count")
