"""The curve equals scoring each threshold separately: exactly in its integer sums, to 1e-9 in VI."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuropil.errors import NeuropilError
from neuropil.evaluation import contingency, evaluate, threshold_curve
from neuropil.evaluation.curve import ThresholdCurve, average, curve_of
from neuropil.evaluation.scores import Sums
from reference.tree import PlainTree, random_tree, slow_cut


def problem(seed, fragments=25, merges=20, levels=10, shape=(3, 8, 9)):
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 5, (1, 2, 3)), np.ones((3, 4, 3), int))
    labels[rng.random(shape) < 0.2] = 0
    labels[0, 0, 0] = 1
    return random_tree(rng, fragments, merges, levels), rng.integers(0, fragments + 1, shape), labels


@given(seed=st.integers(0, 2**32), merges=st.integers(0, 24), levels=st.sampled_from([2, 7, 10**6]))
def test_equals_scoring_each_threshold(seed, merges, levels):
    tree, fragments, labels = problem(seed, merges=merges, levels=levels)
    curve = threshold_curve(tree, fragments, labels)
    for threshold in [*np.linspace(0, 1, 20), *tree.score]:
        step = curve.step(threshold)
        table = contingency(slow_cut(tree, fragments, threshold), labels)
        assert curve.sums.at(step) == Sums.of(table)
        scores = evaluate(slow_cut(tree, fragments, threshold), labels)
        assert curve.adapted_rand_error[step] == pytest.approx(scores.adapted_rand_error, abs=1e-12)
        assert curve.adapted_rand_precision[step] == pytest.approx(scores.adapted_rand_precision, abs=1e-12)
        assert curve.adapted_rand_recall[step] == pytest.approx(scores.adapted_rand_recall, abs=1e-12)
        assert curve.voi_split[step] == pytest.approx(scores.voi_split, abs=1e-9)
        assert curve.voi_merge[step] == pytest.approx(scores.voi_merge, abs=1e-9)
        assert curve.merges[step] == (tree.score >= threshold).sum()


@given(seed=st.integers(0, 2**32), metric=st.sampled_from(["adapted_rand_error", "voi"]))
def test_best_is_the_best_of_all_thresholds(seed, metric):
    tree, fragments, labels = problem(seed, levels=10**6)
    threshold, score = threshold_curve(tree, fragments, labels).best(metric)
    edges = np.r_[1, tree.score, 0]
    everywhere = [getattr(evaluate(slow_cut(tree, fragments, t), labels), metric) for t in (edges[1:] + edges[:-1]) / 2]
    assert score == pytest.approx(min(everywhere), abs=1e-9)
    assert getattr(evaluate(slow_cut(tree, fragments, threshold), labels), metric) == pytest.approx(score, abs=1e-9)


def plain_curve(thresholds, errors):
    errors = np.array(errors, float)
    steps = len(errors)
    return ThresholdCurve(np.array(thresholds), np.arange(steps, dtype=np.uint64), *[errors] * 3, errors, 0 * errors)


def test_best_lies_in_the_middle_of_the_widest_best_interval():
    curve = plain_curve([1, 0.9, 0.85, 0.8, 0.5, 0.2], [0.3, 0.1, 0.2, 0.1, 0.1, 0.4])
    assert curve.best("adapted_rand_error") == (pytest.approx(0.5), 0.1)  # (0.2, 0.8], though (0.85, 0.9] is as good
    assert curve.best("voi") == (pytest.approx(0.5), 0.1)
    assert curve.interval(3) == (0.5, 0.8)
    assert curve.interval(5) == (0, 0.2)


def test_tolerance_moves_away_from_a_cliff():
    curve = plain_curve([1, 0.9, 0.3, 0.29, 0.28], [0.5, 0.1001, 0.1003, 0.1, 0.9])
    assert curve.best() == (pytest.approx(0.285), 0.1)
    assert curve.best(tolerance=0.001) == (pytest.approx((0.28 + 0.9) / 2), 0.1001)


def test_best_at_a_step_too_narrow_for_a_middle():
    high = 0.5
    curve = plain_curve([1, high, np.nextafter(high, 0)], [0.5, 0.1, 0.5])
    threshold, _ = curve.best()
    assert threshold == high
    assert curve.step(threshold) == 1


def test_nothing_to_merge():
    tree = PlainTree(np.zeros(0, np.uint32), np.zeros(0, np.uint32), np.zeros(0), 2)
    labels = np.array([[1, 1, 2]])
    curve = threshold_curve(tree, labels, labels)
    assert len(curve) == 1
    assert curve.best() == (0.5, 0)


def test_no_threshold_above_1():
    """Merges at the score 1 cannot be undone: thresholds are affinities."""
    tree = PlainTree(np.array([1]), np.array([2]), np.array([1.0]), 2)
    curve = threshold_curve(tree, np.array([[1, 2]]), np.array([[1, 2]]))
    assert curve.step(1.0) == 1
    assert curve.adapted_rand_error[0] == 0
    assert curve.best() == (0.5, curve.adapted_rand_error[1])


def test_sparse_ids():
    """Fragments of blocks that were never made compact; the tree counts them in ascending order."""
    tree, fragments, labels = problem(3)
    ids = np.sort(np.random.default_rng(0).integers(1, 2**62, 25)).astype(np.uint64) + np.uint64(2**63)
    sparse = PlainTree(tree.a, tree.b, tree.score, 25, ids)
    curve, plain = threshold_curve(sparse, np.r_[0, ids][fragments], labels), threshold_curve(tree, fragments, labels)
    assert np.array_equal(curve.adapted_rand_error, plain.adapted_rand_error)
    assert np.array_equal(curve.voi, plain.voi)
    with pytest.raises(NeuropilError, match="unknown one: 7"):
        threshold_curve(sparse, np.full_like(labels, 7), labels)


def test_tables_of_blocks_give_the_curve_of_the_whole():
    tree, fragments, labels = problem(4)
    parts = contingency(fragments[:1], labels[:1]) + contingency(fragments[1:], labels[1:])
    assert np.array_equal(curve_of(tree, parts).voi, threshold_curve(tree, fragments, labels).voi)


def test_sums_beyond_64_bits():
    tree, fragments, labels = problem(5)
    table = contingency(fragments, labels)
    scale = 2**44
    big = type(table)(table.truth, table.segment, table.count * np.uint64(scale))
    small, large = curve_of(tree, table), curve_of(tree, big)
    for step in range(len(small)):
        assert large.sums.at(step).pairs == small.sums.at(step).pairs * scale**2
        assert large.sums.at(step).segments == small.sums.at(step).segments * scale**2
    assert large.voi == pytest.approx(small.voi, abs=1e-9)


def test_average_is_the_mean_at_every_threshold():
    problems = [problem(seed) for seed in (6, 7, 8)]
    curves = [threshold_curve(*p) for p in problems]
    mean = average(curves)
    for threshold in np.linspace(0, 1, 37):
        errors = [curve.adapted_rand_error[curve.step(threshold)] for curve in curves]
        assert mean.adapted_rand_error[mean.step(threshold)] == pytest.approx(np.mean(errors), abs=1e-15)
    assert mean.best()[1] == pytest.approx(mean.adapted_rand_error.min())
    assert average(curves[:1]) is curves[0]


def test_refuses():
    tree, fragments, labels = problem(9)
    with pytest.raises(NeuropilError, match="none of the 216 voxels compared has a label above 0"):
        threshold_curve(tree, fragments, labels * 0)
    with pytest.raises(NeuropilError, match="descending"):
        threshold_curve(PlainTree(tree.a, tree.b, tree.score[::-1], 25), fragments, labels)
    with pytest.raises(NeuropilError, match="the 25 fragments that the tree was made from, got an unknown one: 26"):
        threshold_curve(tree, fragments + 1, labels)
    with pytest.raises(NeuropilError, match="'rand'"):
        threshold_curve(tree, fragments, labels).best("rand")
    with pytest.raises(NeuropilError, match="at least one curve"):
        average([])
