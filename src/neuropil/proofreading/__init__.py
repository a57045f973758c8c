"""Proofreading: ranking of questions by expected gain, applying decisions, simulation and export."""

from neuropil.proofreading.calibration import Calibration, load_calibration
from neuropil.proofreading.candidates import Candidates, Proofreading, proofreading_of
from neuropil.proofreading.ranking import Ranking, rank, write_decisions
from neuropil.proofreading.sources import apply_log, open_proofreading

__all__ = [
    "Calibration",
    "Candidates",
    "Proofreading",
    "Ranking",
    "apply_log",
    "load_calibration",
    "open_proofreading",
    "proofreading_of",
    "rank",
    "write_decisions",
]
