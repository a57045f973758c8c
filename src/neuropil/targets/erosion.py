"""Label erosion: widen the membrane between neurons, so that the network learns to see it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from neuropil.errors import NeuropilError


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
    if steps == 0:
        return labels_ZYX
    return labels_ZYX.masked_fill(meetings(labels_ZYX, steps), 0)


def meetings(labels_ZYX: Tensor, steps: int) -> Tensor:
    """Where the in-section window of (2·steps+1)² voxels holds two different positive ids: the contour of instances.

    >>> meetings(torch.tensor([[1, 1, 1, 2, 2, 0]]), 1).tolist()
    [[False, False, True, True, False, False]]
    """
    if labels_ZYX.dtype not in (torch.int8, torch.int16, torch.int32, torch.int64):
        raise NeuropilError(f"erosion needs signed integer labels, got {labels_ZYX.dtype}; compact the ids first")
    if steps < 0:
        raise NeuropilError(f"label_erosion counts voxels and must be >= 0, got {steps}")
    # The largest id of the window, and the smallest positive one: they differ exactly where two neurons meet.
    none = torch.iinfo(labels_ZYX.dtype).max
    largest = _window(labels_ZYX, steps, torch.maximum)
    smallest = _window(labels_ZYX.masked_fill(labels_ZYX <= 0, none), steps, torch.minimum)
    return (largest > 0) & (largest != smallest)


def _window(x_ZYX: Tensor, steps: int, best: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Running best of a clipped (2·steps+1)² window, one axis after the other."""
    for axis in (-1, -2):
        out = x_ZYX.clone()
        length = x_ZYX.shape[axis]
        for step in range(1, min(steps, length - 1) + 1):
            low, high = x_ZYX.narrow(axis, 0, length - step), x_ZYX.narrow(axis, step, length - step)
            left, right = out.narrow(axis, 0, length - step), out.narrow(axis, step, length - step)
            left.copy_(best(left, high))
            right.copy_(best(right, low))
        x_ZYX = out
    return x_ZYX
