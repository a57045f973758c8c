"""The waterz door: same partitions as waterz on the same fragments, and clear words where it cannot follow."""

import json

import numpy as np
import pytest

import neuropil
from neuropil import NeuropilError
from neuropil.compat import waterz as ours
from recorded import CLASSIC, needs_classic
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
    assert ours.parse_function(theirs).score == score


def test_every_name_that_waterz_knows_is_taken_or_refused_as_one():
    """Its wheels hold functions compiled ahead, in its own spelling: all but those of sizes have a counterpart."""
    codegen = pytest.importorskip("waterz._codegen")
    names = {codegen.normalize(spec.scoring_function) for spec in codegen.iter_specs()}
    assert len(names) > 20
    for name in names:
        if "Size<" in name:
            with pytest.raises(NeuropilError, match="no counterpart"):
                ours.parse_function(name)
        else:
            assert ours.parse_function(name).score in ("mean", *(f"q{q}" for q in codegen.QUANTILES))


@pytest.mark.parametrize(
    ("options", "message"),
    [
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


@pytest.mark.parametrize(
    ("name", "bins", "start_max"),
    [
        ("aff50_his256", 256, True),
        ("aff75_his0", 0, True),
        ("hist_quant_50", 0, False),
        ("hist_quant_50_initmax", 0, True),
        ("OneMinus<HistogramQuantileAffinity<RegionGraphType, 50, ScoreValue, 256, false>>", 256, False),
        ("OneMinus<QuantileAffinity<RegionGraphType, 50, ScoreValue>>", 0, True),
    ],
)
def test_quantiles_begin_with_the_largest_face_where_waterz_does(name, bins, start_max):
    function = ours.parse_function(name)
    assert (function.bins, function.start_max) == (bins, start_max)
    assert ours.parse_function(ours.getScoreFunc("aff50_his256")) == ours.parse_function("aff50_his256")


def test_other_forms_of_one_score_cut_the_same_tree():
    affs = np.random.default_rng(5).random((3, 4, 5, 6))
    mean = "MeanAffinity<RegionGraphType, ScoreValue>"
    plain = [seg.max() for seg in ours.agglomerate(affs, [0.4], aff_threshold_low=0.5)]
    for name, threshold in ((f"Square<OneMinus<{mean}>>", 0.16), (f"Invert<{mean}>", 1 / 0.6)):
        assert [s.max() for s in ours.agglomerate(affs, [threshold], None, None, 0.5, scoring_function=name)] == plain


@needs_classic
@pytest.mark.parametrize(
    ("recorded", "function", "apart"),
    [
        ("mean", "mean", 0),
        ("max", "OneMinus<MaxAffinity<RegionGraphType, ScoreValue>>", 0),
        ("aff50_his0", "aff50_his0", 0),
        # With 256 bins scores tie, and the order among equals is that of waterz's heap.
        ("aff50_his256", "aff50_his256", 0.02),
        ("aff85_his256", "aff85_his256", 0.02),
    ],
)
def test_recorded_segmentations_of_waterz(recorded, function, apart):
    affinities = np.load(CLASSIC / "affinities.npz")
    theirs = np.load(CLASSIC / "waterz.npz")
    thresholds = [0.1, 0.3, 0.5, 0.7, 0.9]
    results = ours.agglomerate(
        affinities["affinities"], thresholds, fragments=theirs["fragments"], scoring_function=function
    )
    for threshold, mine in zip(thresholds, results, strict=True):
        if (name := f"{recorded}/seg_{threshold}") in theirs:
            error = ours.evaluate(mine, theirs[name])
            assert 1 - min(error["V_Rand_split"], error["V_Rand_merge"]) <= apart + 1e-12, threshold


@needs_classic
def test_scores_are_those_that_waterz_tells():
    theirs, labels = np.load(CLASSIC / "waterz.npz"), np.load(CLASSIC / "affinities.npz")["labels"]
    told = json.loads((CLASSIC / "waterz.json").read_text())["functions"]["mean"]["at"]
    for threshold in ("0.1", "0.5", "0.9"):
        segmentation = theirs[f"mean/seg_{threshold}"]
        assert ours.evaluate(segmentation, labels) == pytest.approx(told[threshold]["metrics"])
        expected = told[threshold]["evaluate_total_volume"]
        assert ours.evaluate_total_volume(segmentation, labels) == pytest.approx(expected)


def test_the_helper_writes_files_and_decodes_what_predict_wrote(tmp_path):
    from neuropil import Encoding, Metadata, open_volume, write_volume

    affs = np.random.default_rng(6).random((3, 4, 8, 8), np.float32)
    labels = np.ones((4, 8, 8), np.uint64)
    logit8 = Encoding("logit8")
    write_volume(tmp_path / "a.h5", logit8.encode(affs), Metadata(encoding=logit8))
    with open_volume(tmp_path / "a.h5") as volume:
        (mine,) = ours.waterz(volume, [0.3], f"{tmp_path}/seg_", "aff50_his256", gt=labels)
    (plain,) = ours.waterz(logit8.decode(logit8.encode(affs)), [0.3])
    np.testing.assert_array_equal(mine, plain)
    np.testing.assert_array_equal(open_volume(tmp_path / "seg_aff50_his256_0.30.hdf").read(), mine)
    assert set(json.loads((tmp_path / "seg_aff50_his256_0.30.json").read_text())) == {
        *("V_Rand_split", "V_Rand_merge", "V_Info_split", "V_Info_merge")
    }


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
