"""Intensity augmentation: each section gets its own contrast, brightness and gamma, as sections of real stacks have."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neuropil import _native
from neuropil.errors import NeuropilError

_PIECE = 1 << 20
"""Voxels per additional thread."""


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
    """How much grey values may change; 0 turns a part off."""

    contrast: float
    """Multiply each section, around its middle grey, by 1 ± contrast/2."""
    brightness: float
    """Add to each section ± brightness/2, in units of the full range."""
    gamma: float
    """Raise each section to the power 2**±gamma."""
    probability: float
    """Share of samples that are varied."""
    by_section: float = 0.5
    """Share of the varied samples in which each section is drawn by itself; in the others all sections are alike."""


Curves = npt.NDArray[np.float32]
"""``[3, Z]``: for each section the factor around the middle grey (0.5), the new middle grey, and the exponent."""


def draw_curves(
    rng: np.random.Generator, intensity: Intensity, sections: int, backwards: bool = False
) -> Curves | None:
    """Draw contrast, brightness and gamma of each section of one sample; None where it is not varied.

    In some samples all sections are alike, in the others each is drawn by itself
    (K. Lee et al. 2017, arXiv:1706.00120, section 3.3, vary grey values per section).

    Args:
        rng: the sample's random generator.
        intensity: how much, and how often.
        sections: number of sections.
        backwards: draw for the last section first, as for an image that has been flipped in z.

    >>> draw_curves(np.random.default_rng(0), Intensity(0.3, 0.3, 0.5, 1.0), 4).shape
    (3, 4)
    """
    draws = rng.uniform(-1, 1, (3, sections))
    if rng.random() < 1 - intensity.by_section:
        draws[:] = draws[:, :1]
    if not rng.random() < intensity.probability:
        return None
    if backwards:
        draws = draws[:, ::-1]
    contrast, brightness, gamma = torch.from_numpy(draws.astype(np.float32))
    curves = [
        1 + contrast * intensity.contrast / 2,
        0.5 + brightness * intensity.brightness / 2,
        2 ** (gamma * intensity.gamma),
    ]
    return np.asarray(torch.stack(curves).numpy())


def apply_curves(image_ZYX: Tensor, curves: Curves | None) -> Tensor:
    """Apply contrast, brightness and gamma to one sample: float32 in [0, 1], contiguous if the input was bytes.

    Args:
        image_ZYX: float in [0, 1], or bytes; not changed.
        curves: what :func:`draw_curves` drew; None: nothing is varied.

    >>> twice = np.array([[2.0], [0.5], [1.0]], np.float32)
    >>> apply_curves(torch.tensor([[[0.5, 0.6]]]), twice).mul(10).round().tolist()
    [[[5.0, 7.0]]]
    """
    columns = None if curves is None else torch.from_numpy(curve_columns(curves)).to(image_ZYX.device)
    if image_ZYX.dtype != torch.uint8:
        return image_ZYX if columns is None else bent(image_ZYX, columns)
    # A look-up table per section: 256 powers instead of one per voxel.
    greys_Z1G = to_unit(torch.arange(256, dtype=torch.uint8, device=image_ZYX.device)).expand(len(image_ZYX), 1, -1)
    table_Z1G = greys_Z1G if columns is None else bent(greys_Z1G, columns)
    return look_up(image_ZYX, table_Z1G[:, 0].contiguous())


def curve_columns(curves: Curves) -> npt.NDArray[np.float32]:
    """Curves in the form for :func:`bent`, ``[3, …, 1, 1]``: factor, shift, exponent.

    >>> curve_columns(np.array([[2.0], [0.5], [1.0]], np.float32)).ravel().tolist()
    [2.0, -0.5, 1.0]
    """
    factor, middle, power = curves
    return np.stack([factor, middle - factor / 2, power])[..., None, None]


def bent(unit_ZYX: Tensor, columns_3Z11: Tensor) -> Tensor:
    """Apply factor, shift and exponent to sections ``[…, Z, Y, X]`` in [0, 1]; before the power values are clipped.

    >>> bent(torch.tensor([[[0.25]]]), torch.tensor([1.0, 0.0, 0.5]).reshape(3, 1, 1, 1)).item()
    0.5
    """
    factor, shift, power = columns_3Z11
    return torch.addcmul(shift, unit_ZYX, factor).clamp_(0, 1).pow_(power)


def look_up(image_ZYX: Tensor, table_ZG: Tensor) -> Tensor:
    """Look up each byte in the table of its section, float32 ``[Z, 256]``; the result is contiguous.

    >>> look_up(torch.full((1, 1, 2), 7, dtype=torch.uint8), torch.arange(256.0)[None]).tolist()
    [[[7.0, 7.0]]]
    """
    if image_ZYX.device.type != "cpu":
        return _gather(image_ZYX, table_ZG)
    found = torch.empty(image_ZYX.shape)
    threads = min(torch.get_num_threads(), 1 + image_ZYX.numel() // _PIECE)
    _native.look_up(image_ZYX.numpy(), table_ZG.numpy(), found.numpy(), threads)
    return found


def _gather(image_ZYX: Tensor, table_ZG: Tensor) -> Tensor:
    return table_ZG.gather(1, image_ZYX.reshape(len(table_ZG), -1).long()).reshape(image_ZYX.shape)
