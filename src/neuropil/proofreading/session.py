"""A proofreading session: asks questions, writes each answer to the log, applies it; undo and free edits."""

from __future__ import annotations

from dataclasses import dataclass

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
        self._rebuild()

    @property
    def question(self) -> Question | None:
        """The question to answer now; None when all are answered."""
        found, row = self.ranking.found, self.row
        if row >= len(found):
            return None
        a, b = self.state.points(int(found.edge[row]))
        if found.join[row] and self._segment(int(found.edge[row])) != int(found.id_a[row]):
            a, b = b, a
        ids = int(found.id_a[row]), int(found.id_b[row])
        return Question(
            bool(found.join[row]), a, b, *ids, int(found.merge[row]), float(self.ranking.probability[row]),
            float(self.ranking.gain[row]),
        )  # fmt: skip

    def answer(self, kind: EditKind) -> Edit | None:
        """Write the answer to the question, apply it, and go on to the next one; None if it must be given again.

        Raises:
            NeuropilError: no question is left, an answer that does not fit the question, or as
                :meth:`EditLog.append` and :meth:`EditedCut.apply`; the log is then unchanged.
        """
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
        edit = Edit(len(self.log.edits) + 1, "now", "you", kind, a, b)
        before = self.state.cut.lut.copy()
        self.state.cut.apply([edit], self.state.fragments)  # fails before anything is written
        edit = self.log.append(kind, a, b)
        self._remember(edit)
        if kind in ("join", "separate") and not np.array_equal(before, self.state.cut.lut):
            self._rank()
        else:
            self._go_to(self.row + 1)
        return edit

    def skip(self) -> None:
        """Go on to the next question without a decision; after the last one to the first."""
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

    def set_threshold(self, threshold: float, lut: NDArray[np.integer]) -> None:
        """Apply the decisions to another cut of the tree."""
        self.base = self.base.again(lut, threshold)
        self._rebuild()

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
        """A line: the question, the numbers of decided and open questions, and the expected gain of the latter."""
        left = len(self.ranking.found) - self.row
        gain = float(np.maximum(self.ranking.gain[self.row :], 0).sum())
        asked = str(self.question or "no question is left")
        return f"{asked}   |   {len(self.log.active())} decided, {left} left, worth {gain:.4f} bits of VI"

    def _segment(self, edge: int) -> int:
        return int(self.state.cut.lut[self.state.cut.graph.a[edge]])

    def _rebuild(self) -> None:
        self.state = self.base.again(self.base.cut.lut, self.base.cut.threshold)
        active = self.log.active()
        self.state.cut.apply(active, self.state.fragments)
        for edit in active:
            self._remember(edit)
        self._rank()

    def _remember(self, edit: Edit) -> None:
        pair = [self.state.cut.fragment_at(self.state.fragments, point, edit) for point in (edit.a, edit.b)]
        self.state.decided_pairs.append((pair[0], pair[1]))

    def _rank(self) -> None:
        self.ranking: Ranking = rank(self.state, self.calibration)
        self._go_to(0)

    def _go_to(self, row: int) -> None:
        """Make another question the current one; answers to the last one that were not written are forgotten."""
        self.row, self.lead = row, 0
