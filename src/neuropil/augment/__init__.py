"""Vary what the network sees: batched, on the training device, seeded per sample."""

from neuropil.augment.geometry import Symmetry, apply_symmetry, draw_symmetry
from neuropil.augment.intensity import Intensity, to_unit, vary_intensity

__all__ = ["Intensity", "Symmetry", "apply_symmetry", "draw_symmetry", "to_unit", "vary_intensity"]
