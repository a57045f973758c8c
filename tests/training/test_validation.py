"""The segmentation that training scores is the one that ``segment`` makes with the recipe."""

import numpy as np
import pytest

from neuropil import synthetic
from neuropil.config import Config, SegmentConfig
from neuropil.evaluation import evaluate
from neuropil.evaluation.tuning import tune
from neuropil.segmentation import segment
from neuropil.training.monitor import Monitor
from neuropil.training.validation import segmentation_scores
from neuropil.volumes import Metadata, array_volume

SETTINGS = [
    {},
    {"score": "q75", "low": 0.05, "high": 0.99},
    {"threshold": 0.45, "min_size": 60},
    {"min_size": 60, "fill": True},
    {"method": "watershed", "low": 0.05},
    {"method": "mutex", "bias": (-0.4,)},
]


@pytest.fixture(scope="module")
def volume():
    """Affinities that leave much to decide, and the truth."""
    labels = synthetic.neuropil((8, 60, 70), seed=5)[1]
    return array_volume(synthetic.affinities(labels, seed=5), Metadata(origin=(3, 4, 5))), labels


@pytest.mark.parametrize("values", SETTINGS, ids=str)
def test_scores_are_those_of_segment_with_the_recipes_settings(volume, values):
    affinities, labels = volume
    settings, truth = SegmentConfig(**values), array_volume(labels, Metadata(origin=affinities.metadata.origin))
    found = segmentation_scores(affinities, labels, settings)
    assert found.pop("segments") > 1
    for metric, score in found.items():
        threshold = settings.threshold
        if settings.method == "agglomerate" and threshold is None:
            threshold = tune(affinities, truth, settings, metric=metric, tolerance=0).settings.threshold
        segmentation = segment(affinities, settings, threshold=threshold)
        assert score == pytest.approx(getattr(evaluate(segmentation, labels), metric), abs=1e-9)


def test_no_setting_is_ignored(volume):
    scores = [segmentation_scores(*volume, SegmentConfig(**values))["voi"] for values in SETTINGS]
    assert len({round(score, 6) for score in scores}) == len(SETTINGS)


def test_a_box_that_becomes_one_segment_is_told(volume, tmp_path, capsys):
    affinities, labels = volume
    everywhere = array_volume(np.full(affinities.shape, 0.9, np.float32), affinities.metadata)
    for settings in (SegmentConfig(), SegmentConfig(threshold=0.5)):
        scores = segmentation_scores(everywhere, labels, settings)
        assert scores["segments"] == 1
        with Monitor(tmp_path, Config(), 0) as monitor:
            monitor.validation(1, 0.5, scores, 1.0)
            monitor.ended(step_is_warm=True)
        assert "the validation box became one segment" in capsys.readouterr().out
    with Monitor(tmp_path, Config(), 0) as monitor:
        monitor.ended(step_is_warm=False)
    assert "ended before its warm-up" in capsys.readouterr().out
