"""Fit the probabilities of decisions to affinities with labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neuropil.config import SegmentConfig
from neuropil.evaluation.placing import common_box
from neuropil.proofreading.calibration import Calibration, area_under_curve, calibration_error
from neuropil.proofreading.candidates import proofreading_of
from neuropil.proofreading.simulation import CALIBRATED_AT, Truth, calibrate
from neuropil.segmentation import settle
from neuropil.volumes import Volume, array_volume


def calibrate_on(affinities: Volume, labels: Volume) -> tuple[Calibration, list[str]]:
    """A calibration from affinities and labels where both lie, and lines that say how well it fits.

    The affinities should be a network's that has not seen these labels: on what it has learned by heart it is
    too sure of itself.

    Raises:
        NeuropilError: they do not overlap, or no question can be answered.
    """
    box = common_box(affinities, labels)
    volume = array_volume(affinities.read(box), replace(affinities.metadata, origin=box.start))
    settings, _ = settle(volume, SegmentConfig())
    threshold = settings.threshold
    assert threshold is not None
    state = proofreading_of(volume, settings=settings)
    truth = Truth(state.cut.tree.nodes(state.fragments.read()), labels.read(box), state.cut.tree.fragments)
    luts = {level: state.cut.tree.cut(level) for level in {*CALIBRATED_AT, threshold}}
    found = calibrate(state, truth, luts, f"{affinities.path} and {labels.path}, {box}")
    there = state.again(luts[threshold], threshold)
    questions = there.candidates()
    answers = truth.answers(there, questions)
    probability = found.probability(questions)
    lines = [f"questions at threshold {threshold:g}, on the volume of the calibration itself:"]
    for name, kind in (("join", questions.join), ("separate", ~questions.join)):
        known = kind & (answers != "unsure")
        wrong = answers[known] == "change"
        error, area = calibration_error(probability[known], wrong), area_under_curve(probability[known], wrong)
        lines.append(
            f"{name:<9} {int(np.sum(known))} answered, {int(wrong.sum())} wrong, calibration error {error:.4f}, "
            f"AUC {area:.3f}"
        )
    return found, lines
