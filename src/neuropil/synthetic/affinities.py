"""Synthetic affinities, made from labels, with errors like those of a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neuropil.errors import NeuropilError
from neuropil.geometry import NEAREST, parse_offsets
from neuropil.synthetic.noise import VOXEL_SIZE, Field, Float, blur, grain

_SURE = 10.0  # logit of a certain edge


def affinities(
    labels: NDArray[np.unsignedinteger],
    offsets: str | Sequence[Sequence[int]] = NEAREST,
    seed: int = 0,
    noise: float = 1.0,
) -> Float:
    """Affinities like a network's for the image of ``labels``: blurred, noisy, with weak membranes.

    Args:
        labels: ``[z, y, x]``, 0 = background.
        offsets: E×3, z y x.
        seed: of the noise.
        noise: 0 gives the exact affinities (0 or 1); 1 resembles a well trained network; 2 a poor one.

    Returns:
        float32 ``[edge, z, y, x]`` in [0, 1]; edges that leave the volume are 0.

    Raises:
        NeuropilError: labels without three axes.

    >>> labels = np.ones((4, 48, 48), np.uint32)
    >>> affinities(labels, seed=3).shape
    (3, 4, 48, 48)
    """
    if labels.ndim != 3:
        raise NeuropilError(f"affinities need labels [z, y, x], got shape {labels.shape}")
    offsets = parse_offsets(offsets)
    rng = np.random.default_rng(seed)
    depth, height, width = labels.shape
    doubt = Field.draw(np.array(labels.shape) * VOXEL_SIZE, 200.0, rng)  # regions of weak membranes, for all edges
    out = np.zeros((len(offsets), *labels.shape), np.float32)
    for z in range(depth):
        unsure = doubt.at(np.array([z]), (height, width))[0]
        for edge, offset in enumerate(offsets):
            if not 0 <= z + offset[0] < depth:
                continue
            exact, inside = _same(labels, z, offset)
            out[edge, z][inside] = (_unsure(exact, unsure, noise, rng) if noise > 0 else exact)[inside]
    return out


def _same(
    labels: NDArray[np.unsignedinteger], z: int, offset: tuple[int, int, int]
) -> tuple[Float, tuple[slice, slice]]:
    """Exact affinities of one section (0 where the edge leaves the volume), and the window of edges inside."""
    dz, dy, dx = offset
    _, height, width = labels.shape
    window = tuple(slice(max(0, -d), max(0, min(n, n - d))) for d, n in ((dy, height), (dx, width)))
    partner = tuple(slice(max(0, d), max(0, min(n, n + d))) for d, n in ((dy, height), (dx, width)))
    one, other = labels[z][window], labels[z + dz][partner]
    same = np.zeros((height, width), np.float32)
    same[window] = (one == other) & (one > 0)
    return same, (window[0], window[1])


def _unsure(exact: Float, doubt: Float, noise: float, rng: np.random.Generator) -> Float:
    """Blur, then shift the logits up or down in regions of doubt, and add noise everywhere."""
    logit = _SURE * (2.0 * blur(exact) - 1.0)
    logit += noise * 10.0 * (np.clip(doubt - 1.0, 0.0, None) - np.clip(-1.5 - doubt, 0.0, None))
    logit += noise * grain(exact.shape, 2, rng)
    result: Float = 1.0 / (1.0 + np.exp(-logit))
    return result
