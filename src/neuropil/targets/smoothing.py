"""Smoothing of label outlines."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def smooth_labels(labels_ZYX: Tensor, sigma: float = 2.0, rounds: int = 2) -> Tensor:
    """Smooth the outline of each label in each section: Gaussian blur and threshold at one half, several times.

    Args:
        labels_ZYX: integers, 0 = background, not smoothed itself; not changed.
        sigma: standard deviation of the Gaussian, voxels.
        rounds: number of times.

    Returns:
        Labels of the same shape and dtype; where two overlap, the larger id wins. Thin labels disappear.

    >>> labels = torch.zeros(1, 9, 9, dtype=torch.int64)
    >>> labels[0, 2:7, 2:7] = 3
    >>> smooth_labels(labels, sigma=1.0)[0, 2].tolist()
    [0, 0, 0, 3, 3, 3, 0, 0, 0]
    """
    radius = math.ceil(4 * sigma)
    at = torch.arange(-radius, radius + 1, dtype=torch.float32)
    weights = torch.exp(-(at**2) / (2 * sigma**2))
    weights = weights / weights.sum()
    out = torch.zeros_like(labels_ZYX)
    for section, smoothed in zip(labels_ZYX, out, strict=True):
        for name in torch.unique(section):
            if name == 0:
                continue
            inside = (section == name)[None, None].float()
            for _ in range(rounds):
                wide = F.pad(inside, (radius,) * 4, mode="replicate")
                blurred = F.conv2d(F.conv2d(wide, weights[None, None, :, None]), weights[None, None, None, :])
                inside = (blurred > 0.5).float()
            smoothed[inside[0, 0] > 0] = name
    return out
