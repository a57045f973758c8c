"""Threshold and minimum size are those asked for, then those stored with the affinities, then the defaults."""

import numpy as np
import pytest

from neuropil import NeuropilError
from neuropil.config import SegmentConfig
from neuropil.geometry import NEAREST
from neuropil.segmentation import segment, segment_volume, settle
from neuropil.volumes import Metadata, array_volume, open_volume

AFFINITIES = np.full((3, 1, 2, 6), 0.9)
AFFINITIES[2, :, :, 1] = 0.3
STORED = {"threshold": 0.5, "min_size": 3, "score": "mean", "made_by": {"name": "snemi3d"}}


def volume(**extra):
    return array_volume(AFFINITIES, Metadata(offsets=NEAREST, extra=extra))


def test_what_is_asked_for_comes_first_then_what_is_stored_then_the_default():
    settled, lines = settle(volume(**STORED), SegmentConfig())
    assert (settled.threshold, settled.min_size) == (0.5, 3)
    assert lines == [f"{what} (stored with the affinities by snemi3d)" for what in ("threshold 0.5", "minimum size 3")]
    settled, lines = settle(volume(**STORED), SegmentConfig(threshold=0.0, min_size=0))
    assert (settled.threshold, settled.min_size) == (0.0, 0)
    assert lines == ["threshold 0 (as asked)", "minimum size 0 (as asked)"]
    settled, lines = settle(volume(), SegmentConfig())
    assert (settled.threshold, settled.min_size) == (0.5, 0)
    assert all("the default, since none is stored" in line for line in lines)


def test_what_is_stored_belongs_to_agglomeration_by_one_score():
    for method in ("watershed", "mutex"):
        settled, lines = settle(volume(**STORED), SegmentConfig(method=method))
        assert (settled.threshold, settled.min_size, lines) == (None, 0, [])
    assert settle(volume(**STORED), SegmentConfig(method="watershed", min_size=7))[0].min_size == 7
    _, lines = settle(volume(**STORED), SegmentConfig(score="q75"))
    assert all(line.endswith("by snemi3d, where it was chosen for score mean)") for line in lines)


def test_the_stored_minimum_size_is_used_and_noted(tmp_path):
    assert segment(volume(**STORED)).max() == 1
    assert segment(volume(**STORED), min_size=0).max() == 2
    assert segment(volume(threshold=0.5)).max() == 2
    segment_volume(volume(**STORED), tmp_path / "s.h5", SegmentConfig())
    with open_volume(tmp_path / "s.h5") as written:
        assert written.metadata.extra["segment"]["min_size"] == 3
        assert written.metadata.extra["threshold"] == 0.5
        assert written.read().max() == 1


@pytest.mark.parametrize(
    ("name", "stored"),
    [*(("threshold", n) for n in ("0.3", 2, -1, True, [0.3])), *(("min_size", n) for n in ("9", -1, 2.5, True))],
)
def test_what_is_stored_and_is_no_such_number_is_refused(name, stored):
    with pytest.raises(NeuropilError, match="--" + name.replace("_", "-")):
        settle(volume(**{name: stored}), SegmentConfig())
