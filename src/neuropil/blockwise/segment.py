"""Segmentation block by block: the list of tasks, from affinities to a segmentation in a file.

======== ============================= ===============================================================================
step     for each                      does
======== ============================= ===============================================================================
pieces   smallest block                for the mutex watershed: fragments, and what neighbouring blocks need of them
merge    smallest block                watershed with a halo of one voxel, region graph, merges inside the block
faces    smallest block                across its lower faces: fragments that are one, and the edges
merge    block of the tree, upwards    adds edges of its children and across faces; merges regions inside the block
sizes    every block, upwards          with a minimum size: joins small segments once their neighbours are known
ids      block of the tree, downwards  tells each child the ids of the regions that it could not complete
relabel  smallest block                writes the segmentation
======== ============================= ===============================================================================

Every step reads files and writes one file per block, under a temporary name until it is complete. A step whose file
exists is skipped. Exact agglomeration in parts is after Lu, Zlateski and Seung (2021).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neuropil.blockwise.edited import edit_blocks
from neuropil.blockwise.executor import Executor, Summary, Task
from neuropil.blockwise.job import BLOCK, SegmentJob, segment_job
from neuropil.blockwise.merge_tasks import merge_tasks
from neuropil.blockwise.relabel import create_output, name_regions, name_small_regions, relabel
from neuropil.blockwise.runner import BlockKey, Runner, children_of, tasks_of
from neuropil.blockwise.sizes import size_leaf, size_node
from neuropil.blockwise.tree import Node
from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError, in_file, tell
from neuropil.geometry import Triple
from neuropil.progress import ProgressCallback
from neuropil.segmentation import segmentation_metadata, settle, with_offsets
from neuropil.segmentation.edits import EditLog
from neuropil.segmentation.segment import check_log
from neuropil.volumes import (
    Metadata,
    Volume,
    as_volume,
    can_be_written,
    open_volume,
    put_in_place,
    spare_input,
    written_at,
)
from neuropil.volumes.atomic import replacing
from neuropil.volumes.intermediate import WorkFolder, holding, work_folder
from neuropil.volumes.marks import anything


def segment_blocks(
    affinities: Volume | Path | str,
    output: Path | str,
    settings: SegmentConfig,
    *,
    edits: EditLog | None = None,
    block: Triple | None = None,
    executor: Executor | None = None,
    work: Path | str | None = None,
    progress: ProgressCallback | None = None,
) -> int:
    """:func:`neuropil.segmentation.segment_volume` for volumes of any size.

    The segments are those of the whole volume, voxel for voxel, for any block and any number of workers; ids run from 1
    without gaps, in another order. Finished blocks are kept in ``work`` until all are done; the same call continues.

    Args:
        affinities: ``[edge, z, y, x]``, in a file.
        output: where to write; an earlier output is replaced when the new one is complete. Zarr, N5 and precomputed are
            written by all workers at once.
        settings: as for :func:`neuropil.segmentation.segment_volume`; the mutex watershed on fragments only.
        edits: a proofreader's decisions. The segments before them are an intermediate file, and the affinities are
            read a second time.
        block: voxels (z, y, x) of a block; 128, 512, 512 when not given.
        executor: runs the tasks; this process when not given.
        work: folder for intermediate files, which all workers can reach; next to the output when not given. A folder
            that existed before is not removed.
        progress: called after each block of each step.

    Returns:
        number of segments.

    Raises:
        NeuropilError: settings that need the whole volume; an output that cannot be written; edits about other
            fragments, or that contradict each other.
        BlocksFailed: some blocks failed; all that does not depend on them is done.

    >>> import tempfile
    >>> from neuropil.volumes import open_volume, write_volume
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_volume(f"{folder}/a.zarr", np.full((3, 4, 6, 6), 0.9, np.float32))
    ...     affinities = open_volume(f"{folder}/a.zarr")
    ...     segment_blocks(affinities, f"{folder}/s.zarr", SegmentConfig(threshold=0.5), block=(4, 3, 6))
    1
    """
    volume, folder = with_offsets(as_volume(affinities)), work_folder(work, output, "blocks")
    settings, _ = settle(volume, settings)
    if edits is not None:
        with in_file(volume.path):
            check_log(volume, settings, edits)
    job = _save_job(volume, output, settings, block or BLOCK, folder, edits is not None)
    metadata = segmentation_metadata(volume, settings, edits)
    with holding(job.folder):
        segments = _segment(job, Runner(executor, progress), metadata)
        if edits is None:
            put_in_place(job.output, output, job.block)
        else:
            with open_volume(job.output) as before, in_file(volume.path):
                segments = edit_blocks(
                    volume, before, output, settings, edits.active(), metadata, block=job.block, executor=executor,
                    work=job.folder, progress=progress,
                )  # fmt: skip
        folder.end(job.folder)
    if not segments:
        tell(f"{output} holds no segment: all its voxels are 0")
    return segments


def _segment(job: SegmentJob, runner: Runner, metadata: Metadata) -> int:
    """Run all tasks; returns the number of segments."""
    counts: dict[Node, int] = {}  # segments that each block completes; "sizes", the later step, overwrites "merge"

    def count(task: Task, summary: Summary) -> None:
        if task.key[0] in ("merge", "sizes"):
            counts[task.node] = summary["segments"]

    small = job.min_size > 1
    runner.run_all(merge_tasks(job), count)
    if small:
        runner.run_all([*_id_tasks(job, "ids", "names"), *_size_tasks(job)], count)
    segments = _number(job, counts)
    create_output(job, np.uint32 if segments < 1 << 32 else np.uint64, metadata)
    runner.run_all([*_id_tasks(job, "sized" if small else "ids", "ids"), _relabel_tasks(job)])
    return segments


def _id_tasks(job: SegmentJob, name: str, label: str) -> list[list[Task]]:
    """Tasks that pass the ids of regions that reach beyond a block down the tree, from the whole volume on."""
    tree, step = job.tree, name_small_regions if name == "sized" else name_regions

    def parent(node: Node) -> Iterable[BlockKey]:
        return [] if node == tree.root else [(name, tree.parent(node))]

    levels = range(tree.levels - 1, 0, -1)
    return [tasks_of(job, name, step, level, f"{label}, level {level}", parent) for level in levels]


def _size_tasks(job: SegmentJob) -> list[list[Task]]:
    """Tasks of the minimum size, up the tree."""
    steps = [size_leaf, *[size_node] * (job.tree.levels - 1)]
    return [
        tasks_of(job, "sizes", step, level, f"sizes, level {level}", children_of(job, "sizes"))
        for level, step in enumerate(steps)
    ]


def _relabel_tasks(job: SegmentJob) -> list[Task]:
    return tasks_of(job, "relabel", relabel, 0, "relabelling")


def _number(job: SegmentJob, counts: dict[Node, int]) -> int:
    """Store the first id of every block for the workers, and return how many segments there are."""
    nodes = [(level, index) for level in range(job.tree.levels) for index in range(job.tree.count(level))]
    each = np.array([counts[node] for node in nodes], np.uint64)
    first: npt.NDArray[np.uint64] = np.cumsum(each, dtype=np.uint64) - each + np.uint64(1)
    with replacing(Path(job.folder) / "first.npy", anything, durable=False) as temporary, temporary.open("wb") as file:
        np.save(file, first)
    return int(each.sum())


def _save_job(
    affinities: Volume, output: Path | str, settings: SegmentConfig, block: Triple, folder: WorkFolder, edited: bool
) -> SegmentJob:
    """Make the job and save it in its folder; refuses settings that need the whole volume at once.

    What is to be ``edited`` is written among the intermediate files, and stays there.
    """
    spare_input(affinities, output)
    if settings.method == "mutex" and not settings.fragments:
        raise NeuropilError(
            "the mutex watershed of voxels is one sweep over the whole volume; by blocks it works on fragments: "
            "set segment.fragments"
        )
    if settings.fill:
        raise NeuropilError("filling looks across the whole volume; leave out --fill, or --block")
    made = folder.path / "unedited.zarr" if edited else output
    job = segment_job(affinities, settings, block, folder.path, output=made)
    job = replace(job, output=written_at(made, Path(job.folder), "segmentation"))
    if not (Path(job.folder) / "job.json").exists():
        can_be_written(output, (1, 1, 1), np.uint32)
    folder.begin()
    job.save()
    return job
