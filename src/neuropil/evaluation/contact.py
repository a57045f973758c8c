"""Find where parts of an object touch: of two masks in memory, or in one pass through volumes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.evaluation.placing import Placed, read_box, slabs
from neuropil.geometry import Box, Triple

Mask = NDArray[np.bool_]


def middle_of_contact(one: Mask, other: Mask) -> Triple | None:
    """The most central of the voxels of ``one`` that share a face with ``other``; None if none does.

    >>> middle_of_contact(np.array([[[True, True, False]]]), np.array([[[False, False, True]]]))
    (0, 0, 1)
    """
    touching = np.argwhere(touches(one, other))
    return most_central(touching) if len(touching) else None


def touches(one: Mask, other: Mask) -> Mask:
    """The voxels of ``one`` that share a face with ``other``."""
    touching = np.zeros(one.shape, bool)
    for axis in range(one.ndim):
        low = (slice(None),) * axis + (slice(None, -1),)
        high = (slice(None),) * axis + (slice(1, None),)
        touching[low] |= one[low] & other[high]
        touching[high] |= one[high] & other[low]
    return touching


def most_central(voxels: NDArray[np.integer[Any]]) -> Triple:
    """Of voxels ``[voxel, 3]``, at least one, the one nearest to their centre of mass."""
    distance = ((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1)
    z, y, x = voxels[int(distance.argmin())].tolist()
    return (z, y, x)


def bounds(mask: Mask) -> tuple[slice, ...]:
    """The bounding box of a mask, as slices."""
    found = []
    for axis in range(mask.ndim):
        along = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        found.append(slice(int(along[0]), int(along[-1]) + 1))
    return tuple(found)


def within(voxel: Triple, part: tuple[slice, ...], start: Triple) -> Triple:
    """Image coordinates of a voxel of ``array[part]``; the array starts at ``start`` in the image."""
    z, y, x = (n + piece.start + a for n, piece, a in zip(voxel, part, start, strict=True))
    return (z, y, x)


@dataclass(frozen=True)
class Meeting:
    """Which piece of which object to look for: a segment of a neuron, or a neuron of a segment."""

    in_truth: bool
    """True: the object is a neuron and its pieces are segments; false: the reverse."""
    owner: int
    piece: int


def meetings(placed: Placed, wanted: Sequence[Meeting]) -> list[Triple]:
    """For each of ``wanted``, a central voxel of the contact of the piece with the other pieces of its object.

    Without a contact: a central voxel of the piece in the section that has most of it. Voxels are those of the image.

    Args:
        placed: segmentation and labels; read a few sections at a time.
        wanted: pairs that occur in the placed box.
    """
    found = [_Found() for _ in wanted]
    for around, core in _overlapping(placed.box):
        arrays = read_box(placed.segmentation, around), read_box(placed.labels, around)
        depth = slice(core.start[0] - around.start[0], core.stop[0] - around.start[0])
        for place, one in zip(found, wanted, strict=True):
            piece, owner = arrays if one.in_truth else arrays[::-1]
            place.add(owner == one.owner, piece, one.piece, depth, around.start)
    return [place.middle() for place in found]


def _overlapping(box: Box) -> Iterator[tuple[Box, Box]]:
    """(slab with the sections next to it, slab)."""
    for core in slabs(box):
        yield core.grow((1, 0, 0)).intersect(box), core


@dataclass
class _Found:
    """Voxels found so far of one meeting."""

    contacts: list[NDArray[np.int64]] = field(default_factory=list)
    section: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    """The piece's voxels in the section with most of them."""

    def add(self, owner: Mask, piece: NDArray[Any], number: int, depth: slice, start: Triple) -> None:
        """Add a slab: voxels of the sections in ``depth`` count, the other sections are only neighbours."""
        this = owner & (piece == number)
        if not this[depth].any():
            return
        part = tuple(slice(max(0, one.start - 1), one.stop + 1) for one in bounds(this))
        this, rest = this[part], owner[part] & (piece[part] != number) & (piece[part] > 0)
        inside = np.zeros(len(owner), bool)
        inside[depth] = True
        counted = inside[part[0], None, None]
        corner = np.array([a.start + b for a, b in zip(part, start, strict=True)])
        self.contacts.append(np.argwhere(touches(this, rest) & counted) + corner)
        sizes = (this & counted).sum(axis=(1, 2))
        if sizes.max() > len(self.section):
            z = int(sizes.argmax())
            self.section = np.argwhere(this[z : z + 1]) + corner + (z, 0, 0)

    def middle(self) -> Triple:
        contacts = np.concatenate([np.zeros((0, 3), np.int64), *self.contacts])
        return most_central(contacts if len(contacts) else self.section)
