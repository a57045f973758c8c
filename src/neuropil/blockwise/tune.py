"""Blockwise tuning: scores of every threshold, the same as on the whole volume.

A row of the contingency table holds the voxels of each truth object in one region. Regions that merge in a block have
no voxels outside it, so their rows are complete and the effect of the merge on the scores is known there. A parent
gets only the rows of frozen regions, and those of voxels outside all regions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.blockwise.edges import Names, united
from neuropil.blockwise.executor import Executor, Task
from neuropil.blockwise.job import BLOCK, SegmentJob, load_arrays, segment_job
from neuropil.blockwise.merge_tasks import merge_tasks
from neuropil.blockwise.runner import BlockKey, Runner, children_of, tasks_of
from neuropil.blockwise.tree import Node
from neuropil.choices import Metric
from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError
from neuropil.evaluation import Contingency, ThresholdCurve, contingency
from neuropil.evaluation.changes import Changes
from neuropil.evaluation.placing import common_box
from neuropil.evaluation.table import EMPTY, from_pairs, sum_by
from neuropil.evaluation.tuning import PLATEAU, Tuning, chosen
from neuropil.geometry import Box, Triple
from neuropil.progress import ProgressCallback
from neuropil.volumes import Volume, in_memory
from neuropil.volumes.intermediate import holding, work_folder
from neuropil.volumes.scored import scored_labels, tell_unlabelled


def tune_blocks(
    pairs: Sequence[tuple[Volume, Volume]],
    settings: SegmentConfig | None = None,
    *,
    metric: Metric = "voi",
    tolerance: float = PLATEAU,
    box: Box | None = None,
    block: Triple | None = None,
    executor: Executor | None = None,
    work: Path | str | None = None,
    progress: ProgressCallback | None = None,
) -> Tuning:
    """:func:`neuropil.evaluation.tuning.tune_pairs` of volumes in files, block by block, with the same curve.

    Each block passes the effect of its merges on the scores to its parent, summed over merges of equal score. So no
    list of all fragments or merges is ever made; only the curve grows, by 64 bytes for each different score.

    Args:
        pairs, settings, metric, tolerance, box: as for ``tune_pairs``; volumes in files.
        block, executor, progress: as for :func:`neuropil.blockwise.segment_blocks`.
        work: folder for intermediate files; next to the affinities when not given.

    Raises:
        NeuropilError: as ``tune_pairs``.
        BlocksFailed: blocks that could not be done; the same call does only what is missing.

    >>> import tempfile, numpy as np
    >>> from neuropil.volumes import open_volume, write_volume
    >>> affinities = (np.where(np.arange(4) == 2, 0.1, 0.8) * np.ones((3, 1, 4, 4))).astype(np.float32)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_volume(f"{folder}/a.zarr", affinities)
    ...     write_volume(f"{folder}/t.zarr", np.repeat([[[1, 1, 2, 2]]], 4, axis=1).astype(np.uint8))
    ...     pair = (open_volume(f"{folder}/a.zarr"), open_volume(f"{folder}/t.zarr"))
    ...     tuning = tune_blocks([pair], block=(1, 2, 3))
    >>> round(tuning.settings.threshold, 3), tuning.score
    (0.275, 0.0)
    """
    settings = settings or SegmentConfig()
    curves = [
        curve_by_blocks(*pair, settings, box=box, block=block, executor=executor, work=work, progress=progress)
        for pair in pairs
    ]
    return chosen(curves, settings, metric, tolerance)


def curve_by_blocks(
    affinities: Volume,
    labels: Volume,
    settings: SegmentConfig,
    *,
    box: Box | None = None,
    block: Triple | None = None,
    executor: Executor | None = None,
    work: Path | str | None = None,
    progress: ProgressCallback | None = None,
) -> ThresholdCurve:
    """The threshold curve of one pair; see :func:`tune_blocks`."""
    if settings.method != "agglomerate":
        raise NeuropilError(f'only the method "agglomerate" has a threshold to tune, got {settings.method!r}')
    if in_memory(labels):
        raise NeuropilError("blocks are read by any process: expected labels in a file, got an array in memory")
    truth = scored_labels(labels)
    scored = common_box(affinities, truth, box)
    wanted = SegmentConfig(low=settings.low, high=settings.high, score=settings.score, threshold=0.0)
    folder = work_folder(work, affinities.path, "tune.blocks")
    job = segment_job(affinities, wanted, block or BLOCK, folder.path, truth=truth, scored=str(scored))
    folder.begin()
    job.save()
    with holding(job.folder):
        Runner(executor, progress).run_all([*merge_tasks(job), *row_tasks(job)])
        curve = load_curve(job)
        folder.end(job.folder)
    return curve


def row_tasks(job: SegmentJob) -> list[list[Task]]:
    """Tasks that score all thresholds, up the tree, after merging."""
    below, lists = children_of(job, "rows"), []

    def needs(node: Node) -> Iterable[BlockKey]:
        return [("merge", node), *below(node)]

    for level in range(job.tree.levels):
        label = f"adding up scores, level {level}" if level else "counting pairs"
        lists.append(tasks_of(job, "rows", add_rows if level else count_rows, level, label, needs))
    return lists


def count_rows(job: SegmentJob, leaf: Node) -> dict[str, Any]:
    """Rows of the fragments of a smallest block, and the changes of the scores by its merges."""
    box = job.tree.box(leaf)
    labels, name = load_arrays(job.file("merge", leaf), "labels", "name")
    start = job.volume.metadata.start
    placed = box.shift(start).intersect(Box.parse(job.scored))
    table = EMPTY
    if placed.size:
        inside = placed.relative_to(box.shift(start).start).slices
        with job.truth_as.open(job.truth) as truth:
            table = contingency(labels[inside], truth.read(placed), threads=1)
    named = np.concatenate([np.zeros(1, np.uint64), name])
    return _settled(job, leaf, Contingency(table.truth, named[table.segment.astype(np.intp)], table.count), [])


def add_rows(job: SegmentJob, node: Node) -> dict[str, Any]:
    """Rows that the children passed on, and the changes of the scores by the merges of this block."""
    tables, below = [EMPTY], []
    for child in job.tree.children(node):
        columns = load_arrays(job.file("rows", child), "row_truth", "row_name", "row_count")
        tables.append(Contingency(*columns))
        below.append(child)
    columns = [np.concatenate([getattr(t, key) for t in tables]) for key in ("truth", "segment", "count")]
    return _settled(job, node, from_pairs(*columns), below)


def _settled(job: SegmentJob, node: Node, table: Contingency, children: list[Node]) -> dict[str, Any]:
    """Apply the merges of a block to its rows; keep the rows of regions that are still frozen for the parent."""
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


def load_changes(job: SegmentJob, node: Node) -> Changes:
    """The changes of the scores by all merges of a block and of the blocks in it."""
    return Changes(*load_arrays(job.file("rows", node), *(field.name for field in fields(Changes))))


def load_curve(job: SegmentJob) -> ThresholdCurve:
    """The threshold curve, when all blocks are done.

    Raises:
        NeuropilError: no voxel has a label above 0.
    """
    names = ("truth", "truth_size", "row_name", "row_count")
    ids, sizes, name, count = load_arrays(job.file("rows", job.tree.root), *names)
    tell_unlabelled(ids, str(job.truth))
    return load_changes(job, job.tree.root).curve(count[name == 0], sizes[ids > 0], int(sizes.sum()))


def _regions(names: Names, a: Names, b: Names) -> Names:
    """The region that each of ``names`` is in after the merges (a, b), as its smallest name."""
    every = np.unique(np.concatenate([names, a, b]))
    found = united(len(every), np.searchsorted(every, a), np.searchsorted(every, b))
    regions: Names = every[found[np.searchsorted(every, names)]]
    return regions


def _truth(job: SegmentJob, table: Contingency, children: list[Node]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Truth ids, 0 included, and their voxels in a block."""
    if not children:
        return table.truth_sizes()
    parts = [load_arrays(job.file("rows", child), "truth", "truth_size") for child in children]
    ids, sizes = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(ids, kind="stable")
    return sum_by(ids[order], sizes[order])


def _chosen(table: Contingency, keep: npt.NDArray[np.bool_]) -> Contingency:
    return Contingency(table.truth[keep], table.segment[keep], table.count[keep])
