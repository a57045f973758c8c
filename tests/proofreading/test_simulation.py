"""Simulated proofreaders: right answers, the same questions for every order, the file."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from neuropil import synthetic
from neuropil.evaluation import evaluate
from neuropil.evaluation.components import connected_parts
from neuropil.evaluation.table import contingency
from neuropil.proofreading import load_calibration, proofreading_of
from neuropil.proofreading.calibrating import answered, calibrate
from neuropil.proofreading.simulation import (
    SimulatedProofreader,
    Truth,
    decisions_for,
    simulate,
    simulate_into,
    table_of,
    truth_of,
)
from neuropil.targets import affinities_from_labels
from neuropil.volumes import array_volume

SMALLEST = 100


@pytest.fixture(scope="module")
def case():
    """Affinities of a network that is wrong in places, and the truth."""
    _, labels = synthetic.neuropil((12, 96, 96), seed=1)
    affinities = np.asarray(affinities_from_labels(labels, "nearest")[0], np.float32)
    chance = np.random.default_rng(3)
    noisy = np.clip(0.15 + 0.6 * affinities + chance.normal(0, 0.2, affinities.shape), 0, 1).astype(np.float32)
    state = proofreading_of(noisy)
    state.smallest = SMALLEST
    truth = Truth(state.cut.tree.nodes(state.fragments.read()), labels, state.cut.tree.fragments)
    return state, truth, labels


def fresh(state):
    return state.again(state.cut.lut, state.cut.threshold)


def test_answers_are_those_of_the_labels(case):
    state, truth, labels = case
    found = state.candidates()
    answers = truth.answers(state, found)
    assert {"change", "keep"} <= set(answers.tolist())
    nodes = state.fragments.read()
    segmentation = state.cut.lut[nodes]

    def owner(mask):
        counts = np.bincount(labels[mask].astype(int))
        return int(counts[1:].argmax()) + 1 if counts[1:].sum() >= 0.25 * counts.sum() else 0

    layout = state.cut.layout
    for i in range(len(found)):
        if found.join[i]:
            sides = [segmentation == found.id_a[i], segmentation == found.id_b[i]]
        else:
            m = found.merge[i]
            ends = (layout.start[m], layout.middle[m]), (layout.middle[m], layout.end[m])
            sides = [np.isin(nodes, layout.leaf[low:high]) for low, high in ends]
        one, other = map(owner, sides)
        right = "unsure" if 0 in (one, other) else "change" if (one == other) == found.join[i] else "keep"
        assert answers[i] == right


def test_scores_are_those_of_evaluate(case):
    state, truth, labels = case
    step = next(SimulatedProofreader(fresh(state), truth, "score", 0, load_calibration()).steps())
    segmentation = state.cut.lut[state.fragments.read()]
    scores = evaluate(segmentation, labels)
    assert (step.voi, step.adapted_rand_error) == pytest.approx((scores.voi, scores.adapted_rand_error), abs=1e-12)
    assert truth.table(state.cut.lut) == contingency(segmentation, labels)


def test_every_order_ends_with_all_questions_answered_and_ranked_gains_first(case):
    state, truth, _ = case
    steps = simulate(state, truth, calibrate([answered(state, truth, (0.3, 0.5, 0.7))], "the same"))
    runs = {(s.order, s.seed): [t for t in steps if (t.order, t.seed) == (s.order, s.seed)] for s in steps}
    assert len(runs) == 8
    starts = {run[0].voi for run in runs.values()}
    assert len(starts) == 1
    assert all(run[0].decisions == 0 and run[-1].voi < run[0].voi for run in runs.values())
    lowest = min(run[-1].voi for run in runs.values())
    random = sorted(decisions_for(runs["random", seed], 0.8, lowest) or 10**9 for seed in range(5))
    assert decisions_for(runs["ranked", 0], 0.8, lowest) < random[2]
    assert len(table_of(steps)) == 5


def test_permuted_labels_ask_the_same_first_question(case):
    state, truth, labels = case
    permuted = np.random.default_rng(0).permutation(int(labels.max()) + 1)
    permuted[permuted == 0], permuted[0] = permuted[0], 0
    other = Truth(state.cut.tree.nodes(state.fragments.read()), permuted[labels], state.cut.tree.fragments)
    runs = [SimulatedProofreader(fresh(state), t, "ranked", 0, load_calibration()) for t in (truth, other)]
    one, two = ([replace(s) for s, _ in zip(run.steps(), range(30), strict=False)] for run in runs)
    assert [s.voi for s in one] == pytest.approx([s.voi for s in two])


@pytest.mark.parametrize("seed", range(2))
def test_with_wrong_answers_questions_are_asked_until_settled(case, seed):
    state, truth, _ = case
    calibration = calibrate([answered(state, truth, (0.3, 0.5, 0.7))], "the same")
    sure, noisy = (
        list(SimulatedProofreader(fresh(state), truth, "ranked", seed, calibration, wrong).steps())
        for wrong in (0.0, 0.2)
    )
    assert sure[-1].decisions < noisy[-1].decisions
    assert noisy[-1].voi < noisy[0].voi


def test_files_of_a_simulation(case, tmp_path):
    state, _, labels = case
    lines = simulate_into(tmp_path / "out", state, truth_of(state, array_volume(labels)), load_calibration())
    rows = list(csv.DictReader((tmp_path / "out/simulation.csv").open()))
    assert list(rows[0]) == [
        "order",
        "seed",
        "decisions",
        "voi_split",
        "voi_merge",
        "voi",
        "adapted_rand_error",
        "hours",
    ]
    assert {row["order"] for row in rows} == {"ranked", "score", "doubt", "random"}
    assert rows[0]["decisions"] == "0"
    assert float(rows[9]["hours"]) == pytest.approx(int(rows[9]["decisions"]) * 8 / 3600, abs=1e-6)
    assert (tmp_path / "out/simulation.png").stat().st_size > 1000
    assert lines[0].startswith("order")


def test_components_do_not_ask_for_what_is_connected_only_outside(case):
    """All labels are one object in many parts, which the labels join and their connected components do not."""
    state, _, labels = case
    apart = labels.copy()
    for axis in range(3):  # no two objects touch
        along, free = np.moveaxis(labels, axis, 0), np.moveaxis(apart, axis, 0)
        free[1:][along[1:] != along[:-1]] = 0
    one, parts = array_volume((apart > 0).astype(np.uint8)), array_volume(connected_parts(apart))
    found = state.candidates()
    joined, kept, known = (
        truth_of(state, volume, components).answers(state, found).tolist()
        for volume, components in ((one, False), (one, True), (parts, False))
    )
    assert kept == known != joined
