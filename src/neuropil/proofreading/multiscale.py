"""Meshes in several levels of detail, cut into the nodes of an octree, as Neuroglancer's multi-resolution format."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuropil.extras import import_extra
from neuropil.proofreading.sharded import Item

BITS = 16
"""Bits of each coordinate of a vertex within its node."""
_MOST = (1 << BITS) - 1
_MIDDLE = 1 << (BITS - 1)

Floats = NDArray[np.float64]


class Octree(NamedTuple):
    """Nodes of an octree around a mesh: those of level k are cubes with edges of ``finest`` · 2**k."""

    origin: Floats
    """Corner of all nodes with the position 0, 0, 0."""
    finest: float
    levels: int
    """Number of levels; at the last one a single node holds the mesh."""

    @classmethod
    def around(cls, vertices: NDArray[Any], finest: float) -> Octree:
        """The smallest octree around vertices.

        >>> Octree.around(np.array([[5, 0, 0], [35, 3, 2]]), 10).levels
        3
        """
        placed = np.asarray(vertices, np.float64)
        low, finest = np.floor(placed.min(axis=0)), float(np.float32(finest))  # both are stored in 32 bits
        corner = low.astype(np.float32)
        origin = np.where(corner > low, np.nextafter(corner, np.float32(-np.inf)), corner).astype(np.float64)
        wide = float((placed.max(axis=0) - origin).max())
        return cls(origin, finest, 1 + int(np.ceil(np.log2(max(wide / finest, 1)))))


def multiscale_mesh(
    number: int, levels: Sequence[tuple[NDArray[Any], NDArray[Any]]], octree: Octree, scale: float
) -> Item:
    """The manifest of a mesh, and its fragments before it.

    Triangles are cut at the faces of nodes, in all levels but the finest also at the middle of nodes. A node without
    triangles is listed, and empty, if a finer one lies in it. Format: https://github.com/google/neuroglancer,
    ``src/datasource/precomputed/meshes.md``.

    Args:
        number: id of the segment.
        levels: vertices in nm, x y z, and faces of each level of the octree, the finest first. Vertices of further
            levels are moved into the box of the finest one: simplification may have brought them out.
        octree: around the vertices of the finest level.
        scale: nm that the finest level resolves; each further one twice that.

    Raises:
        NeuropilError: DracoPy is not installed.
    """
    assert len(levels) == octree.levels
    draco = needs_draco()
    fragments: list[bytes] = []
    lists: list[bytes] = []
    counts: list[int] = []
    finer = np.zeros((0, 3), np.int64)
    low, high = (np.asarray(f(levels[0][0], axis=0), np.float64) for f in (np.min, np.max))
    for level, (vertices, faces) in enumerate(levels):
        placed = np.clip(np.asarray(vertices, np.float64), low, high) - octree.origin
        found = _nodes(placed[faces], octree.finest, level)
        nodes = np.unique(
            np.concatenate([*([node] for node in found), finer // 2]).reshape(-1, 3).astype(np.int64), axis=0
        )
        nodes = nodes[np.argsort(_z_order(nodes), kind="stable")]
        parts = [_encoded(draco, found.get(tuple(node.tolist()))) for node in nodes]
        fragments += parts
        lists.append(nodes.T.astype("<u4").tobytes() + np.array([len(part) for part in parts], "<u4").tobytes())
        counts.append(len(nodes))
        finer = nodes
    scales = scale * 2.0 ** np.arange(octree.levels)
    head = [np.full(3, octree.finest), octree.origin]
    manifest = b"".join(part.astype("<f4").tobytes() for part in head) + np.uint32(octree.levels).tobytes()
    manifest += scales.astype("<f4").tobytes() + np.zeros((octree.levels, 3), "<f4").tobytes()
    manifest += np.array(counts, "<u4").tobytes() + b"".join(lists)
    return Item(number, manifest, b"".join(fragments))


def needs_draco() -> ModuleType:
    """Import DracoPy.

    Raises:
        NeuropilError: it is not installed.
    """
    return import_extra("DracoPy", "meshes in several resolutions", "mesh")


def cut_at_grid(triangles: Floats, cell: float) -> tuple[Floats, NDArray[np.int64]]:
    """Triangles cut such that each lies in one cell of a grid, and its cell.

    Args:
        triangles: ``[triangle, corner, 3]``, not negative.
        cell: edge of the cells; the grid begins at 0.

    >>> cut, cells = cut_at_grid(np.array([[[0.0, 0, 0], [4, 0, 0], [0, 2, 0]]]), 2)
    >>> len(cut), np.unique(cells, axis=0).tolist()
    (3, [[0, 0, 0], [1, 0, 0]])
    """
    for axis in range(3):
        low, high = triangles[:, :, axis].min(axis=1), triangles[:, :, axis].max(axis=1)
        for i in range(int(low.min(initial=0) // cell) + 1, int(np.ceil(high.max(initial=0) / cell))):
            across = (low < i * cell) & (high > i * cell)
            if across.any():
                pieces = _halves(triangles[across], axis, i * cell)
                triangles = np.concatenate([triangles[~across], pieces])
                low, high = triangles[:, :, axis].min(axis=1), triangles[:, :, axis].max(axis=1)
    middle = (triangles.min(axis=1) + triangles.max(axis=1)) / 2
    return triangles, np.floor(middle / cell).astype(np.int64)


def _halves(triangles: Floats, axis: int, at: float) -> Floats:
    """Triangles that cross a plane, in three pieces each; one of them is a line where a corner lies on the plane."""
    side = np.sign(triangles[:, :, axis] - at)
    alone = np.argmax(side == np.where(side.sum(axis=1) > 0, -1, 1)[:, None], axis=1)
    turned = (alone[:, None] + np.arange(3)) % 3
    tip, second, third = np.moveaxis(np.take_along_axis(triangles, turned[:, :, None], axis=1), 1, 0)

    def crossing(other: Floats) -> Floats:
        # From the lower to the upper end, so that both triangles at an edge get the same point.
        below = np.where((tip[:, axis] < other[:, axis])[:, None], tip, other)
        above = np.where((tip[:, axis] < other[:, axis])[:, None], other, tip)
        share = (at - below[:, axis]) / (above[:, axis] - below[:, axis])
        point = below + (above - below) * share[:, None]
        point[:, axis] = at
        return np.where((other[:, axis] == at)[:, None], other, point)

    one, two = crossing(second), crossing(third)
    return np.concatenate([np.stack(corners, axis=1) for corners in
                           ((tip, one, two), (one, second, third), (one, third, two))])  # fmt: skip


def _nodes(triangles: Floats, finest: float, level: int) -> dict[tuple[int, ...], NDArray[np.uint32]]:
    """The triangles in each node of a level, in whole units of the node: ``[triangle, corner, 3]`` for each node."""
    size = finest * 2**level
    pieces, cells = cut_at_grid(triangles, size / 2 if level else size)
    node = cells // 2 if level else cells
    units = np.rint((pieces - (node * size)[:, None]) / size * _MOST)
    if level:  # the reader sorts triangles by the middle of the node, so none may cross it by rounding
        upper = (cells % 2 == 1)[:, None]
        units = np.where(upper, np.maximum(units, _MIDDLE), np.minimum(units, _MIDDLE))
    units = np.clip(units, 0, _MOST).astype(np.uint32)
    order = np.lexsort(node.T)
    ends = np.flatnonzero((np.diff(node[order], axis=0) != 0).any(axis=1)) + 1
    return {tuple(node[rows[0]].tolist()): units[rows] for rows in np.split(order, ends) if len(rows)}


def _encoded(draco: ModuleType, triangles: NDArray[np.uint32] | None) -> bytes:
    """Triangles as Draco: whole numbers, which its quantisation with this origin and range keeps as they are."""
    if triangles is None:
        return b""
    vertices, corner = np.unique(triangles.reshape(-1, 3), axis=0, return_inverse=True)
    faces = corner.reshape(-1, 3)
    faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])]
    if not len(faces):
        return b""
    used, corner = np.unique(faces, return_inverse=True)
    data: bytes = draco.encode(
        vertices[used].astype(np.float32), corner.reshape(-1, 3).astype(np.uint32), quantization_bits=BITS,
        quantization_range=_MOST, quantization_origin=np.zeros(3), compression_level=7,
    )  # fmt: skip
    return data


def _z_order(nodes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place of each node along the z-order curve: the bits of x, y, z in turn, x lowest."""
    key = np.zeros(len(nodes), np.int64)
    for bit in range(20):
        for axis in range(3):
            key |= (nodes[:, axis] >> bit & 1) << (3 * bit + axis)
    return key
