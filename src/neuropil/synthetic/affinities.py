"""Affinities as a network might predict them, made from labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neuropil.errors import NeuropilError
from neuropil.geometry import NEAREST, parse_offsets
from neuropil.synthetic.noise import VOXEL_SIZE, Field, Float, blur


def affinities(
    labels: NDArray[np.unsignedinteger],
    offsets: str | Sequence[Sequence[int]] = NEAREST,
    seed: int = 0,
    noise: float = 1.0,
) -> Float:
    """Affinities as a network might predict them from the image of ``labels``: blurred, noisy, with weak membranes.

    Args:
        labels: ``[z, y, x]``, 0 = background.
        offsets: E×3, z y x.
        seed: of the noise.
        noise: 0 gives the exact affinities (0 or 1); 1 resembles a well trained network; 2 a poor one.

    Returns:
        float32 ``[edge, z, y, x]`` in [0, 1]; edges that leave the volume are 0.

    >>> labels = np.ones((4, 48, 48), np.uint32)
    >>> affinities(labels, seed=3).shape
    (3, 4, 48, 48)
    """
    if labels.ndim != 3:
        raise NeuropilError(f"affinities need labels [z, y, x], got shape {labels.shape}")
    offsets = parse_offsets(offsets)
    rng = np.random.default_rng(seed)
    depth, height, width = labels.shape
    doubt = Field.draw(np.array(labels.shape) * VOXEL_SIZE, 200.0, rng)  # where membranes are weak, for all edges alike
    out = np.zeros((len(offsets), *labels.shape), np.float32)
    for edge, offset in enumerate(offsets):
        for z in range(max(0, -offset[0]), min(depth, depth - offset[0])):
            exact, inside = _same(labels, z, offset)
            if noise > 0:
                unsure = doubt.at(np.array([z]), (height, width))[0]
                exact = _unsure(exact, unsure, noise, rng)
            out[edge, z][inside] = exact[inside]
    return out


def _same(
    labels: NDArray[np.unsignedinteger], z: int, offset: tuple[int, int, int]
) -> tuple[Float, tuple[slice, slice]]:
    """Exact affinities of one section (0 where the edge leaves the volume), and the window of edges that stay."""
    dz, dy, dx = offset
    _, height, width = labels.shape
    window = tuple(slice(max(0, -d), max(0, min(n, n - d))) for d, n in ((dy, height), (dx, width)))
    partner = tuple(slice(max(0, d), max(0, min(n, n + d))) for d, n in ((dy, height), (dx, width)))
    one, other = labels[z][window], labels[z + dz][partner]
    same = np.zeros((height, width), np.float32)
    same[window] = (one == other) & (one > 0)
    return same, (window[0], window[1])


def _unsure(exact: Float, doubt: Float, noise: float, rng: np.random.Generator) -> Float:
    """Blur, then push each value's logit about: a smooth shift towards "same" in doubtful places, and grain."""
    logit = 12.0 * (blur(exact) - 0.5)
    logit += noise * np.clip(doubt - 0.8, 0.0, 3.0) * 2.0
    logit += (0.8 * noise) * rng.standard_normal(exact.shape, dtype=np.float32)
    result: Float = 1.0 / (1.0 + np.exp(-logit))
    return result
