"""A proofreader's decisions by blocks: the edited segmentation of a volume of any size, the same as in memory.

======== ============== ==========================================================================================
step     for each       does
======== ============== ==========================================================================================
(graph)  see ``graph``  fragments, merge tree and edges; this process applies the decisions to these
segments smallest block the segment of each fragment, stored by this process
edited…  smallest block writes the edited segmentation; the name of the step is that of the decisions
======== ============== ==========================================================================================

In memory there is what is known of each fragment, and the edges inside of segments that a separation may divide. A run
that is repeated with other decisions, after a contradiction for example, makes the graph no second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.blockwise.executor import Executor
from neuropil.blockwise.graph import GraphOfBlocks, graph_blocks, leaves_of
from neuropil.blockwise.job import SegmentJob, job_name, load_arrays, save_arrays
from neuropil.blockwise.relabel import create_output
from neuropil.blockwise.runner import Runner, tasks_of
from neuropil.blockwise.tree import Node, as_triple
from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError, tell
from neuropil.geometry import Box, Triple
from neuropil.progress import ProgressCallback
from neuropil.segmentation import RegionGraph
from neuropil.segmentation.columns import no_ids
from neuropil.segmentation.edited_cut import EditedCut
from neuropil.segmentation.edits import Edit
from neuropil.volumes import Metadata, Volume, open_volume, put_in_place, spare_input
from neuropil.volumes.volume import Index, ReadOnlyStore


def edit_blocks(
    affinities: Volume,
    segmentation: Volume,
    output: Path | str,
    settings: SegmentConfig,
    edits: Sequence[Edit],
    metadata: Metadata,
    *,
    block: Triple | None = None,
    executor: Executor | None = None,
    work: Path | str | None = None,
    progress: ProgressCallback | None = None,
) -> int:
    """Write a segmentation with decisions applied to its fragments, voxel for voxel and id for id as in memory.

    Args:
        affinities: ``[edge, z, y, x]``, in a file.
        segmentation: ``[z, y, x]``, integers, in a file, of the same box, in which each fragment lies in one segment.
        output: where to write; an earlier output is replaced when the new one is complete. It has the dtype of
            ``segmentation``.
        settings: ``low``, ``high``, ``score`` and ``threshold`` are used.
        edits: the decisions in their order, :meth:`neuropil.segmentation.edits.EditLog.active`.
        metadata: of the output.
        block, executor, progress: as for :func:`neuropil.blockwise.segment_blocks`.
        work: folder for intermediate files; next to the output when not given.

    Returns:
        number of segments.

    Raises:
        NeuropilError: as :func:`neuropil.blockwise.graph.graph_blocks` and
            :meth:`neuropil.segmentation.edited_cut.EditedCut.apply`. After the latter the intermediate files stay.
        BlocksFailed: blocks that could not be done; the same call does only what is missing.

    >>> import tempfile
    >>> from neuropil.blockwise import segment_blocks
    >>> from neuropil.volumes import write_volume
    >>> array = np.full((3, 1, 1, 4), 0.9, np.float32)
    >>> array[2, 0, 0, 2] = 0.6
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_volume(f"{folder}/a.zarr", array)
    ...     affinities, settings = open_volume(f"{folder}/a.zarr"), SegmentConfig(threshold=0.5)
    ...     before = segment_blocks(affinities, f"{folder}/s.zarr", settings, block=(1, 1, 3))
    ...     whole = open_volume(f"{folder}/s.zarr")
    ...     edits = [Edit(1, "now", "me", "separate", (0, 0, 0), (0, 0, 3))]
    ...     after = edit_blocks(affinities, whole, f"{folder}/e.zarr", settings, edits, Metadata(), block=(1, 1, 3))
    ...     before, after, open_volume(f"{folder}/e.zarr").read().tolist()
    (1, 2, [[[1, 1, 2, 2]]])
    """
    spare_input(affinities, output)
    spare_input(segmentation, output)
    with graph_blocks(
        affinities, segmentation, settings, (), block=block, executor=executor, work=work, output=output,
        progress=progress,
    ) as found:  # fmt: skip
        lut = _decided(found, segmentation.dtype, settings, edits)
        job, step = found.job, f"edited{job_name([asdict(edit) for edit in edits])}"
        for leaf in leaves_of(job):
            (number,) = load_arrays(job.file("numbers", leaf), "number")
            save_arrays(job.file("segments", leaf), {"segment": lut[number]})
        create_output(job, segmentation.dtype, metadata, step)
        Runner(executor, progress).run_all([tasks_of(job, step, write_edited, 0, "writing")])
        put_in_place(job.output, output, job.block)
    return len(np.unique(lut[lut > 0]))


def write_edited(job: SegmentJob, leaf: Node) -> dict[str, Any]:
    """The step ``edited…``: write a block of the edited segmentation."""
    (labels,) = load_arrays(job.file("merge", leaf), "labels")
    (segment,) = load_arrays(job.file("segments", leaf), "segment")
    with open_volume(job.output, "r+") as volume:
        volume.write(job.tree.box(leaf).shift(volume.metadata.start), segment[labels])
    return {}


def _decided(
    found: GraphOfBlocks, dtype: np.dtype[Any], settings: SegmentConfig, edits: Sequence[Edit]
) -> npt.NDArray[Any]:
    """The segment of each fragment once decisions are applied."""
    assert settings.threshold is not None
    none = np.zeros(len(found.lut), np.bool_)
    cut = EditedCut(found.tree, edges_inside(found, none), found.sizes, found.lut.astype(dtype), settings.threshold)
    try:
        decisions = cut.ends(edits, fragments_of(found.job))
        cut.graph = edges_inside(found, cut.divisible(decisions))
        cut.follow(decisions)
    except NeuropilError:
        tell(f"{found.job.folder} keeps the merge tree: the same command goes on once the decisions are corrected")
        raise
    return cut.lut


def edges_inside(found: GraphOfBlocks, chosen: npt.NDArray[np.bool_]) -> RegionGraph:
    """The region graph of some fragments, ``[fragments + 1]``: only edges between two of them, without codes."""
    parts = [[np.zeros(0, np.uint64)] * 5]
    for edges in found.edges() if chosen.any() else ():
        inside = chosen[edges[0]] & chosen[edges[1]]
        parts.append([column[inside] for column in edges[:5]])
    columns = [np.concatenate(column).astype(np.uint64) for column in zip(*parts, strict=True)]
    order = np.lexsort((columns[1], columns[0]))
    a, b, count, total, key = (column[order] for column in columns)
    codes, none = np.zeros(0, np.uint16), np.zeros(0, np.uint64)
    nodes, encoding = found.tree.fragments, found.job.codes
    return RegionGraph(a, b, count, total, key, codes, codes, nodes, encoding, none, codes, none, no_ids())


def fragments_of(job: SegmentJob) -> Volume:
    """The fragments of the whole volume as they are numbered in memory, ``[z, y, x]``, uint64; read from the files of
    :func:`neuropil.blockwise.graph.graph_blocks` while its context lasts."""
    place = job.volume.metadata
    return Volume(job.folder, FragmentStore(job), Metadata(place.voxel_size, place.origin))


class FragmentStore(ReadOnlyStore):
    """The fragments in the files of a job. The block read last is kept: points of decisions are often close."""

    dtype = np.dtype(np.uint64)

    def __init__(self, job: SegmentJob) -> None:
        self.job = job
        self._last: tuple[Node, npt.NDArray[np.uint64]] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.job.shape

    @property
    def chunks(self) -> tuple[int, ...]:
        return self.job.block

    def read(self, index: Index) -> npt.NDArray[np.uint64]:
        box = Box(as_triple(part.start for part in index), as_triple(part.stop for part in index))
        found = np.empty(box.shape, self.dtype)
        for leaf in leaves_of(self.job, box):
            own = self.job.tree.box(leaf)
            part = own.intersect(box)
            found[part.relative_to(box.start).slices] = self._block(leaf)[part.relative_to(own.start).slices]
        return found

    def _block(self, leaf: Node) -> npt.NDArray[np.uint64]:
        if self._last is None or self._last[0] != leaf:
            (labels,) = load_arrays(self.job.file("merge", leaf), "labels")
            (number,) = load_arrays(self.job.file("numbers", leaf), "number")
            self._last = leaf, number.astype(np.uint64)[labels]
        return self._last[1]
