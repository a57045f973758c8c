"""Merge tree and region graph by blocks: all that questions for proofreading are made from, without a voxel in memory.

======= ====================== ====================================================================================
step    for each               does
======= ====================== ====================================================================================
merge   see ``segment``        all merges, stored by name
parts   smallest block         voxels, their place, segment, and faces of the volume of each fragment, or of its part
numbers smallest block         the fragment of each part; made by one process for all blocks, with the merge tree
graph   smallest block         the edges between fragments
======= ====================== ====================================================================================

In memory there is what is known of each fragment, and the edges of which several blocks hold parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil import _native
from neuropil.blockwise.edges import united
from neuropil.blockwise.executor import Executor
from neuropil.blockwise.job import BLOCK, SegmentJob, load_arrays, save_arrays, segment_job
from neuropil.blockwise.merge_tasks import merge_tasks
from neuropil.blockwise.merging import key_in_volume, read_faces
from neuropil.blockwise.runner import Runner, tasks_of
from neuropil.blockwise.tree import OUTER, Node, as_triple
from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError
from neuropil.geometry import Box, Triple
from neuropil.progress import ProgressCallback
from neuropil.segmentation.edited_cut import other_fragments
from neuropil.segmentation.graph import coordinate_sums, faces_above
from neuropil.segmentation.merge_tree import MergeTree
from neuropil.segmentation.scores import fixed_point
from neuropil.volumes import Volume, can_be_written, in_memory, open_volume, written_at
from neuropil.volumes.intermediate import holding, work_folder

COLUMNS = ("a", "b", "count", "sum", "key")
"""Of edges in the files of a block; the numbers of faces above each level follow them."""


@dataclass(frozen=True, eq=False)
class GraphOfBlocks:
    """Fragments, numbered as in memory, with their merge tree, segments and edges.

    Args:
        tree: all merges; those of equal score are in another order than in memory.
        sizes: voxels of each fragment, int64 ``[fragments + 1]``.
        lut: segment of each fragment, uint64 ``[fragments + 1]``.
        outer: which of the six faces of the volume each fragment touches, bool ``[6, fragments + 1]``.
        centres: sum of the coordinates z, y, x of each fragment's voxels, int64 ``[3, fragments + 1]``.
        scale: fixed-point value of the affinity 1.
    """

    job: SegmentJob
    tree: MergeTree
    sizes: npt.NDArray[np.int64]
    lut: npt.NDArray[np.uint64]
    outer: npt.NDArray[np.bool_]
    centres: npt.NDArray[np.int64]

    @property
    def scale(self) -> float:
        return fixed_point(self.job.codes)[1]

    def edges(self) -> Iterator[list[npt.NDArray[Any]]]:
        """The columns a, b, count, sum and key of edges, then the number of faces above each level, in several parts.

        No two edges are of the same pair.
        """
        yield _pooled([_edges_of(self.job, leaf, shared=True) for leaf in leaves_of(self.job)])
        for leaf in leaves_of(self.job):
            yield _edges_of(self.job, leaf, shared=False)


@contextmanager
def graph_blocks(
    affinities: Volume,
    segmentation: Volume,
    settings: SegmentConfig,
    levels: Sequence[float],
    *,
    block: Triple | None = None,
    executor: Executor | None = None,
    work: Path | str | None = None,
    output: Path | str = "",
    progress: ProgressCallback | None = None,
) -> Iterator[GraphOfBlocks]:
    """Merge tree and region graph of a volume in files; intermediate files are removed when the context ends.

    Args:
        affinities: ``[edge, z, y, x]``.
        segmentation: of the same box, in which each fragment lies in one segment.
        settings: ``low``, ``high`` and ``score`` are used.
        levels: affinities above which the faces of each edge are counted.
        block, executor, progress: as for :func:`neuropil.blockwise.segment_blocks`.
        work: folder for intermediate files; next to the output, or else the segmentation, when not given.
        output: final path of a segmentation that is to be made from the graph; it is written at ``job.output``.

    Raises:
        NeuropilError: volumes in memory, of other boxes, a segmentation of other fragments, or an output that cannot be
            written.
        BlocksFailed: blocks that could not be done; the same call does only what is missing.
    """
    if in_memory(segmentation):
        raise NeuropilError("blocks are read by any process: expected a segmentation in a file, got an array in memory")
    box = Box.at(affinities.metadata.start, affinities.shape[1:])
    if box != segmentation.box:
        raise NeuropilError(f"expected a segmentation of {box}, got {segmentation.box} in {segmentation.path}")
    wanted = SegmentConfig(low=settings.low, high=settings.high, score=settings.score, threshold=0.0)
    folder = work_folder(work, output, "blocks") if output else work_folder(work, segmentation.path, "rank.blocks")
    job = segment_job(
        affinities, wanted, block or BLOCK, folder.path, output=output, segments=segmentation,
        levels=tuple(map(float, levels)),
    )  # fmt: skip
    if output:
        job = replace(job, output=written_at(output, Path(job.folder), "edited"))
        if not (Path(job.folder) / "job.json").exists():
            can_be_written(output, (1, 1, 1), segmentation.dtype)
    folder.begin()
    job.save()
    with holding(job.folder):
        runner = Runner(executor, progress)
        runner.run_all([*merge_tasks(job), tasks_of(job, "parts", count_parts, 0, "counting fragments")])
        found = number_fragments(job)
        runner.run_all([tasks_of(job, "graph", graph_leaf, 0, "region graph")])
        yield found
        folder.end(job.folder)


def count_parts(job: SegmentJob, leaf: Node) -> dict[str, Any]:
    """The step ``parts``: voxels, sums of their coordinates, segment, and faces of the volume (one bit each) of the
    fragments in a smallest block."""
    labels, name = load_arrays(job.file("merge", leaf), "labels", "name")
    box = job.tree.box(leaf)
    placed = box.shift(job.volume.metadata.start)
    with open_volume(job.segments) as volume:
        segments = volume.read(placed)
    lut = np.zeros(len(name) + 1, np.uint64)
    lut[labels] = segments
    if (wrong := (labels > 0) & (lut[labels] != segments)).any():
        at = [int(c[0]) + s for c, s in zip(np.nonzero(wrong), placed.start, strict=True)]
        raise other_fragments(job.segments, at)
    outer = np.zeros(len(name) + 1, np.uint8)
    for side in range(OUTER):
        axis, upper = divmod(side, 2)
        if box.stop[axis] == job.shape[axis] if upper else box.start[axis] == 0:
            outer[np.unique(labels.take(-1 if upper else 0, axis))] |= np.uint8(1 << side)
    size = np.bincount(labels.reshape(-1), minlength=len(lut))
    centres = coordinate_sums(labels, len(lut), box.start)
    return {"size": size[1:], "segment": lut[1:], "outer": outer[1:], "centres": centres[:, 1:]}


def number_fragments(job: SegmentJob) -> GraphOfBlocks:
    """Number the fragments of the whole volume by their smallest voxels, as in memory, and store the numbers of each
    block; the merge tree of these numbers."""
    leaves = list(leaves_of(job))
    called = [load_arrays(job.file("merge", leaf), "name")[0] for leaf in leaves]
    names = np.concatenate([np.zeros(0, np.uint64), *called])
    order = np.argsort(names, kind="stable")
    names = names[order]
    nodes = [(level, i) for level in range(job.tree.levels) for i in range(job.tree.count(level))]
    merges = [load_arrays(job.file("merge", node), "merge_a", "merge_b", "merge_score") for node in nodes]
    a, b, score = (np.concatenate(column) for column in zip(*merges, strict=True))
    del merges
    a, b = (np.searchsorted(names, end) for end in (a, b))
    same = np.isinf(score)  # parts of one fragment
    number = np.unique(united(len(names), a[same], b[same]), return_inverse=True)[1] + 1
    count = int(number.max(initial=0))
    rows = np.flatnonzero(~same)
    rows = rows[np.argsort(-score[rows], kind="stable")]  # blocks stand before their parents, so no merge before a part
    tree = MergeTree(number[a[rows]], number[b[rows]], score[rows], count, pooling=job.settings.score)
    of_part = np.empty(len(names), np.int64)
    of_part[order] = number
    numbers = np.split(of_part, np.cumsum([len(one) for one in called])[:-1])
    for leaf, own in zip(leaves, numbers, strict=True):
        save_arrays(job.file("numbers", leaf), {"number": np.concatenate([[0], own])})
    return GraphOfBlocks(job, tree, *_of_fragments(job, leaves, numbers, count))


def _of_fragments(
    job: SegmentJob, leaves: Sequence[Node], numbers: Sequence[npt.NDArray[np.int64]], count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64], npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Voxels, segment, faces of the volume, and sums of coordinates of each fragment, from those of its parts."""
    sizes, lut = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.uint64)
    touched, known = np.zeros(count + 1, np.uint8), np.zeros(count + 1, np.bool_)
    centres = np.zeros((3, count + 1), np.int64)
    for leaf, number in zip(leaves, numbers, strict=True):
        size, segment, outer, centre = load_arrays(job.file("parts", leaf), "size", "segment", "outer", "centres")
        np.add.at(sizes, number, size)
        for total, values in zip(centres, centre, strict=True):
            np.add.at(total, number, values)
        np.bitwise_or.at(touched, number, outer)
        if (wrong := known[number] & (lut[number] != segment)).any():
            raise other_fragments(job.segments, _voxel(job, leaf, int(np.flatnonzero(wrong)[0])))
        lut[number], known[number] = segment, True
    return sizes, lut, np.stack([touched >> side & 1 for side in range(OUTER)]) > 0, centres


def _voxel(job: SegmentJob, leaf: Node, part: int) -> list[int]:
    """The first voxel of a part of a fragment."""
    (name,) = load_arrays(job.file("merge", leaf), "name")
    at = np.unravel_index(int(name[part]) - 1, job.shape)
    return [int(c) + s for c, s in zip(at, job.volume.metadata.start, strict=True)]


def graph_leaf(job: SegmentJob, leaf: Node) -> dict[str, Any]:
    """The step ``graph``: edges between fragments, of the faces whose upper voxel lies in a smallest block.

    Those between two fragments that both reach another block may have parts there; they stand at the end.
    """
    box = job.tree.box(leaf)
    grown = box.grow((1, 1, 1)).intersect(Box.whole(job.shape))
    inner = box.relative_to(grown.start)
    labels, name, piece = load_arrays(job.file("merge", leaf), "labels", "name", "piece")
    (number,) = load_arrays(job.file("numbers", leaf), "number")
    named = np.zeros(grown.shape, np.uint64)
    named[inner.slices] = number[labels]
    reaching = [number[1 + np.searchsorted(name, piece)]]
    for axis in range(3):
        before = job.tree.before(leaf, axis)
        if before is not None:
            (plane,) = load_arrays(job.file("merge", before), f"label{2 * axis + 1}")
            (other,) = load_arrays(job.file("numbers", before), "number")
            at = (*inner.slices[:axis], slice(0, 1), *inner.slices[axis + 1 :])
            named[at] = other[plane]
            reaching.append(np.unique(named[at]).astype(np.int64))
    faces = read_faces(job, box, grown)
    columns, bins = _native.part_graph(
        *faces.arguments, named, fixed_point(faces.encoding)[0], inner.start, inner.stop, True
    )
    a, b, count, total, key = columns[:5]
    counted = [faces_above(bins, faces.encoding, level) for level in job.levels]
    shared = np.isin(a, np.concatenate(reaching)) & np.isin(b, np.concatenate(reaching))
    order = np.argsort(shared, kind="stable")
    edges = [a, b, count, total, key_in_volume(key, grown, job.shape), *counted]
    return {
        **{name: column[order] for name, column in zip(_columns(job), edges, strict=True)},
        "own": int((~shared).sum()), "edges": len(a),
    }  # fmt: skip


def _columns(job: SegmentJob) -> list[str]:
    return [*COLUMNS, *(f"above{i}" for i in range(len(job.levels)))]


def leaves_of(job: SegmentJob, box: Box | None = None) -> Iterator[Node]:
    """The smallest blocks of a job: all, or those that have voxels in a box."""
    box = box or Box.whole(job.shape)
    spans = zip(box.start, box.stop, job.block, strict=True)
    places = product(*(range(start // size, -(-stop // size)) for start, stop, size in spans))
    return (job.tree.at(0, as_triple(place)) for place in places)


def _edges_of(job: SegmentJob, leaf: Node, *, shared: bool) -> list[npt.NDArray[Any]]:
    """The edges of a smallest block: those of which other blocks may have parts, or the others."""
    *columns, own = load_arrays(job.file("graph", leaf), *_columns(job), "own")
    return [column[own:] if shared else column[:own] for column in columns]


def _pooled(parts: Sequence[list[npt.NDArray[Any]]]) -> list[npt.NDArray[Any]]:
    """Edges of several blocks, with parts of the same pair as one edge."""
    a, b, count, total, key, *counted = (np.concatenate(column) for column in zip(*parts, strict=True))
    if not len(a):
        return [a, b, count, total, key, *counted]
    order = np.lexsort((b, a))
    a, b = a[order], b[order]
    first = np.flatnonzero(np.concatenate([[True], (a[1:] != a[:-1]) | (b[1:] != b[:-1])]))
    sums = [np.add.reduceat(column[order], first) for column in (count, total, *counted)]
    return [a[first], b[first], *sums[:2], np.maximum.reduceat(key[order], first), *sums[2:]]
