"""A volume of affinities to a segmentation, block by block: the steps in their order, and what is left of a run.

====== ============================ ========================================================================
step   for each                     does
====== ============================ ========================================================================
pieces smallest block               for the mutex watershed: fragments, and of these what blocks around must see
merge  smallest block               watershed with a halo of one voxel, region graph, merges inside the block
seams  smallest block               what its lower faces unite, and the edges across them
merge  block of the tree, upwards   adds its children's partial edges and seams; merges what no longer reaches out
sizes  every block, upwards         where a minimum size is asked for: joins small segments where all is known
ids    block of the tree, downwards tells each child what the regions are called that it had to hand up
relabel smallest block              writes the segmentation
rows   every block, upwards         instead, where thresholds are tuned: what its merges do to the scores
====== ============================ ========================================================================

Every step is a pure function of files, and leaves one file per block, under another name until it is complete. A step
whose file is there is skipped. Agglomeration in parts that reach an exact whole: Lu, Zlateski and Seung (2021).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.blockwise.engine import BlocksFailed, Engine, Failure, Serial, Summary, Task
from neuropil.blockwise.job import Job, load_arrays, load_job, plan, save_arrays
from neuropil.blockwise.naming import name_regions, relabel
from neuropil.blockwise.output import create_output
from neuropil.blockwise.parts import join_seams, merge_leaf, merge_node
from neuropil.blockwise.rows import add_rows, count_rows
from neuropil.blockwise.signed import find_pieces, join_pieces, leaves_around, sweep_leaf, sweep_node
from neuropil.blockwise.sizes import size_leaf, size_node
from neuropil.blockwise.tree import Node
from neuropil.blockwise.waiting import forget_edges
from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError
from neuropil.geometry import Triple
from neuropil.volumes import Metadata, Volume, can_be_written, put_in_place, spare_input, written_at
from neuropil.volumes.atomic import replacing
from neuropil.volumes.intermediate import WorkFolder, holding, work_folder

Watch = Callable[[str, int, int], None]
"""Is told the step, how many of its blocks are done, and how many there are."""

STEPS: dict[str, Callable[[Job, Node], dict[str, Any]]] = {
    "pieces": find_pieces,
    "merge": lambda job, node: _merge(job, node),
    "seams": lambda job, node: join_pieces(job, node) if job.method == "mutex" else join_seams(job, node),
    "ids": name_regions,
    "sizes": lambda job, node: size_node(job, node) if node[0] else size_leaf(job, node),
    "sized": lambda job, node: name_regions(job, node, "sizes"),
    "relabel": relabel,
    "rows": lambda job, node: add_rows(job, node) if node[0] else count_rows(job, node),
}


def _merge(job: Job, node: Node) -> dict[str, Any]:
    if job.method == "mutex":
        return sweep_node(job, node) if node[0] else sweep_leaf(job, node)
    return merge_node(job, node) if node[0] else merge_leaf(job, node)


def segment_blocks(
    affinities: Volume,
    output: Path | str,
    settings: SegmentConfig,
    *,
    block: Triple,
    engine: Engine | None = None,
    metadata: Metadata | None = None,
    work: Path | str | None = None,
    watch: Watch | None = None,
) -> int:
    """Segment affinities of any size into a file. The partition is that of the whole volume, voxel for voxel, for any
    block and any number of workers; ids run from 1 without gaps, in another order.

    What is done is kept in a folder until all is; the same call continues there.

    Args:
        affinities: ``[edge, z, y, x]``, in a file.
        output: where to write; what was there is replaced when the new one is complete. Zarr, N5 and precomputed are
            written by all workers at once.
        settings: as in a recipe's ``segment`` section, with a threshold; the mutex watershed on fragments only.
        block: voxels (z, y, x) of a block.
        engine: who does the work; this process when not given.
        metadata: what travels with the segmentation.
        work: folder for what is between, which all workers can reach; beside the output when not given. One that was
            there before stays.
        watch: is told of progress.

    Returns:
        number of segments.

    Raises:
        NeuropilError: settings that need the whole volume; an output that cannot be written.
        BlocksFailed: blocks that could not be done; all that does not depend on them is.

    >>> import tempfile
    >>> from neuropil.volumes import open_volume, write_volume
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_volume(f"{folder}/a.zarr", np.full((3, 4, 6, 6), 0.9, np.float32))
    ...     affinities = open_volume(f"{folder}/a.zarr")
    ...     segment_blocks(affinities, f"{folder}/s.zarr", SegmentConfig(threshold=0.5), block=(4, 3, 6))
    1
    """
    folder = work_folder(work, output, "blocks")
    job = _job(affinities, output, settings, block, folder)
    with holding(job.folder):
        segments = _segment(job, Run(job, engine or Serial(), watch), metadata or Metadata())
        put_in_place(job.output, output, job.block)
        folder.end(job.folder)
    return segments


def _segment(job: Job, run: Run, metadata: Metadata) -> int:
    """All steps; returns the number of segments."""
    run.merge()
    if job.min_size > 1:
        run.step_down("ids", "names")
        for level in range(job.tree.levels):
            run.step("sizes", run.nodes(level), f"sizes, level {level}")
    segments = run.number()
    create_output(job, segments, metadata)
    run.step_down("sized" if job.min_size > 1 else "ids", "ids")
    run.step("relabel", run.nodes(0), "relabelling")
    run.stop_if_failed()
    return segments


def perform(folder: str, step: str, node: Node) -> Summary:
    """Do a step for a block, unless its file is there."""
    job = load_job(folder)
    path = job.file(step, node)
    if not path.exists():
        found = STEPS[step](job, node)
        counts = [len(found.get("done", ())), int(found.pop("edges", 0))]
        save_arrays(path, {**found, "summary": np.array(counts, np.int64)})
        if step == "merge" and node[0]:
            forget_edges(job, node)
    (summary,) = load_arrays(path, "summary")
    return {"segments": int(summary[0]), "edges": int(summary[1])}


class Run:
    """A job on its way."""

    def __init__(self, job: Job, engine: Engine, watch: Watch | None) -> None:
        self.job, self.engine, self.watch = job, engine, watch
        self.segments: dict[Node, int] = {}
        self.failures: list[Failure] = []
        self.missing: set[tuple[str, Node]] = set()
        self.done = 0

    def nodes(self, level: int) -> list[Node]:
        return [(level, index) for index in range(self.job.tree.count(level))]

    def merge(self) -> None:
        """The steps of all jobs: fragments, seams, and merging up the tree."""
        if self.job.method == "mutex":
            self.step("pieces", self.nodes(0), "watershed")
        self.step("merge", self.nodes(0), "sweeping edges" if self.job.method == "mutex" else "watershed and merging")
        self.step("seams", self.nodes(0), "seams")
        for level in range(1, self.job.tree.levels):
            self.step("merge", self.nodes(level), f"merging, level {level}")

    def step(self, step: str, nodes: list[Node], name: str) -> None:
        """Do a step for all blocks whose inputs are there."""
        ready = []
        for node in nodes:
            if any(needed in self.missing for needed in _inputs(self.job, step, node)):
                self.missing.add((step, node))
            else:
                ready.append(node)
        tasks = (
            Task(perform, (self.job.folder, step, node), name, str(self.job.tree.box(node)), node) for node in ready
        )
        for count, (task, outcome) in enumerate(self.engine.run(tasks), 1):
            if isinstance(outcome, Failure):
                self.failures.append(outcome)
                self.missing.add((step, task.node))
            else:
                self.done += 1
                if step in ("merge", "sizes"):  # the last one counts
                    self.segments[task.node] = outcome["segments"]
            if self.watch is not None:
                self.watch(name, count, len(ready))

    def step_down(self, step: str, name: str) -> None:
        """Do a step from the whole to its smallest parts; nothing can be done before all that comes before is."""
        self.stop_if_failed()
        for level in range(self.job.tree.levels - 1, 0, -1):
            self.step(step, self.nodes(level), f"{name}, level {level}")
        self.stop_if_failed()

    def stop_if_failed(self) -> None:
        if self.failures:
            raise BlocksFailed(self.failures, self.done)

    def number(self) -> int:
        """Leave the first id of every block for the workers, and return how many segments there are."""
        self.stop_if_failed()
        nodes = [node for level in range(self.job.tree.levels) for node in self.nodes(level)]
        counts = np.array([self.segments[node] for node in nodes], np.uint64)
        first: npt.NDArray[np.uint64] = np.cumsum(counts, dtype=np.uint64) - counts + np.uint64(1)
        with replacing(Path(self.job.folder) / "first.npy") as temporary, temporary.open("wb") as file:
            np.save(file, first)
        return int(counts.sum())


def _inputs(job: Job, step: str, node: Node) -> Iterable[tuple[str, Node]]:
    """What must be done before, as far as it can be missing."""
    tree = job.tree
    if step == "merge" and not node[0] and job.method == "mutex":
        return [("pieces", leaf) for leaf in leaves_around(job, node)]
    if step == "seams":
        return [("merge", n) for n in (node, *(tree.before(node, axis) for axis in range(3))) if n is not None]
    if step == "merge" and node[0]:
        seams = {("seams", leaf) for leaf, _ in tree.seams(node)}
        return [*(("merge", child) for child in tree.children(node)), *seams]
    below = [(step, child) for child in tree.children(node)] if node[0] else []
    if step == "rows":
        return [("merge", node), *below]
    return below if step == "sizes" else []


def _job(affinities: Volume, output: Path | str, settings: SegmentConfig, block: Triple, folder: WorkFolder) -> Job:
    """The job, saved; refuses what cannot be done by blocks."""
    spare_input(affinities, output)
    if settings.method == "mutex" and not settings.fragments:
        raise NeuropilError(
            "the mutex watershed of voxels is one sweep over the whole volume; by blocks it is one of fragments: "
            "set segment.fragments"
        )
    if settings.fill:
        raise NeuropilError("filling looks across the whole volume; leave out --fill, or --block")
    job = plan(affinities, settings, block, folder.path, output=output)
    place = Path(job.folder)
    job = replace(job, output=written_at(output, place, "segmentation"))
    if not (place / "job.json").exists():
        can_be_written(output, (1, 1, 1), np.uint32)
    folder.begin()
    job.save()
    return job
