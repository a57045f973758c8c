"""Training targets from labels: label erosion, affinities with their validity, auxiliary targets."""

from neuropil.targets.affinities import AffinityTargets, affinities_from_labels, affinity_targets
from neuropil.targets.auxiliary import (
    Auxiliary,
    AuxiliaryTarget,
    auxiliaries,
    auxiliary_targets,
    label_margin,
)
from neuropil.targets.descriptors import shape_descriptors
from neuropil.targets.distance import signed_distance
from neuropil.targets.erosion import erode_inside, erode_labels, erode_volume, meetings
from neuropil.targets.smoothing import smooth_labels

__all__ = [
    "AffinityTargets",
    "Auxiliary",
    "AuxiliaryTarget",
    "affinities_from_labels",
    "affinity_targets",
    "auxiliaries",
    "auxiliary_targets",
    "erode_inside",
    "erode_labels",
    "erode_volume",
    "label_margin",
    "meetings",
    "shape_descriptors",
    "signed_distance",
    "smooth_labels",
]
