"""For people who come from waterz: its calls, with its names and its sense of thresholds.

waterz counts down: its score is 1 − affinity, and it merges while the score is below the threshold. A histogram
quantile is computed as waterz does: faces fall into its bins, and each pair of fragments begins with its largest face
alone (``InitWithMax``, its default) and pools those; equal scores merge in the order of its queue. The mean is computed
on all cores and exactly, where waterz adds floats; where two means are equal, the order may differ. Fragments are
waterz's, id by id, found in one thread.
"""

from neuropil.compat.waterz.functions import MEAN, Function, getScoreFunc, parse_function
from neuropil.compat.waterz.merging import agglomerate, watershed, waterz
from neuropil.compat.waterz.scores import (
    compute_final_metrics,
    compute_statistics_for_volume,
    compute_statistics_for_volume_init,
    create_border_mask,
    evaluate,
    evaluate_total_volume,
)

__all__ = [
    "MEAN",
    "Function",
    "agglomerate",
    "compute_final_metrics",
    "compute_statistics_for_volume",
    "compute_statistics_for_volume_init",
    "create_border_mask",
    "evaluate",
    "evaluate_total_volume",
    "getScoreFunc",
    "parse_function",
    "watershed",
    "waterz",
]
