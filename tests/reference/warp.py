"""Slow, obvious warp: one voxel at a time, straight from the definition."""

from __future__ import annotations

import math

import numpy as np


def warp(image, labels, mask, drawn, patch, margin):
    """Image (bilinear), labels and mask (nearest) of a warp without bending, and how far each lies from a tie."""
    out_image = np.zeros(patch)
    size = (patch[0], patch[1] + 2 * margin, patch[2] + 2 * margin)
    out_labels, out_mask, tie = np.zeros(size, int), np.zeros(size, bool), np.zeros(size)
    middle = np.array([(n - 1) / 2 for n in image.shape[1:]])
    for z, y, x in np.ndindex(size):
        place = drawn.matrix @ (np.array([y, x]) - (np.array(size[1:]) - 1) / 2) + middle + drawn.steps[z]
        near = np.floor(place + 0.5).astype(int)
        out_labels[z, y, x], out_mask[z, y, x] = labels[(z, *near)], mask[(z, *near)]
        tie[z, y, x] = np.abs(place - np.floor(place) - 0.5).min()
        inside = (z, y - margin, x - margin)
        if 0 <= inside[1] < patch[1] and 0 <= inside[2] < patch[2]:
            out_image[inside] = between(image[z], place + drawn.slips[z])
    return out_image, out_labels, out_mask, tie


def between(section, place):
    (y, x), (height, width) = place, section.shape
    total = 0.0
    for a in (math.floor(y), math.floor(y) + 1):
        for b in (math.floor(x), math.floor(x) + 1):
            weight = max(0.0, 1 - abs(y - a)) * max(0.0, 1 - abs(x - b))
            total += weight * section[min(max(a, 0), height - 1), min(max(b, 0), width - 1)]
    return total
