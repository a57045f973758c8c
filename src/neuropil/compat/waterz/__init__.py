"""The functions of waterz, with its names and its meaning of thresholds.

In waterz a score is 1 − affinity, and regions merge while the score is below the threshold. Histogram quantiles are
computed as in waterz: with its bins, each pair of fragments begins with its largest face alone (``InitWithMax``, its
default), and equal scores merge in the order of its queue. The mean is computed exactly, on all cores, where waterz
adds floats; if two means are equal, the order of merges may differ. Fragments equal those of waterz, id by id; they
are found in one thread.
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
