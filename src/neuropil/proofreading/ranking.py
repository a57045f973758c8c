"""Rank questions by the expected gain of their answers in bits of VI, and write them as CSV."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuropil.proofreading.calibration import Calibration
from neuropil.proofreading.candidates import Candidates, Floats, Integers, Segmented
from neuropil.volumes.atomic import write_text
from neuropil.volumes.marks import begins_with

COLUMNS = (
    "rank", "kind", "z", "y", "x", "z_nm", "y_nm", "x_nm", "id_a", "id_b", "size_a", "size_b", "contact", "score",
    "probability", "gain_voi",
)  # fmt: skip

_ROWS = 1 << 14
"""Rows that are made into text at a time."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """Questions, largest expected gain first, with the probability that the present state is wrong."""

    found: Candidates
    probability: Floats
    """Probability that the present state is wrong."""
    gain: Floats
    """Expected gain of the answer in bits of VI."""


def bits(side_a: Integers, side_b: Integers, voxels: int) -> Floats:
    """VI in bits between two sides apart and together: the gain of a right decision and the loss of a wrong one.

    >>> bits(np.array([4]), np.array([4]), 16).tolist()
    [0.5]
    """
    a, b = side_a.astype(float), side_b.astype(float)
    both = a + b
    return np.asarray((both * np.log2(both) - a * np.log2(a) - b * np.log2(b)) / max(voxels, 1))


def rank(state: Segmented, calibration: Calibration) -> Ranking:
    """All open questions, the one with the largest expected gain first.

    Args:
        state: the segmentation as it is now.
        calibration: gives the probability that a state is wrong.

    >>> from neuropil.proofreading.candidates import proofreading_of
    >>> affinities = np.full((3, 1, 40, 80), 0.9)
    >>> affinities[2, :, :, 40] = 0.4
    >>> ranking = rank(proofreading_of(affinities), Calibration.load())
    >>> len(ranking.found), ranking.found.side_a.tolist(), ranking.gain.shape
    (1, [1600], (1,))
    """
    found = state.candidates()
    probability = calibration.probability(found)
    voxels = int(state.sizes[1:].sum())
    gain = probability * bits(found.side_a, found.side_b, voxels)
    order = np.lexsort((found.key, ~found.join, -found.contact, -gain))
    return Ranking(found.take(order), probability[order], gain[order])


CERTAIN = 0.99
"""Probability from which on a question is settled."""


def settled(probability: float, lead: int, wrong: float) -> bool:
    """Whether answers settle a question, or it must be asked once more: Wald's sequential test.

    A proofreader who is wrong in one answer of twenty joins two neurons by mistake sooner or later, and one such join
    costs more than most right answers gain. So an answer that the contact makes unlikely is asked for again.

    Args:
        probability: of the present state to be wrong, before any answer.
        lead: answers that say it is wrong, minus answers that say it is right.
        wrong: share of answers that are wrong, from 0 to below 0.5; 0: each answer settles its question.

    >>> settled(0.5, 1, 0.05), settled(0.5, 2, 0.05), settled(0.0001, 1, 0.05), settled(0.0001, -1, 0.05)
    (False, True, False, True)
    """
    if wrong == 0 or lead == 0:
        return lead != 0
    odds = probability / max(1 - probability, 1e-12) * ((1 - wrong) / wrong) ** lead
    believed = odds / (1 + odds)
    return believed >= CERTAIN if lead > 0 else believed <= 1 - CERTAIN


def write_decisions(path: Path | str, state: Segmented, ranking: Ranking) -> Path:
    """Write the questions as ``decisions.csv``: positions in voxels of the whole volume and in nm."""
    size = state.place.metadata.voxel_size
    found, place = ranking.found, positions(state, ranking.found)
    kind = np.array(["separate", "join"], object)[found.join.astype(np.intp)]
    columns = [
        np.arange(1, len(found) + 1), kind, *place.T, *((place * np.array(size)).T if size else ()), found.id_a,
        found.id_b, found.side_a, found.side_b, found.contact, found.mean, ranking.probability, ranking.gain,
    ]  # fmt: skip
    nm = ["{:.10g}"] * 3 if size else ["", "", ""]
    line = ",".join([*["{}"] * 5, *nm, *["{}"] * 5, "{:.6f}", "{:.6f}", "{:.9f}"]) + "\n"
    parts = [",".join(COLUMNS) + "\n"]
    for start in range(0, len(found), _ROWS):  # there may be millions, which csv takes long for
        parts += map(line.format, *(column[start : start + _ROWS].tolist() for column in columns))
    text = "".join(parts)
    write_text(Path(path), text, begins_with(",".join(COLUMNS)))
    return Path(path)


def positions(state: Segmented, found: Candidates) -> NDArray[np.int64]:
    """The position of each question, int64 ``[question, 3]``; voxels (z, y, x) of the whole volume.

    It is the lower voxel of the last face of the edge in the middle of the contact.
    """
    return np.asarray(state.positions(found.key) + np.array(state.place.box.start), np.int64)
