"""Edges between regions that wait: each lies in a file for the one block of the tree that needs it next.

A region waits for faces of its block: for those that it touches, or those that its best neighbour waits for. It can go
on in the first block of the tree inside which all of them lie, and an edge is needed where the first of its two ends
can. Blocks between need not load it: a region that is held back merges with the same later. So a block loads only the
layers at faces that become inner ones there, from wherever below they were left, and every edge once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.blockwise.graph import Edges, Names
from neuropil.blockwise.job import Job, load_arrays, save_arrays
from neuropil.blockwise.tree import OUTER, BlockTree, Node

Levels = npt.NDArray[np.uint8]
"""For each region the level of the tree at which it can go on; 0: it does not wait."""


def edge_arrays(edges: Edges, kind: str) -> dict[str, npt.NDArray[Any]]:
    """How edges are stored."""
    columns = {f"column{kind}{i}": column for i, column in enumerate(edges.columns)}
    return columns | {f"bin{kind}{i}": column for i, column in enumerate(edges.bins)}


def load_edges(path: Path, kind: str, *names: str) -> tuple[Edges, list[npt.NDArray[Any]]]:
    """Stored edges, and other arrays beside them."""
    wanted = [f"column{kind}{i}" for i in range(7)] + [f"bin{kind}{i}" for i in range(3)]
    found = load_arrays(path, *wanted, *names)
    return Edges.of(tuple(found[:7]), tuple(found[7:10])), found[10:]


def levels_of(tree: BlockTree, node: Node, outer: npt.NDArray[np.uint8]) -> Levels:
    """Where regions can go on that touch these outer faces of a block, one bit each.

    >>> levels_of(BlockTree((1, 1, 4), (1, 1, 1)), (0, 1), np.array([0, 16, 32, 48], np.uint8)).tolist()
    [0, 1, 2, 2]
    """
    meets = [tree.meets(node, side) if tree.outer(node) >> side & 1 else 0 for side in range(OUTER)]
    table = [max((meets[side] for side in range(OUTER) if bits >> side & 1), default=0) for bits in range(1 << OUTER)]
    found: Levels = np.array(table, np.uint8)[outer]
    return found


def leave_edges(job: Job, node: Node, edges: Edges, level: Levels) -> Levels:
    """Leave the edges between the waiting regions of a block, given by position, for those who need them; returns at
    which levels these are."""
    needed = np.minimum(level[edges.a.astype(np.intp)], level[edges.b.astype(np.intp)])
    left = np.flatnonzero(np.bincount(needed)).astype(np.uint8)
    for at in left:
        save_arrays(_file(job, node, int(at)), edge_arrays(edges.chosen(needed == at).narrow(), ""))
    return left


def edges_left(job: Job, node: Node) -> Iterator[tuple[Edges, Names]]:
    """The edges that a block of the tree needs, from each block below that has left some, by position among names; and
    how these regions, as far as they still wait, are called now."""
    renamed: dict[Node, list[npt.NDArray[Any]]] = {}
    for below in job.tree.facing(node):
        (left,) = load_arrays(job.file("merge", below), "left")
        if node[0] not in left:
            continue
        edges, _ = load_edges(_file(job, below, node[0]), "")
        (names,) = load_arrays(job.file("merge", below), "names")
        between = job.tree.parent(below)
        while between != node:
            if between not in renamed:
                renamed[between] = load_arrays(job.file("merge", between), "old", "new")
            old, new = renamed[between]
            if len(old):
                at = np.minimum(np.searchsorted(old, names), len(old) - 1)
                names = np.where(old[at] == names, new[at], names)
            between = job.tree.parent(between)
        yield edges, names


def forget_edges(job: Job, node: Node) -> None:
    """Delete the edges that a block of the tree needed, once its own file is there."""
    for below in job.tree.facing(node):
        _file(job, below, node[0]).unlink(missing_ok=True)
    for leaf, axis in job.tree.seams(node):
        job.file(f"across{axis}", leaf).unlink(missing_ok=True)


def _file(job: Job, node: Node, level: int) -> Path:
    return job.file(f"edges{level}", node)
