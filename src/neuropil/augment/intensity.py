"""Grey values: each section gets its own contrast, brightness and gamma, as sections of real stacks have."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from neuropil.errors import NeuropilError


def to_unit(image: Tensor) -> Tensor:
    """Grey values as float32 in [0, 1]: unsigned integers by the range of their type, floats as they are.

    Raises:
        NeuropilError: another dtype, or floats that are not finite or lie outside [0, 1].

    >>> to_unit(torch.tensor([0, 51, 255], dtype=torch.uint8)).tolist()
    [0.0, 0.20000000298023224, 1.0]
    """
    if image.dtype in (torch.uint8, torch.uint16):
        return image.to(torch.float32) / torch.iinfo(image.dtype).max
    if not image.dtype.is_floating_point:
        raise NeuropilError(f"an image must be uint8, uint16 or float in [0, 1], got {image.dtype}; convert it first")
    unit = image.to(torch.float32)
    if unit.numel() and not (bool(torch.isfinite(unit).all()) and float(unit.min()) >= 0 and float(unit.max()) <= 1):
        raise NeuropilError("a float image must be finite and lie in [0, 1]; rescale it, or store it as uint8")
    return unit


class Intensity(NamedTuple):
    """How far grey values may move; 0 turns a part off."""

    contrast: float
    """Multiply each section, around its middle grey, by 1 ± contrast/2."""
    brightness: float
    """Add to each section ± brightness/2, in units of the full range."""
    gamma: float
    """Raise each section to the power 2**±gamma."""
    probability: float
    """Share of samples that are varied at all."""


def vary_intensity(image_ZYX: Tensor, intensity: Intensity, rng: np.random.Generator) -> Tensor:
    """Give each section of one sample (float in [0, 1]) its own contrast, brightness and gamma; clamped to [0, 1].

    Half of the varied samples move all sections alike, the other half each by itself
    (K. Lee et al. 2017, arXiv:1706.00120, section 3.3, vary grey values per section).

    >>> out = vary_intensity(torch.rand(4, 8, 8), Intensity(0.3, 0.3, 0.5, 1.0), np.random.default_rng(0))
    >>> tuple(out.shape)
    (4, 8, 8)
    """
    sections = image_ZYX.shape[0]
    draws = rng.uniform(-1, 1, (3, sections))
    if rng.random() < 0.5:
        draws[:] = draws[:, :1]
    if rng.random() >= intensity.probability:
        return image_ZYX
    contrast, brightness, gamma = (
        torch.tensor(d, dtype=image_ZYX.dtype, device=image_ZYX.device)[:, None, None] for d in draws
    )
    out = (image_ZYX - 0.5) * (1 + contrast * intensity.contrast / 2) + 0.5 + brightness * intensity.brightness / 2
    out = out.clamp(0, 1)
    return out ** (2 ** (gamma * intensity.gamma)) if intensity.gamma else out
