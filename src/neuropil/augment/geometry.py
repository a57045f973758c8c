"""Symmetries (flips and exchanged axes) of images, labels, masks and affinities.

The edge between voxels v and v + offset is stored at v. After a flip it is stored at its other end, the whole offset
away; exchanged axes exchange channels. :func:`readings` says where a transformed array holds an edge, if it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from neuropil.geometry import Offsets, Triple


class Symmetry(NamedTuple):
    """One of the 48 symmetries of a cube: flips of z, y, x, then a permutation of axes. 16 of them keep z as z."""

    flip_z: bool
    flip_y: bool
    flip_x: bool
    axes: Triple = (0, 1, 2)
    """Axis d of the result is axis ``axes[d]`` of the flipped array; (0, 2, 1) exchanges y and x."""


def draw_symmetry(rng: np.random.Generator, flip: bool = True, transpose: bool = True, cube: bool = False) -> Symmetry:
    """Draw one symmetry; each flip and the transpose with probability one half where allowed, with ``cube`` one of 48.

    >>> draw_symmetry(np.random.default_rng(0), flip=False, transpose=False)
    Symmetry(flip_z=False, flip_y=False, flip_x=False, axes=(0, 1, 2))
    """
    z, y, x, t = (bool(v) for v in rng.integers(0, 2, 4))
    axes = (0, 2, 1) if transpose and t else (0, 1, 2)
    if cube:
        first, second, third = (int(axis) for axis in rng.permutation(3))
        axes = (first, second, third)
    return Symmetry(flip and z, flip and y, flip and x, axes)


def apply_symmetry(x_ZYX: Tensor, symmetry: Symmetry) -> Tensor:
    """Apply a symmetry to the last three axes: flip, then permute.

    >>> import torch
    >>> tuple(apply_symmetry(torch.zeros(2, 3, 4), Symmetry(False, True, False, (0, 2, 1))).shape)
    (2, 4, 3)
    """
    flipped = [axis for axis, flip in zip((-3, -2, -1), symmetry[:3], strict=True) if flip]
    out = x_ZYX.flip(flipped) if flipped else x_ZYX
    if symmetry.axes == (0, 1, 2):
        return out
    lead = x_ZYX.ndim - 3
    return out.permute(*range(lead), *(lead + axis for axis in symmetry.axes))


def inverse(symmetry: Symmetry) -> Symmetry:
    """The symmetry that undoes another.

    >>> inverse(Symmetry(True, False, False, (1, 2, 0)))
    Symmetry(flip_z=False, flip_y=False, flip_x=True, axes=(2, 0, 1))
    """
    z, y, x = (symmetry.axes.index(axis) for axis in range(3))
    flips = symmetry[:3]
    first, second, third = (flips[axis] for axis in symmetry.axes)
    return Symmetry(first, second, third, (z, y, x))


def undone(x_ZYX: Tensor, symmetry: Symmetry) -> Tensor:
    """Undo a symmetry in an array made from the transformed image, on its last three axes.

    >>> import torch
    >>> tuple(undone(torch.zeros(4, 3, 2), Symmetry(False, True, False, (2, 1, 0))).shape)
    (2, 3, 4)
    """
    return apply_symmetry(x_ZYX, inverse(symmetry))


def turned(offset: Triple, symmetry: Symmetry) -> Triple:
    """An offset (z, y, x) after a symmetry.

    >>> turned((-1, 0, -9), Symmetry(True, False, False, (0, 2, 1)))
    (1, -9, 0)
    """
    flipped = [-o if flip else o for o, flip in zip(offset, symmetry[:3], strict=True)]
    z, y, x = (flipped[axis] for axis in symmetry.axes)
    return (z, y, x)


class Reading(NamedTuple):
    """Where an array F, after :func:`undone`, holds the affinity A of an edge: ``A[v] = F[channel, v + shift]``."""

    channel: int
    shift: Triple


def readings(view: Symmetry, offsets: Offsets, keep: Offsets) -> tuple[Reading | None, ...]:
    """Where affinities predicted from a view hold the wanted edges, after the view is undone in space.

    Args:
        view: the symmetry that was applied to the image before the prediction.
        offsets: the offsets of the predicted channels, in the axes of the view.
        keep: the wanted offsets, in the axes of the image.

    Returns:
        For each wanted edge: channel and shift (0, or the whole offset for the other end); None if no channel has it.

    >>> readings(Symmetry(False, True, False), ((0, -1, 0), (0, 0, -3)), ((0, -1, 0), (0, 0, -3)))
    (Reading(channel=0, shift=(0, -1, 0)), Reading(channel=1, shift=(0, 0, 0)))
    """
    channels = {offset: channel for channel, offset in enumerate(offsets)}
    found: list[Reading | None] = []
    for offset in keep:
        z, y, x = turned(offset, view)
        if (z, y, x) in channels:
            found.append(Reading(channels[z, y, x], (0, 0, 0)))
        elif (-z, -y, -x) in channels:
            found.append(Reading(channels[-z, -y, -x], offset))
        else:
            found.append(None)
    return tuple(found)


def edges_inside(offset: Triple, shape: Sequence[int]) -> tuple[slice, slice, slice]:
    """The voxels v of an array for which v + offset lies in it too; empty slices where there are none.

    >>> edges_inside((-1, 0, 9), (4, 5, 6))
    (slice(1, 4, None), slice(0, 5, None), slice(0, 0, None))
    """
    z, y, x = (slice(min(max(-o, 0), n), max(n - max(o, 0), 0)) for o, n in zip(offset, shape, strict=True))
    return (z, y, x)


def moved(place: tuple[slice, slice, slice], shift: Triple) -> tuple[slice, slice, slice]:
    """Slices displaced by a shift; empty ones are unchanged."""
    z, y, x = (slice(s.start + d, s.stop + d) if s.stop > s.start else s for s, d in zip(place, shift, strict=True))
    return (z, y, x)


def turn_affinities(
    held_EZYX: Tensor, offsets: Offsets, keep: Offsets, symmetry: Symmetry
) -> tuple[Tensor, tuple[bool, ...]]:
    """Apply a symmetry to affinities (or their codes).

    Args:
        held_EZYX: affinities of the image, any dtype.
        offsets: the offsets of their channels.
        keep: the offsets wanted after the symmetry.
        symmetry: the one that is applied to image and labels.

    Returns:
        Affinities ``[len(keep), Z, Y, X]``, 0 where an edge leaves the array; and for each channel whether its edge was
        found: if not, the channel is 0.

    >>> import torch
    >>> row = torch.tensor([[[[0.0, 0.1, 0.2]]]])  # the edge between voxels 0 and 1 is stored at 1
    >>> turn_affinities(row, ((0, 0, -1),), ((0, 0, -1),), Symmetry(False, False, True))[0].flatten().tolist()
    [0.0, 0.20000000298023224, 0.10000000149011612]
    """
    seen = apply_symmetry(held_EZYX, symmetry)
    out = seen.new_zeros((len(keep), *seen.shape[1:]))
    found = readings(inverse(symmetry), offsets, keep)
    for e, reading in enumerate(found):
        if reading is not None:
            place = edges_inside(keep[e], seen.shape[1:])
            out[e][place] = seen[reading.channel][moved(place, reading.shift)]
    return out, tuple(reading is not None for reading in found)
