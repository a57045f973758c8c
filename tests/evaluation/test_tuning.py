"""What `tune` finds is what segmenting and scoring by hand finds, and its files say so."""

import csv

import numpy as np
import pytest

from neuropil import synthetic
from neuropil.config import SegmentConfig, load_config
from neuropil.errors import NeuropilError
from neuropil.evaluation import contingency, evaluate, threshold_curve
from neuropil.evaluation.scores import Sums
from neuropil.evaluation.tuning import PLATEAU, draw_curve, tune, tune_pairs
from neuropil.geometry import Box
from neuropil.segmentation import agglomerate, watershed
from neuropil.volumes import Metadata, array_volume


@pytest.fixture(scope="module")
def volumes():
    """Two volumes of labels with uncertain affinities."""
    labels = [synthetic.neuropil((10, 80, 90), seed=seed)[1] for seed in (1, 2)]
    return [(synthetic.affinities(truth, seed=seed), truth) for seed, truth in enumerate(labels)]


def test_the_curve_of_a_real_tree(volumes):
    """Twenty thresholds, each segmented and counted for itself: equal in all integer sums, to 1e-9 in VI."""
    affinities, labels = volumes[0]
    fragments = watershed(affinities)
    tree = agglomerate(affinities, fragments)
    curve = threshold_curve(tree, fragments, labels)
    assert len(curve) > 100
    for threshold in np.linspace(0.02, 0.98, 20):
        segmentation, step = tree.segment(fragments, threshold), curve.step(threshold)
        assert curve.sums.at(step) == Sums.of(contingency(segmentation, labels))
        assert curve.voi[step] == pytest.approx(evaluate(segmentation, labels).voi, abs=1e-9)
    for metric in ("adapted_rand_error", "voi"):
        threshold, score = curve.best(metric)
        assert getattr(evaluate(tree.segment(fragments, threshold), labels), metric) == pytest.approx(score, abs=1e-9)


@pytest.mark.parametrize("metric", ["adapted_rand_error", "voi"])
def test_averages_over_volumes(volumes, metric):
    tuning = tune_pairs(volumes, metric=metric)
    scores = []
    for affinities, labels in volumes:
        fragments = watershed(affinities)
        segmentation = agglomerate(affinities, fragments).segment(fragments, tuning.settings.threshold)
        scores.append(getattr(evaluate(segmentation, labels), metric))
    assert tuning.score == pytest.approx(np.mean(scores), abs=1e-9)
    assert tuning.volumes == 2


def test_segments_the_whole_and_scores_the_box(volumes):
    affinities, labels = volumes[0]
    box = Box((62, 0, 0), (66, 80, 60))
    placed = array_volume(affinities, Metadata(origin=(60, 0, 0)))
    truth = array_volume(labels, Metadata(origin=(60, 0, 0)))
    tuning = tune(placed, truth, SegmentConfig(low=0.01, high=0.99), box=box)
    fragments = watershed(affinities, low=0.01, high=0.99)
    segmentation = agglomerate(affinities, fragments).segment(fragments, tuning.settings.threshold)
    scores = evaluate(segmentation[2:6, :, :60], labels[2:6, :, :60])
    assert tuning.score == pytest.approx(scores.voi, abs=1e-9)


def test_files(volumes, tmp_path):
    tuning = tune_pairs(volumes[:1], tolerance=0)
    tuning.save(tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    assert load_config([folder / "segment.yaml"]).segment == tuning.settings
    assert f"{tuning.score:.4f}" in (folder / "segment.yaml").read_text()
    assert (folder / "curve.png").read_bytes()[:4] == b"\x89PNG"
    rows = list(csv.DictReader((folder / "curve.csv").open()))
    assert min(float(row["voi"]) for row in rows) == pytest.approx(tuning.score)
    assert [float(row["threshold"]) for row in rows] == sorted((float(row["threshold"]) for row in rows), reverse=True)
    assert len(rows) <= 1002
    assert sorted(path.name for path in folder.iterdir()) == ["curve.csv", "curve.png", "segment.yaml"]


def test_by_default_the_middle_of_the_plateau_of_vi(volumes):
    tuning = tune_pairs(volumes)
    low, high = tuning.curve.plateau("voi", PLATEAU)
    assert tuning.metric == "voi"
    assert tuning.settings.threshold == pytest.approx((low + high) / 2)
    inside = tuning.curve.voi[tuning.curve.step(np.linspace(low, high, 50)[1:])]
    assert inside.max() <= tuning.curve.voi.min() + PLATEAU
    beside = [tuning.curve.voi[tuning.curve.step(n)] for n in (low, high + 1e-12)]
    assert min(beside) > tuning.curve.voi.min() + PLATEAU
    first, second = tuning.lines()[:2]
    assert f"to {high:.4f}; chosen by this" in first
    assert second.startswith("lowest adapted Rand error")
    assert "chosen" not in second


@pytest.mark.parametrize(("sizes", "warned"), [([1] * 12, False), ([1] * 4, True), ([40] + [1] * 12, True)])
def test_too_few_neurons_and_one_that_dominates_are_told(sizes, warned):
    labels = np.repeat(np.arange(1, len(sizes) + 1), sizes)[None, None] * np.ones((2, 3, 1), np.int64)
    affinities = np.full((3, *labels.shape), 0.9)
    affinities[2, :, :, 1:][labels[..., 1:] != labels[..., :-1]] = 0.1
    tuning = tune(affinities, labels)
    assert tuning.neurons == pytest.approx(sum(sizes) ** 2 / sum(n * n for n in sizes))
    assert any(line.startswith("warning") for line in tuning.lines()) == warned


def test_small_numbers_survive_in_the_snippet(volumes, tmp_path):
    tuning = tune_pairs(volumes[:1], SegmentConfig(low=1e-5, high=0.9))
    (tmp_path / "s.yaml").write_text(tuning.to_yaml())
    assert load_config([tmp_path / "s.yaml"]).segment == tuning.settings


def test_the_figure_marks_the_optima(volumes):
    curve = tune_pairs(volumes[:1]).curve
    left, right = draw_curve(curve).axes
    for axes, metric in ((left, "adapted_rand_error"), (right, "voi")):
        threshold, score = curve.best(metric)
        marked = next(line for line in axes.lines if line.get_marker() == "o")
        assert (marked.get_xdata()[0], marked.get_ydata()[0]) == (threshold, score)


def test_refuses(volumes, tmp_path):
    affinities, labels = volumes[0]
    with pytest.raises(NeuropilError, match="at least one"):
        tune_pairs([])
    with pytest.raises(NeuropilError, match="'mutex'"):
        tune_pairs(volumes, SegmentConfig(method="mutex"))
    with pytest.raises(NeuropilError, match="equal shapes"):
        tune(affinities, labels[:5])
    (tmp_path / "file").write_text("")
    with pytest.raises(NeuropilError, match="cannot write"):
        tune_pairs(volumes[:1]).save(tmp_path / "file" / "folder")
