"""The waterz door: same partitions as waterz on the same fragments, and clear words where it cannot follow."""

import numpy as np
import pytest

import neuropil
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


def test_thresholds_come_in_ascending_order_whatever_was_asked():
    """As waterz has it: each is a step further, and the history tells that step."""
    affs = np.random.default_rng(4).random((3, 4, 5, 6))
    up, down = (list(ours.agglomerate(affs, t, return_merge_history=True)) for t in ([0.2, 0.4, 0.6], (0.6, 0.2, 0.4)))
    for (segmentation, merges), (same, same_merges) in zip(up, down, strict=True):
        np.testing.assert_array_equal(segmentation, same)
        assert merges == same_merges


NAMES = {
    "affmean": "mean",
    "aff50_his256": "q50",
    "aff75_his0": "q75",
    "aff50": "q50",
    "aff5": "q5",
    "mean": "mean",
    "hist_quant_10": "q10",
    "hist_quant_85_initmax": "q85",
    "OneMinus< EdgeStatisticValue<RegionGraphType, MaxAffinityProvider<RegionGraphType, ScoreValue> > >": "max",
    "OneMinus<EdgeStatisticValue<RegionGraphType,VectorQuantileProvider<RegionGraphType,30,ScoreValue,true>>>": "q30",
    " OneMinus <\tMeanAffinity < RegionGraphType ,ScoreValue >\n> ": "mean",
    "OneMinus<MeanAffinity<RegionGraphType, ScoreValue>>": "mean",
    "OneMinus<MinAffinity<RegionGraphType,ScoreValue>>": "min",
    "OneMinus<HistogramQuantileAffinity<RegionGraphType, 85, ScoreValue, 256>>": "q85",
    "OneMinus<MaxAffinity<RegionGraphType, ScoreValue>>": "max",
    "OneMinus<HistogramQuantileAffinity<RegionGraphType, 25, ScoreValue, 256, false>>": "q25",
    "OneMinus<QuantileAffinity<RegionGraphType, 40, ScoreValue>>": "q40",
}


@pytest.mark.parametrize(("theirs", "score"), NAMES.items())
def test_names_of_scores(theirs, score):
    assert ours.score_of(theirs) == score


def test_every_name_that_waterz_knows_is_taken_or_refused_as_one():
    """Its wheels hold functions compiled ahead, in its own spelling: all but those of sizes have a counterpart."""
    codegen = pytest.importorskip("waterz._codegen")
    names = {codegen.normalize(spec.scoring_function) for spec in codegen.iter_specs()}
    assert len(names) > 20
    for name in names:
        if "Size<" in name:
            with pytest.raises(NeuropilError, match="no counterpart"):
                ours.score_of(name)
        else:
            assert ours.score_of(name) in ("mean", *(f"q{q}" for q in codegen.QUANTILES))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gt": np.ones((2, 2, 2))}, "evaluate"),
        ({"return_region_graph": True}, "region_graph"),
        ({"scoring_function": "Multiply<MinSize<RegionGraphType>>"}, "Multiply<MinSize.*no counterpart"),
        (
            {"scoring_function": "OneMinus<MeanMaxKAffinity<RegionGraphType, 10, ScoreValue>>"},
            "MeanMaxK.*no counterpart",
        ),
        ({"scoring_function": "MeanAffinity<RegionGraphType, ScoreValue>"}, "no counterpart"),
        ({"scoring_function": "ContactArea<RegionGraphType>"}, "no counterpart"),
        ({"scoring_function": "max10"}, "'max10' has no counterpart"),
        ({"scoring_function": "aff101_his256"}, "q101"),
        ({"scoring_function": "aff٥٠_his256"}, "no counterpart"),
        ({"scoring_function": "aff50_his256_ran255"}, "ran255.*no counterpart"),
        ({"scoring_function": "One255Minus<MeanAffinity<RegionGraphType, ScoreValue>>"}, "One255Minus.*no counterpart"),
        ({"scoring_function": "OneMinus<Mean Affinity<RegionGraphType, ScoreValue>>"}, "no counterpart"),
        (
            {"scoring_function": "OneMinus<HistogramQuantileAffinity<RegionGraphType, 50, ScoreValue>>"},
            "no counterpart",
        ),
        ({"scoring_function": "OneMinus<QuantileAffinity<RegionGraphType, 50, ScoreValue, 256>>"}, "no counterpart"),
        ({"scoring_function": "aff"}, "no counterpart"),
        ({"scoring_function": "hist_quant_50_max"}, "no counterpart"),
        ({"scoring_function": None}, "None has no counterpart"),
    ],
)
def test_the_rest_is_refused_by_name(options, message):
    with pytest.raises(NeuropilError, match=message):
        ours.agglomerate(np.zeros((3, 2, 2, 2)), [0.5], **options)


def test_what_changes_nothing_is_accepted():
    affs = np.random.default_rng(2).random((3, 4, 5, 6))
    plain = list(ours.agglomerate(affs, [0.3, 0.6]))
    options = {"discretize_queue": 256, "force_rebuild": True, "scoring_function": ours.MEAN}
    for mine, same in zip(plain, ours.agglomerate(affs, [0.3, 0.6], **options), strict=True):
        np.testing.assert_array_equal(mine, same)
        assert mine.dtype == np.uint64


def test_codes_of_a_byte_are_affinities_too():
    codes = np.random.default_rng(3).integers(0, 256, (3, 4, 5, 6), np.uint8)
    fragments = np.arange(1, 121, dtype=np.uint64).reshape(4, 5, 6)
    tree = neuropil.agglomerate(codes, fragments)
    at = np.nextafter(0.6, 1)
    np.testing.assert_array_equal(
        next(ours.agglomerate(codes, [0.4], fragments=fragments)), tree.segment(fragments, at)
    )
