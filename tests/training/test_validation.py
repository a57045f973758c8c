"""The segmentation that training scores is the one that ``segment`` makes with the recipe."""

import pytest

from neuropil import synthetic
from neuropil.config import SegmentConfig
from neuropil.evaluation import evaluate
from neuropil.evaluation.tuning import tune
from neuropil.segmentation import segment
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
    for metric, score in segmentation_scores(affinities, labels, settings).items():
        threshold = settings.threshold
        if settings.method == "agglomerate" and threshold is None:
            threshold = tune(affinities, truth, settings, metric=metric, tolerance=0).settings.threshold
        segmentation = segment(affinities, settings, threshold=threshold)
        assert score == pytest.approx(getattr(evaluate(segmentation, labels), metric), abs=1e-9)


def test_no_setting_is_ignored(volume):
    scores = [segmentation_scores(*volume, SegmentConfig(**values))["voi"] for values in SETTINGS]
    assert len({round(score, 6) for score in scores}) == len(SETTINGS)
