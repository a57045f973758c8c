"""The verb segment: thresholds, options, settings, what it refuses."""

import numpy as np
import pytest
import yaml

from commands import neuropil
from neuropil import NEAREST, Box, agglomerate, mutex_watershed, region_graph, synthetic, watershed
from neuropil.volumes import LOGIT8, Metadata, open_volume, write_volume


def expected(affinities, threshold, min_size=0):
    codes = LOGIT8.encode(affinities)
    fragments = watershed(codes, offsets=NEAREST, encoding=LOGIT8)
    graph = region_graph(codes, fragments, offsets=NEAREST, encoding=LOGIT8)
    return agglomerate(codes, fragments, offsets=NEAREST, encoding=LOGIT8).segment(
        fragments, threshold, min_size, graph
    )


# --- segment ---------------------------------------------------------------------------------------------------------


def test_segment_takes_the_stored_threshold_and_says_so(folder, affinities):
    code, out, err = neuropil("segment", "affinities.h5", "-o", "seg.h5")
    assert (code, err) == (0, "")
    assert "threshold 0.3 (stored with the affinities)" in out
    assert "stores no offsets" not in out
    segmentation = open_volume("seg.h5")
    assert segmentation.dtype == np.uint32
    assert segmentation.metadata.voxel_size == (30, 6, 6)
    assert segmentation.box == Box((5, 0, 0), (15, 40, 44))
    assert segmentation.metadata.extra["threshold"] == 0.3
    assert np.array_equal(segmentation.read(), expected(affinities, 0.3))


def test_an_asked_for_threshold_wins(folder, affinities):
    code, out, _ = neuropil("segment", "affinities.h5", "-o", "seg.h5", "--threshold", "0.8", "--min-size", "30")
    assert code == 0
    assert "threshold 0.8 (as asked)" in out
    assert np.array_equal(open_volume("seg.h5").read(), expected(affinities, 0.8, 30))


def test_arrays_without_metadata_get_the_defaults_and_two_lines(folder):
    code, out, _ = neuropil("segment", "bare.h5", "-o", "seg.h5")
    assert code == 0
    assert "threshold 0.5 (the default" in out
    assert "bare.h5 stores no offsets: its channels are taken as ((-1, 0, 0), (0, -1, 0), (0, 0, -1))" in out
    assert (
        "stores no offsets" not in neuropil("segment", "bare.h5", "-o", "s.h5", "--offsets", "-1,0,0;0,-1,0;0,0,-1")[1]
    )


def test_bytes_of_yes_and_no_are_questioned(folder):
    for most, told in ((1, True), (255, False)):
        write_volume("bits.h5", (np.indices((3, 2, 8, 8)).sum(axis=0) % 2 * most).astype(np.uint8))
        code, out, _ = neuropil("segment", "bits.h5", "-o", "seg.h5", "--force")
        assert code == 0
        assert ("bits.h5 holds 0 and 1 in its middle: as bytes 1 means 1/255" in out) == told


@pytest.mark.parametrize("blocks", [(), ("--block", "2,4,4")])
def test_what_is_empty_is_told_by_every_verb(folder, blocks):
    write_volume("none.zarr", np.zeros((3, 2, 8, 8), np.float32))
    write_volume("one.h5", np.ones((2, 8, 8), np.uint32))
    for arguments, told in (
        (("segment", "none.zarr", "-o", "none.h5", *blocks), "none.h5 holds no segment: all its voxels are 0"),
        (("evaluate", "none.h5", "one.h5", *blocks), "all voxels of none.h5/main that were scored are 0"),
        (("convert", "none.h5", "copy.h5"), "all voxels of none.h5/main that were copied are 0"),
    ):
        code, _, told_there = neuropil(*arguments)
        assert code == 0
        assert told in told_there


def test_offsets_given_win_over_those_stored(folder, affinities):
    metadata = Metadata(offsets=NEAREST)
    write_volume("turned.h5", open_volume("bare.h5").read()[::-1].copy(), metadata)
    assert neuropil("segment", "turned.h5", "-o", "a.h5", "--offsets", "0,0,-1;0,-1,0;-1,0,0")[0] == 0
    assert neuropil("segment", "bare.h5", "-o", "b.h5")[0] == 0
    assert np.array_equal(open_volume("a.h5").read(), open_volume("b.h5").read())


def test_watershed_only_and_filling(folder, affinities):
    assert neuropil("segment", "affinities.h5", "-o", "f.h5", "--method", "watershed", "--low", "0.2")[0] == 0
    fragments = watershed(LOGIT8.encode(affinities), low=0.2, offsets=NEAREST, encoding=LOGIT8)
    assert np.array_equal(open_volume("f.h5").read(), fragments)
    assert (fragments == 0).any()
    assert neuropil("segment", "affinities.h5", "-o", "s.h5", "--low", "0.2", "--fill")[0] == 0
    assert (open_volume("s.h5").read() > 0).all()


@pytest.mark.parametrize("score", ["max", "min", "q75"])
def test_other_scores(folder, affinities, score):
    assert neuropil("segment", "affinities.h5", "-o", "s.h5", "--score", score, "--min-size", "20")[0] == 0
    codes, changes = LOGIT8.encode(affinities), {"offsets": NEAREST, "encoding": LOGIT8}
    fragments = watershed(codes, **changes)
    graph = region_graph(codes, fragments, histograms=True, **changes)
    tree = agglomerate(codes, fragments, score, **changes)
    assert np.array_equal(open_volume("s.h5").read(), tree.segment(fragments, 0.3, 20, graph))
    assert neuropil("tune", "affinities.h5", "labels.h5", "--score", score)[0] == 0


def test_mutex_watershed(folder, affinities):
    options = ("--method", "mutex", "--bias", "-0.5,-0.4,-0.6", "--strides", "1,2,2")
    assert neuropil("segment", "affinities.h5", "-o", "m.h5", *options)[0] == 0
    codes, changes = LOGIT8.encode(affinities), {"bias": (-0.5, -0.4, -0.6), "strides": (1, 2, 2)}
    expected = mutex_watershed(codes, NEAREST, encoding=LOGIT8, **changes)
    assert np.array_equal(open_volume("m.h5").read(), expected)


def test_a_snippet_gives_settings_and_options_win(folder, affinities):
    (folder / "segment.yaml").write_text("segment: {threshold: 0.6, min_size: 20}\n")
    assert (
        "threshold 0.6 (as asked)" in neuropil("segment", "affinities.h5", "-o", "a.h5", "--config", "segment.yaml")[1]
    )
    assert np.array_equal(open_volume("a.h5").read(), expected(affinities, 0.6, 20))
    out = neuropil("segment", "affinities.h5", "-o", "a.h5", "--config", "segment.yaml", "--threshold", "0.7")[1]
    assert "threshold 0.7 (as asked)" in out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--threshold", "2"], "threshold: expected a value ≤ 1"),
        (["--low", "0.9", "--high", "0.1"], "expected low < high"),
        (["--score", "median"], "expected mean, max, min or qNN"),
        (["--offsets", "1,2"], "offsets are written"),
        (["--offsets", "-1,0,0;0,-1,0"], "one channel per offset"),
        (["--offsets", "-2,0,0;0,-1,0;0,0,-1"], "nearest"),
        (["--config", "none.yaml"], "no such config file"),
        (["--method", "magic"], "magic"),
        (["--method", "mutex", "--bias", "a"], "--bias a: expected numbers"),
        (["--method", "mutex", "--bias", "1,2"], "bias"),
        (["--method", "mutex", "--strides", "1,0,1"], "strides"),
        (["--work", "folder"], "--work"),
    ],
)
def test_wrong_options_of_segment(folder, options, says):
    code, _, err = neuropil("segment", "affinities.h5", "-o", "seg.h5", *options)
    assert code == 2
    assert says in err
    assert not (folder / "seg.h5").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--offsets", "-2,0,0;0,-1,0;0,0,-1"], "nearest"),
        (["--method", "mutex", "--bias", "-0.5,-0.2"], "3 channels"),
        (["--block", "²,4,4"], "expected three numbers"),
    ],
)
def test_what_no_block_could_do_is_refused_once_and_leaves_nothing(folder, options, says):
    before = sorted(folder.iterdir())
    code, _, err = neuropil("segment", "affinities.h5", "-o", "seg.h5", "--block", "2,9,9", *options)
    assert code == 2
    assert err.count(says) == 1
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("verb", [("tune", "affinities.h5", "labels.h5"), ("evaluate", "labels.h5", "labels.h5")])
def test_a_work_folder_without_blocks_is_refused(folder, verb):
    code, out, err = neuropil(*verb, "--work", "between")
    assert (code, out) == (2, "")
    assert "--work" in err


@pytest.mark.parametrize("blocks", [(), ("--block", "2,9,9")])
@pytest.mark.parametrize(
    "command",
    [
        ("tune", "affinities.h5", "labels.h5", "-o", "truth.txt/tuned"),
        ("evaluate", "labels.h5", "labels.h5", "--json", "truth.txt/scores.json"),
        ("evaluate", "labels.h5", "labels.h5", "--report", "truth.txt/page.html"),
    ],
    ids=" ".join,
)
def test_scores_that_cannot_be_written_are_refused_before_any_is_counted(folder, command, blocks):
    (folder / "truth.txt").write_text("no folder")
    code, out, err = neuropil(*command, *blocks)
    assert code == 2
    assert "truth.txt" in err
    assert "lowest" not in out
    assert "VI in bits" not in out


OPTIONS = {"score": "q50", "threshold": 0.7, "low": 0.3, "high": 0.8, "bias": [-0.4], "strides": [1, 2, 2]}


@pytest.mark.parametrize("small", [[], ["--min-size", "30"]], ids=["all sizes", "min size"])
@pytest.mark.parametrize("method", ["agglomerate", "watershed", "mutex"])
@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_changes_the_result_or_is_refused_by_name(folder, truth, method, option, small):
    """On the command line even with its default, in a file with any other value."""
    offsets = (*NEAREST, (0, -3, 0), (0, 0, -3))
    values = synthetic.affinities(truth, offsets, noise=0.3, seed=2)
    write_volume("long.h5", LOGIT8.encode(values), Metadata(offsets=offsets, encoding=LOGIT8))
    value = ",".join(map(str, OPTIONS[option])) if isinstance(OPTIONS[option], list) else OPTIONS[option]
    section = {"method": method, "min_size": 30 if small else 0, option: OPTIONS[option]}
    (folder / "s.yaml").write_text(yaml.safe_dump({"segment": section}))
    assert neuropil("segment", "long.h5", "-o", "plain.h5", "--method", method, *small)[0] == 0
    typed = neuropil("segment", "long.h5", "-o", "typed.h5", "--method", method, f"--{option}", value, *small)
    stored = neuropil("segment", "long.h5", "-o", "stored.h5", "--config", "s.yaml")
    if typed[0] == 0:
        assert stored[0] == 0
        typed_result = open_volume("typed.h5").read()
        assert np.array_equal(typed_result, open_volume("stored.h5").read())
        assert not np.array_equal(typed_result, open_volume("plain.h5").read())
        return
    assert typed[0] == stored[0] == 2
    assert f"--{option}" in typed[2]
    assert f"method {method} does not use {option} (got" in stored[2]
    default = {
        "score": "mean",
        "threshold": "0.5",
        "low": "0.0001",
        "high": "0.9999",
        "bias": "-0.5",
        "strides": "1,1,1",
    }
    code, _, err = neuropil(
        "segment", "long.h5", "-o", "s.h5", "--method", method, f"--{option}", default[option], *small
    )
    assert (code, f"--{option}" in err) == (2, True)


@pytest.mark.parametrize("method", ["agglomerate", "watershed", "mutex"])
def test_the_settings_left_beside_a_segmentation_make_it_again(folder, method):
    assert neuropil("segment", "affinities.h5", "-o", "a.h5", "--method", method)[0] == 0
    assert neuropil("segment", "affinities.h5", "-o", "b.h5", "--config", "a.h5.yaml")[0] == 0
    assert np.array_equal(open_volume("a.h5").read(), open_volume("b.h5").read())
    assert neuropil("evaluate", "a.h5", "labels.h5", "--report", "report.html")[0] == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a: np.where(a > 0.9, np.nan, a), "NaN"),
        (lambda a: a * 2, "must lie in [0, 1]"),
        (lambda a: a[0], "expected affinities [edge, z, y, x]"),
        (lambda a: np.concatenate([a, a]), "--offsets"),
        (lambda a: (a * 100).astype(np.int64), "int64"),
    ],
    ids=["NaN", "above 1", "3-D", "six channels", "integers"],
)
def test_arrays_that_hold_no_affinities(folder, affinities, change, says):
    write_volume("bad.h5", change(affinities))
    code, _, err = neuropil("segment", "bad.h5", "-o", "seg.h5")
    assert code == 2
    assert says in err
    assert "bad.h5" in err
    assert not (folder / "seg.h5").exists()


# --- tune and evaluate -----------------------------------------------------------------------------------------------
