"""The waterz door: same partitions as waterz on the same fragments, and clear words where it cannot follow."""

import numpy as np
import pytest

from neuropil import NeuropilError
from neuropil.compat import waterz as ours
from reference.silence import silent


def same_partition(a, b):
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1).shape[1]
    return len(np.unique(a)) == len(np.unique(b)) == pairs


def test_same_segmentations_at_every_threshold():
    waterz = pytest.importorskip("waterz")
    rng = np.random.default_rng(0)
    affs = rng.random((3, 8, 20, 20), np.float32)
    fragments = np.arange(1, 8 * 20 * 20 + 1, dtype=np.uint64).reshape(8, 20, 20) // 3 + 1
    thresholds = [0.2, 0.35, 0.42]
    with silent():
        theirs = [s.copy() for s in waterz.agglomerate(affs, thresholds, fragments=fragments.copy())]
    mine = list(ours.agglomerate(affs, thresholds, fragments=fragments))
    assert [len(np.unique(s)) for s in mine] == [len(np.unique(s)) for s in theirs]
    assert all(same_partition(a, b) for a, b in zip(mine, theirs, strict=True))


def test_history_tells_the_merges_since_the_last_threshold():
    affs = np.random.default_rng(1).random((3, 4, 5, 6))
    results = list(ours.agglomerate(affs, [0.3, 0.5, 1.1], aff_threshold_low=0.5, return_merge_history=True))
    total = sum(len(merges) for _, merges in results)
    assert total == results[0][0].max() + len(results[0][1]) - results[-1][0].max()
    assert all(m["score"] < 0.3 for m in results[0][1])
    assert all(0.3 <= m["score"] < 0.5 for m in results[1][1])


NAMES = {
    "affmean": "mean",
    "aff50_his256": "q50",
    "aff75_his0": "q75",
    "OneMinus<MaxAffinity<RegionGraphType, ScoreValue>>": "max",
    "OneMinus<HistogramQuantileAffinity<RegionGraphType, 25, ScoreValue, 256, false>>": "q25",
    "OneMinus<QuantileAffinity<RegionGraphType, 40, ScoreValue>>": "q40",
}


@pytest.mark.parametrize(("theirs", "score"), NAMES.items())
def test_names_of_scores(theirs, score):
    assert ours.score_of(theirs) == score


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gt": np.ones((2, 2, 2))}, "evaluate"),
        ({"return_region_graph": True}, "region_graph"),
        ({"scoring_function": "Multiply<MinSize<RegionGraphType>>"}, "no counterpart"),
    ],
)
def test_the_rest_is_refused_by_name(options, message):
    with pytest.raises(NeuropilError, match=message):
        ours.agglomerate(np.zeros((3, 2, 2, 2)), [0.5], **options)
