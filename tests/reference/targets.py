"""Slow, obvious targets: one voxel, one edge at a time."""

from __future__ import annotations

import numpy as np


def erode(labels, steps):
    out = labels.copy()
    for z, y, x in np.ndindex(labels.shape):
        window = labels[z, max(0, y - steps) : y + steps + 1, max(0, x - steps) : x + steps + 1]
        if len(set(window[window > 0].tolist())) > 1:
            out[z, y, x] = 0
    return out


def affinities(labels, offsets, mask):
    values = np.zeros((len(offsets), *labels.shape), bool)
    validity = np.zeros_like(values)
    for e, offset in enumerate(offsets):
        for v in np.ndindex(labels.shape):
            w = tuple(a + d for a, d in zip(v, offset, strict=True))
            if all(0 <= a < n for a, n in zip(w, labels.shape, strict=True)) and mask[v] and mask[w]:
                validity[(e, *v)] = True
                values[(e, *v)] = labels[v] == labels[w] != 0
    return values, validity


def depth(labels, reach):
    out = np.zeros(labels.shape)
    for z, y, x in np.ndindex(labels.shape):
        other = np.argwhere(labels[z] != labels[z, y, x])
        nearest = np.sqrt(((other - [y, x]) ** 2).sum(1)).min() if len(other) else reach
        out[z, y, x] = np.tanh(2 * (min(nearest, reach) - 0.5) / reach) * (1 if labels[z, y, x] > 0 else -1)
    return out


def descriptors(labels, sigma):
    """Moments of the neuron of each voxel under a Gaussian window, cut off at 3 sigma; from the definition."""
    out = np.zeros((10, *labels.shape))
    sigma = np.array(sigma)
    total = np.prod([np.exp(-(np.arange(-np.ceil(3 * s), np.ceil(3 * s) + 1) ** 2) / (2 * s * s)).sum() for s in sigma])
    for v in np.ndindex(labels.shape):
        if labels[v] == 0:
            continue
        away = np.argwhere(labels == labels[v]) - v
        away = away[(np.abs(away) <= np.ceil(3 * sigma)).all(1)]
        weight = np.exp(-(away**2 / (2 * sigma**2)).sum(1))
        mean = (away * weight[:, None]).sum(0) / weight.sum()
        spread = (weight[:, None, None] * ((away - mean)[:, :, None] * (away - mean)[:, None, :])).sum(0) / weight.sum()
        variance = spread.diagonal()
        pairs = [spread[i, j] / max(np.sqrt(variance[i] * variance[j]), 1e-3) for i, j in ((0, 1), (0, 2), (1, 2))]
        out[(slice(None), *v)] = [*(mean / sigma / 2 + 0.5), *(variance / sigma**2), *(np.array(pairs) / 2 + 0.5), 0]
        out[(9, *v)] = weight.sum() / total
    return out.clip(0, 1)
