"""Label erosion: widen the membrane between neurons, so that the network learns to see it."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from neuropil.errors import NeuropilError
from neuropil.targets.kernels import eroded_inside, meetings_inside


def erode_labels(labels_ZYX: Tensor, steps: int) -> Tensor:
    """Turn into background every voxel whose in-section window holds two different positive ids.

    The window is (2·steps+1)² voxels of one section, clipped at the border of the section. Background inside the
    window does not erode: only two touching neurons do (K. Lee's rule, PhD thesis, appendix A.1.4).

    Args:
        labels_ZYX: signed integers, any number of leading axes, 0 = background.
        steps: half-width of the window in voxels; 0 returns the labels as they are.

    Returns:
        New labels, same shape and dtype.

    >>> erode_labels(torch.tensor([[1, 1, 1, 2, 2, 0]]), 1).tolist()
    [[1, 1, 0, 0, 2, 0]]
    """
    return labels_ZYX if steps == 0 else erode_inside(labels_ZYX, steps, 0)


def erode_inside(labels_ZHW: Tensor, steps: int, margin: int) -> Tensor:
    """The eroded labels but for ``margin`` voxels on each side in y and x: erosion looks at them and nobody else does.

    The same as :func:`erode_labels` and then to cut, at half the cost.

    Args:
        labels_ZHW: signed integers, any number of leading axes, 0 = background.
        steps: half-width of the window in voxels.
        margin: voxels to leave out. Where that is less than ``steps``, windows are clipped at the border.

    Returns:
        Labels of the same dtype, smaller by twice the margin in y and x.

    >>> erode_inside(torch.tensor([[5, 5, 5, 5, 5], [1, 1, 1, 2, 2], [1, 1, 0, 0, 2]]), 1, 1).tolist()
    [[0, 0, 0]]
    """
    near = _checked(_cut(labels_ZHW, margin - steps), steps)
    if steps == 0:
        return near.contiguous()
    if near.device.type == "cpu":
        return eroded_inside(near, steps)
    return (_cut(labels_ZHW, margin) * ~_by_torch(near, steps)).contiguous()


def erode_volume(labels_ZHW: Tensor, steps: int, margin: int) -> Tensor:
    """Eroded in the three planes through each voxel, for isotropic voxels: no direction is special.

    A voxel is left out where the window of (2·steps+1)² voxels of any of these planes holds two different positive
    ids; windows are clipped at the first and last section.

    Args:
        labels_ZHW: signed integers, any number of leading axes, 0 = background.
        steps: half-width of the window in voxels; 0 only cuts.
        margin: voxels to leave out on each side in y and x, as :func:`erode_inside` does.

    >>> erode_volume(torch.tensor([[[1, 1, 1]], [[1, 1, 1]], [[2, 2, 2]]]), 1, 0)[:, 0, 1].tolist()
    [1, 0, 0]
    """
    eroded = erode_inside(labels_ZHW, steps, margin)
    if steps == 0:
        return eroded
    for order in ((-2, -3, -1), (-1, -3, -2)):  # planes of z and x, of z and y
        met = meetings(torch.movedim(labels_ZHW, order, (-3, -2, -1)).contiguous(), steps)
        back = torch.movedim(met, (-3, -2, -1), order)
        eroded = eroded * ~_cut(back, margin)
    return eroded


def meetings(labels_ZYX: Tensor, steps: int) -> Tensor:
    """Where the in-section window of (2·steps+1)² voxels holds two different positive ids: the contour of instances.

    >>> meetings(torch.tensor([[1, 1, 1, 2, 2, 0]]), 1).tolist()
    [[False, False, True, True, False, False]]
    """
    near = _checked(_cut(labels_ZYX, -steps), steps)
    return meetings_inside(near, steps) if near.device.type == "cpu" else _by_torch(near, steps)


def _checked(labels_ZHW: Tensor, steps: int) -> Tensor:
    if labels_ZHW.dtype not in (torch.int8, torch.int16, torch.int32, torch.int64):
        raise NeuropilError(f"erosion needs signed integer labels, got {labels_ZHW.dtype}; compact the ids first")
    if steps < 0:
        raise NeuropilError(f"label_erosion counts voxels and must be >= 0, got {steps}")
    return labels_ZHW


def _by_torch(labels_ZHW: Tensor, steps: int) -> Tensor:
    """Where neurons meet, of voxels whose window is whole: smaller by ``steps`` on each side in y and x."""
    # The largest id of the window, and the smallest positive one: they differ exactly where two neurons meet. Counted
    # from -1, background becomes the largest number there is by losing its sign.
    ids = labels_ZHW.clamp(min=0).sub_(1)
    largest = _window(ids, steps, torch.maximum)
    smallest = _window(ids.bitwise_and_(torch.iinfo(ids.dtype).max), steps, torch.minimum)
    return smallest < largest


def _cut(x_ZHW: Tensor, margin: int) -> Tensor:
    """Without ``margin`` voxels on each side in y and x; with as many of background where it is negative."""
    if margin < 0:
        return F.pad(x_ZHW, (-margin,) * 4)
    height, width = x_ZHW.shape[-2:]
    return x_ZHW[..., margin : height - margin, margin : width - margin]


def _window(x_ZHW: Tensor, steps: int, best: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Best of each whole (2·steps+1)² window, one axis after the other."""
    for axis in (-1, -2):
        reach = 1
        while reach <= 2 * steps:  # each voxel knows the best of ``reach`` voxels from itself on; two of these overlap
            step = min(reach, 2 * steps + 1 - reach)
            length = x_ZHW.shape[axis] - step
            x_ZHW = best(x_ZHW.narrow(axis, 0, length), x_ZHW.narrow(axis, step, length))
            reach += step
    return x_ZHW
