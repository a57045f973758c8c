"""Blockwise mutex watershed on fragments: edges are decided in the order of the whole volume.

Long edges join fragments of different blocks. A region is *frozen* in a block of the tree while one of its voxels lies
within the longest offset of an outer face: only then can it have edges that are stored outside. The kernel
``signed_part`` explains which edges a block may decide.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil import _native
from neuropil.blockwise.edges import Names, united
from neuropil.blockwise.job import SegmentJob, load_arrays, naming
from neuropil.blockwise.merging import ASKS, JOINS, watershed_leaf
from neuropil.blockwise.tree import Node
from neuropil.geometry import Box, Triple
from neuropil.segmentation import signed_part_graph, within_reach

_NOWHERE = -(1 << 62)
"""Marks a face that is farther from a fragment than the longest offset."""


@dataclass(frozen=True)
class Signed:
    """The result of a block that its parent continues with.

    Args:
        names: regions that may still grow, ascending.
        piece: fragments of the smallest blocks within reach of a face of this block, by name, ascending.
        ends: [piece, 6], for each of the six faces within reach the coordinate, on the face's axis, of the piece's
            nearest voxel.
        region: for each piece the region it is now part of. A region with such a piece is frozen.
        edges: (a, b, rank, voxel) of the undecided edges, between regions or, outside of this block, fragments.
        bars: [pair, 2], regions that exclude each other.
    """

    names: Names
    piece: Names
    ends: npt.NDArray[np.int64]
    region: Names
    edges: tuple[npt.NDArray[Any], ...]
    bars: Names

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """As arrays of a file."""
        plain = {"names": self.names, "near": self.piece, "ends": self.ends, "part_of": self.region}
        return {**plain, "bars": self.bars, **{f"edge{i}": column for i, column in enumerate(self.edges)}}

    @classmethod
    def load(cls, job: SegmentJob, node: Node) -> Signed:
        """Read the result of a block."""
        names = ("names", "near", "ends", "part_of", "bars", *(f"edge{i}" for i in range(4)))
        found = load_arrays(job.file("merge", node), *names)
        return cls(found[0], found[1], found[2], found[3], tuple(found[5:]), found[4])


def reach(job: SegmentJob) -> Triple:
    """Length of the longest edge on z, y, x."""
    z, y, x = (max(abs(offset[axis]) for offset in job.offsets) for axis in range(3))
    return (z, y, x)


def find_pieces(job: SegmentJob, leaf: Node) -> dict[str, Any]:
    """The step ``pieces``: the fragments of a smallest block, and the layers of them that neighbouring blocks need."""
    found = watershed_leaf(job, leaf)
    labels, arrays = found.labels[found.inner.slices], dict[str, Any]()
    for side, plane in found.sides.items():
        axis = side // 2
        arrays[f"label{side}"] = found.labels[plane]
        arrays[f"ask{side}"] = (found.asks[plane] & (ASKS if side % 2 else JOINS)[axis]) > 0
        arrays[f"slab{side}"] = labels[_slab(labels.shape, side, reach(job)[axis])]
    return {**arrays, "labels": labels, "name": found.name}


def join_pieces(job: SegmentJob, leaf: Node) -> dict[str, Any]:
    """The step ``faces``: pairs of fragments that the watershed unites across the lower faces of a smallest block."""
    found: dict[str, Any] = {}
    for axis in range(3):
        before = job.tree.before(leaf, axis)
        if before is None:
            continue
        sides = []
        for node, side in ((before, 2 * axis + 1), (leaf, 2 * axis)):
            label, ask, name = load_arrays(job.file("pieces", node), f"label{side}", f"ask{side}", "name")
            sides.append((_named(name)[label], ask))
        (a, ask_a), (b, ask_b) = sides
        one = (ask_a | ask_b) & (a > 0) & (b > 0)
        pairs = np.unique(np.stack([a[one], b[one]], axis=1), axis=0)
        found |= {f"a{axis}": pairs[:, 0], f"b{axis}": pairs[:, 1]}
    return found


def sweep_leaf(job: SegmentJob, leaf: Node) -> dict[str, Any]:
    """Decide those edges of a smallest block that do not depend on other blocks."""
    box = job.tree.box(leaf)
    labels, name = load_arrays(job.file("pieces", leaf), "labels", "name")
    around = within_reach(box, job.shape, job.offsets)
    names = _names_around(job, leaf, labels, name, around)
    with naming(job.volume):
        graph = signed_part_graph(
            job.volume.read(around.shift(job.volume.metadata.start)), names, box, job.shape, job.offsets,
            bias=job.bias, strides=job.settings.strides, encoding=job.encoding,
        )  # fmt: skip
    ends = _ends(job, leaf, labels, len(name))
    near = (ends != _NOWHERE).any(axis=1)
    part = Signed(name, name[near], ends[near], name[near], (graph.a, graph.b, graph.rank, graph.voxel), _none((0, 2)))
    left, called, waits = _decided(job, leaf, part)
    region = np.concatenate([np.zeros(1, np.uint64), 1 + np.searchsorted(name, called)])
    return {
        **left.arrays, "name": name, "region": region.astype(np.uint32), "done": name[(called == name) & ~waits],
        "edges": len(left.edges[0]), **_touching(job, leaf, name),
    }  # fmt: skip


def sweep_node(job: SegmentJob, node: Node) -> dict[str, Any]:
    """Decide the edges of a larger block that could not be decided in its children."""
    parts = [Signed.load(job, child) for child in job.tree.children(node)]
    names = np.sort(np.concatenate([part.names for part in parts]))
    piece = np.concatenate([part.piece for part in parts])
    order = np.argsort(piece)
    piece, region = piece[order], np.concatenate([part.region for part in parts])[order]
    ends = np.concatenate([part.ends for part in parts])[order]
    faces = [load_arrays(job.file("faces", leaf), f"a{axis}", f"b{axis}") for leaf, axis in job.tree.inner_faces(node)]
    a, b = (np.concatenate([_none(0), *(pair[i] for pair in faces)]) for i in range(2))
    a, b = (_looked_up(end, piece, region) for end in (a, b))
    one = names[united(len(names), np.searchsorted(names, a), np.searchsorted(names, b))]

    def now(called: Names) -> Names:
        """The present region of a fragment or region; names from outside of the block stay."""
        return _looked_up(_looked_up(called, piece, region), names, one)

    columns = [np.concatenate(column) for column in zip(*(part.edges for part in parts), strict=True)]
    bars = np.concatenate([part.bars for part in parts])
    begin = Signed(
        names[one == names], piece, ends, _looked_up(region, names, one),
        (now(columns[0]), now(columns[1]), *columns[2:]), np.stack([now(bars[:, 0]), now(bars[:, 1])], axis=1),
    )  # fmt: skip
    left, called, waits = _decided(job, node, begin)
    final = _looked_up(one, begin.names, called)
    own = begin.names[(called == begin.names) & ~waits]
    return {**left.arrays, "in": names, "to": final, "done": own, "edges": len(left.edges[0])}


def _decided(job: SegmentJob, node: Node, part: Signed) -> tuple[Signed, Names, npt.NDArray[np.bool_]]:
    """Decide edges. Returns the rest for the parent, the new region of each region, and whether that one is frozen."""
    a, b, rank, voxel = _pooled(part.edges)
    every = np.unique(np.concatenate([part.names, a, b, part.bars.reshape(-1)]))
    outer = _near(job, node, part.ends)
    frozen = ~np.isin(every, part.names)  # fragments outside
    frozen[np.searchsorted(every, part.region[outer])] = True
    places = [np.searchsorted(every, end).astype(np.uint64) for end in (a, b, part.bars[:, 0], part.bars[:, 1])]
    clusters, waits, left, bar_a, bar_b = _native.signed_part(
        (places[0], places[1], rank, voxel), places[2], places[3], frozen.view(np.uint8)
    )
    edges = _pooled((every[left[0]], every[left[1]], *left[2:]))
    at = np.searchsorted(every, part.names)
    called, waiting = every[clusters[at]], waits[at] > 0
    rest = Signed(
        part.names[(called == part.names) & waiting], part.piece[outer], part.ends[outer], part.region[outer], edges,
        np.stack([every[bar_a], every[bar_b]], axis=1),
    )  # fmt: skip
    return rest, called, waiting


def _pooled(edges: tuple[npt.NDArray[Any], ...]) -> tuple[npt.NDArray[Any], ...]:
    """The first edge of each pair of different regions, which decides for all edges of the pair."""
    a, b, rank, voxel = edges
    low, high = np.minimum(a, b), np.maximum(a, b)
    order = np.lexsort((voxel, rank & np.uint32(0x7FFFFFFF), high, low))
    low, high = low[order], high[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    new &= low != high
    return low[new], high[new], rank[order][new], voxel[order][new]


def _near(job: SegmentJob, node: Node, ends: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which fragments lie within reach of an outer face."""
    box, found = job.tree.box(node), np.zeros(len(ends), np.bool_)
    for side in _sides(job.tree.outer(node)):
        axis, far = side // 2, reach(job)[side // 2]
        at = ends[:, side]
        near = at < box.start[axis] + far if side % 2 == 0 else at >= box.stop[axis] - far
        found |= near & (at != _NOWHERE)
    return found


def _ends(job: SegmentJob, leaf: Node, labels: npt.NDArray[np.uint32], count: int) -> npt.NDArray[np.int64]:
    """For each fragment of a smallest block and each outer face within reach: coordinate of its nearest voxel."""
    box = job.tree.box(leaf)
    ends = np.full((count + 1, 6), _NOWHERE, np.int64)
    for side in _sides(job.tree.outer(leaf)):
        axis = side // 2
        depth = min(reach(job)[axis], labels.shape[axis])
        size = labels.shape[axis]
        layers = range(depth - 1, -1, -1) if side % 2 == 0 else range(size - depth, size)
        for layer in layers:  # the nearest comes last, and stays
            ends[labels.take(layer, axis), side] = box.start[axis] + layer
    return ends[1:]


def _names_around(job: SegmentJob, leaf: Node, labels: npt.NDArray[np.uint32], name: Names, around: Box) -> Names:
    """The fragments, by name, of a smallest block and of all within reach of it."""
    named = np.zeros(around.shape, np.uint64)
    here = job.tree.place(leaf)
    for node in leaves_around(job, leaf):
        box = job.tree.box(node).intersect(around)
        if node == leaf:
            called = _named(name)[labels]
        else:
            there = job.tree.place(node)
            axis = next(axis for axis in range(3) if here[axis] != there[axis])
            side = 2 * axis + (there[axis] < here[axis])
            slab, own = load_arrays(job.file("pieces", node), f"slab{side}", "name")
            whole = job.tree.box(node)
            start = list(whole.start)
            if side % 2:
                start[axis] = whole.stop[axis] - slab.shape[axis]
            called = _named(own)[slab[box.relative_to((start[0], start[1], start[2])).slices]]
        named[box.relative_to(around.start).slices] = called
    return named


def leaves_around(job: SegmentJob, leaf: Node) -> Iterable[Node]:
    """A smallest block, and all those within reach of it."""
    box = within_reach(job.tree.box(leaf), job.shape, job.offsets)
    spans = [range(s // n, -(-e // n)) for s, e, n in zip(box.start, box.stop, job.block, strict=True)]
    for z, y, x in product(*spans):
        yield job.tree.at(0, (z, y, x))


def _touching(job: SegmentJob, leaf: Node, name: Names) -> dict[str, Any]:
    """Fragments at the outer faces of a smallest block, and which faces these are; the step ``sizes`` reads it."""
    sides = list(_sides(job.tree.outer(leaf)))
    planes = load_arrays(job.file("pieces", leaf), *(f"label{side}" for side in sides))
    outer = np.zeros(len(name) + 1, np.uint8)
    for side, plane in zip(sides, planes, strict=True):
        outer[np.unique(plane)] |= np.uint8(1 << side)
    touched = outer[1:] > 0
    return {"piece": name[touched], "outer": outer[1:][touched]}


def _sides(outer: int) -> Iterable[int]:
    return (side for side in range(6) if outer >> side & 1)


def _slab(shape: tuple[int, ...], side: int, depth: int) -> tuple[slice, ...]:
    """The layers of a block at one of its faces."""
    axis, whole = side // 2, [slice(0, n) for n in shape]
    whole[axis] = slice(max(0, shape[axis] - depth), shape[axis]) if side % 2 else slice(0, min(depth, shape[axis]))
    return tuple(whole)


def _looked_up(wanted: Names, known: Names, value: Names) -> Names:
    """The value of each name that is among the known ones (ascending); other names stay."""
    if not len(known):
        return wanted
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[at] == wanted, value[at], wanted)


def _named(name: Names) -> Names:
    return np.concatenate([np.zeros(1, np.uint64), name])


def _none(shape: int | tuple[int, ...]) -> Names:
    return np.zeros(shape, np.uint64)
