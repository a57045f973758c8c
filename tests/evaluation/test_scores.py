"""Scores equal their definitions, scikit-image where the definitions agree, and hand-computed tables elsewhere."""

import json
from fractions import Fraction
from math import log2, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import adapted_rand_error, variation_of_information

from neuropil.errors import NeuropilError
from neuropil.evaluation import Contingency, evaluate
from neuropil.evaluation.scores import Sums, scores_of, sum_of_squares
from reference.scores import slow_scores


def volumes(seed, objects=5, segments=5, shape=(3, 4, 5)):
    rng = np.random.default_rng(seed)
    return rng.integers(0, segments, shape), rng.integers(0, objects, shape)


@given(seed=st.integers(0, 2**32), objects=st.integers(2, 9), segments=st.integers(1, 9))
def test_equals_the_definitions(seed, objects, segments):
    seg, labels = volumes(seed, objects, segments)
    labels.flat[0] = 1  # something to score
    scores = evaluate(seg, labels).to_json()
    for name, value in slow_scores(seg, labels).items():
        assert scores[name] == pytest.approx(float(value), abs=1e-12), name


@given(seed=st.integers(0, 2**32), objects=st.integers(2, 9), segments=st.integers(1, 9))
def test_equals_scikit_image(seed, objects, segments):
    seg, labels = volumes(seed, objects, segments, (6, 8, 10))
    scores = evaluate(seg, labels)
    error, recall, precision = adapted_rand_error(labels, seg, ignore_labels=(0,))  # its own order is the wrong one
    ours = scores.scikit_image
    assert (ours.error, ours.precision, ours.recall) == pytest.approx((error, precision, recall), abs=1e-12)
    split, merge = variation_of_information(labels, seg, ignore_labels=(0,))
    assert (scores.voi_split, scores.voi_merge) == pytest.approx((split, merge), abs=1e-12)


def test_a_hand_computed_table():
    """Truth 1 (6 voxels) → 4 in segment 1, 2 missed; truth 2 (4) → all in segment 1; two voxels have no truth."""
    labels = np.array([[1] * 6 + [2] * 4 + [0] * 2])
    seg = np.array([[1] * 4 + [0] * 2 + [1] * 4 + [1, 9]])
    scores = evaluate(seg, labels)
    both = 4**2 + 4**2 + Fraction(2, 12)
    precision, recall = both / (8**2 + Fraction(2, 12)), both / (6**2 + 4**2)
    assert scores.adapted_rand_precision == pytest.approx(float(precision), rel=1e-15)
    assert scores.adapted_rand_recall == pytest.approx(float(recall), rel=1e-15)
    assert scores.adapted_rand_error == pytest.approx(float(1 - 2 * precision * recall / (precision + recall)))
    assert scores.voi_split == pytest.approx(0.4 * log2(6 / 4) + 0.2 * log2(6 / 2))
    assert scores.voi_merge == pytest.approx(0.8 * log2(8 / 4))
    assert scores.rand_index == pytest.approx(1 - (4 * 2 + 4 * 4) / 45)  # split pairs, merged pairs; of 10·9/2
    assert scores.cremi_score == pytest.approx(sqrt(scores.voi * scores.adapted_rand_error))
    assert (scores.voxels, scores.scored, scores.objects, scores.segments) == (12, 10, 2, 1)


def test_precision_and_recall_the_right_way_round():
    labels = np.repeat([1, 2], 50).reshape(4, 25)
    split, merge = evaluate(np.repeat([1, 2, 3, 4], 25).reshape(4, 25), labels), evaluate(np.ones((4, 25), int), labels)
    for variant in ("snemi3d", "cremi", "scikit_image"):
        assert getattr(split, variant).precision == 1 > getattr(split, variant).recall
        assert getattr(merge, variant).recall == 1 > getattr(merge, variant).precision
    assert (split.voi_split, split.voi_merge) == (1, 0)
    assert (merge.voi_split, merge.voi_merge) == (0, 1)


@pytest.mark.parametrize("size", [500, 3000])
def test_missing_a_tenth_costs_a_tenth(size):
    """The variants treat predicted 0 differently; this tells them apart."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(1, 41), size).reshape(4, -1)
    seg = np.where(rng.random(labels.shape) < 0.1, 0, labels)
    scores = evaluate(seg, labels)
    assert scores.adapted_rand_error == pytest.approx(0.105, abs=0.005)
    assert scores.scikit_image.error > 0.15  # there the missing voxels are one segment that joins all objects
    assert scores.adapted_rand_precision == pytest.approx(1, abs=1e-6)


def test_perfect_and_empty():
    labels = np.random.default_rng(1).integers(0, 9, (4, 20, 20))
    perfect = evaluate(labels * 3, labels)
    assert (perfect.adapted_rand_error, perfect.voi, perfect.rand_index, perfect.cremi_score) == (0, 0, 1, 0)
    assert perfect.scikit_image.error == 0
    nothing = evaluate(np.zeros_like(labels), labels)
    assert nothing.adapted_rand_error > 0.99
    assert nothing.voi_split == 0


def test_one_voxel_leaves_no_ratio_undefined():
    scores = evaluate(np.array([[3]]), np.array([[1]]))
    assert (scores.adapted_rand_error, scores.scikit_image.error, scores.rand_index) == (0, 0, 1)


def test_nothing_to_score():
    with pytest.raises(NeuropilError, match="none of the 8 voxels compared has a label above 0"):
        evaluate(np.ones((2, 2, 2), int), np.zeros((2, 2, 2), int))


def test_sums_beyond_64_bits_are_exact():
    """A table of 2^60-voxel objects: their squares need 121 bits."""
    big = 2**60 + 1
    column = [np.array(c, np.uint64) for c in ([1, 1, 2], [1, 2, 2], [big, 1, big])]
    sums = Sums.of(Contingency(*column))
    assert sums.pairs == 2 * big**2 + 1
    assert sums.truths == (big + 1) ** 2 + big**2
    scores = scores_of(Contingency(*column))
    assert 0 < scores.adapted_rand_error < 1e-17
    assert 0 <= scores.voi < 1e-15


def test_sum_of_squares_at_the_edge_of_64_bits():
    for counts in ([2**32], [2**32 - 1, 2**17], [2**31] * 4, [2**31] * 3, []):
        assert sum_of_squares(np.array(counts, np.uint64)) == sum(n * n for n in counts)


def test_json_holds_plain_numbers_and_all_promised_names():
    seg, labels = volumes(2)
    written = json.loads(json.dumps(evaluate(seg, labels).to_json()))
    promised = "adapted_rand_error adapted_rand_precision adapted_rand_recall rand_index voi_split voi_merge voi"
    assert set(promised.split()) <= set(written)
    assert set(written["adapted_rand"]) == {"snemi3d", "cremi", "scikit_image"}
    assert written["adapted_rand"]["snemi3d"]["error"] == written["adapted_rand_error"]
    assert written["voi"] == pytest.approx(written["voi_split"] + written["voi_merge"])
