"""The tasks of fragments and merging, with which segmenting, tuning and the region graph by blocks begin."""

from __future__ import annotations

from collections.abc import Iterable

from neuropil.blockwise.executor import Task
from neuropil.blockwise.job import SegmentJob
from neuropil.blockwise.merging import join_faces, merge_leaf, merge_node
from neuropil.blockwise.mutex import find_pieces, join_pieces, leaves_around, sweep_leaf, sweep_node
from neuropil.blockwise.runner import BlockKey, children_of, tasks_of
from neuropil.blockwise.tree import Node


def merge_tasks(job: SegmentJob) -> list[list[Task]]:
    """Tasks of fragments, edges across faces and merging up the tree."""
    tree, mutex, children = job.tree, job.by_mutex, children_of(job, "merge")

    def pieces_around(leaf: Node) -> Iterable[BlockKey]:
        return [("pieces", near) for near in leaves_around(job, leaf)]

    def both_sides(leaf: Node) -> Iterable[BlockKey]:
        before = [tree.before(leaf, axis) for axis in range(3)]
        return [("merge", near) for near in (leaf, *before) if near is not None]

    def children_and_faces(node: Node) -> Iterable[BlockKey]:
        return [*children(node), *{("faces", leaf) for leaf, _ in tree.inner_faces(node)}]

    if mutex:
        lists = [
            tasks_of(job, "pieces", find_pieces, 0, "watershed"),
            tasks_of(job, "merge", sweep_leaf, 0, "sweeping edges", pieces_around),
        ]
    else:
        lists = [tasks_of(job, "merge", merge_leaf, 0, "watershed and merging")]
    lists.append(tasks_of(job, "faces", join_pieces if mutex else join_faces, 0, "faces", both_sides))
    upwards = sweep_node if mutex else merge_node
    for level in range(1, tree.levels):
        lists.append(tasks_of(job, "merge", upwards, level, f"merging, level {level}", children_and_faces))
    return lists
