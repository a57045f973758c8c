"""A proofreading session: asks questions, writes each answer to the log, applies it; undo and free edits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.errors import NeuropilError
from neuropil.geometry import Triple
from neuropil.proofreading.calibration import Calibration
from neuropil.proofreading.candidates import Proofreading
from neuropil.proofreading.ranking import Ranking, rank, settled
from neuropil.segmentation.edits import Edit, EditKind, EditLog


@dataclass(frozen=True)
class Question:
    """The current question."""

    join: bool
    """True: should the two be one? False: was this merge wrong?"""
    a: Triple
    b: Triple
    """Two neighbouring voxels, one on each side, in the middle of the contact."""
    id_a: int
    id_b: int
    merge: int
    """The tree's merge of a separate question; -1 in a join question."""
    probability: float
    gain: float

    def __str__(self) -> str:
        asked = f"are {self.id_a} and {self.id_b} one neuron?" if self.join else f"is {self.id_a} two neurons?"
        return f"{asked} ({100 * self.probability:.1f} % likely, {self.gain:.5f} bits)"


class Session:
    """A log and the segmentation with its decisions applied.

    Args:
        state: the segmentation before any decision.
        log: its decisions are applied first; new ones are appended.
        calibration: for the order of questions.
        wrong: share of answers that are expected to be wrong, from 0 to below 0.5: an unlikely answer is asked for
            again before it is written.
    """

    def __init__(self, state: Proofreading, log: EditLog, calibration: Calibration, wrong: float = 0.0) -> None:
        self.base, self.log, self.calibration, self.wrong = state, log, calibration, wrong
        self.row = self.lead = 0
        self.ranked = False
        self.named = state.cut.lut
        self._rebuild()

    @property
    def question(self) -> Question | None:
        """The question to answer now; None when all are answered, or not ranked for the present threshold yet."""
        found, row = self.ranking.found, self.row
        if row >= len(found) or not self.ranked:
            return None
        a, b = self.state.points(int(found.key[row]))
        if found.join[row] and self._segment(found.key[row]) != int(found.id_a[row]):
            a, b = b, a
        ids = int(found.id_a[row]), int(found.id_b[row])
        return Question(
            bool(found.join[row]), a, b, *ids, int(found.merge[row]), float(self.ranking.probability[row]),
            float(self.ranking.gain[row]),
        )  # fmt: skip

    def answer(self, kind: EditKind) -> Edit | None:
        """Write the answer to the question, apply it, and go on to the next one; None if it must be given again.

        Raises:
            NeuropilError: no question is left, the threshold has changed since the last question, an answer that does
                not fit the question, or as :meth:`EditLog.append` and :meth:`EditedCut.apply`; the log is then
                unchanged.
        """
        if not self.ranked:
            self.rank()
            raise NeuropilError("the threshold has changed: look at the question and answer again")
        question = self.question
        if question is None:
            raise NeuropilError("no question is left")
        if kind == ("separate" if question.join else "join"):
            raise NeuropilError(
                f"this question is answered by {'join' if question.join else 'separate'}, keep or unsure"
            )
        if kind != "unsure":
            lead = self.lead + (-1 if kind == "keep" else 1)
            if not settled(question.probability, lead, self.wrong):
                self.lead = lead
                return None
            kind = "keep" if lead < 0 else "join" if question.join else "separate"
        return self.decide(kind, question.a, question.b)

    def decide(self, kind: EditKind, a: Triple, b: Triple) -> Edit:
        """Write and apply a decision about two points, whether a question or a free edit.

        Raises:
            NeuropilError: as :meth:`EditLog.append` and :meth:`EditedCut.apply`.
        """
        if not self.ranked:
            self.rank()
        edit = Edit(len(self.log.edits) + 1, "now", "you", kind, a, b)
        before = self.state.cut.lut.copy()
        self.state.cut.apply([edit], self.state.fragments)  # fails before anything is written
        edit = self.log.append(kind, a, b)
        self.state.decided_pairs.append(self._pair(self.state, edit))
        if kind in ("join", "separate") and not np.array_equal(before, self.state.cut.lut):
            self.rank()
        else:
            self._go_to(self.row + 1)
        return edit

    def skip(self) -> None:
        """Go on to the next question without a decision; after the last one, or another threshold, to the first."""
        if not self.ranked:
            self.rank()
            return
        self._go_to(0 if self.row + 1 >= len(self.ranking.found) else self.row + 1)

    def undo(self) -> Edit:
        """Undo the last decision that is not undone yet.

        Raises:
            NeuropilError: there is none.
        """
        active = self.log.active()
        if not active:
            raise NeuropilError("nothing to undo")
        edit = self.log.append("undo", undoes=active[-1].id)
        self._rebuild()
        return edit

    def set_threshold(self, threshold: float, lut: NDArray[Any]) -> None:
        """Apply the decisions to another cut of the tree; there is no question until :meth:`skip` ranks them anew.

        A slider is followed at once, and ranking takes longer than a cut. Segments keep their ids where they can, and
        so their colours: see :func:`named_as`.

        Raises:
            NeuropilError: as :meth:`EditedCut.apply`; the session then stays at its cut.
        """
        base = self.base.again(named_as(lut, self.named), threshold)
        self.state, self.base, self.ranked = self._edited(base), base, False

    def rank(self) -> None:
        """Rank the questions about the segmentation as it is now, and go to the first one."""
        self.ranking: Ranking = rank(self.state, self.calibration)
        self.ranked = True
        self._go_to(0)

    def sides(self) -> NDArray[np.uint8]:
        """The side of the question, 1 or 2, that each fragment is on, else 0; ``[fragments + 1]``."""
        found = np.zeros(len(self.state.cut.lut), np.uint8)
        question = self.question
        if question is None:
            return found
        if question.join:
            found[self.state.cut.lut == question.id_a] = 1
            found[self.state.cut.lut == question.id_b] = 2
            return found
        layout = self.state.cut.layout
        ends = [int(end[question.merge]) for end in (layout.start, layout.middle, layout.end)]
        found[layout.leaf[ends[0] : ends[1]]] = 1
        found[layout.leaf[ends[1] : ends[2]]] = 2
        return found

    def status(self) -> str:
        """A line: the question, the numbers of decided and open questions, and the expected gain of the latter.

        After a change of the threshold: the threshold and the number of segments.
        """
        if not self.ranked:
            lut, decided = self.state.cut.lut, len(self.log.active())
            count = len(np.unique(lut[lut > 0]))
            return f"threshold {self.state.cut.threshold:g}: {count} segments   |   {decided} decided, n for questions"
        left = len(self.ranking.found) - self.row
        gain = float(np.maximum(self.ranking.gain[self.row :], 0).sum())
        asked = str(self.question or "no question is left")
        return f"{asked}   |   {len(self.log.active())} decided, {left} left, worth {gain:.4f} bits of VI"

    def _segment(self, key: np.uint64) -> int:
        """The segment of the first fragment of an edge."""
        edge = self.state.edge_of(np.array([key]))
        return int(self.state.cut.lut[self.state.cut.graph.a[edge[0]]])

    def _rebuild(self) -> None:
        self.state = self._edited(self.base)
        self.rank()

    def _edited(self, base: Proofreading) -> Proofreading:
        """A segmentation with the decisions of the log applied."""
        state = base.again(base.cut.lut, base.cut.threshold)
        active = self.log.active()
        state.cut.apply(active, state.fragments)
        state.decided_pairs = [self._pair(state, edit) for edit in active]
        return state

    @staticmethod
    def _pair(state: Proofreading, edit: Edit) -> tuple[int, int]:
        """The two fragments that a decision is about."""
        a, b = (state.cut.fragment_at(state.fragments, point, edit) for point in (edit.a, edit.b))
        return a, b

    def _go_to(self, row: int) -> None:
        """Make another question the current one; answers to the last one that were not written are forgotten."""
        self.row, self.lead = row, 0


def named_as(lut: NDArray[Any], known: NDArray[Any]) -> NDArray[Any]:
    """A cut whose segments have the ids of another cut of the same fragments, where they can; uint64.

    A segment has the id that its smallest fragment has there. Of several such segments, all but the one with the
    smallest fragment have new ids: the largest known id plus their smallest fragment.

    >>> named_as(np.array([0, 1, 2, 2, 3]), np.array([0, 7, 5, 5, 5])).tolist()
    [0, 7, 5, 5, 11]
    """
    ids, first, segment = np.unique(lut, return_index=True, return_inverse=True)
    names = known[first].astype(np.uint64)
    order = np.argsort(first)
    kept = np.zeros(len(ids), np.bool_)
    kept[order[np.unique(names[order], return_index=True)[1]]] = True
    fresh = (known.max(initial=0) + first).astype(np.uint64)
    names = np.where(ids == 0, 0, np.where(kept & (names > 0), names, fresh)).astype(np.uint64)
    return np.asarray(names[segment])
