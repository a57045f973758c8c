"""Flips and transposes, the symmetries of sectioned tissue: image, labels and mask move together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor


class Symmetry(NamedTuple):
    """One of 16: flips of z, y, x, then y and x exchanged."""

    flip_z: bool
    flip_y: bool
    flip_x: bool
    transpose: bool


def draw_symmetry(rng: np.random.Generator, flip: bool = True, transpose: bool = True) -> Symmetry:
    """Draw one symmetry; each flip and the transpose with probability one half where allowed.

    >>> draw_symmetry(np.random.default_rng(0), flip=False, transpose=False)
    Symmetry(flip_z=False, flip_y=False, flip_x=False, transpose=False)
    """
    z, y, x, t = (bool(v) for v in rng.integers(0, 2, 4))
    return Symmetry(flip and z, flip and y, flip and x, transpose and t)


def apply_symmetry(x_ZYX: Tensor, symmetry: Symmetry) -> Tensor:
    """Flip, then exchange y and x, of the last three axes.

    >>> import torch
    >>> tuple(apply_symmetry(torch.zeros(2, 3, 4), Symmetry(False, True, False, True)).shape)
    (2, 4, 3)
    """
    axes = [axis for axis, flip in zip((-3, -2, -1), symmetry[:3], strict=True) if flip]
    out = x_ZYX.flip(axes) if axes else x_ZYX
    return out.transpose(-1, -2) if symmetry.transpose else out
