"""From merges to the segmentation: passes segment ids down the tree of blocks, and writes the blocks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.blockwise.edges import Names
from neuropil.blockwise.job import SegmentJob, load_arrays
from neuropil.blockwise.tree import Node
from neuropil.geometry import Triple
from neuropil.volumes import Metadata, create_volume, open_volume
from neuropil.volumes.location import parse_location

LARGEST_CHUNK: Triple = (64, 128, 128)
"""Largest chunk of the output, in voxels; longer blocks are divided into equal chunks."""


SegmentIds = npt.NDArray[np.uint64]
"""For each region the id of its segment; before the minimum size is applied, the name of its segment."""


DOWN = {"merge": "ids", "sizes": "sized"}
"""For each step upwards the step downwards that passes the ids of its regions to the children."""


def name_regions(job: SegmentJob, node: Node, up: str = "merge") -> dict[str, Any]:
    """The step ``ids``: the ids of the regions that the children of a block could not complete, one list per child."""
    inner, final = final_ids(job, node, up)
    lists: dict[str, Any] = {}
    for child in job.tree.children(node):
        (wanted,) = load_arrays(job.file(up, child), "names")
        lists[f"child{child[1]}"] = final[np.searchsorted(inner, wanted)]
    return lists


def name_small_regions(job: SegmentJob, node: Node) -> dict[str, Any]:
    """The same after the minimum size was applied."""
    return name_regions(job, node, "sizes")


def final_ids(job: SegmentJob, node: Node, up: str) -> tuple[Names, SegmentIds]:
    """The regions that a block begins with in a step upwards, ascending by name, and their ids."""
    names, ids = known_ids(job, node, up)
    inner, to = load_arrays(job.file(up, node), "in", "to")
    final = np.zeros(len(to), np.uint64)
    final[to > 0] = ids[np.searchsorted(names, to[to > 0])]  # a small segment without neighbours has the id 0
    return inner, final


def known_ids(job: SegmentJob, node: Node, up: str) -> tuple[Names, SegmentIds]:
    """The regions that a block ends with, ascending by name, and their ids.

    Regions that were completed in this block get the ids from :func:`first_id` on; the parent has those of the others.
    """
    done, waiting = load_arrays(job.file(up, node), "done", "names")
    by_name = up == "merge" and job.min_size > 1
    own = done if by_name else first_id(job, node) + np.arange(len(done), dtype=np.uint64)
    given = np.zeros(0, np.uint64)
    if node != job.tree.root:
        (given,) = load_arrays(job.file(DOWN[up], job.tree.parent(node)), f"child{node[1]}")
    names = np.concatenate([done, waiting])
    order = np.argsort(names, kind="stable")
    return names[order], np.concatenate([own, given])[order]


def first_id(job: SegmentJob, node: Node) -> np.uint64:
    """The first of the ids that a block gives."""
    table = np.load(f"{job.folder}/first.npy", mmap_mode="r")
    level, index = node
    return np.uint64(table[sum(job.tree.count(below) for below in range(level)) + index])


def name_pieces(job: SegmentJob, leaf: Node) -> SegmentIds:
    """The segment of each fragment of a smallest block, by its label there, 0 stays 0; see :data:`SegmentIds`."""
    names, ids = known_ids(job, leaf, "merge")
    name, region = load_arrays(job.file("merge", leaf), "name", "region")
    lut = np.zeros(len(region), np.uint64)
    lut[1:] = ids[np.searchsorted(names, name[region[1:] - 1])]
    return lut


def relabel(job: SegmentJob, leaf: Node) -> dict[str, Any]:
    """Write a block of the segmentation."""
    (labels,) = load_arrays(job.file(job.fragments_step, leaf), "labels")
    lut = name_pieces(job, leaf)
    if job.min_size > 1:
        names, ids = final_ids(job, leaf, "sizes")
        lut[1:] = ids[np.searchsorted(names, lut[1:])]
    with open_volume(job.output, "r+") as volume:
        lut = lut.astype(volume.dtype)
        volume.write(job.tree.box(leaf).shift(volume.metadata.start), lut[labels])
    return {}


def create_output(job: SegmentJob, dtype: npt.DTypeLike, metadata: Metadata, step: str = "relabel") -> None:
    """Create the output array for the step that writes its blocks, unless an earlier run of this step has."""
    location, begun = parse_location(job.output), Path(job.folder) / f"{step}-begun"
    if begun.exists() and (location.remote or Path(location.container).exists()):
        return
    for other in Path(job.folder).glob("*-begun"):  # of a step whose output this one replaces
        other.unlink()
    shutil.rmtree(Path(job.folder) / f"{step}-0", ignore_errors=True)  # of an output that is gone
    with create_volume(job.output, job.shape, dtype, metadata, chunks_for(job.shape, job.block)):
        pass
    begun.touch()


def chunks_for(shape: Triple, block: Triple) -> Triple:
    """Chunks that no two blocks share: whole blocks, or equal parts of them.

    >>> chunks_for((100, 1000, 1000), (100, 500, 257))
    (50, 125, 257)
    """
    return tuple(_chunk(min(n, b), limit) for n, b, limit in zip(shape, block, LARGEST_CHUNK, strict=True))  # type: ignore[return-value]


def _chunk(length: int, limit: int) -> int:
    parts = -(-length // limit)
    while length % parts:
        parts += 1
    return length // parts if length // parts * 4 >= limit else length
