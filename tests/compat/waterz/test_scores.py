"""waterz's scores: equal to what it tells, of a whole volume and piece by piece."""

import json

import numpy as np
import pytest

from neuropil import NeuropilError
from neuropil.compat import waterz as ours
from recorded import CLASSIC, needs_classic
from reference.silence import silent


@needs_classic
def test_scores_are_those_that_waterz_tells():
    theirs, labels = np.load(CLASSIC / "waterz.npz"), np.load(CLASSIC / "affinities.npz")["labels"]
    told = json.loads((CLASSIC / "waterz.json").read_text())["functions"]["mean"]["at"]
    for threshold in ("0.1", "0.5", "0.9"):
        segmentation = theirs[f"mean/seg_{threshold}"]
        expected = told[threshold]["evaluate_total_volume"]
        assert ours.evaluate_total_volume(segmentation, labels) == pytest.approx(expected)
        stats = ours.compute_statistics_for_volume_init(segmentation[:5], labels[:5])
        for part in (slice(5, 6), slice(6, 12)):
            stats = ours.compute_statistics_for_volume(stats, segmentation[part], labels[part])
        assert ours.compute_final_metrics(stats) == ours.evaluate_total_volume(segmentation, labels)


def test_scores_are_those_of_waterz_where_nothing_was_segmented():
    waterz = pytest.importorskip("waterz")
    rng = np.random.default_rng(8)
    segmentation, labels = rng.integers(0, 5, (2, 3, 8, 8)).astype(np.uint64)
    with silent():
        theirs = waterz.evaluate(segmentation, labels)
    assert ours.evaluate(segmentation, labels) == pytest.approx(theirs)
    with pytest.raises(NeuropilError, match="nothing to score"):
        ours.evaluate(segmentation, np.zeros_like(labels))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("reach", [-1, 0, 1.5, 3])
def test_border_masks_are_within_a_distance_of_borders_in_each_section(axis, reach):
    labels = np.random.default_rng(7).integers(0, 3, (2, 4, 5)).repeat(3, 1).repeat(4, 2).astype(np.uint16)
    expected = labels.copy()
    for section, out in zip(np.moveaxis(labels, axis, 0), np.moveaxis(expected, axis, 0), strict=True):
        padded = np.pad(section, 1, mode="edge")
        around = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
        border = np.argwhere(np.any([section != other for other in around], axis=0))
        for at in np.ndindex(section.shape):
            if len(border) and np.hypot(*(border - at).T).min() <= max(reach, 0):
                out[at] = 99
    mine = ours.create_border_mask(labels, reach, 99, axis)
    assert mine.dtype == labels.dtype
    np.testing.assert_array_equal(mine, expected)
    assert labels.max() < 3, "the input is left alone"
