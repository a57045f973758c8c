"""Defects of sections as microscopes and knives make them: at most one kind in a sample, unless several may meet."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from neuropil.augment.intensity import to_unit
from neuropil.config import AugmentConfig

Defect = Callable[[Tensor, AugmentConfig, np.random.Generator], Tensor]
"""From sections, float ``[n, Y, X]`` in [0, 1], to damaged ones of the same shape."""


def spoil_sections(image_ZYX: Tensor, augment: AugmentConfig, rng: np.random.Generator) -> Tensor:
    """Damage some sections of one sample, or a box of it; the labels stay what they are.

    The network learns to carry neurons across sections it cannot see. One kind per sample, because all at once is
    far worse than real stacks are; with ``augment.several`` each kind is drawn by itself, boxes first.

    Args:
        image_ZYX: float in [0, 1], or bytes; left alone, and returned as it is where nothing is damaged.
        augment: the share of samples with each kind of defect, and how strong it may be.
        rng: the sample's stream.

    >>> dark = spoil_sections(torch.ones(6, 8, 8), AugmentConfig(missing=1.0), np.random.default_rng(1))
    >>> 1 <= (dark.mean((1, 2)) < 1).sum() <= 5
    tensor(True)
    """
    if augment.several:
        for share, defect, whole in reversed(_KINDS):
            if float(rng.random()) < getattr(augment, share):
                image_ZYX = _damaged(image_ZYX, augment, rng, defect, whole)
        return image_ZYX
    drawn = float(rng.random())
    for share, defect, whole in _KINDS:
        probability = getattr(augment, share)
        if drawn < probability:
            return _damaged(image_ZYX, augment, rng, defect, whole)
        drawn -= probability
    return image_ZYX


def _damaged(
    image_ZYX: Tensor, augment: AugmentConfig, rng: np.random.Generator, defect: Defect, whole: bool
) -> Tensor:
    unit = to_unit(image_ZYX) if image_ZYX.dtype == torch.uint8 else image_ZYX
    return defect(unit, augment, rng) if whole else _some(unit, augment, rng, defect)


def _some(image_ZYX: Tensor, augment: AugmentConfig, rng: np.random.Generator, defect: Defect) -> Tensor:
    """Damage a few sections, each of them chosen once."""
    count = int(rng.integers(1, min(augment.defect_sections, len(image_ZYX)) + 1))
    chosen = torch.from_numpy(rng.choice(len(image_ZYX), count, replace=False)).to(image_ZYX.device)
    out = image_ZYX.clone()
    out[chosen] = defect(image_ZYX[chosen], augment, rng)
    return out


def missing(sections_NYX: Tensor, augment: AugmentConfig, rng: np.random.Generator) -> Tensor:
    """Sections that were lost: one grey value, black in half of them."""
    grey = rng.random(len(sections_NYX)) * rng.integers(0, 2, len(sections_NYX))
    return _column(grey, sections_NYX).expand_as(sections_NYX)


def partly_missing(sections_NYX: Tensor, augment: AugmentConfig, rng: np.random.Generator) -> Tensor:
    """Sections torn or folded along a line at any angle: what lies on one side of it is one grey value."""
    count, height, width = sections_NYX.shape
    angle = rng.uniform(0, 2 * math.pi, count)
    cut = rng.uniform(-0.3, 0.3, count) * (np.abs(np.sin(angle)) * height + np.abs(np.cos(angle)) * width)
    y, x = (torch.arange(n, device=sections_NYX.device) - (n - 1) / 2 for n in (height, width))
    side = _column(np.sin(angle), sections_NYX) * y[:, None] + _column(np.cos(angle), sections_NYX) * x
    return torch.where(side > _column(cut, sections_NYX), missing(sections_NYX, augment, rng), sections_NYX)


def blurred(sections_NYX: Tensor, augment: AugmentConfig, rng: np.random.Generator) -> Tensor:
    """Sections out of focus: a Gaussian of up to ``blur`` voxels."""
    sigma = float(rng.uniform(min(1.0, augment.blur), augment.blur))
    radius = max(1, math.ceil(2.5 * sigma))
    at = torch.arange(-radius, radius + 1, device=sections_NYX.device, dtype=sections_NYX.dtype)
    weights = torch.exp(-(at**2) / (2 * sigma**2))
    weights = weights / weights.sum()
    padded = _repeat_border(sections_NYX[:, None], radius)
    return F.conv2d(F.conv2d(padded, weights[None, None, :, None]), weights[None, None, None, :])[:, 0]


def noisy(sections_NYX: Tensor, augment: AugmentConfig, rng: np.random.Generator) -> Tensor:
    """Sections with too few electrons: Gaussian noise of a standard deviation of up to ``noise``."""
    return (sections_NYX + _noise(sections_NYX, rng) * float(rng.uniform(0.3, 1) * augment.noise)).clamp(0, 1)


def moved(sections_NYX: Tensor, augment: AugmentConfig, rng: np.random.Generator) -> Tensor:
    """Sections smeared along a line of up to ``motion_length`` voxels at any angle: the stage moved."""
    radius = augment.motion_length // 2
    angle = rng.uniform(0, math.pi)
    line = np.linspace(-radius, radius, 4 * radius + 1)
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1), np.float32)
    np.add.at(
        kernel,
        (np.rint(radius + line * np.sin(angle)).astype(int), np.rint(radius + line * np.cos(angle)).astype(int)),
        1,
    )
    weights = torch.from_numpy(kernel / kernel.sum()).to(sections_NYX)
    return F.conv2d(_repeat_border(sections_NYX[:, None], radius), weights[None, None])[:, 0]


def cut_noise(image_ZYX: Tensor, augment: AugmentConfig, rng: np.random.Generator) -> Tensor:
    """Noise inside a box through several sections."""
    box, out = _box(image_ZYX, augment, rng), image_ZYX.clone()
    out[box] = noisy(out[box], augment, rng)
    return out


def cut_blur(image_ZYX: Tensor, augment: AugmentConfig, rng: np.random.Generator) -> Tensor:
    """A box seen at a half to an eighth of the resolution in y and x (J. Yoo et al. 2020, arXiv:2004.00448)."""
    box, out = _box(image_ZYX, augment, rng), image_ZYX.clone()
    size = out[box].shape[-2:]
    factor = int(rng.integers(2, 9))
    coarse = F.adaptive_avg_pool2d(out[box][:, None], (max(1, size[0] // factor), max(1, size[1] // factor)))
    out[box] = F.interpolate(coarse, size=size, mode="nearest")[:, 0]
    return out


_KINDS: tuple[tuple[str, Defect, bool], ...] = (
    ("missing", missing, False),
    ("partly_missing", partly_missing, False),
    ("blurred", blurred, False),
    ("noisy", noisy, False),
    ("motion", moved, False),
    ("cut_noise", cut_noise, True),
    ("cut_blur", cut_blur, True),
)
"""The share of samples in the config, what it does, and whether it takes the whole sample or some sections."""


def _column(values: np.ndarray, like: Tensor) -> Tensor:
    """One number per section, to be spread over it."""
    return torch.from_numpy(values).to(like)[:, None, None]


def _repeat_border(x_N1YX: Tensor, radius: int) -> Tensor:
    return F.pad(x_N1YX, (radius,) * 4, mode="replicate")


def _noise(like: Tensor, rng: np.random.Generator) -> Tensor:
    """Standard normal noise, drawn on the device from a seed of the sample's stream."""
    generator = torch.Generator(like.device).manual_seed(int(rng.integers(2**62)))
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)


def _box(image_ZYX: Tensor, augment: AugmentConfig, rng: np.random.Generator) -> tuple[slice, slice, slice]:
    """A box of up to ``cut_size`` of each axis."""
    sizes = [max(1, round(n * augment.cut_size * rng.uniform(0.5, 1))) for n in image_ZYX.shape]
    starts = [int(rng.integers(0, n - size + 1)) for n, size in zip(image_ZYX.shape, sizes, strict=True)]
    z, y, x = (slice(a, a + size) for a, size in zip(starts, sizes, strict=True))
    return z, y, x
