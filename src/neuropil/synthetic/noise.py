"""Smooth and grainy noise for synthetic volumes, and their voxel size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuropil.geometry import VoxelSize

VOXEL_SIZE: VoxelSize = (30.0, 6.0, 6.0)
"""nm, z y x, as in SNEMI3D."""

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Field:
    """Smooth noise of unit variance: random numbers ``pitch`` nm apart, interpolated by cubic B-splines."""

    knots: Float
    pitch: float

    @classmethod
    def draw(cls, extent: NDArray[np.float64], pitch: float, rng: np.random.Generator) -> Field:
        knots = rng.standard_normal(tuple(np.ceil(extent / pitch).astype(int) + 4), dtype=np.float32)
        return cls(knots * np.float32(3.0), pitch)  # 3 restores the variance that interpolation reduces

    def at(self, sections: NDArray[np.intp], plane: tuple[int, int]) -> Float:
        """Values in these sections, ``[sections, y, x]``."""
        value = self.knots
        for axis, (places, step) in enumerate(zip((sections, *map(np.arange, plane)), VOXEL_SIZE, strict=True)):
            weights = _spline(np.asarray(places) * step / self.pitch, value.shape[axis])
            value = np.moveaxis(np.tensordot(weights, value, axes=(1, axis)), 0, axis)
        return np.ascontiguousarray(value)


def _spline(places: NDArray[np.float64], knots: int) -> Float:
    """Weights ``[places, knots]`` of cubic B-splines on unit steps, the first knot at -1."""
    apart = np.abs(places[:, None] + 1.0 - np.arange(knots))
    inner = 2.0 / 3.0 - apart**2 + apart**3 / 2.0
    outer = np.clip(2.0 - apart, 0.0, None) ** 3 / 6.0
    return np.where(apart < 1.0, inner, outer).astype(np.float32)


def blur(plane: Float) -> Float:
    """Mean of 3×3 pixels in each section, edges repeated."""
    for axis in (-2, -1):
        source = np.moveaxis(plane, axis, 0)
        total = source * np.float32(1.0 / 3.0)
        blurred = total.copy()
        blurred[1:] += total[:-1]
        blurred[:-1] += total[1:]
        blurred[0] += total[0]
        blurred[-1] += total[-1]
        plane = np.moveaxis(blurred, 0, axis)
    return plane


def grain(shape: tuple[int, ...], blurs: int, rng: np.random.Generator) -> Float:
    """Noise of about unit variance, blurred in the plane."""
    grain = rng.standard_normal(shape, dtype=np.float32)
    for _ in range(blurs):
        grain = blur(grain)
    return grain * np.float32((1.0, 3.0, 4.5)[blurs])
