"""Fragments of a volume that is worked on in blocks: each block alone, then which fragments are one across borders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil import _native
from neuropil.errors import NeuropilError
from neuropil.geometry import Box, Triple
from neuropil.segmentation.codes import FaceCodes, face_codes, thread_count
from neuropil.volumes import Encoding

HALO: Triple = (1, 1, 1)
"""Voxels around a block that its watershed looks at."""


@dataclass(frozen=True)
class Border:
    """One side of a block.

    Args:
        fragments: its outermost voxels, the two axes along the side in z, y, x order; uint32 or uint64.
        joins: bool, the same shape: which of them unite with the voxel on the other side, as this side sees it.
    """

    fragments: npt.NDArray[Any]
    joins: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class BlockFragments:
    """The fragments that a block sees.

    Args:
        fragments: [z, y, x] of the block, ids 1…n in the order of their first voxels in it, 0 = background.
        first: uint64 [n], linear index in the whole volume of each fragment's first voxel in the block.
        borders: the sides −z, +z, −y, +y, −x, +x; None where the volume ends.
    """

    fragments: npt.NDArray[Any]
    first: npt.NDArray[np.uint64]
    borders: tuple[Border | None, ...]


def watershed_block(
    affinities: npt.NDArray[Any],
    box: Box,
    shape: Triple,
    *,
    low: float = 1e-4,
    high: float = 0.9999,
    offsets: str | Sequence[Sequence[int]] | None = None,
    encoding: Encoding | None = None,
    threads: int | None = None,
) -> BlockFragments:
    """:func:`neuropil.watershed` of one block of a volume.

    Where blocks touch, :func:`unions_across` says which of their fragments are one; with these united, the blocks hold
    the fragments of the whole volume, voxel for voxel.

    Args:
        affinities: [edge, z, y, x] of :func:`with_halo` ``(box, shape)``: the box and one voxel around it, less what
            lies outside the volume.
        box: the block, in voxels of the volume.
        shape: the whole volume's, z y x.
        low, high, offsets, encoding, threads: as for :func:`neuropil.watershed`.

    Raises:
        NeuropilError: as :func:`neuropil.watershed`, or affinities that are not those of the box and its halo.

    >>> affinities = np.full((3, 1, 1, 6), 0.5)
    >>> left = watershed_block(affinities[..., :4], Box((0, 0, 0), (1, 1, 3)), (1, 1, 6))
    >>> right = watershed_block(affinities[..., 2:], Box((0, 0, 3), (1, 1, 6)), (1, 1, 6))
    >>> left.fragments.tolist(), right.fragments.tolist(), unions_across(left.borders[5], right.borders[4]).tolist()
    ([[[1, 1, 1]]], [[[1, 1, 1]]], [[1, 1]])
    """
    if not 0 <= low < high:
        raise NeuropilError(f"expected 0 <= low < high, got low {low} and high {high}")
    around = with_halo(box, shape)
    faces = face_codes(_checked(affinities, around), offsets, encoding)
    inner = box.relative_to(around.start)
    thresholds = faces.first_above(low), faces.last_below(high)
    joins = {side: _joins(faces, inner, side, thresholds) for side in _sides(box, shape)}
    cut = _without_halo_faces(faces, inner)
    grown = np.empty(faces.shape, faces.index)
    _native.watershed(*cut.arguments, *thresholds, grown, thread_count(threads))
    fragments, first = _numbered(grown[inner.slices])
    place = np.stack(np.unravel_index(first, box.shape)).astype(np.uint64) + np.array(box.start, np.uint64)[:, None]
    linear = (place[0] * np.uint64(shape[1]) + place[1]) * np.uint64(shape[2]) + place[2]
    borders: list[Border | None] = [None] * 6
    for axis, upper in joins:
        plane = fragments.take(-1 if upper else 0, axis)
        borders[2 * axis + upper] = Border(plane, joins[axis, upper])
    return BlockFragments(fragments, linear, tuple(borders))


def with_halo(box: Box, shape: Triple) -> Box:
    """The box and one voxel around it, within a volume of this shape.

    >>> str(with_halo(Box((0, 2, 2), (1, 4, 4)), (1, 4, 9)))
    '0:1,1:4,1:5'
    """
    if not Box.whole(shape).contains(box):
        raise NeuropilError(f"expected a box inside the volume of shape {shape}, got {box}")
    return box.grow(HALO).intersect(Box.whole(shape))


def unions_across(lower: Border, upper: Border) -> npt.NDArray[np.uint64]:
    """Fragments of two touching blocks that are one, as pairs.

    Args:
        lower: the + side of the block before the border, or any part of it.
        upper: the − side of the block behind it, the same part.

    Returns:
        uint64 [pairs, 2], each pair once: a fragment of the lower block, one of the upper.

    Raises:
        NeuropilError: sides of different shapes.
    """
    if lower.fragments.shape != upper.fragments.shape:
        raise NeuropilError(f"expected two equal sides, got shapes {lower.fragments.shape}, {upper.fragments.shape}")
    united = lower.joins | upper.joins
    pairs = np.stack([lower.fragments[united], upper.fragments[united]], axis=1).astype(np.uint64)
    return np.unique(pairs, axis=0) if len(pairs) else pairs


def unite_names(pairs: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Names that pairs say are one.

    Args:
        pairs: uint64 [pairs, 2], any names.

    Returns:
        The names that occur, ascending, and for each the smallest name that it is one with; uint64 [names].

    >>> names, smallest = unite_names(np.array([[9, 2], [9, 5], [7, 8]], np.uint64))
    >>> names.tolist(), smallest.tolist()
    ([2, 5, 7, 8, 9], [2, 2, 7, 7, 2])
    """
    a, b = (np.ascontiguousarray(column, np.uint64) for column in np.reshape(pairs, (-1, 2)).T)
    names, smallest = _native.unite_names(a, b)
    return names, smallest


def _checked(array: npt.NDArray[Any], around: Box) -> npt.NDArray[Any]:
    if array.ndim != 4 or array.shape[1:] != around.shape:
        raise NeuropilError(f"expected [edge, z, y, x] of the box {around}, shape {around.shape}; got {array.shape}")
    return array


def _sides(box: Box, shape: Triple) -> Iterator[tuple[int, bool]]:
    """(axis, upper) of every side that has voxels of the volume behind it."""
    for axis in range(3):
        if box.start[axis] > 0:
            yield axis, False
        if box.stop[axis] < shape[axis]:
            yield axis, True


def _without_halo_faces(faces: FaceCodes, inner: Box) -> FaceCodes:
    """The same with 0, which no threshold lets pass, between voxels of the halo.

    A voxel of the halo has one neighbour in the block at most. With no other face it joins nothing together.
    """
    channels = [faces.z.copy(), faces.y.copy(), faces.x.copy()]
    for axis, channel in enumerate(channels):
        for other in {0, 1, 2} - {axis}:
            along = np.moveaxis(channel, other, 0)
            along[: inner.start[other]] = 0
            along[inner.stop[other] :] = 0
    z, y, x = channels
    return replace(faces, z=z, y=y, x=x)


def _joins(faces: FaceCodes, inner: Box, side: tuple[int, bool], thresholds: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Which voxels of a side unite across it, by their own six faces."""
    axis, upper = side
    start, stop = list(inner.start), list(inner.stop)
    if upper:
        start[axis] = stop[axis] - 1
    else:
        stop[axis] = start[axis] + 1
    plane = Box.at(start, [b - a for a, b in zip(start, stop, strict=True)])
    # −x, −y, −z, +x, +y, +z: the first of the largest wins.
    six = np.stack([_face(faces, plane, a, up) for up in (False, True) for a in (2, 1, 0)])
    low, high = thresholds
    across = 3 * upper + 2 - axis
    chosen = (six.argmax(axis=0) == across) & (six[across] > low)
    joins: npt.NDArray[np.bool_] = (chosen | (six[across] > high)).squeeze(axis)
    return joins


def _face(faces: FaceCodes, plane: Box, axis: int, upper: bool) -> npt.NDArray[np.int64]:
    """Codes of the faces before (or behind) the voxels of a plane; −1 where the array ends."""
    channel = (faces.z, faces.y, faces.x)[axis]
    stored = int(upper) - (faces.flipped >> axis & 1)  # where the face lies: at the voxel, before it, or behind it
    step = [stored * (a == axis) for a in range(3)]
    beyond = [(1 if upper else -1) * (a == axis) for a in range(3)]
    inside = plane.shift(beyond).intersect(Box.whole(channel.shape)).shift([-b for b in beyond])
    codes = np.full(plane.shape, -1, np.int64)
    if inside.size:
        codes[inside.relative_to(plane.start).slices] = channel[inside.shift(step).slices]
    return codes


def _numbered(fragments: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Fragments numbered from 1 in the order of their first voxels, and where these are."""
    flat = fragments.reshape(-1)
    first = np.full(int(flat.max(initial=0)) + 1, flat.size, np.int64)
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]])) if flat.size else np.zeros(0, np.int64)
    np.minimum.at(first, flat[starts], starts)
    first[0] = flat.size
    order = np.argsort(first, kind="stable")
    order = order[first[order] < flat.size]
    number = np.zeros(len(first), fragments.dtype)
    number[order] = np.arange(1, len(order) + 1)
    return number[fragments], first[order]
