"""Blockwise minimum size: small segments join the same neighbour as in the whole volume.

Which one that is depends only on the connected group of small segments that a segment is in, and on the large segments
around the group, which never change. So a group is joined in the first block of the tree that holds all of it.
Segments are compared by name, so that the smallest fragment decides ties.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil import _native
from neuropil.blockwise.edges import Edges, Names, edge_arrays, load_edges, united
from neuropil.blockwise.job import SegmentJob, load_arrays
from neuropil.blockwise.merging import key_in_volume, read_faces, still_outer
from neuropil.blockwise.relabel import name_pieces
from neuropil.blockwise.tree import OUTER, Node
from neuropil.geometry import Box
from neuropil.segmentation.scores import Score, fixed_point
from neuropil.volumes import Encoding

_ELSEWHERE = np.uint8(1 << OUTER)


@dataclass(frozen=True)
class Sizes:
    """Segments of a block: names ascending, voxels so far, faces of the block that they touch, and their edges."""

    names: Names
    size: npt.NDArray[np.uint64]
    outer: npt.NDArray[np.uint8]
    edges: Edges


def size_leaf(job: SegmentJob, leaf: Node) -> dict[str, Any]:
    """The step ``sizes`` of a smallest block: joins the small segments whose group lies inside."""
    box, whole = job.tree.box(leaf), Box.whole(job.shape)
    grown = box.grow((1, 1, 1)).intersect(whole)
    inner = box.relative_to(grown.start)
    called = name_pieces(job, leaf)
    seen: list[tuple[Names, int]] = []
    (labels,) = load_arrays(job.file(job.fragments_step, leaf), "labels")
    named = np.zeros(grown.shape, np.uint64)
    named[inner.slices] = called[labels]
    for axis in range(3):
        before = job.tree.before(leaf, axis)
        if before is not None:
            (plane,) = load_arrays(job.file(job.fragments_step, before), f"label{2 * axis + 1}")
            at = (*inner.slices[:axis], slice(0, 1), *inner.slices[axis + 1 :])
            named[at] = name_pieces(job, before)[plane]
            seen.append((np.unique(named[at]), 1 << (2 * axis)))
    faces = read_faces(job, box, grown)
    columns, bins = _native.part_graph(
        *faces.arguments, named, fixed_point(faces.encoding)[0], inner.start, inner.stop,
        job.score.kind == "quantile",
    )  # fmt: skip
    edges = Edges.of((*columns[:4], key_in_volume(columns[4], grown, job.shape), *columns[5:]), bins)
    names = np.unique(np.concatenate([called, *(across for across, _ in seen)]))
    number = np.searchsorted(names, called)
    size = np.bincount(number, np.bincount(labels.reshape(-1), minlength=len(called)), len(names)).astype(np.uint64)
    outer = np.zeros(len(names), np.uint8)
    piece, touched, name = load_arrays(job.file("merge", leaf), "piece", "outer", "name")
    np.bitwise_or.at(outer, number[1 + np.searchsorted(name, piece)], touched)
    for across, bit in seen:  # these lie partly or wholly before a lower face
        outer[np.searchsorted(names, across)] |= np.uint8(bit)
    real = names > 0
    outer |= _elsewhere(job, leaf, names)
    return _settled(job, Sizes(names[real], size[real], outer[real], edges), faces.encoding)


def size_node(job: SegmentJob, node: Node) -> dict[str, Any]:
    """The step ``sizes`` of a larger block: joins small segments that its children could not."""
    names, sizes, outers, parts = [], [], [], []
    for child in job.tree.children(node):
        edges, (name, size, outer) = load_edges(job.file("sizes", child), "names", "size", "outer")
        names.append(name)
        sizes.append(size)
        outers.append(outer & np.uint8(still_outer(job, node, child)))
        parts.append(edges)
    every, number = np.unique(np.concatenate(names), return_inverse=True)
    size, outer = np.zeros(len(every), np.uint64), np.zeros(len(every), np.uint8)
    np.add.at(size, number, np.concatenate(sizes))
    np.bitwise_or.at(outer, number, np.concatenate(outers))
    outer |= _elsewhere(job, node, every)
    return _settled(job, Sizes(every, size, outer, Edges.joined(parts)), job.codes)


def _elsewhere(job: SegmentJob, node: Node, names: Names) -> npt.NDArray[np.uint8]:
    """A bit for segments that the block could not complete. They may have voxels outside without touching a face of the
    block, because long edges of the mutex watershed join pieces that do not touch."""
    reaching = np.zeros(0, np.uint64)
    if job.by_mutex and node != job.tree.root:
        (reaching,) = load_arrays(job.file("ids", job.tree.parent(node)), f"child{node[1]}")
    return np.where(np.isin(names, reaching), _ELSEWHERE, np.uint8(0))


def _settled(job: SegmentJob, known: Sizes, encoding: Encoding) -> dict[str, Any]:
    """Join small segments whose whole group is known; the others are left to the parent."""
    small = known.size < job.min_size
    a, b = (np.searchsorted(known.names, end) for end in (known.edges.a, known.edges.b))
    both = small[a] & small[b]
    group = united(len(known.names), *_pairs(a[both], b[both]))
    waits = np.zeros(len(known.names), np.bool_)
    waits[group[small & (known.outer > 0)]] = True
    waits = waits[group] & small
    settle = small & ~waits
    target = _absorb(known, settle, settle[a] | settle[b], (a, b), job.score, encoding, job.min_size)
    needed = waits[a] | waits[b]
    kept = waits | (known.outer > 0)
    kept[a[needed]], kept[b[needed]] = True, True
    left = known.edges.chosen(needed)
    gone = target != known.names
    return {
        "in": known.names, "to": target, "done": known.names[~kept & ~gone],
        "names": known.names[kept], "size": known.size[kept], "outer": known.outer[kept],
        **edge_arrays(left), "edges": len(left),
    }  # fmt: skip


def _absorb(
    known: Sizes,
    settle: npt.NDArray[np.bool_],
    use: npt.NDArray[np.bool_],
    ends: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]],
    score: Score,
    encoding: Encoding,
    min_size: int,
) -> Names:
    """The segment that each segment becomes part of; 0 where it was small and without neighbours."""
    count = len(known.names)
    edges = known.edges.chosen(use)
    columns = (ends[0][use].astype(np.uint64) + 1, ends[1][use].astype(np.uint64) + 1, *edges.columns[2:])
    size = np.full(count + 1, min_size, np.uint64)
    size[1:][settle] = known.size[settle]
    found = _native.absorb_small(
        columns, edges.bins, score.arguments(encoding), np.arange(count + 1, dtype=np.uint64), size, min_size
    )
    # A group takes the name of its large segment, if it has one, because other blocks know that name, too.
    called = np.arange(count + 1, dtype=np.uint64)
    large = np.flatnonzero(~settle) + 1
    called[found[large]] = large
    names = np.concatenate([np.zeros(1, np.uint64), known.names])
    result: Names = names[called[found[1:]]]
    return result


def _pairs(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    return np.minimum(a, b), np.maximum(a, b)
