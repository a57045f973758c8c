"""Label erosion: widens the background between touching neurons, so that the network learns membranes."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from neuropil.errors import NeuropilError
from neuropil.targets.kernels import eroded_inside, meetings_inside


def erode_labels(labels_ZYX: Tensor, steps: int) -> Tensor:
    """Set to background every voxel whose in-section window holds two different positive ids.

    The window is (2·steps+1)² voxels of one section, clipped at the border of the section. Background in the window
    does not erode, only a second neuron does (K. Lee's rule, PhD thesis, appendix A.1.4).

    Args:
        labels_ZYX: signed integers, any number of leading axes, 0 = background.
        steps: half-width of the window in voxels; 0 returns the labels as they are.

    Returns:
        New labels, same shape and dtype.

    Raises:
        NeuropilError: unsigned labels, or negative steps.

    >>> erode_labels(torch.tensor([[1, 1, 1, 2, 2, 0]]), 1).tolist()
    [[1, 1, 0, 0, 2, 0]]
    """
    return labels_ZYX if steps == 0 else erode_inside(labels_ZYX, steps, 0)


def erode_inside(labels_ZHW: Tensor, steps: int, margin: int) -> Tensor:
    """Erode labels and cut off ``margin`` voxels on each side in y and x, which only serve the erosion.

    The same as :func:`erode_labels` and a cut, at half the cost.

    Args:
        labels_ZHW: signed integers, any number of leading axes, 0 = background.
        steps: half-width of the window in voxels.
        margin: voxels to cut off. If it is less than ``steps``, windows are clipped at the border.

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
    """Erode labels in the three planes through each voxel, for isotropic voxels.

    A voxel becomes background if the window of (2·steps+1)² voxels in any of these planes holds two different positive
    ids; windows are clipped at the first and last section.

    Args:
        labels_ZHW: signed integers, any number of leading axes, 0 = background.
        steps: half-width of the window in voxels; 0 only cuts.
        margin: voxels to cut off on each side in y and x, as :func:`erode_inside` does.

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
    """Contours between neurons: where the in-section window of (2·steps+1)² voxels holds two different positive ids.

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
    """Contours at voxels whose window is complete: smaller by ``steps`` on each side in y and x."""
    # Two neurons meet where the largest id of the window differs from the smallest positive one. After subtracting 1,
    # clearing the sign bit makes background the largest number, so that the minimum ignores it.
    ids = labels_ZHW.clamp(min=0).sub_(1)
    largest = _window(ids, steps, torch.maximum)
    smallest = _window(ids.bitwise_and_(torch.iinfo(ids.dtype).max), steps, torch.minimum)
    return smallest < largest


def _cut(x_ZHW: Tensor, margin: int) -> Tensor:
    """Cut off ``margin`` voxels on each side in y and x; if it is negative, pad with background."""
    if margin < 0:
        return F.pad(x_ZHW, (-margin,) * 4)
    height, width = x_ZHW.shape[-2:]
    return x_ZHW[..., margin : height - margin, margin : width - margin]


def _window(x_ZHW: Tensor, steps: int, best: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Maximum or minimum of each complete (2·steps+1)² window, one axis after the other."""
    for axis in (-1, -2):
        reach = 1
        while reach <= 2 * steps:  # each value is the best of ``reach`` voxels; combine two overlapping ones
            step = min(reach, 2 * steps + 1 - reach)
            length = x_ZHW.shape[axis] - step
            x_ZHW = best(x_ZHW.narrow(axis, 0, length), x_ZHW.narrow(axis, step, length))
            reach += step
    return x_ZHW
