"""The zwatershed door: what zwatershed answers, id by id."""

import json

import numpy as np
import pytest

from neuropil import Encoding, Metadata, NeuropilError, open_volume, write_volume
from neuropil.compat import waterz
from neuropil.compat import zwatershed as ours
from neuropil.errors import Note
from recorded import CLASSIC, needs_classic

MERGES = [
    (graph, size, weight, dust, merge)
    for graph in ("initial0", "initial1")
    for size in (50, 200, 800)
    for weight, dust, merge in ((0.2, 60, 0.5), (0.5, 600, 0.0))
]


@needs_classic
@pytest.mark.parametrize(("graph", "size", "weight", "dust", "merge"), MERGES)
def test_merging_is_that_of_zwatershed_on_its_fragments(graph, size, weight, dust, merge):
    with np.load(CLASSIC / "zwatershed.npz") as file:
        seg, counts, rg = (file[f"{graph}/{name}"] for name in ("seg", "counts", "rg"))
        theirs = file[f"{graph}/merge_T{size}_a{weight}_d{dust}_m{merge}"]
    (mine,) = ours.zw_merge_region(seg.astype(np.uint64), counts, rg, [size], weight, dust, merge)
    assert mine.dtype == np.uint64
    np.testing.assert_array_equal(mine, theirs)


@needs_classic
@pytest.mark.parametrize("run", range(6))
def test_segmentations_graphs_and_counts_are_the_recorded_ones(run):
    affinities = np.load(CLASSIC / "affinities.npz")["affinities"]
    told = json.loads((CLASSIC / "zwatershed.json").read_text())["runs"][run]
    settings = [told[name] for name in ("T_threshes", "T_aff", "T_aff_relative", "T_dust", "T_merge")]
    segs, graphs, counts = ours.zwatershed(affinities, *settings)
    with np.load(CLASSIC / "zwatershed.npz") as file:
        for threshold, seg, rg, count in zip(told["T_threshes"], segs, graphs, counts, strict=True):
            np.testing.assert_array_equal(seg, file[f"run{run}/seg_{threshold}"])
            np.testing.assert_array_equal(count, file[f"run{run}/counts_{threshold}"])
            if (name := f"run{run}/rg_{threshold}") in file:
                np.testing.assert_array_equal(rg, file[name])


@needs_classic
@pytest.mark.parametrize(("name", "low", "high"), [("initial0", 0.01, 0.99), ("initial1", 0.5, 0.9)])
def test_fragments_and_their_graph_are_the_recorded_ones(name, low, high):
    affinities = np.load(CLASSIC / "affinities.npz")["affinities"]
    found = ours.zw_initial(affinities, low, high)
    with np.load(CLASSIC / "zwatershed.npz") as file:
        for part in ("seg", "rg", "counts"):
            np.testing.assert_array_equal(found[part], file[f"{name}/{part}"])


def test_counts_are_those_of_the_segmentation_where_nothing_is_joined():
    affs = np.random.default_rng(0).random((3, 6, 20, 20), np.float32)
    segs, graphs, counts = ours.zwatershed(affs, [40, 5], [0.2, 0.99, 0.3], T_dust=0, T_merge=0)
    assert segs[0].max() > segs[1].max() > 1, "ascending, whatever order was asked for"
    for seg, rg, count in zip(segs, graphs, counts, strict=True):
        np.testing.assert_array_equal(count, np.bincount(seg.ravel().astype(int)))
        assert (rg[:, 0] < rg[:, 1]).all()
        assert (np.diff(rg[:, 2]) <= 0).all()


def test_relative_thresholds_are_shares_of_the_affinities():
    affs = np.random.default_rng(1).random((3, 6, 20, 20), np.float32)
    shares = [0.1, 0.95, 0.3]
    same = [float(np.quantile(affs, share)) for share in shares]
    (relative,), (absolute,) = (
        ours.zwatershed(affs, [30], limits, told, 5)[0] for limits, told in ((shares, True), (same, False))
    )
    np.testing.assert_array_equal(relative, absolute)


def test_volumes_are_decoded_and_files_written(tmp_path):
    affs = np.random.default_rng(2).random((3, 4, 12, 12), np.float32)
    logit8 = Encoding("logit8")
    write_volume(tmp_path / "a.h5", logit8.encode(affs), Metadata(encoding=logit8))
    settings = ([10, 20], [0.1, 0.95, 0.3], False, 5, 0.9)
    segs, _, _ = ours.zwatershed(logit8.decode(logit8.encode(affs)), *settings)
    with open_volume(tmp_path / "a.h5") as volume:
        assert ours.zwatershed(volume, *settings, save_path=f"{tmp_path}/seg") is None
    for threshold, seg in zip((10, 20), segs, strict=True):
        np.testing.assert_array_equal(open_volume(tmp_path / f"seg_{threshold}.h5/seg").read(), seg)


def test_statistics_come_with_a_note():
    affs = np.random.default_rng(3).random((3, 4, 12, 12), np.float32)
    gt = np.ones((4, 12, 12), np.uint64)
    gt[:, 6:] = 2
    with pytest.warns(Note, match="size limit"):
        segs, stats = ours.zwatershed_and_stats(gt, affs, [10, 50, 200], [50])
    assert len(segs) == 1
    assert len(stats["V_Rand_split"]) == len(stats["V_Info_merge"]) == 3
    assert stats["V_Rand_split"][1] == waterz.evaluate(segs[0], gt)["rand_split"]
    assert 0 < stats["V_Rand"] <= 1


def test_what_cannot_be_is_refused():
    affs = np.full((3, 2, 2, 2), 0.5, np.float32)
    with pytest.raises(NeuropilError, match="three T_aff"):
        ours.zwatershed(affs, [10], [0.1, 0.2])
    with pytest.raises(NeuropilError, match="T_aff_relative=False"):
        ours.zwatershed(affs, [10], [1, 80, 20])
    with pytest.raises(NeuropilError, match=r"\[edges, 3\]"):
        ours.zw_merge_region(np.ones((1, 1, 2), np.uint64), np.array([0, 2]), np.ones((1, 2)), [10])
