"""Grey values: each section gets its own contrast, brightness and gamma, as sections of real stacks have."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neuropil import _native
from neuropil.errors import NeuropilError

_PIECE = 1 << 20
"""Voxels that are worth another thread."""


def to_unit(image: Tensor) -> Tensor:
    """Grey values as float32 in [0, 1]: unsigned integers by the range of their type, floats as they are.

    Raises:
        NeuropilError: another dtype, or floats that are not finite or lie outside [0, 1].

    >>> to_unit(torch.tensor([0, 51, 255], dtype=torch.uint8)).tolist()
    [0.0, 0.20000000298023224, 1.0]
    """
    if image.dtype in (torch.uint8, torch.uint16):
        return image.to(torch.float32).div_(torch.iinfo(image.dtype).max)
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
    by_section: float = 0.5
    """Share of these in which each section varies by itself; in the others all vary alike."""


def vary_intensity(
    image_ZYX: Tensor, intensity: Intensity, rng: np.random.Generator, backwards: bool = False
) -> Tensor:
    """Give each section of one sample its own contrast, brightness and gamma.

    Some of the varied samples move all sections alike, the others each by itself
    (K. Lee et al. 2017, arXiv:1706.00120, section 3.3, vary grey values per section).

    Args:
        image_ZYX: float in [0, 1], or bytes; left alone.
        intensity: how far, and how often.
        rng: the sample's stream.
        backwards: draw for the last section first, as for an image that has been flipped in z.

    Returns:
        float32 in [0, 1].

    >>> out = vary_intensity(torch.rand(4, 8, 8), Intensity(0.3, 0.3, 0.5, 1.0), np.random.default_rng(0))
    >>> tuple(out.shape)
    (4, 8, 8)
    """
    sections = image_ZYX.shape[0]
    draws = rng.uniform(-1, 1, (3, sections))
    if rng.random() < 1 - intensity.by_section:
        draws[:] = draws[:, :1]
    varied = rng.random() < intensity.probability
    if backwards:
        draws = draws[:, ::-1].copy()
    if image_ZYX.dtype != torch.uint8:
        return _bend(image_ZYX, intensity, draws) if varied else image_ZYX
    # Of bytes there are 256: powers of these, and a table for each section, instead of a power for each voxel.
    greys_Z1G = to_unit(torch.arange(256, dtype=torch.uint8, device=image_ZYX.device)).expand(sections, 1, -1)
    table_Z1G = _bend(greys_Z1G, intensity, draws) if varied else greys_Z1G
    return _look_up(image_ZYX, table_Z1G[:, 0].contiguous())


def _look_up(image_ZYX: Tensor, table_ZG: Tensor) -> Tensor:
    """What the table of its section says of each voxel, in contiguous memory."""
    if image_ZYX.device.type != "cpu":
        return _gather(image_ZYX, table_ZG)
    found = torch.empty(image_ZYX.shape)
    threads = min(torch.get_num_threads(), 1 + image_ZYX.numel() // _PIECE)
    _native.look_up(image_ZYX.numpy(), table_ZG.numpy(), found.numpy(), threads)
    return found


def _gather(image_ZYX: Tensor, table_ZG: Tensor) -> Tensor:
    return table_ZG.gather(1, image_ZYX.reshape(len(table_ZG), -1).long()).reshape(image_ZYX.shape)


def _bend(unit_ZYX: Tensor, intensity: Intensity, draws: npt.NDArray[np.float64]) -> Tensor:
    """Contrast, brightness and gamma of each section, as drawn from [-1, 1]."""
    contrast, brightness, gamma = (
        torch.tensor(d, dtype=unit_ZYX.dtype, device=unit_ZYX.device)[:, None, None] for d in draws
    )
    out = (unit_ZYX - 0.5).mul_(1 + contrast * intensity.contrast / 2).add_(0.5)
    out = out.add_(brightness * intensity.brightness / 2).clamp_(0, 1)
    return out.pow_(2 ** (gamma * intensity.gamma)) if intensity.gamma else out
