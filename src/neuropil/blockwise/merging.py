"""Blockwise agglomeration: fragments and merges of the smallest blocks, edges across faces, merges of larger blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil import _native
from neuropil.blockwise.edges import (
    Edges,
    Levels,
    Names,
    edge_arrays,
    face_edges,
    levels_of,
    load_edges,
    merge,
    stop_at,
    store_edges,
    stored_edges,
    united,
    used_files,
)  # fmt: skip
from neuropil.blockwise.job import SegmentJob, load_arrays, naming, save_arrays
from neuropil.blockwise.tree import Node
from neuropil.errors import NeuropilError
from neuropil.geometry import Box, Triple
from neuropil.segmentation.codes import FaceCodes, face_codes
from neuropil.segmentation.merge_tree import BLOCK
from neuropil.segmentation.scores import fixed_point

JOINS = (4, 2, 1)
"""Bits of the watershed kernel: the voxel joins the one before it on z, y, x."""

ASKS = (64, 32, 16)
"""Bits of the watershed kernel: the best neighbour of this voxel is the one after it on z, y, x."""

_LARGEST = 1 << 30
"""Most voxels of a block: its faces are counted in 32 bits."""


@dataclass(frozen=True)
class Part:
    """The result of a block that its parent continues with.

    Args:
        names: regions that may still merge, ascending.
        level: for each region the level of the tree at which it can merge.
        piece: fragments of the smallest blocks that touch an outer face of this block, by name, ascending.
        outer: for each piece the faces that it touches, one bit each (:attr:`BlockTree.outer`).
        region: for each piece the region it is now part of. A region with such a piece is frozen.
    """

    names: Names
    level: Levels
    piece: Names
    outer: npt.NDArray[np.uint8]
    region: Names

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """As arrays of a file."""
        plain = {"names": self.names, "piece": self.piece, "part_of": self.region}
        return {**plain, "level": self.level, "outer": self.outer}


def load_part(job: SegmentJob, node: Node) -> Part:
    """Read the part that :func:`merge_leaf` or :func:`merge_node` stored for a block."""
    return Part(*load_arrays(job.file("merge", node), "names", "level", "piece", "outer", "part_of"))


def read_faces(job: SegmentJob, inner: Box, grown: Box) -> FaceCodes:
    """The faces of the voxels of a box, as arrays of the box and one voxel around it.

    With an offset of -1 the faces at the upper side of the box are stored after it, with one of +1 those at the lower
    side before it. Only these layers are read, since every layer costs whole chunks. Other faces around the box are 0.

    Args:
        inner, grown: the box and one voxel around it, counted from the volume's first voxel.

    Raises:
        NeuropilError: affinities that cannot be read, NaN, or values outside [0, 1].
    """
    volume = job.volume
    steps = [offset for offset in job.offsets if sum(map(abs, offset)) == 1]
    start = [n - any(step[axis] > 0 for step in steps) for axis, n in enumerate(inner.start)]
    stop = [n + any(step[axis] < 0 for step in steps) for axis, n in enumerate(inner.stop)]
    needed = Box.at(start, [b - a for a, b in zip(start, stop, strict=True)]).intersect(grown)
    with naming(volume):
        array = volume.read(needed.shift(volume.metadata.start))
        if needed != grown:
            whole = np.zeros((*array.shape[:-3], *grown.shape), array.dtype)
            whole[(..., *needed.relative_to(grown.start).slices)] = array
            array = whole
        return face_codes(array, job.offsets, job.encoding)


@dataclass(frozen=True)
class LeafFragments:
    """The fragments of a smallest block, as arrays of the block and one voxel around it.

    Args:
        faces: codes of the faces.
        labels: fragments of the block; 0 around it.
        asks: bits of the watershed kernel at the faces of the block: with which neighbours a voxel unites.
        name: of each fragment, ascending.
        grown, inner: the box of the arrays in the volume, and the box of the block in the arrays.
        sides: slices of the voxels at outer faces.
    """

    faces: FaceCodes
    labels: npt.NDArray[np.uint32]
    asks: npt.NDArray[np.uint8]
    name: Names
    grown: Box
    inner: Box
    sides: dict[int, tuple[slice, ...]]


def watershed_leaf(job: SegmentJob, node: Node) -> LeafFragments:
    """The watershed of a smallest block."""
    box, whole = job.tree.box(node), Box.whole(job.shape)
    grown = box.grow((1, 1, 1)).intersect(whole)
    if grown.size > _LARGEST:
        raise NeuropilError(f"a block has at most 2**30 voxels, got {job.block}; give a smaller --block")
    faces, inner = read_faces(job, box, grown), box.relative_to(grown.start)
    labels, asks = np.empty(grown.shape, np.uint32), np.zeros(grown.shape, np.uint8)
    first = _native.block_watershed(
        *faces.arguments, inner.start, inner.stop, faces.first_above(job.settings.low),
        faces.last_below(job.settings.high), labels, asks, job.threads(node),
    )  # fmt: skip
    name = _global(first, grown, job.shape) + np.uint64(1)
    return LeafFragments(faces, labels, asks, name, grown, inner, _outer_planes(job.tree.outer(node), inner))


def merge_leaf(job: SegmentJob, node: Node) -> dict[str, Any]:
    """The step ``merge`` of a smallest block: its fragments, and the merges that do not depend on other blocks."""
    found = watershed_leaf(job, node)
    faces, labels, name, sides = found.faces, found.labels, found.name, found.sides
    outer = np.zeros(len(name) + 1, np.uint8)
    for side, plane in sides.items():
        touched = np.zeros(len(name) + 1, np.bool_)
        touched[labels[plane]] = True
        outer[touched] |= np.uint8(1 << side)
    outer[0] = 0
    table, scale = fixed_point(faces.encoding)
    (a, b, scores), columns, bins, level = _native.merge_block(
        *faces.arguments, labels, levels_of(job.tree, node, outer), table, job.score.arguments(faces.encoding), BLOCK,
        stop_at(job.threshold, job.score, faces.encoding), scale, job.threads(node),
    )  # fmt: skip
    rest = Edges.of(columns, bins)
    region = united(len(name) + 1, a, b)
    part, alone = _part(region, outer, name, level)
    place = np.cumsum(level > 0) - 1
    key = key_in_volume(rest.key, found.grown, job.shape)
    rest = Edges.of((place[rest.a], place[rest.b], rest.count, rest.sum, key, rest.max, rest.min), rest.bins)
    left = store_edges(job, node, rest, part.level)
    return {
        **part.arrays, "left": left, **_planes(labels, found.asks, sides, faces, found.inner),
        "name": name, "region": region.astype(np.uint32),
        "labels": labels[found.inner.slices], "done": alone, "edges": len(rest),
        **_merges(job, name, a - 1, b - 1, job.score.affinities(scores, faces.encoding)),
    }  # fmt: skip


def _merges(
    job: SegmentJob, names: Names, a: npt.NDArray[Any], b: npt.NDArray[Any], scores: npt.NDArray[np.float64]
) -> dict[str, npt.NDArray[Any]]:
    """The merges of a block by name, stored only where all thresholds are scored, or the whole tree is needed."""
    if not (job.truth or job.segments):
        return {}
    return {"merge_a": names[a], "merge_b": names[b], "merge_score": scores}


def _part(region: npt.NDArray[Any], outer: npt.NDArray[np.uint8], name: Names, level: Levels) -> tuple[Part, Names]:
    """The frozen regions, left to the parent, and the names of the regions that are complete."""
    names = np.concatenate([np.zeros(1, np.uint64), name])
    waits, frozen = level > 0, outer > 0
    alone = region == np.arange(len(region))
    alone[0] = False
    return Part(names[waits], level[waits], names[frozen], outer[frozen], names[frozen]), names[alone & ~waits]


def _outer_planes(outer: int, inner: Box) -> dict[int, tuple[slice, ...]]:
    """Slices of the voxels at the outer faces of the block, those with another block behind them."""
    planes: dict[int, tuple[slice, ...]] = {}
    for side in range(6):
        if outer >> side & 1:
            axis, at = side // 2, inner.start[side // 2] if side % 2 == 0 else inner.stop[side // 2] - 1
            planes[side] = (*inner.slices[:axis], slice(at, at + 1), *inner.slices[axis + 1 :])
    return planes


def _planes(
    labels: npt.NDArray[np.uint32],
    asks: npt.NDArray[np.uint8],
    sides: dict[int, tuple[slice, ...]],
    faces: FaceCodes,
    inner: Box,
) -> dict[str, npt.NDArray[Any]]:
    """What :func:`join_faces` needs of each face: labels, which voxels unite across it, and codes at lower faces."""
    found: dict[str, npt.NDArray[Any]] = {}
    for side, plane in sides.items():
        axis = side // 2
        found[f"label{side}"] = labels[plane]
        found[f"ask{side}"] = (asks[plane] & (ASKS if side % 2 else JOINS)[axis]) > 0
        if side % 2 == 0:
            # An offset of +1 stores the face at the voxel before.
            back = [slice(s.start - (d == axis and faces.flipped >> axis & 1), None) for d, s in enumerate(plane)]
            size = labels[plane].shape
            code = (faces.z, faces.y, faces.x)[axis][tuple(back)]
            found[f"code{side}"] = code[tuple(slice(0, n) for n in size)]
    return found


def join_faces(job: SegmentJob, node: Node) -> dict[str, Any]:
    """The step ``faces``: pairs of fragments that the watershed unites across the lower faces of a smallest block, and
    the edges there, by name."""
    found: dict[str, Any] = {}
    for axis in range(3):
        before = job.tree.before(node, axis)
        if before is None:
            continue
        low, up = 2 * axis + 1, 2 * axis
        own = load_arrays(job.file("merge", node), f"label{up}", f"ask{up}", f"code{up}", "name")
        label_b, ask_b, code, name_b = own
        label_a, ask_a, name_a = load_arrays(job.file("merge", before), f"label{low}", f"ask{low}", "name")
        edges, a, b = _edges_across(job, axis, (label_a, label_b), (name_a, name_b), ask_a | ask_b, code, node)
        save_arrays(job.file(f"across{axis}", node), edge_arrays(edges))
        found |= {f"a{axis}": a, f"b{axis}": b}
    return found


def _edges_across(
    job: SegmentJob,
    axis: int,
    labels: tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]],
    names: tuple[Names, Names],
    joins: npt.NDArray[np.bool_],
    code: npt.NDArray[Any],
    node: Node,
) -> tuple[Edges, Names, Names]:
    """Edges across one face, and the pairs of fragments that the watershed unites there."""
    box = job.tree.box(node)
    plane = list(box.stop)
    plane[axis] = box.start[axis] + 1
    grid = [np.arange(s, e, dtype=np.uint64) for s, e in zip(box.start, plane, strict=True)]
    grid[axis] = grid[axis] - np.uint64(1)
    _, ny, nx = (np.uint64(n) for n in job.shape)
    lower = (grid[0][:, None, None] * ny + grid[1][None, :, None]) * nx + grid[2][None, None, :]
    a, b = (np.concatenate([np.zeros(1, np.uint64), name])[label] for name, label in zip(names, labels, strict=True))
    inside = (a > 0) & (b > 0)
    joined = np.unique(np.stack([a[joins & inside], b[joins & inside]], axis=1), axis=0)
    key = (3 * lower + np.uint64(axis))[inside]
    edges = face_edges(a[inside], b[inside], code[inside], key, job.codes, job.score)
    return edges, joined[:, 0], joined[:, 1]


def merge_node(job: SegmentJob, node: Node) -> dict[str, Any]:
    """The step ``merge`` of a larger block: merges between regions that were frozen in its children."""
    children = job.tree.children(node)
    parts = [load_part(job, child) for child in children]
    names = np.concatenate([part.names for part in parts])
    order = np.argsort(names, kind="stable")  # sorted runs are merged
    names, level = names[order], np.concatenate([part.level for part in parts])[order]
    piece, outer, region = _pieces(job, node, parts)
    del parts, order
    part_of = np.searchsorted(names, region)

    def numbers(pieces: Names) -> npt.NDArray[np.intp]:
        return part_of[np.searchsorted(piece, pieces)]

    faces = job.tree.inner_faces(node)
    pairs = [load_arrays(job.file("faces", leaf), f"a{axis}", f"b{axis}") for leaf, axis in faces]
    a, b = (np.concatenate([np.zeros(0, np.uint64), *(pair[i] for pair in pairs)]) for i in range(2))
    one = united(len(names), numbers(a), numbers(b))
    held = _held(job, node, np.where(level > node[0], level, 0), one, (one[part_of], outer))

    def inside() -> Iterator[Edges]:
        for edges, called in stored_edges(job, node):
            at = one[np.minimum(np.searchsorted(names, called), len(names) - 1)]
            yield edges.renamed(at[edges.a], at[edges.b])
        for leaf, axis in faces:
            edges, _ = load_edges(job.file(f"across{axis}", leaf))
            yield edges.renamed(one[numbers(edges.a)], one[numbers(edges.b)])

    edges = Edges.joined(inside())
    columns, bins = list(edges.columns), edges.bins
    del edges
    a, b, scores, rest, level = merge(columns, bins, held, job.score, job.codes, job.threshold, job.threads(node))
    every = np.arange(len(names), dtype=np.uint64)
    new = one < every  # pieces of one fragment: no threshold separates them
    final = united(len(names), np.concatenate([one, a]), np.concatenate([every, b]))
    waits, still = level > 0, outer > 0
    place = np.cumsum(waits) - 1
    part = Part(names[waits], level[waits], piece[still], outer[still], names[one[part_of[still]]])
    left = store_edges(job, node, rest.renamed(place[rest.a], place[rest.b]), part.level)
    moved = new & (held[one] > 0)
    return {
        **part.arrays, "left": left, "in": names, "to": names[final], "done": names[(final == every) & ~waits],
        "old": names[moved], "new": names[one[moved]], "edges": len(rest), "used": used_files(job, node),
        **_merges(
            job, names, np.concatenate([one[new], a]), np.concatenate([every[new], b]),
            np.concatenate([np.full(new.sum(), np.inf), scores]),
        ),
    }  # fmt: skip


def _held(
    job: SegmentJob,
    node: Node,
    level: Levels,
    one: npt.NDArray[Any],
    pieces: tuple[npt.NDArray[Any], npt.NDArray[np.uint8]],
) -> Levels:
    """The level at which frozen regions can merge, 0 for others: regions that touch an outer face, and those whose
    best neighbour does. Of pieces that are one fragment, the first counts."""
    held, touched = np.zeros_like(level), np.zeros(len(level), np.uint8)
    np.maximum.at(held, one, level)
    np.bitwise_or.at(touched, *pieces)
    return np.maximum(held, levels_of(job.tree, node, touched))


def _pieces(job: SegmentJob, node: Node, parts: list[Part]) -> tuple[Names, npt.NDArray[np.uint8], Names]:
    """The pieces at faces of the children, the faces of the larger block that they touch, and their regions."""
    kept: list[npt.NDArray[np.uint8]] = []
    for child, part in zip(job.tree.children(node), parts, strict=True):
        kept.append(part.outer & np.uint8(still_outer(job, node, child)))
    piece = np.concatenate([part.piece for part in parts])
    order = np.argsort(piece, kind="stable")
    return piece[order], np.concatenate(kept)[order], np.concatenate([part.region for part in parts])[order]


def still_outer(job: SegmentJob, node: Node, child: Node) -> int:
    """The faces of a child that are outer faces of the larger block, too, one bit each."""
    outer, inner = job.tree.box(node), job.tree.box(child)
    ends = [*zip(inner.start, outer.start, strict=True)], [*zip(inner.stop, outer.stop, strict=True)]
    kept = sum((ends[side % 2][side // 2][0] == ends[side % 2][side // 2][1]) << side for side in range(6))
    return kept & job.tree.outer(node)


def key_in_volume(key: npt.NDArray[Any], box: Box, shape: Triple) -> npt.NDArray[np.uint64]:
    """Face indices of a box as those of the whole volume, in the same order."""
    axis, lower = key % 3, key // 3
    found: npt.NDArray[np.uint64] = 3 * _global(lower, box, shape) + axis.astype(np.uint64)
    return found


def _global(index: npt.NDArray[Any], box: Box, shape: Triple) -> npt.NDArray[np.uint64]:
    """Linear indices in a box as linear indices in the whole volume."""
    _, ny, nx = (np.uint64(n) for n in box.shape)
    v = index.astype(np.uint64)
    z, y, x = v // (ny * nx), v // nx % ny, v % nx
    z, y, x = (i + np.uint64(s) for i, s in zip((z, y, x), box.start, strict=True))
    found: npt.NDArray[np.uint64] = (z * np.uint64(shape[1]) + y) * np.uint64(shape[2]) + x
    return found
