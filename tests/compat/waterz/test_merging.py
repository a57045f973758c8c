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
    pairs = len(np.unique(a.ravel().astype(np.uint64) << 32 | b.ravel().astype(np.uint64)))
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
        ({"scoring_function": "Random<RegionGraphType>"}, "Random.*differs from run to run"),
        ({"scoring_function": "Constant<RegionGraphType, 1>"}, "Constant.*all or nothing"),
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


@pytest.mark.parametrize("code", [51, 102, 153, 204])
def test_a_score_that_equals_the_threshold_is_not_below_it(code):
    """Of ``vol0`` / 255 such scores are frequent; 16-bit codes would round the affinity to one side."""
    affs = np.full((3, 1, 1, 2), code / np.float32(255), np.float32)
    threshold = 1 - code / 255
    ids = np.array([[[1, 2]]], np.uint64)
    below, at, above = ours.agglomerate(affs, [threshold - 0.001, threshold, threshold + 0.001], fragments=ids)
    assert [seg.max() for seg in (below, at, above)] == [2, 2, 1]


def test_other_forms_of_one_score_cut_the_same_tree():
    affs = np.random.default_rng(5).random((3, 4, 5, 6))
    mean = "MeanAffinity<RegionGraphType, ScoreValue>"
    plain = [seg.max() for seg in ours.agglomerate(affs, [0.4], aff_threshold_low=0.5)]
    for name, threshold in ((f"Square<OneMinus<{mean}>>", 0.16), (f"Invert<{mean}>", 1 / 0.6)):
        assert [s.max() for s in ours.agglomerate(affs, [threshold], None, None, 0.5, scoring_function=name)] == plain


RECORDED = {
    "mean": "mean",
    "max": "OneMinus<MaxAffinity<RegionGraphType, ScoreValue>>",
    "minimum": "OneMinus<MinAffinity<RegionGraphType, ScoreValue>>",
    "aff50_his0": "aff50_his0",
    "aff50_his256": "aff50_his256",
    "aff85_his256": "aff85_his256",
    "aff50_his256_noinitmax": "OneMinus<HistogramQuantileAffinity<RegionGraphType, 50, ScoreValue, 256, false>>",
}
THRESHOLDS = [0.1, 0.3, 0.5, 0.7, 0.9]


@needs_classic
@pytest.mark.parametrize("recorded", RECORDED)
def test_recorded_segmentations_of_waterz(recorded):
    affinities, theirs = np.load(CLASSIC / "affinities.npz")["affinities"], np.load(CLASSIC / "waterz.npz")
    options = {"fragments": theirs["fragments"], "scoring_function": RECORDED[recorded]}
    for threshold, mine in zip(THRESHOLDS, ours.agglomerate(affinities, THRESHOLDS, **options), strict=True):
        if (name := f"{recorded}/seg_{threshold}") in theirs:
            assert same_partition(mine, theirs[name]), threshold


@needs_classic
def test_segmentations_from_affinities_alone():
    affinities, theirs = np.load(CLASSIC / "affinities.npz")["affinities"], np.load(CLASSIC / "waterz.npz")
    for threshold, mine in zip(
        THRESHOLDS, ours.agglomerate(affinities, THRESHOLDS, None, None, 0.005, 0.995), strict=True
    ):
        assert same_partition(mine, theirs[f"mean/seg_{threshold}"]), threshold


def test_a_volume_brings_its_own_offsets():
    affs = np.random.default_rng(6).random((3, 4, 5, 6), np.float32)
    plain = [seg.tolist() for seg in ours.agglomerate(affs, [0.3])]
    xyz = neuropil.array_volume(affs[::-1].copy(), neuropil.Metadata(offsets=[(0, 0, -1), (0, -1, 0), (-1, 0, 0)]))
    assert [seg.tolist() for seg in ours.agglomerate(xyz, [0.3])] == plain
    ahead = neuropil.array_volume(affs, neuropil.Metadata(offsets=[(1, 0, 0), (0, 1, 0), (0, 0, 1)]))
    with pytest.raises(NeuropilError, match="voxels before"):
        ours.agglomerate(ahead, [0.3])
    with pytest.raises(NeuropilError, match=r"opened volume, got 'a\.h5'"):
        ours.agglomerate("a.h5", [0.3])


@needs_classic
@pytest.mark.parametrize("recorded", ["aff50_his256", "aff85_his256", "aff50_his256_noinitmax"])
def test_recorded_merges_one_by_one(recorded):
    """Scores of 256 bins tie: the order among equals is that of waterz's heap."""
    affinities, theirs = np.load(CLASSIC / "affinities.npz")["affinities"], np.load(CLASSIC / "waterz.npz")
    options = {"fragments": theirs["fragments"], "scoring_function": RECORDED[recorded]}
    results = ours.agglomerate(affinities, THRESHOLDS, **options, return_merge_history=True)
    for threshold, (_, merges) in zip(THRESHOLDS, results, strict=True):
        assert [[m["a"], m["b"]] for m in merges] == theirs[f"{recorded}/merges_{threshold}"].tolist()


@needs_classic
@pytest.mark.parametrize("recorded", ["aff50_his256/own", "aff50_his256/fragments", "aff85_his256/fragments"])
def test_the_helper_is_that_of_waterz_with_its_queue_of_bins(recorded):
    affinities, theirs = np.load(CLASSIC / "affinities.npz")["affinities"], np.load(CLASSIC / "waterz.npz")
    fragments = None if recorded.endswith("own") else theirs["fragments"]
    found = ours.waterz(affinities, THRESHOLDS, None, recorded.split("/")[0], None, fragments)
    for threshold, mine in zip(THRESHOLDS, found, strict=True):
        if (name := f"helper/{recorded}/seg_{threshold}") in theirs:
            assert same_partition(mine, theirs[name]), threshold


@needs_classic
@pytest.mark.parametrize("seeds", ["maxima_distance", "minima", "grid"])
def test_fragments_of_sections_are_those_of_waterz(seeds):
    affinities, theirs = np.load(CLASSIC / "affinities.npz")["affinities"], np.load(CLASSIC / "waterz.npz")
    np.testing.assert_array_equal(ours.watershed(affinities, seeds), theirs[f"watershed/{seeds}"])


@pytest.mark.parametrize("queue", [0, 256])
@pytest.mark.parametrize("percent", [25, 50, 85])
def test_ties_everywhere_merge_as_in_waterz(percent, queue):
    """Affinities from a file of bytes, few of them different: most scores are equal to others."""
    waterz = pytest.importorskip("waterz")
    rng = np.random.default_rng(percent)
    affs = (rng.integers(0, 12, (3, 8, 20, 20)) * 23 / 255).astype(np.float32)
    fragments = (np.arange(1, 8 * 20 * 20 + 1, dtype=np.uint64).reshape(8, 20, 20) // 3 + 1).astype(np.uint64)
    thresholds = [0.1, 0.25, 0.4, 0.6]
    function = ours.getScoreFunc(f"aff{percent}_his256")
    options = {"scoring_function": function, "discretize_queue": queue}
    with silent():
        theirs = [s.copy() for s in waterz.agglomerate(affs, thresholds, fragments=fragments.copy(), **options)]
    mine = list(ours.agglomerate(affs, thresholds, fragments=fragments, **options))
    assert 1 < len(np.unique(theirs[-1])) < len(np.unique(theirs[0])) < len(np.unique(fragments))
    assert all(same_partition(a, b) for a, b in zip(mine, theirs, strict=True))


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
