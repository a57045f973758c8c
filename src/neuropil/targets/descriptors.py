"""Local shape descriptors (LSDs): position, size and elongation of a voxel's neuron within a Gaussian window.

As in A. Sheridan et al. 2022, "Local shape descriptors for neuron segmentation" (Nature Methods).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

CHANNELS = 10
"""Mean offset z y x, variance z y x, correlation zy zx yx, size."""

_PAIRS = ((0, 1), (0, 2), (1, 2))


def shape_descriptors(labels_ZYX: Tensor, sigma: Sequence[float], thin: int = 1) -> Tensor:
    """Ten numbers per voxel about its neuron within a Gaussian window, each in [0, 1]; background is 0.

    Args:
        labels_ZYX: integers, 0 = background.
        sigma: standard deviation of the window (z, y, x) in voxels.
        thin: compute at every ``thin``-th voxel in y and x, and repeat the values; 1: at all voxels.

    Returns:
        float32 ``[10, Z, Y, X]``: offset to the centre of mass (in units of ±sigma, ½ = 0), variance (in units of
        sigma²), correlations (½ = 0), and size (the share of the window that belongs to the neuron).

    >>> tuple(shape_descriptors(torch.ones(3, 8, 8, dtype=torch.int32), (2, 4, 4), thin=2).shape)
    (10, 3, 8, 8)
    """
    coarse = labels_ZYX[:, ::thin, ::thin]
    width = torch.tensor([sigma[0], sigma[1] / thin, sigma[2] / thin], dtype=torch.float32).to(coarse.device)
    out = torch.zeros(CHANNELS, *coarse.shape, device=coarse.device)
    radius = [min(math.ceil(3 * float(s)), n - 1) for s, n in zip(width, coarse.shape, strict=True)]
    for label in torch.unique(coarse).tolist():
        if label:
            box = _around(coarse == label, radius)
            inside = coarse[box] == label
            found = _describe(inside.float(), width, radius)
            out[(slice(None), *box)] += found * inside
    full = out.repeat_interleave(thin, -2).repeat_interleave(thin, -1)[
        ..., : labels_ZYX.shape[-2], : labels_ZYX.shape[-1]
    ]
    return full * (labels_ZYX != 0)


def _around(inside_ZYX: Tensor, radius: Sequence[int]) -> tuple[slice, ...]:
    """The bounding box of a neuron; voxels outside it contribute nothing."""
    slices = []
    for axis in range(3):
        others = [a for a in range(3) if a != axis]
        at = inside_ZYX.any(others[1]).any(others[0]).nonzero()
        slices.append(slice(int(at[0]), int(at[-1]) + 1))
    return tuple(slices)


def _describe(inside_ZYX: Tensor, sigma: Tensor, radius: Sequence[int]) -> Tensor:
    """Moments of a neuron in a Gaussian window around each of its voxels."""
    axes = [torch.arange(n, device=inside_ZYX.device, dtype=torch.float32) for n in inside_ZYX.shape]
    # Coordinates relative to the middle, since differences of large squares would lose precision.
    at = torch.stack(torch.meshgrid(*(a - a.mean() for a in axes), indexing="ij"))
    moments = [
        torch.ones_like(inside_ZYX),
        *at,
        *(at[i] * at[i] for i in range(3)),
        *(at[i] * at[j] for i, j in _PAIRS),
    ]
    seen = _gaussian(torch.stack(moments) * inside_ZYX, sigma.tolist(), radius)
    size = seen[0]
    mean = seen[1:4] / size.clamp(min=1e-6)
    variance = (seen[4:7] / size.clamp(min=1e-6) - mean * mean).clamp(min=0)
    scale = sigma[:, None, None, None]
    correlation = [
        (seen[7 + n] / size.clamp(min=1e-6) - mean[i] * mean[j]) / (variance[i] * variance[j]).sqrt().clamp(min=1e-3)
        for n, (i, j) in enumerate(_PAIRS)
    ]
    parts = [(mean - at) / scale / 2 + 0.5, variance / scale**2, torch.stack(correlation) / 2 + 0.5, size[None]]
    return torch.cat(parts).clamp(0, 1)


def _gaussian(x_CZYX: Tensor, sigma: Sequence[float], radius: Sequence[int]) -> Tensor:
    """Gaussian filter along each axis, with weights of sum 1 and zeros beyond the border."""
    for axis, (s, r) in enumerate(zip(sigma, radius, strict=True)):
        r = min(r, x_CZYX.shape[axis + 1] - 1)
        at = torch.arange(-r, r + 1, device=x_CZYX.device, dtype=torch.float32)
        full = torch.arange(-math.ceil(3 * s), math.ceil(3 * s) + 1, device=x_CZYX.device, dtype=torch.float32)
        weights = torch.exp(-(at**2) / (2 * s * s)) / torch.exp(-(full**2) / (2 * s * s)).sum()
        shape, padding = [1, 1, 1, 1, 1], [0, 0, 0]
        shape[axis + 2], padding[axis] = 2 * r + 1, r
        x_CZYX = F.conv3d(x_CZYX[:, None], weights.reshape(shape), padding=padding)[:, 0]
    return x_CZYX
