"""A table of all segments: size, position, connected parts, neighbours, and the confidence of the affinities."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.evaluation.components import connected_parts
from neuropil.geometry import NEAREST, Box, Triple
from neuropil.proofreading.calibration import Calibration
from neuropil.proofreading.candidates import Proofreading
from neuropil.segmentation import region_graph
from neuropil.volumes import Volume, require_labels
from neuropil.volumes.atomic import write_text
from neuropil.volumes.marks import begins_with


@dataclass(frozen=True)
class SegmentRow:
    """One segment."""

    id: int
    voxels: int
    volume_nm3: float | None
    """Volume in nm³; None if no voxel size is stored."""
    box: Box
    """Bounding box, in voxels of the whole volume."""
    centre: Triple
    """The voxel of the segment nearest to its centre of mass, in voxels of the whole volume."""
    border_voxels: int
    """Voxels on a face of the volume."""
    parts: int
    """Number of 6-connected components."""
    neighbours: int
    """Number of segments that it touches."""
    weakest_merge: float | None = None
    """Lowest mean affinity of a merge of two large sides within it; None without affinities or such a merge."""
    confidence: float | None = None
    """Probability that the present state of all questions about it is right; None without affinities."""


def objects_of(segmentation: Volume) -> list[SegmentRow]:
    """Measure all segments. The whole volume is read into memory.

    Args:
        segmentation: ids ``[z, y, x]``, 0 = background.

    Raises:
        NeuropilError: the volume does not hold integer ids.

    >>> from neuropil.volumes import array_volume
    >>> rows = objects_of(array_volume(np.array([[[1, 1, 0, 2], [1, 1, 2, 0]]], np.uint32)))
    >>> [(row.id, row.voxels, row.parts, row.neighbours, str(row.box)) for row in rows]
    [(1, 4, 1, 1, '0:1,0:2,0:2'), (2, 2, 2, 1, '0:1,0:2,2:4')]
    """
    whole, box = require_labels(segmentation).read(), segmentation.box
    ids, number = np.unique(whole, return_inverse=True)
    number = number.reshape(whole.shape).astype(np.int64)
    count = len(ids)
    sizes = np.bincount(number.reshape(-1), minlength=count)
    low, high, mean = _extent(number, count, sizes)
    centre = _nearest(number, count, mean, segmentation.metadata.voxel_size or (1.0, 1.0, 1.0))
    part = connected_parts(whole)
    owner = np.zeros(int(part.max(initial=0)) + 1, np.int64)
    owner[part.reshape(-1)] = number.reshape(-1)
    parts = np.bincount(owner[1:], minlength=count)
    graph = region_graph(np.zeros((3, *whole.shape), np.uint8), np.where(whole > 0, number + 1, 0), offsets=NEAREST)
    touching = np.bincount(np.concatenate([graph.a, graph.b]).astype(np.int64) - 1, minlength=count)
    border = _border(number, count)
    size = segmentation.metadata.voxel_size
    start = np.array(box.start)
    return [
        SegmentRow(
            int(ids[i]), int(sizes[i]), float(sizes[i] * np.prod(size)) if size else None,
            Box.at((low[i] + start).tolist(), (high[i] - low[i] + 1).tolist()), _triple(centre[i] + start),
            int(border[i]), int(parts[i]), int(touching[i]),
        )
        for i in range(count)
        if ids[i]
    ]  # fmt: skip


def with_confidence(rows: Sequence[SegmentRow], state: Proofreading, calibration: Calibration) -> list[SegmentRow]:
    """The same rows with ``weakest_merge`` and ``confidence`` filled in."""
    found = state.candidates()
    sure = np.log1p(-np.minimum(calibration.probability(found), 1 - 1e-12))
    ids = np.array([row.id for row in rows], np.uint64)
    order = np.argsort(ids)
    at_a, at_b = (order[np.searchsorted(ids[order], end.astype(np.uint64))] for end in (found.id_a, found.id_b))
    total = np.bincount(at_a, sure, len(ids)) + np.bincount(at_b[found.join], sure[found.join], len(ids))
    weakest = np.full(len(ids), np.inf)
    np.minimum.at(weakest, at_a[~found.join], found.mean[~found.join])
    return [
        replace(row, weakest_merge=None if np.isinf(low) else float(low), confidence=float(np.exp(logarithm)))
        for row, low, logarithm in zip(rows, weakest, total, strict=True)
    ]


def write_objects(rows: Sequence[SegmentRow], path: Path | str) -> Path:
    """Write ``objects.csv``, one row for each segment, in the order of ids."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = ("z0", "z1", "y0", "y1", "x0", "x1")
    names = [field.name for field in fields(SegmentRow)]
    at = names.index("box")
    writer.writerow([*names[:at], *ends, "z", "y", "x", *names[at + 2 :]])
    for row in rows:
        bounds = [n for pair in zip(row.box.start, row.box.stop, strict=True) for n in pair]
        values = [getattr(row, name) for name in names]
        cells = [*values[:at], *bounds, *row.centre, *values[at + 2 :]]
        writer.writerow([f"{cell:.6g}" if isinstance(cell, float) else "" if cell is None else cell for cell in cells])
    write_text(Path(path), text.getvalue(), begins_with("id,voxels,volume_nm3,z0,z1,y0,"))
    return Path(path)


def _extent(number: NDArray[Any], count: int, sizes: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """First and last voxel of each segment along each axis, and the mean of its voxels; ``[segment, 3]`` each."""
    low = np.full((count, 3), np.iinfo(np.int64).max)
    high = np.full((count, 3), -1)
    total = np.zeros((count, 3))
    for axis in range(3):
        for i in range(number.shape[axis]):
            here = np.bincount(number.take(i, axis).reshape(-1), minlength=count)
            seen = here > 0
            low[seen, axis] = np.minimum(low[seen, axis], i)
            high[seen, axis] = i
            total[:, axis] += i * here
    return low, high, total / sizes[:, None]


def _nearest(number: NDArray[Any], count: int, mean: NDArray[Any], size: Sequence[float]) -> NDArray[Any]:
    """The voxel of each segment nearest to its mean in nm, the first of equals; ``[segment, 3]``."""
    best = np.full(count, np.inf)
    found = np.zeros((count, 3), np.int64)
    y, x = (np.arange(n) for n in number.shape[1:])
    for z in range(number.shape[0]):
        here = number[z]
        far = ((z - mean[here, 0]) * size[0]) ** 2
        far += ((y[:, None] - mean[here, 1]) * size[1]) ** 2 + ((x - mean[here, 2]) * size[2]) ** 2
        before = best.copy()
        np.minimum.at(best, here.reshape(-1), far.reshape(-1))
        at = np.flatnonzero((far == best[here]) & (far < before[here]))[::-1]
        rows, columns = np.unravel_index(at, here.shape)
        found[here.reshape(-1)[at]] = np.stack([np.full(len(at), z), rows, columns], axis=1)
    return found


def _border(number: NDArray[Any], count: int) -> NDArray[Any]:
    """Voxels of each segment on a face of the volume, each once."""
    inner = tuple(slice(1, -1) for _ in range(3))
    total = np.bincount(number.reshape(-1), minlength=count)
    return np.asarray(total - np.bincount(number[inner].reshape(-1), minlength=count))


def _triple(values: NDArray[Any]) -> Triple:
    return (int(values[0]), int(values[1]), int(values[2]))
