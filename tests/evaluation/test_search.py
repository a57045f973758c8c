"""The search finds what segmenting and scoring by hand finds, and never less than the curve alone."""

from dataclasses import replace

import numpy as np
import pytest

from neuropil import synthetic
from neuropil.config import SegmentConfig
from neuropil.evaluation import evaluate
from neuropil.evaluation.search import search
from neuropil.evaluation.tuning import tune_pairs
from neuropil.geometry import NEAREST
from neuropil.segmentation import merge_tree, segment
from neuropil.volumes import Metadata, array_volume


@pytest.fixture(scope="module")
def volumes():
    """Two volumes of labels with uncertain affinities."""
    labels = [synthetic.neuropil((10, 80, 90), seed=seed)[1] for seed in (1, 2)]
    return [(synthetic.affinities(truth, seed=seed), truth) for seed, truth in enumerate(labels)]


def test_searches_what_the_curve_cannot(volumes):
    values = {"high": (0.9999, 0.95), "low": (0.0001, 0.1, 0.99), "min_size": (20, 200)}
    best, tried = search(volumes, values=values)
    assert [(t.settings.high, t.settings.low, t.settings.min_size) for t in tried[:2]] == [
        (0.9999, 0.0001, 0),
        (0.95, 0.0001, 0),
    ]
    assert len(tried) == 5 + (tried[2].settings.high > 0.99)  # a low of 0.99 only fits below a high of 0.9999
    assert best.score == min(t.score for t in tried) <= tune_pairs(volumes).score
    for tuning in (best, tried[-1]):
        settings, scores = tuning.settings, []
        for affinities, labels in volumes:
            found = merge_tree(affinities, settings)
            scores.append(evaluate(found.segment(settings.threshold, settings.min_size), labels).voi)
        assert tuning.score == pytest.approx(np.mean(scores), abs=1e-9)


def test_small_segments_join_by_the_score_that_is_tuned(volumes):
    """As `segment` with the settings found does it."""
    settings = SegmentConfig(score="max")
    found = merge_tree(volumes[0][0], settings)
    answer = found.segment(0.6, 200)
    volume = array_volume(volumes[0][0], Metadata(offsets=NEAREST))
    expected = segment(volume, settings.model_copy(update={"min_size": 200}), threshold=0.6)
    np.testing.assert_array_equal(answer, expected)
    assert (answer != replace(found, tree=replace(found.tree, pooling="mean")).segment(0.6, 200)).any()
