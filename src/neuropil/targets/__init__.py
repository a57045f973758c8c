"""What the network learns, made from labels: erosion, affinities and which of them are valid."""

from neuropil.targets.affinities import Affinities, affinities_from_labels, affinity_targets
from neuropil.targets.erosion import erode_labels

__all__ = ["Affinities", "affinities_from_labels", "affinity_targets", "erode_labels"]
