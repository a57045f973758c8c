"""Scores at every threshold, block by block: voxels per truth object, handed up with their regions.

A row is the voxels of each truth object in one region. Merges of a block join rows that are complete, for what they
join reaches nowhere else; so what each does to the scores is known there, and its rows go no further. A parent gets
the rows of regions that wait, and of what lies behind no region.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.blockwise.graph import Names, united
from neuropil.blockwise.job import Job, load_arrays
from neuropil.blockwise.tree import Node
from neuropil.evaluation import Contingency, ThresholdCurve, contingency
from neuropil.evaluation.changes import Changes
from neuropil.evaluation.table import EMPTY, from_pairs, sum_by
from neuropil.geometry import Box
from neuropil.volumes import open_volume


def count_rows(job: Job, leaf: Node) -> dict[str, Any]:
    """Rows of the fragments of a smallest block, and what its merges do to the scores."""
    box = job.tree.box(leaf)
    labels, name = load_arrays(job.file("merge", leaf), "labels", "name")
    start = job.volume.metadata.start
    placed = box.shift(start).intersect(Box.parse(job.scored))
    table = EMPTY
    if placed.size:
        inside = placed.relative_to(box.shift(start).start).slices
        with open_volume(job.truth) as truth:
            table = contingency(labels[inside], truth.read(placed), threads=1)
    named = np.concatenate([np.zeros(1, np.uint64), name])
    return _settled(job, leaf, Contingency(table.truth, named[table.segment.astype(np.intp)], table.count), [])


def add_rows(job: Job, node: Node) -> dict[str, Any]:
    """Rows that the children could not settle, and what the merges of this block do to the scores."""
    tables, below = [EMPTY], []
    for child in job.tree.children(node):
        columns = load_arrays(job.file("rows", child), "row_truth", "row_name", "row_count")
        tables.append(Contingency(*columns))
        below.append(child)
    columns = [np.concatenate([getattr(t, key) for t in tables]) for key in ("truth", "segment", "count")]
    return _settled(job, node, from_pairs(*columns), below)


def _settled(job: Job, node: Node, table: Contingency, children: list[Node]) -> dict[str, Any]:
    """Make the merges of a block; keep the rows of the regions that its parent goes on with."""
    a, b, score, waiting = load_arrays(job.file("merge", node), "merge_a", "merge_b", "merge_score", "names")
    real = (table.truth > 0) & (table.segment > 0)
    rows = _chosen(table, real)
    changes = Changes.of(rows, a, b, score, first=not children)
    background = _chosen(table, (table.truth > 0) & (table.segment == 0))
    region = _regions(rows.segment, a, b)
    kept = np.isin(region, waiting)
    left = from_pairs(
        *(
            np.concatenate(pair)
            for pair in (
                (rows.truth[kept], background.truth),
                (region[kept], background.segment),
                (rows.count[kept], background.count),
            )
        )
    )
    ids, sizes = _truth(job, table, children)
    total = Changes.total([changes, *(load_changes(job, child) for child in children)])
    return {
        "row_truth": left.truth, "row_name": left.segment, "row_count": left.count, "truth": ids, "truth_size": sizes,
        **{field.name: getattr(total, field.name) for field in fields(Changes)},
    }  # fmt: skip


def load_changes(job: Job, node: Node) -> Changes:
    """What all merges of a block and of those in it do to the scores."""
    return Changes(*load_arrays(job.file("rows", node), *(field.name for field in fields(Changes))))


def load_curve(job: Job) -> ThresholdCurve:
    """The threshold curve, when all blocks are done.

    Raises:
        NeuropilError: no voxel has a label above 0.
    """
    names = ("truth", "truth_size", "row_name", "row_count")
    ids, sizes, name, count = load_arrays(job.file("rows", job.tree.root), *names)
    return load_changes(job, job.tree.root).curve(count[name == 0], sizes[ids > 0], int(sizes.sum()))


def _regions(names: Names, a: Names, b: Names) -> Names:
    """The region that each of some regions is in after merges, by its smallest name."""
    every = np.unique(np.concatenate([names, a, b]))
    found = united(len(every), np.searchsorted(every, a), np.searchsorted(every, b))
    regions: Names = every[found[np.searchsorted(every, names)]]
    return regions


def _truth(job: Job, table: Contingency, children: list[Node]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Truth ids, 0 included, and their voxels in a block."""
    if not children:
        return table.truth_sizes()
    parts = [load_arrays(job.file("rows", child), "truth", "truth_size") for child in children]
    ids, sizes = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(ids, kind="stable")
    return sum_by(ids[order], sizes[order])


def _chosen(table: Contingency, keep: npt.NDArray[np.bool_]) -> Contingency:
    return Contingency(table.truth[keep], table.segment[keep], table.count[keep])
