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
