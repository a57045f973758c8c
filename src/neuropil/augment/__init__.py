"""Data augmentation, seeded per sample: one sample at a time on CPUs, a whole batch at once on GPUs."""

from neuropil.augment.defects import apply_defects, draw_defects
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
from neuropil.augment.intensity import Curves, Intensity, apply_curves, draw_curves, look_up, to_unit
from neuropil.augment.together import Drawn, FlatVoxels, Held, Together, Window, send, turn_held, vary_together
from neuropil.augment.warp import Warp, Warped, apply_warp, draw_warp, longest_reach, shrink

__all__ = [
    "Curves",
    "Drawn",
    "FlatVoxels",
    "Held",
    "Intensity",
    "Reading",
    "Symmetry",
    "Together",
    "Warp",
    "Warped",
    "Window",
    "apply_curves",
    "apply_defects",
    "apply_symmetry",
    "apply_warp",
    "draw_curves",
    "draw_defects",
    "draw_symmetry",
    "draw_warp",
    "edges_inside",
    "inverse",
    "longest_reach",
    "look_up",
    "moved",
    "readings",
    "send",
    "shrink",
    "to_unit",
    "turn_affinities",
    "turn_held",
    "turned",
    "undone",
    "vary_together",
]
