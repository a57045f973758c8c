"""Matches equal comparing every object with every segment, and a table counted by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuropil.errors import NeuropilError
from neuropil.evaluation import contingency, evaluate
from neuropil.evaluation.matching import IOU, match_objects


def slow_found(seg, labels, iou):
    """True positives, every mask against every mask."""
    found = 0
    for i in set(labels.ravel().tolist()) - {0}:
        for j in set(seg.ravel().tolist()) - {0}:
            a, b = labels == i, (seg == j) & (labels > 0)
            found += bool((a & b).sum() > iou * (a | b).sum())
    return found


@given(seed=st.integers(0, 2**32), wrong=st.floats(0, 0.6))
def test_equals_comparing_all_masks(seed, wrong):
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 4, (1, 3, 3)), np.ones((1, 4, 4), int))
    labels[0, 0, 0] = 1
    seg = np.where(rng.random(labels.shape) < wrong, rng.integers(0, 5, labels.shape), labels)
    matching = match_objects(contingency(seg, labels))
    assert list(matching.found) == [slow_found(seg, labels, iou) for iou in IOU]
    assert matching.objects == len(set(labels.ravel().tolist()) - {0})


def test_counted_by_hand():
    """Object 1 found to 80 %, object 2 missed, one segment invented inside object 1, one outside of the truth."""
    labels = np.array([[[1] * 10 + [2] * 10 + [0] * 5]])
    seg = np.array([[[1] * 8 + [2] * 2 + [0] * 10 + [3] * 5]])
    matching = match_objects(contingency(seg, labels), [0.5, 0.75, 0.8])
    assert matching.found == (1, 1, 0)
    assert matching.precision.tolist() == [0.5, 0.5, 0]
    assert matching.recall.tolist() == [0.5, 0.5, 0]
    assert matching.average_precision.tolist() == [1 / 3, 1 / 3, 0]
    assert matching.mean_average_precision == pytest.approx(2 / 9)


def test_half_is_no_match():
    """Two halves of one object have an IoU of 0.5 each; only one could be its match."""
    assert match_objects(contingency(np.array([[[1, 2]]]), np.array([[[1, 1]]]))).found == (0,) * 10


def test_perfect_and_nothing():
    labels = np.repeat([[[1, 2, 3]]], 4, axis=1)
    assert evaluate(labels, labels).to_json()["matching"]["mean_average_precision"] == 1
    nothing = match_objects(contingency(labels * 0, labels))
    assert nothing.precision.tolist() == [1] * 10
    assert nothing.recall.sum() == 0
    assert evaluate(labels, labels) == evaluate(labels, labels)


def test_refuses():
    table = contingency(np.array([[[1]]]), np.array([[[1]]]))
    for iou in ([], [0.4], [0.5, 1]):
        with pytest.raises(NeuropilError, match="IoU thresholds"):
            match_objects(table, iou)
    with pytest.raises(NeuropilError, match="nothing to match"):
        match_objects(table.without_truth(1))
