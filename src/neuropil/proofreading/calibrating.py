"""Fit the probabilities of decisions to affinities with labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError
from neuropil.evaluation.placing import common_box
from neuropil.proofreading.calibration import Calibration
from neuropil.proofreading.candidates import Candidates, Proofreading, proofreading_of
from neuropil.proofreading.simulation import Truth
from neuropil.segmentation import settle
from neuropil.volumes import Volume, array_volume

CALIBRATED_AT = (0.05, 0.08, 0.2, 0.3, 0.5)
"""Thresholds at which questions are collected for a calibration, in addition to that of the settings: at a good
threshold few states are wrong, too few to fit from."""

Answered = tuple[Candidates, NDArray[np.bool_]]
"""Questions, and whether the present state of each is wrong."""


def calibrate_on(volumes: Sequence[tuple[Volume, Volume]]) -> tuple[Calibration, list[str]]:
    """A calibration from affinities and labels where they overlap, and lines that say how well it fits.

    The network of the affinities should not be trained on these labels: on its training data it is overconfident.

    Args:
        volumes: affinities ``[edge, z, y, x]`` and labels ``[z, y, x]`` of each volume.

    Raises:
        NeuropilError: they do not overlap, or no question can be answered.
    """
    collected = [collect(*volume) for volume in volumes]
    named = [f"{a.path} and {labels.path}, {common_box(a, labels)}" for a, labels in volumes]
    found = calibrate([part for parts in collected for part in parts], "; ".join(named))
    return found, [
        "at the thresholds of the settings, on the volumes of the calibration themselves:",
        *found.how_well(*together([own for own, _ in collected])),
    ]


def collect(affinities: Volume, labels: Volume) -> tuple[Answered, Answered]:
    """Answered questions where affinities and labels overlap: at the threshold of the settings, and at the others.

    Args:
        affinities: ``[edge, z, y, x]``.
        labels: ``[z, y, x]``.

    Raises:
        NeuropilError: they do not overlap.
    """
    box = common_box(affinities, labels)
    volume = array_volume(affinities.read(box), replace(affinities.metadata, origin=box.start))
    settings, _ = settle(volume, SegmentConfig())
    state = proofreading_of(volume, settings=settings)
    truth = Truth(state.cut.tree.nodes(state.fragments.read()), labels.read(box), state.cut.tree.fragments)
    own = state.cut.threshold
    return answered(state, truth, [own]), answered(state, truth, set(CALIBRATED_AT) - {own})


def answered(state: Proofreading, truth: Truth, thresholds: Iterable[float]) -> Answered:
    """Questions about the tree cut at some thresholds, and whether each one's present state is wrong by the labels."""
    parts = []
    for threshold in sorted(thresholds):
        there = state.again(state.cut.tree.cut(threshold), threshold)
        found = there.candidates()
        answer = truth.answers(there, found)
        known = np.flatnonzero(answer != "unsure")
        parts.append((found.take(known), answer[known] == "change"))
    return together(parts)


def calibrate(asked: Sequence[Answered], made_from: str) -> Calibration:
    """Fit a calibration to answered questions.

    Args:
        asked: of one or several volumes.
        made_from: description of the source, stored with the calibration.

    Raises:
        NeuropilError: no question has an answer.
    """
    found, wrong = together(asked)
    if not len(found):
        raise NeuropilError(f"expected questions that the labels can answer, got none, in {made_from}")
    return Calibration.fit(found, wrong, made_from)


def together(parts: Sequence[Answered]) -> Answered:
    """The questions of several parts, one after the other."""
    return Candidates.concatenated([found for found, _ in parts]), np.concatenate([wrong for _, wrong in parts])
