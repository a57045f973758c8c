"""Scores of a segmentation block by block: contingency tables of blocks, added up."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from neuropil.blockwise.executor import Executor, Task
from neuropil.blockwise.job import BLOCK, Job, job_name, load_arrays
from neuropil.blockwise.runner import Runner, children_of, tasks_of
from neuropil.blockwise.tree import Node, as_triple
from neuropil.evaluation import Contingency, Scores, contingency
from neuropil.evaluation.placing import place
from neuropil.evaluation.scores import scores_of
from neuropil.evaluation.table import total
from neuropil.geometry import Box, Triple
from neuropil.progress import ProgressCallback
from neuropil.volumes import Volume, open_volume, stamp
from neuropil.volumes.atomic import remove_folder
from neuropil.volumes.intermediate import holding, work_folder
from neuropil.volumes.location import absolute_path
from neuropil.volumes.scored import ALL, Scored, tell_unlabelled


@dataclass(frozen=True)
class ScoreJob(Job):
    """Scoring a segmentation in a box.

    Args:
        segmentation, labels: paths of the volumes.
        start: first voxel of the box, in voxels of the image.
        made: identity of the files that hold the volumes; see :func:`neuropil.volumes.stamp`.
        labels_as: how the labels are scored.
    """

    segmentation: str
    labels: str
    start: Triple
    made: list[list[Any]]
    labels_as: Scored = ALL

    def place(self, node: Node) -> Box:
        """The voxels of a block, in voxels of the image."""
        return self.tree.box(node).shift(self.start)


def evaluate_blocks(
    segmentation: Volume,
    labels: Volume,
    *,
    block: Triple | None = None,
    work: Path | str | None = None,
    box: Box | None = None,
    executor: Executor | None = None,
    progress: ProgressCallback | None = None,
) -> Scores:
    """:func:`neuropil.evaluate` of volumes in files, block by block: the same scores, since tables of blocks add.

    Args:
        segmentation, labels: ids ``[z, y, x]``, in files.
        block: voxels (z, y, x) of a block; 128, 512, 512 when not given.
        work: folder for intermediate files, which all workers can reach; next to the segmentation when not given. A
            folder that existed before is not removed.
        box: as for :func:`neuropil.evaluate`.
        executor: runs the tasks; this process when not given.
        progress: called after each block of each step.

    Raises:
        NeuropilError: as :func:`neuropil.evaluate`.
        BlocksFailed: blocks that could not be read.

    >>> import tempfile, numpy as np
    >>> from neuropil.volumes import write_volume
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_volume(f"{folder}/a.zarr", np.arange(24, dtype=np.uint32).reshape(2, 3, 4) // 6 + 1)
    ...     volume = open_volume(f"{folder}/a.zarr")
    ...     evaluate_blocks(volume, volume, block=(1, 2, 3)).adapted_rand_error
    0.0
    """
    placed = place(segmentation, labels, box)
    folder = work_folder(work, segmentation.path, "scores.blocks")
    job = _score_job(segmentation, placed.labels, placed.box, block or BLOCK, folder.path)
    folder.begin()
    job.save()
    with holding(job.folder):
        Runner(executor, progress).run_all(score_tasks(job))
        table = _table(job, job.tree.root)
        tell_unlabelled(table.truth, labels.path)
        scores = scores_of(table)
        _remove_useless(folder.path, job)
        folder.end(job.folder)
    return replace(scores, box=str(placed.box))


def _score_job(segmentation: Volume, labels: Volume, box: Box, block: Triple, folder: Path) -> ScoreJob:
    paths = [absolute_path(volume.path) for volume in (segmentation, labels)]
    made = [stamp(path) for path in paths]
    size = as_triple(min(b, n) for b, n in zip(block, box.shape, strict=True))
    labels_as = Scored.of(labels)
    place = folder.resolve() / job_name(paths, box.start, box.stop, size, made, *labels_as.identity())
    return ScoreJob(str(place), box.shape, size, paths[0], paths[1], box.start, made, labels_as)


def score_tasks(job: ScoreJob) -> list[list[Task]]:
    """Pairs counted in the smallest blocks, and added up the tree."""
    lists = []
    for level in range(job.tree.levels):
        label = f"adding tables, level {level}" if level else "counting pairs"
        lists.append(tasks_of(job, "pairs", count_pairs, level, label, children_of(job, "pairs")))
    return lists


def count_pairs(job: ScoreJob, node: Node) -> dict[str, Any]:
    """The table of a block: counted, or added up from those of its children."""
    if node[0]:
        table = total(_table(job, child) for child in job.tree.children(node))
    else:
        box = job.place(node)
        with open_volume(job.segmentation) as segmentation, job.labels_as.open(job.labels) as labels:
            table = contingency(segmentation.read(box), labels.read(box), threads=1)
    return {"truth": table.truth, "segment": table.segment, "count": table.count}


def _table(job: ScoreJob, node: Node) -> Contingency:
    return Contingency(*load_arrays(job.file("pairs", node), "truth", "segment", "count"))


def _remove_useless(work: Path, job: ScoreJob) -> None:
    """Remove tables of stopped runs that cannot be used again: of this box in other blocks, and of volumes that have
    changed since. Those of other volumes and boxes stay, because their runs may still be active."""
    same = ("segmentation", "labels", "start", "shape", "labels_as")
    own = json.loads(TypeAdapter(ScoreJob).dump_json(job))
    wanted = [own[name] for name in same]
    for file in work.glob("*/job.json"):
        try:
            other = json.loads(file.read_text())
            now = [stamp(other[name]) for name in ("segmentation", "labels")]
            if file.parent != Path(job.folder) and ([other[name] for name in same] == wanted or other["made"] != now):
                remove_folder(file.parent)
        except (OSError, ValueError, KeyError, TypeError):  # another run is removing or making it, or it is not ours
            continue
