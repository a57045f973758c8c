"""Test-time augmentation: combines affinities of flipped and transposed images.

A view is the image flipped or with axes exchanged. Undoing it moves the voxels back, but an edge may also change its
channel: :func:`neuropil.augment.readings` says which channel of a view has a wanted edge, if any.

Shape suffixes: B batch, E edge (channel), Z Y X space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Tensor

from neuropil.augment import Symmetry, apply_symmetry, edges_inside, moved, readings, undone
from neuropil.choices import TtaMode
from neuropil.errors import NeuropilError
from neuropil.geometry import Offsets, Triple

Probabilities = Callable[[Tensor, Sequence[int]], Tensor]
"""From images ``[B, Z, Y, X]`` and channel numbers to float32 probabilities ``[B, len(channels), Z, Y, X]``."""


def symmetries(tta: int) -> tuple[Symmetry, ...]:
    """The views of ``--tta``: 1 the image only; 4 flips of y and x; 8 also y and x exchanged; 16 also flips of z; 48
    all orders of the axes, for isotropic models. The first is always the image itself.

    Raises:
        NeuropilError: another number.

    >>> [len(symmetries(n)) for n in (1, 4, 8, 16, 48)]
    [1, 4, 8, 16, 48]
    """
    if tta not in (1, 4, 8, 16, 48):
        raise NeuropilError(f"expected 1, 4, 8, 16 or 48 test-time symmetries (tta), got {tta}")
    off, both = (False,), (False, True)
    orders: list[Triple] = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    used = orders[: 6 if tta == 48 else 2 if tta >= 8 else 1]
    along_z, along_yx = both if tta >= 16 else off, both if tta >= 4 else off
    flips = product(along_z, used, along_yx, along_yx)
    return tuple(Symmetry(z, y, x, axes) for z, axes, y, x in flips)


def channels_read(tta: int, offsets: Offsets, keep: Offsets) -> tuple[int, ...]:
    """The channels that some view needs for the offsets kept, in ascending order.

    >>> channels_read(8, ((0, -1, 0), (0, 0, -1), (0, -9, 0), (0, 0, -9)), ((0, -9, 0),))
    (2, 3)
    """
    views = [readings(view, offsets, keep) for view in symmetries(tta)]
    return tuple(sorted({reading.channel for found in views for reading in found if reading}))


def combine_views(
    image_BZYX: Tensor, probabilities: Probabilities, offsets: Offsets, keep: Offsets, tta: int, mode: TtaMode
) -> Tensor:
    """Affinities of an image from all views of it: float32 ``[B, len(keep), Z, Y, X]``.

    Edges that leave the image are 0, since no view has them.

    Args:
        image_BZYX: float in [0, 1].
        probabilities: the network.
        offsets: the edges of the network's channels.
        keep: the edges wanted, a subset of ``offsets``.
        tta: number of views.
        mode: ``mean``, ``min`` or ``max``, over the views that have the edge.
    """
    shape = image_BZYX.shape[1:]
    out = torch.zeros((image_BZYX.shape[0], len(keep), *shape), device=image_BZYX.device)
    inside = [edges_inside(offset, shape) for offset in keep]
    seen = [0] * len(keep)
    for view in symmetries(tta):
        found = readings(view, offsets, keep)
        channels = sorted({reading.channel for reading in found if reading})
        if not channels:
            continue
        held = undone(probabilities(apply_symmetry(image_BZYX, view), channels), view)
        for e, reading in enumerate(found):
            if reading is None:
                continue
            place, source = inside[e], moved(inside[e], reading.shift)
            _combine(out[:, e][:, *place], held[:, channels.index(reading.channel)][:, *source], mode, seen[e] == 0)
            seen[e] += 1
    if mode == "mean":
        for e, count in enumerate(seen):
            out[:, e] /= count
    return out


def turn_descriptors(found_BCZYX: Tensor, view: Symmetry) -> Tensor:
    """Undo a view in the channels of shape descriptors whose voxels have been moved back already.

    Vector parts are turned as vectors: the mean offset changes sign if its axis is flipped, a correlation if one of its
    two axes is, and channels of y and x are exchanged with the axes. All are in [0, 1] with ½ as zero, so that a change
    of sign is 1 − value.

    >>> one = torch.arange(10.0).reshape(1, 10, 1, 1, 1) / 10
    >>> turn_descriptors(one, Symmetry(False, True, False))[0, :, 0, 0, 0].mul(10).round().int().tolist()
    [0, 9, 2, 3, 4, 5, 4, 7, 2, 9]
    """
    order = [0, 2, 1, 3, 5, 4, 7, 6, 8, 9] if view.axes == (0, 2, 1) else range(10)
    z, y, x = view[:3]
    turned_round = [z, y, x, False, False, False, z != y, z != x, y != x, False]
    channels = [found_BCZYX[:, channel] for channel in order]
    return torch.stack([1 - c if turn else c for c, turn in zip(channels, turned_round, strict=True)], dim=1)


def combine_descriptors(image_BZYX: Tensor, descriptors: Callable[[Tensor], Tensor], tta: int) -> Tensor:
    """The mean of the shape descriptors of all views: float32 ``[B, 10, Z, Y, X]``.

    Args:
        image_BZYX: float in [0, 1].
        descriptors: the network, from the image of a view to ten descriptors, float32 in [0, 1].
        tta: number of views; see :func:`symmetries`.
    """
    views = symmetries(tta)
    total: Tensor | None = None
    for view in views:
        found = turn_descriptors(undone(descriptors(apply_symmetry(image_BZYX, view)), view), view)
        total = found if total is None else total.add_(found)
    assert total is not None
    return total / len(views)


def _combine(into: Tensor, values: Tensor, mode: TtaMode, first: bool) -> None:
    if first:
        into.copy_(values)
    elif mode == "mean":
        into += values
    elif mode == "min":
        torch.minimum(into, values, out=into)
    else:
        torch.maximum(into, values, out=into)
