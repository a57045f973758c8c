"""Data augmentation: batched, on the training device, seeded per sample."""

from neuropil.augment.defects import spoil_sections
from neuropil.augment.geometry import (
    Reading,
    Symmetry,
    apply_symmetry,
    draw_symmetry,
    edges_inside,
    inverse,
    moved,
    readings,
    turn_affinities,
    turned,
    undone,
)
from neuropil.augment.intensity import Intensity, to_unit, vary_intensity
from neuropil.augment.warp import Warp, Warped, apply_warp, draw_warp

__all__ = [
    "Intensity",
    "Reading",
    "Symmetry",
    "Warp",
    "Warped",
    "apply_symmetry",
    "apply_warp",
    "draw_symmetry",
    "draw_warp",
    "edges_inside",
    "inverse",
    "moved",
    "readings",
    "spoil_sections",
    "to_unit",
    "turn_affinities",
    "turned",
    "undone",
    "vary_intensity",
]
