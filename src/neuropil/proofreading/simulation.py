"""A simulated proofreader that answers questions by the labels; scores after each decision."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuropil.evaluation.components import connected_parts
from neuropil.evaluation.placing import common_box
from neuropil.evaluation.scores import scores_of
from neuropil.evaluation.table import Contingency, contingency, from_pairs
from neuropil.proofreading.calibration import Calibration
from neuropil.proofreading.candidates import Candidates, Integers, Proofreading
from neuropil.proofreading.ranking import rank, settled
from neuropil.volumes import Volume
from neuropil.volumes.atomic import prepare, replacing, write_text
from neuropil.volumes.marks import PICTURE, begins_with

Order = Literal["ranked", "score", "doubt", "random"]
SECONDS = 8.0
"""Assumed time of one decision, in seconds."""
SEEDS = 5
"""Number of random orders."""
LABELLED = 0.25
"""Smallest labelled share of a side for which a question can be answered."""


@dataclass(frozen=True)
class SimulatedScores:
    """Scores after some decisions."""

    order: str
    seed: int
    decisions: int
    voi_split: float
    voi_merge: float
    adapted_rand_error: float

    @property
    def voi(self) -> float:
        return self.voi_split + self.voi_merge

    @property
    def hours(self) -> float:
        return self.decisions * SECONDS / 3600


class Truth:
    """Answers questions by labels: finds the object that most of each side lies in.

    Args:
        fragments: ``[z, y, x]`` as the tree counts them.
        labels: ``[z, y, x]``, 0 = unlabelled.
        count: number of fragments.
    """

    def __init__(self, fragments: NDArray[Any], labels: NDArray[Any], count: int) -> None:
        table = contingency(fragments, labels)
        self.fragment = table.segment.astype(np.int64)
        self.label = table.truth
        self.voxels = table.count
        ids, label = np.unique(self.label, return_inverse=True)
        self.numbers, self.count = label + (ids[0] != 0), count
        self.labels = int(self.numbers.max()) + 1
        self._objects: dict[int, tuple[int, int]] = {}
        self._laid: tuple[Integers, Integers] | None = None

    def table(self, lut: NDArray[Any]) -> Contingency:
        """The contingency table of the segmentation that ``lut`` makes of the fragments."""
        return from_pairs(self.label, lut[self.fragment].astype(np.uint64), self.voxels)

    def object_of(self, groups: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """The number of the object that most of each group of fragments lies in; 0 if too little is labelled.

        Args:
            groups: the group of each fragment, ``[fragments + 1]``; -1 = none.
            count: number of groups.
        """
        group = groups[self.fragment]
        kept = group >= 0
        key, inverse = np.unique(group[kept] * self.labels + self.numbers[kept], return_inverse=True)
        voxels = np.bincount(inverse, weights=self.voxels[kept])
        owner, number = np.divmod(key, self.labels)
        total = np.bincount(owner, weights=voxels, minlength=count)
        labelled = np.bincount(owner[number > 0], weights=voxels[number > 0], minlength=count)
        order = np.lexsort((number, voxels * (number > 0), owner))
        last = np.searchsorted(owner[order], np.arange(count), side="right") - 1
        best = np.zeros(count, np.int64)
        there = (total > 0) & (labelled >= LABELLED * total)
        best[there] = number[order[last[there]]]
        return best

    def answers(self, state: Proofreading, found: Candidates) -> NDArray[np.str_]:
        """What an ideal proofreader says to each question: ``change`` the present state, ``keep`` it, or ``unsure``."""
        ids, segment = np.unique(state.cut.lut, return_inverse=True)
        of_segment = self.object_of(np.where(state.cut.lut > 0, segment, -1), len(ids))
        a = of_segment[np.searchsorted(ids, found.id_a)]
        b = of_segment[np.searchsorted(ids, found.id_b)]
        merges = found.merge[~found.join]
        a[~found.join], b[~found.join] = self._sides(state, merges)
        answer = np.where((a == b) == found.join, "change", "keep")
        return np.where((a > 0) & (b > 0), answer, "unsure")

    def _sides(self, state: Proofreading, merges: Integers) -> tuple[list[int], list[int]]:
        """The objects of the two sides of merges of the tree; kept, since they depend on fragments only."""
        layout = state.cut.layout
        if self._laid is None:
            order = np.argsort(layout.position[self.fragment], kind="stable")
            order = order[self.fragment[order] > 0]
            self._laid = order, layout.position[self.fragment[order]]
        for merge in set(merges.tolist()) - self._objects.keys():
            ends = [int(end[merge]) for end in (layout.start, layout.middle, layout.end)]
            self._objects[merge] = self._object_between(ends[0], ends[1]), self._object_between(ends[1], ends[2])
        both = [self._objects[merge] for merge in merges.tolist()]
        return [one for one, _ in both], [other for _, other in both]

    def _object_between(self, low: int, high: int) -> int:
        """The object that most of the fragments at these positions of the tree lie in; 0 if too little is labelled."""
        assert self._laid is not None
        order, position = self._laid
        rows = order[slice(*np.searchsorted(position, [low, high]))]
        voxels = np.bincount(self.numbers[rows], weights=self.voxels[rows], minlength=2)
        best = int(voxels[1:].argmax()) + 1
        return best if voxels[1:].sum() >= LABELLED * voxels.sum() and voxels[best] > 0 else 0


@dataclass
class SimulatedProofreader:
    """One simulated run: asks questions in one order, answers them by the labels, records the scores.

    Args:
        state: a segmentation that nobody has proofread yet; it is changed.
        truth: gives the answers.
        order: ``ranked``: by expected gain; ``score``: mean affinity closest to the threshold first; ``doubt``:
            contact size times closeness; ``random``.
        seed: of the random order and of wrong answers.
        calibration: for the order ``ranked``, and for which answers are asked for again.
        wrong: share of answers that are inverted. A question is asked until it is settled, as in a session with the
            same share; each time counts as a decision.
    """

    state: Proofreading
    truth: Truth
    order: Order
    seed: int
    calibration: Calibration
    wrong: float = 0.0

    def steps(self) -> Iterator[SimulatedScores]:
        """Scores before the first decision and after each question."""
        chance = np.random.default_rng([self.seed, 1])
        done = 0
        yield (step := self._step(done))
        while True:
            found = self._questions()
            answers = self.truth.answers(self.state, found)
            probability = self.calibration.probability(found)
            for row in range(len(found)):
                answer, times = self._asked(str(answers[row]), float(probability[row]), chance)
                done += times
                self._decide(found, row, answer)
                if answer == "change":
                    yield (step := self._step(done))
                    break  # the change affects other questions, so all are ranked again
                yield (step := replace(step, decisions=done))
            else:
                return

    def _asked(self, right: str, probability: float, chance: np.random.Generator) -> tuple[str, int]:
        """The answer that settles a question, and how often it was asked."""
        if right == "unsure" or self.wrong == 0:
            return right, 1
        lead = times = 0
        while not settled(probability, lead, self.wrong):
            says_change = (right == "change") != (chance.random() < self.wrong)
            lead, times = lead + (1 if says_change else -1), times + 1
        return "change" if lead > 0 else "keep", times

    def _questions(self) -> Candidates:
        """The open questions in the order of this run."""
        if self.order == "ranked":
            return rank(self.state, self.calibration).found
        found = self.state.candidates()
        distance = np.abs(found.mean - self.state.cut.threshold)
        if self.order == "random":
            # A random number for each edge, so that a question keeps its place when others change.
            numbers = np.random.default_rng([self.seed, 0]).random(len(self.state.cut.graph))
            return found.take(np.argsort(numbers[self.state.edge_of(found.key)], kind="stable"))
        worth = -distance if self.order == "score" else found.contact * (1 - distance)
        return found.take(np.lexsort((found.key, -worth)))

    def _decide(self, found: Candidates, row: int, answer: str) -> None:
        graph, edge = self.state.cut.graph, int(self.state.edge_of(found.key[row : row + 1])[0])
        a, b = int(graph.a[edge]), int(graph.b[edge])
        self.state.decided_pairs.append((a, b))
        if answer == "change":
            (self.state.cut.join if found.join[row] else self.state.cut.separate)(a, b)

    def _step(self, decisions: int) -> SimulatedScores:
        scores = scores_of(self.truth.table(self.state.cut.lut))
        return SimulatedScores(
            self.order, self.seed, decisions, scores.voi_split, scores.voi_merge, scores.adapted_rand_error
        )  # fmt: skip


def simulate(
    state: Proofreading,
    truth: Truth,
    calibration: Calibration,
    *,
    wrong: float = 0.0,
    seed: int = 0,
    watch: Callable[[SimulatedScores], None] | None = None,
) -> list[SimulatedScores]:
    """All orders over the same candidates: ranked, score, doubt, and random with five seeds.

    Args:
        state: the segmentation before proofreading; it is not changed.
        truth: gives the answers.
        calibration: for the order ``ranked``, and for which answers are asked for again.
        wrong: share of wrong answers, from 0 to below 0.5.
        seed: the first seed.
        watch: called after each decision.

    Returns:
        the scores of all orders, one after the other.
    """
    orders: list[tuple[Order, int]] = [("ranked", seed), ("score", seed), ("doubt", seed)]
    orders += [("random", seed + i) for i in range(SEEDS)]
    steps: list[SimulatedScores] = []
    for order, number in orders:
        fresh = state.again(state.cut.lut, state.cut.threshold)
        for step in SimulatedProofreader(fresh, truth, order, number, calibration, wrong).steps():
            steps.append(step)
            if watch is not None:
                watch(step)
    return steps


def decisions_for(steps: Sequence[SimulatedScores], share: float, lowest: float) -> int | None:
    """Number of decisions after which one run has reached a share of the possible gain in VI; None if it never does.

    Args:
        steps: of one order and seed.
        share: from 0 to 1.
        lowest: VI after all decisions of an ideal proofreader.
    """
    goal = steps[0].voi - share * (steps[0].voi - lowest)
    return next((step.decisions for step in steps if step.voi <= goal + 1e-12), None)


def write_simulation(steps: Sequence[SimulatedScores], path: Path | str) -> Path:
    """Write ``simulation.csv``, one row for each step."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["order", "seed", "decisions", "voi_split", "voi_merge", "voi", "adapted_rand_error", "hours"])
    for s in steps:
        numbers = (s.voi_split, s.voi_merge, s.voi, s.adapted_rand_error, s.hours)
        writer.writerow([s.order, s.seed, s.decisions, *(f"{number:.6f}" for number in numbers)])
    write_text(Path(path), text.getvalue(), begins_with("order,seed,decisions,"))
    return Path(path)


SHOWN_AFTER = (0, 25, 50, 100, 200, 400)
"""Numbers of decisions at which the printed table has the VI."""
GOAL = 0.8
"""Share of the possible gain in VI whose number of decisions the table has."""


def truth_of(state: Proofreading, labels: Volume, components: bool = False) -> Truth:
    """The answers that labels give to questions about a segmentation.

    Args:
        state: the segmentation.
        labels: they cover its box.
        components: the connected components of the labels in the box count as objects, as in ``evaluate --components``:
            nobody can see there that two parts are one which are connected only outside.

    Raises:
        NeuropilError: labels that do not cover the segmentation.
    """
    box = common_box(labels, state.fragments, state.fragments.box)
    ids = connected_parts(labels.read(box)) if components else labels.read(box)
    return Truth(state.cut.tree.nodes(state.fragments.read()), ids, state.cut.tree.fragments)


def simulate_into(
    folder: Path, state: Proofreading, truth: Truth, calibration: Calibration, *, wrong: float = 0.0, seed: int = 0
) -> list[str]:
    """Simulate all orders and write ``simulation.csv`` and ``simulation.png``; returns the lines to print.

    Raises:
        NeuropilError: a folder that cannot be written.
    """
    prepare(folder / "simulation.csv")
    found = state.candidates()
    answers = truth.answers(state, found)
    known = np.flatnonzero(answers != "unsure")
    steps = simulate(state, truth, calibration, wrong=wrong, seed=seed)
    write_simulation(steps, folder / "simulation.csv")
    draw_simulation(steps, folder / "simulation.png")
    return [*table_of(steps), *calibration.how_well(found.take(known), answers[known] == "change")]


def runs_of(steps: Sequence[SimulatedScores]) -> dict[tuple[str, int], list[SimulatedScores]]:
    """The steps of each order and seed."""
    runs: dict[tuple[str, int], list[SimulatedScores]] = {}
    for step in steps:
        runs.setdefault((step.order, step.seed), []).append(step)
    return runs


def table_of(steps: Sequence[SimulatedScores]) -> list[str]:
    """Lines of a table: VI after some decisions, and decisions to 80 % of the possible gain; random: the median."""
    runs = runs_of(steps)
    lowest = min(run[-1].voi for run in runs.values())
    lines = ["order      " + "".join(f"{f'VI at {n}':>12}" for n in SHOWN_AFTER) + f"{'decisions to 80 %':>20}"]
    for order in dict.fromkeys(order for order, _ in runs):
        mine = [run for (name, _), run in runs.items() if name == order]
        values = [np.median([_after(run, n).voi for run in mine]) for n in SHOWN_AFTER]
        needed = [decisions_for(run, GOAL, lowest) for run in mine]
        middle = sorted(needed, key=lambda n: float("inf") if n is None else n)[len(needed) // 2]
        lines.append(
            f"{order:<11}" + "".join(f"{v:12.4f}" for v in values) + f"{'never' if middle is None else middle:>20}"
        )
    return lines


def _after(run: Sequence[SimulatedScores], decisions: int) -> SimulatedScores:
    """The last step of a run with at most this many decisions."""
    return [step for step in run if step.decisions <= decisions][-1]


def draw_simulation(steps: Sequence[SimulatedScores], path: Path) -> Path:
    """VI and adapted Rand error against decisions, one line for each order; random orders thin."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2)
    colours = {"ranked": "#1f4e79", "score": "#c55a11", "doubt": "#548235", "random": "#a6a6a6"}
    named: set[str] = set()
    for (order, _), run in runs_of(steps).items():
        style = {"color": colours[order], "linewidth": 0.8 if order == "random" else 1.8}
        label = None if order in named else order
        named.add(order)
        for ax, name in zip(axes, ("voi", "adapted_rand_error"), strict=True):
            values = [getattr(step, name) for step in run]
            ax.step([step.decisions for step in run], values, where="post", label=label, **style)
    for ax, title in zip(axes, ("VI in bits", "adapted Rand error"), strict=True):
        ax.set_xlabel("decisions")
        ax.set_title(title, loc="left", fontsize=11)
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False)
    with replacing(path) as file:
        figure.savefig(file, format="png", metadata=PICTURE)
    return path
