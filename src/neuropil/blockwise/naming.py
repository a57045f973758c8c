"""The way down: ids for regions, handed from each block of the tree to its children, and the segmentation written."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.blockwise.graph import Names
from neuropil.blockwise.job import Job, load_arrays
from neuropil.blockwise.tree import Node
from neuropil.volumes import open_volume

Ids = npt.NDArray[np.uint64]
"""What a region is called in the end: a segment's id, or, while sizes are still to be looked at, its name."""


DOWN = {"merge": "ids", "sizes": "sized"}
"""The step that hands down what was found in a step on the way up."""


def name_regions(job: Job, node: Node, up: str = "merge") -> dict[str, Any]:
    """What the regions of a block's children are called in the end: a list for each child, and nothing else."""
    inner, final = called_in_the_end(job, node, up)
    lists: dict[str, Any] = {}
    for child in job.tree.children(node):
        (wanted,) = load_arrays(job.file(up, child), "names")
        lists[f"child{child[1]}"] = final[np.searchsorted(inner, wanted)]
    return lists


def called_in_the_end(job: Job, node: Node, up: str) -> tuple[Names, Ids]:
    """The regions that a block begins with in a step on the way up, ascending by name, and what they are called."""
    names, ids = known_ids(job, node, up)
    inner, to = load_arrays(job.file(up, node), "in", "to")
    final = np.zeros(len(to), np.uint64)
    final[to > 0] = ids[np.searchsorted(names, to[to > 0])]  # those that were too small and alone are 0
    return inner, final


def known_ids(job: Job, node: Node, up: str) -> tuple[Names, Ids]:
    """The regions that a block ends with, ascending by name, and what they are called.

    Those that were done here are numbered here, from the sum of all such counts before; the others are as the parent
    says.
    """
    done, waiting = load_arrays(job.file(up, node), "done", "names")
    own = done if up == "merge" and job.min_size > 1 else first_id(job, node) + np.arange(len(done), dtype=np.uint64)
    given = np.zeros(0, np.uint64)
    if node != job.tree.root:
        (given,) = load_arrays(job.file(DOWN[up], job.tree.parent(node)), f"child{node[1]}")
    names = np.concatenate([done, waiting])
    order = np.argsort(names, kind="stable")
    return names[order], np.concatenate([own, given])[order]


def first_id(job: Job, node: Node) -> np.uint64:
    """The first of the ids that a block gives."""
    table = np.load(f"{job.folder}/first.npy", mmap_mode="r")
    level, index = node
    return np.uint64(table[sum(job.tree.count(below) for below in range(level)) + index])


def name_pieces(job: Job, leaf: Node) -> Ids:
    """The segment of each fragment of a smallest block, by its label there; 0 stays 0.

    Its id, or where sizes are still to be looked at its name.
    """
    names, ids = known_ids(job, leaf, "merge")
    name, region = load_arrays(job.file("merge", leaf), "name", "region")
    lut = np.zeros(len(region), np.uint64)
    lut[1:] = ids[np.searchsorted(names, name[region[1:] - 1])]
    return lut


def relabel(job: Job, leaf: Node) -> dict[str, Any]:
    """Write a block of the segmentation."""
    (labels,) = load_arrays(job.file(job.first_step, leaf), "labels")
    lut = name_pieces(job, leaf)
    if job.min_size > 1:
        names, ids = called_in_the_end(job, leaf, "sizes")
        lut[1:] = ids[np.searchsorted(names, lut[1:])]
    with open_volume(job.output, "r+") as volume:
        lut = lut.astype(volume.dtype)
        volume.write(job.tree.box(leaf).shift(volume.metadata.start), lut[labels])
    return {}
