"""The verbs that score: tune and evaluate."""

import csv
import json
import re

import numpy as np
import pytest
import yaml

from commands import neuropil
from neuropil import NEAREST, synthetic
from neuropil.volumes import LOGIT8, Metadata, write_volume

EXACT = ("--metric", "adapted_rand_error", "--tolerance", "0")


def test_tune_finds_the_threshold_that_evaluate_confirms(folder):
    code, out, _ = neuropil("tune", "affinities.h5", "labels.h5", "-o", "tuned", *EXACT)
    assert code == 0
    assert "lowest adapted Rand error" in out
    with open("tuned/curve.csv") as file:
        rows = list(csv.DictReader(file))
    best = min(float(row["adapted_rand_error"]) for row in rows)
    assert (folder / "tuned/curve.png").read_bytes().startswith(b"\x89PNG")
    assert 0 < yaml.safe_load((folder / "tuned/segment.yaml").read_text())["segment"]["threshold"] < 1
    assert neuropil("segment", "affinities.h5", "-o", "seg.h5", "--config", "tuned/segment.yaml")[0] == 0
    assert neuropil("evaluate", "seg.h5", "labels.h5", "--json", "scores.json")[0] == 0
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["adapted_rand_error"] == pytest.approx(best, abs=1e-8)


def test_tune_averages_over_pairs(folder):
    """Another volume, elsewhere and of another size; segmenting both with what was found gives the mean found."""
    other = synthetic.neuropil((6, 30, 34), seed=8)[1]
    write_volume("other_labels.h5", other)
    values = synthetic.affinities(other, NEAREST, noise=0.6, seed=9)
    write_volume("other.h5", LOGIT8.encode(values), Metadata(None, None, NEAREST, LOGIT8))
    code, out, err = neuropil(
        "tune", "affinities.h5", "labels.h5", "other.h5", "other_labels.h5", "-o", "tuned", *EXACT
    )
    assert code == 0, err
    assert "scored on 5:15,0:40,0:44 of affinities.h5\nscored on 0:6,0:30,0:34 of other.h5" in out
    assert "on 2 volumes" in (folder / "tuned/segment.yaml").read_text()
    scores = []
    for one, truth in (("affinities.h5", "labels.h5"), ("other.h5", "other_labels.h5")):
        assert neuropil("segment", one, "-o", "seg.h5", "--config", "tuned/segment.yaml")[0] == 0
        assert neuropil("evaluate", "seg.h5", truth, "--json", "scores.json")[0] == 0
        scores.append(json.loads((folder / "scores.json").read_text())["adapted_rand_error"])
    with open("tuned/curve.csv") as file:
        best = min(float(row["adapted_rand_error"]) for row in csv.DictReader(file))
    assert np.mean(scores) == pytest.approx(best, abs=1e-8)
    code, _, err = neuropil("tune", "affinities.h5", "labels.h5", "other.h5")
    assert code == 2
    assert "got other.h5 without labels" in err


def test_evaluate_measures_run_lengths(folder, truth):
    """Cut in the middle of x, neurons that go through are worth half; the page says it, too."""
    pytest.importorskip("kimimaro", reason="the extra `mesh` is not installed")
    cut = truth.astype(np.uint32)
    cut[:, :, 22:][cut[:, :, 22:] > 0] += 1000
    for name, array in (("perfect.h5", truth), ("cut.h5", cut)):
        write_volume(name, array, Metadata((30, 6, 6), (5, 0, 0)))
    found = {}
    for name in ("perfect", "cut"):
        options = ["--json", "scores.json", "--report", f"{name}.html", "--affinities", "affinities.h5", "--erl"]
        code, out, err = neuropil("evaluate", f"{name}.h5", "labels.h5", *options)
        assert (code, err) == (0, "")
        found[name] = json.loads((folder / "scores.json").read_text())
        assert f"(NERL {found[name]['nerl']:.4f})" in out
        text = (folder / f"{name}.html").read_text()
        assert f"{found[name]['erl']:.4f}" in text
        assert "Every threshold" in text  # from the affinities
    assert found["perfect"]["nerl"] == pytest.approx(1)
    assert 0.3 < found["cut"]["nerl"] < 0.9
    assert found["cut"]["run_length"]["split"] > 0
    assert found["cut"]["erl"] == pytest.approx(found["cut"]["nerl"] * found["perfect"]["erl"])
    assert neuropil("evaluate", "affinities.h5", "labels.h5", "--erl")[0] == 2


def test_evaluate_prints_a_table_and_the_box(folder, truth):
    write_volume("perfect.h5", truth + 7 * (truth > 0), Metadata(origin=(5, 0, 0)))
    code, out, _ = neuropil("evaluate", "perfect.h5", "labels.h5", "--json", "scores.json")
    assert code == 0
    assert "adapted Rand error  0.0000" in out
    assert "5:15,0:40,0:44" in out
    scores = json.loads((folder / "scores.json").read_text())
    for key in ("adapted_rand_precision", "adapted_rand_recall", "rand_index"):
        assert scores[key] == 1
    for key in ("adapted_rand_error", "voi_split", "voi_merge", "voi"):
        assert scores[key] == 0


def test_evaluate_scores_a_box_with_open_ends(folder, truth):
    write_volume("perfect.h5", truth, Metadata(origin=(5, 0, 0)))
    code, out, _ = neuropil("evaluate", "perfect.h5", "labels.h5", "--box", "7:9,:,10:")
    assert code == 0
    assert "7:9,0:40,10:44" in out


@pytest.mark.parametrize(
    ("first", "second", "options", "says"),
    [
        ((4, 5, 6), (4, 5, 7), [], "(4, 5, 6)"),
        ((4, 5, 6), (4, 5, 6), ["--box", "0:9,:,:"], "box 0:9"),
        ((4, 5, 6), (4, 5, 6), ["--box", "0:9"], "a box is written"),
        ((2, 4, 5, 6), (4, 5, 6), [], "[z, y, x]"),
    ],
    ids=["shapes", "box outside", "no box", "4-D"],
)
def test_what_cannot_be_compared(tmp_path, monkeypatch, first, second, options, says):
    monkeypatch.chdir(tmp_path)
    write_volume("a.h5", np.ones(first, np.uint32))
    write_volume("b.h5", np.ones(second, np.uint32))
    code, out, err = neuropil("evaluate", "a.h5", "b.h5", "--json", "scores.json", *options)
    assert (code, out) == (2, "")
    assert says in err
    assert not (tmp_path / "scores.json").exists()


def test_fractions_as_labels_are_refused_and_whole_floats_are_ids(tmp_path):
    write_volume(tmp_path / "a.h5", np.ones((4, 5, 6), np.uint32))
    write_volume(tmp_path / "b.h5", np.full((4, 5, 6), 0.5, np.float32))
    code, _, err = neuropil("evaluate", tmp_path / "a.h5", tmp_path / "b.h5")
    assert code == 2
    assert "integer ids" in err
    assert "b.h5" in err
    write_volume(tmp_path / "c.h5", np.ones((4, 5, 6), np.float32))
    assert neuropil("evaluate", tmp_path / "c.h5", tmp_path / "a.h5")[0] == 0
    assert neuropil("evaluate", tmp_path / "a.h5", tmp_path / "c.h5")[0] == 0


def test_evaluate_refuses_an_image(folder, truth):
    grey = np.random.default_rng(0).integers(0, 255, truth.shape).astype(np.uint8)
    write_volume("image.h5", grey, Metadata(origin=(5, 0, 0)))
    code, out, err = neuropil("evaluate", "image.h5", "labels.h5", "--json", "scores.json")
    assert (code, out) == (2, "")
    assert "got what looks like an image (uint8" in err
    assert "image.h5" in err
    assert not (folder / "scores.json").exists()


def test_tune_shows_both_optima_and_their_widths(folder):
    code, out, _ = neuropil("tune", "affinities.h5", "labels.h5", "-o", "tuned")
    assert code == 0
    lines = out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:3]] == ["lowest VI in bits", "lowest adapted Rand error"]
    low, high = (float(word) for word in re.search(r"worse from (\S+) to (\S+);", lines[1]).groups())
    threshold = yaml.safe_load((folder / "tuned/segment.yaml").read_text())["segment"]["threshold"]
    assert threshold == pytest.approx((low + high) / 2, abs=1e-4)
