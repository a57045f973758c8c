"""Affinities to a segmentation by the settings of a recipe."""

import numpy as np
import pytest

from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError
from neuropil.geometry import NEAREST
from neuropil.pipeline import segment, segment_volume, threshold_for, with_offsets
from neuropil.segmentation import mutex_watershed
from neuropil.volumes import Metadata, array_volume, open_volume

AFFINITIES = np.full((3, 1, 1, 6), 0.9)
AFFINITIES[2, 0, 0, [2, 4]] = [0.6, 0.3]
LINE = array_volume(AFFINITIES, Metadata(offsets=NEAREST))


@pytest.mark.parametrize(
    ("settings", "threshold", "ids"),
    [
        ({}, 0.5, [1, 1, 1, 1, 2, 2]),
        ({}, 0.7, [1, 1, 2, 2, 3, 3]),
        ({}, 0.2, [1, 1, 1, 1, 1, 1]),
        ({"method": "watershed"}, 0.2, [1, 1, 2, 2, 3, 3]),
        ({"method": "watershed", "min_size": 3}, 0.2, [1, 1, 1, 1, 1, 1]),
        ({"min_size": 3}, 0.5, [1, 1, 1, 1, 1, 1]),
        ({"low": 0.95, "high": 0.99}, 0.5, [0, 0, 0, 0, 0, 0]),
    ],
)
def test_settings_do_what_they_say(settings, threshold, ids):
    assert segment(LINE, SegmentConfig(**settings), threshold)[0, 0].tolist() == ids


def test_filling_leaves_no_background():
    affinities = AFFINITIES.copy()
    affinities[:, 0, 0, 2:4] = 0
    broken = array_volume(affinities, Metadata(offsets=NEAREST))
    assert (segment(broken, SegmentConfig(), 0.5) == 0).any()
    assert (segment(broken, SegmentConfig(fill=True), 0.5) > 0).all()


def test_small_segments_go_before_background_is_filled():
    """Filled first, the two voxels on the left would become three and stay."""
    affinities = AFFINITIES.copy()
    affinities[:, 0, 0, 2:4] = 0
    broken = array_volume(affinities, Metadata(offsets=NEAREST))
    assert segment(broken, SegmentConfig(min_size=3), 0.2)[0, 0].tolist() == [0, 0, 0, 1, 1, 1]
    assert segment(broken, SegmentConfig(min_size=3, fill=True), 0.2)[0, 0].tolist() == [1, 1, 1, 1, 1, 1]


def test_the_mutex_watershed_has_its_bias_and_strides(tmp_path):
    long = np.concatenate([AFFINITIES, np.full((1, 1, 1, 6), 0.1)])
    line = array_volume(long, Metadata(offsets=(*NEAREST, (0, 0, -2))))
    for settings in ({}, {"bias": (-0.5, -0.5, -0.2, -0.9)}, {"strides": (1, 1, 4)}):
        changes = {"bias": settings.get("bias", -0.5), "strides": settings.get("strides", (1, 1, 1))}
        expected = mutex_watershed(long, line.metadata.offsets, **changes)
        assert np.array_equal(segment(line, SegmentConfig(method="mutex", **settings), 0.5), expected)
    joined = segment(line, SegmentConfig(method="mutex", min_size=4), 0.5)
    assert np.bincount(joined.ravel())[1:].min() >= 4
    with pytest.raises(NeuropilError, match="bias"):
        segment(line, SegmentConfig(method="mutex", bias=(-0.5, -0.5)), 0.5)


@pytest.mark.parametrize("stored", ["0.3", 2, -1, True, [0.3]])
def test_a_stored_threshold_that_is_none(stored):
    with pytest.raises(NeuropilError, match="--threshold"):
        threshold_for(array_volume(AFFINITIES, Metadata(extra={"threshold": stored})), SegmentConfig())


def test_offsets_are_those_given_then_those_stored_then_the_nearest():
    turned = NEAREST[::-1]
    assert with_offsets(LINE, turned).metadata.offsets == turned
    assert with_offsets(array_volume(AFFINITIES, Metadata(offsets=turned))).metadata.offsets == turned
    assert with_offsets(array_volume(AFFINITIES)).metadata.offsets == NEAREST


def test_an_output_that_cannot_be_written_is_found_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("neuropil.pipeline.segmenting.segment", lambda *_: pytest.fail("worked in vain"))
    (tmp_path / "file").write_text("")
    with pytest.raises(NeuropilError, match="file"):
        segment_volume(LINE, tmp_path / "file" / "a.h5", SegmentConfig())


def test_nothing_is_left_of_a_segmentation_that_failed(tmp_path):
    nan = array_volume(np.where(np.arange(4) == 2, np.nan, 0.5) * np.ones((3, 2, 3, 4)))
    with pytest.raises(NeuropilError, match="NaN"):
        segment_volume(nan, tmp_path / "a.h5", SegmentConfig())
    assert not list(tmp_path.iterdir())


def test_the_output_says_how_it_was_made(tmp_path):
    segment_volume(LINE, tmp_path / "a.h5", SegmentConfig(threshold=0.7, min_size=1))
    extra = open_volume(tmp_path / "a.h5").metadata.extra
    assert extra["threshold"] == 0.7
    assert SegmentConfig(**extra["segment"]) == SegmentConfig(threshold=0.7, min_size=1)
