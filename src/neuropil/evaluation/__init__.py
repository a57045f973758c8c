"""Scores of a segmentation against labels, all computed from one contingency table."""

from neuropil.evaluation.curve import ThresholdCurve as ThresholdCurve
from neuropil.evaluation.curve import threshold_curve as threshold_curve
from neuropil.evaluation.scores import AdaptedRand as AdaptedRand
from neuropil.evaluation.scores import Scores as Scores
from neuropil.evaluation.scores import evaluate as evaluate
from neuropil.evaluation.table import Contingency as Contingency
from neuropil.evaluation.table import contingency as contingency
