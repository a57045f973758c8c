"""Distance to the next neuron or to background, in each section, with a sign: positive inside neurons."""

from __future__ import annotations

import torch
from torch import Tensor

from neuropil.errors import NeuropilError


def signed_distance(labels_ZYX: Tensor, reach: int) -> Tensor:
    """Signed distance of each voxel to the border of its neuron, or, negative, of the background, scaled to (-1, 1).

    The Euclidean distance d to the nearest voxel of another id in the same section, exact up to ``reach`` and cut off
    there, becomes ±tanh(2·(d − ½)/reach), which is steep at the membrane.

    Args:
        labels_ZYX: integers, any number of leading axes, 0 = background.
        reach: voxels at which distances are cut off.

    Returns:
        float32 of the same shape.

    Raises:
        NeuropilError: a reach below 1.

    >>> (100 * signed_distance(torch.tensor([[[1, 1, 1, 0]]]), 4)[0, 0]).round().tolist()
    [85.0, 64.0, 24.0, -24.0]
    """
    if reach < 1:
        raise NeuropilError(f"the reach of a distance counts voxels and must be >= 1, got {reach}")
    far = float(reach)
    # Distances along x first. Then along y: the voxel dy rows away has another id, or its own x-distance to one.
    row = torch.full(labels_ZYX.shape, far, device=labels_ZYX.device)
    for step in range(min(reach - 1, labels_ZYX.shape[-1] - 1), 0, -1):
        _where_different(labels_ZYX, row, None, -1, step)
    squared = row * row
    out = squared.clone()
    for step in range(1, min(reach, labels_ZYX.shape[-2])):
        _where_different(labels_ZYX, out, squared, -2, step)
    distance = out.sqrt().clamp(max=far)
    depth = torch.tanh(2 * (distance - 0.5) / far)
    return torch.where(labels_ZYX > 0, depth, -depth)


def _where_different(labels: Tensor, best: Tensor, squared: Tensor | None, axis: int, step: int) -> None:
    """Update distances, in place, by the voxels ``step`` away on either side."""
    length = labels.shape[axis]
    a, b = (labels.narrow(axis, start, length - step) for start in (0, step))
    left, right = (best.narrow(axis, start, length - step) for start in (0, step))
    if squared is None:
        near = torch.full_like(left, float(step))
        left.copy_(torch.where(a != b, near, left))
        right.copy_(torch.where(a != b, near, right))
        return
    ahead, behind = (squared.narrow(axis, start, length - step) for start in (step, 0))
    zero = torch.zeros((), device=labels.device)
    left.copy_(torch.minimum(left, torch.where(a != b, zero, ahead) + step * step))
    right.copy_(torch.minimum(right, torch.where(a != b, zero, behind) + step * step))
