"""rank, proofread --simulate, apply, edits, and segment --edits, as typed."""

import csv

import numpy as np
import pytest
from typer.testing import CliRunner

from neuropil import Metadata, open_volume, synthetic, write_volume
from neuropil.cli import app
from neuropil.proofreading.sources import settings_of
from neuropil.segmentation.edits import EditLog, log_header
from neuropil.targets import affinities_from_labels
from reference.partitions import partition


def call(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, f"{done.output}\n{done.exception!r}"
    return done.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Image, labels, affinities and a segmentation of them."""
    folder = tmp_path_factory.mktemp("proofreading")
    image, labels = synthetic.neuropil((12, 96, 96), seed=1)
    clean = np.asarray(affinities_from_labels(labels, "nearest")[0], np.float32)
    noisy = np.clip(0.15 + 0.6 * clean + np.random.default_rng(3).normal(0, 0.2, clean.shape), 0, 1).astype(np.float32)
    where = Metadata(voxel_size=(30, 6, 6), origin=(100, 0, 0))
    for name, array in (("image", image), ("labels", labels), ("affinities", noisy)):
        write_volume(folder / f"{name}.h5", array, where)
    call("segment", folder / "affinities.h5", "-o", folder / "segmentation.h5", "--threshold", 0.5, "--min-size", 30)
    return folder


@pytest.fixture
def log(folder, tmp_path):
    """A log with a join and a separation that the segmentation's voxels allow."""
    affinities, segmentation = open_volume(folder / "affinities.h5"), open_volume(folder / "segmentation.h5")
    settings = settings_of(segmentation, affinities)
    log = EditLog.begin(tmp_path / "log", log_header(affinities, settings))
    array = segmentation.read()
    sizes = np.bincount(array.ravel())
    first, second, third = np.argsort(sizes[1:])[::-1][:3] + 1

    def place(i, row):
        return tuple(int(c) for c in np.argwhere(array == i)[row] + (100, 0, 0))

    log.append("join", place(second, 0), place(third, 0))
    log.append("separate", place(first, 0), place(first, -1))
    return log


def test_rank_writes_the_list(folder, tmp_path):
    words = folder / "affinities.h5", folder / "segmentation.h5"
    said = call("rank", *words, "-o", tmp_path / "decisions.csv", "--summary")
    assert "minimum size 30" in said
    assert "orphans" in said
    rows = list(csv.DictReader((tmp_path / "decisions.csv").open()))
    first = (tmp_path / "decisions.csv").read_text().splitlines()[0]
    assert first == "rank,kind,z,y,x,z_nm,y_nm,x_nm,id_a,id_b,size_a,size_b,contact,score,probability,gain_voi"
    gains = [float(row["gain_voi"]) for row in rows]
    assert gains == sorted(gains, reverse=True)
    segmentation = open_volume(folder / "segmentation.h5").read()
    for row in rows:
        z, y, x = (int(row[axis]) for axis in "zyx")
        assert float(row["z_nm"]) == 30 * z
        assert segmentation[z - 100, y, x] in (int(row["id_a"]), int(row["id_b"]))
    again = (tmp_path / "decisions.csv").read_bytes()
    call("rank", *words, "-o", tmp_path / "decisions.csv")
    assert (tmp_path / "decisions.csv").read_bytes() == again


def test_rank_by_blocks_writes_the_same_list(folder, tmp_path):
    """With skipped sections and with edits, which the tree does not hold; beside a summary blocks are refused."""
    words = ["-o", tmp_path / "segmentation.h5", "--threshold", 0.5, "--min-size", 30, "--skip-sections", 104]
    call("segment", folder / "affinities.h5", *words)
    call("segment", folder / "affinities.h5", "-o", tmp_path / "first.h5", "--threshold", 0.6)
    (a, b), log = places_in_two(tmp_path / "first.h5"), tmp_path / "log"
    affinities = open_volume(folder / "affinities.h5")
    EditLog.begin(log, log_header(affinities, settings_of(open_volume(tmp_path / "first.h5"), affinities))).append(
        "join", a, b
    )
    call("segment", folder / "affinities.h5", "-o", tmp_path / "edited.h5", "--threshold", 0.6, "--edits", log)
    for name in ("segmentation", "edited"):
        volumes = folder / "affinities.h5", tmp_path / f"{name}.h5"
        call("rank", *volumes, "-o", tmp_path / "whole.csv")
        said = call("rank", *volumes, "-o", tmp_path / "parts.csv", "--block", "5,40,50")
        assert "questions to join" in said
        whole = (tmp_path / "whole.csv").read_bytes()
        assert len(whole.splitlines()) > 5
        assert (tmp_path / "parts.csv").read_bytes() == whole
    assert "leave them out, or the block options" in call("rank", *volumes, "--summary", "--block", "5,40,50", code=2)


def places_in_two(path):
    """A voxel in each of the two largest segments."""
    volume = open_volume(path)
    array = volume.read()
    largest = np.argsort(np.bincount(array.ravel())[1:])[::-1][:2] + 1
    return [tuple(int(c) for c in np.argwhere(array == i)[0] + volume.box.start) for i in largest]


def test_rank_writes_a_page_without_labels(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = call("rank", folder / "affinities.h5", folder / "segmentation.h5", "--report", "quality.html")
    assert "wrote quality.html" in said
    assert [path.name for path in tmp_path.iterdir()] == ["quality.html"]  # a list only if asked for
    assert "several somata" in (tmp_path / "quality.html").read_text()


def test_rank_calibrates(folder, tmp_path):
    words = folder / "affinities.h5", folder / "segmentation.h5"
    said = call("rank", *words, "-o", tmp_path / "d.csv", "--calibrate", folder / "affinities.h5", folder / "labels.h5")
    assert "AUC" in said
    other = call("rank", *words, "-o", tmp_path / "e.csv", "--calibration", tmp_path / "calibration.json")
    assert "labels.h5" in other
    assert (tmp_path / "d.csv").read_bytes() == (tmp_path / "e.csv").read_bytes()


def test_simulation_as_typed(folder, tmp_path):
    words = [folder / name for name in ("image.h5", "affinities.h5", "segmentation.h5")]
    said = call(
        "proofread", *words, "--simulate", folder / "labels.h5", "-o", tmp_path / "s", "--wrong", 5, "--seed", 3
    )
    assert "ranked" in said
    assert (tmp_path / "s/simulation.csv").exists()
    call("proofread", *words, "--simulate", folder / "labels.h5", "-o", tmp_path / "c", "--components")
    assert (tmp_path / "c/simulation.csv").exists()
    assert "-o DIR" in call("proofread", *words, "--simulate", folder / "labels.h5", code=2)
    assert "go with --simulate" in call("proofread", *words, "--edits", tmp_path / "log", "--components", code=2)


def test_apply_and_segment_give_the_same_edited_segmentation(folder, log, tmp_path):
    call(
        "apply", folder / "segmentation.h5", log.path, "-o", tmp_path / "a.h5", "--affinities", folder / "affinities.h5"
    )
    call(
        "segment",
        folder / "affinities.h5",
        "-o",
        tmp_path / "b.h5",
        "--threshold",
        0.5,
        "--min-size",
        30,
        "--edits",
        log.path,
    )
    one, other = open_volume(tmp_path / "a.h5"), open_volume(tmp_path / "b.h5")
    before = open_volume(folder / "segmentation.h5").read()
    assert np.array_equal(one.read(), other.read())
    assert one.box == open_volume(folder / "segmentation.h5").box
    assert not np.array_equal(one.read(), before)
    call("edits", log.path, "--undo", 2)
    call("edits", log.path, "--undo", 1)
    call("apply", folder / "segmentation.h5", log.path, "-o", tmp_path / "c.h5")
    assert np.array_equal(open_volume(tmp_path / "c.h5").read(), before)


def test_joins_need_no_affinities(folder, log, tmp_path):
    assert "--affinities" in call("apply", folder / "segmentation.h5", log.path, "-o", tmp_path / "a.h5", code=2)
    call("edits", log.path, "--undo", 2)
    call("apply", folder / "segmentation.h5", log.path, "-o", tmp_path / "a.h5")
    call(
        "segment",
        folder / "affinities.h5",
        "-o",
        tmp_path / "b.h5",
        "--threshold",
        0.5,
        "--min-size",
        30,
        "--edits",
        log.path,
    )
    assert np.array_equal(open_volume(tmp_path / "a.h5").read(), open_volume(tmp_path / "b.h5").read())


def test_apply_and_segment_by_blocks(folder, log, tmp_path):
    """Voxel for voxel, and the same segments; with the same metadata."""
    words, blocks = ["--affinities", folder / "affinities.h5"], ["--block", "5,40,50"]
    call("apply", folder / "segmentation.h5", log.path, "-o", tmp_path / "whole.h5", *words)
    said = call("apply", folder / "segmentation.h5", log.path, "-o", tmp_path / "parts.h5", *words, *blocks)
    assert "2 decisions" in said
    given = "segment", folder / "affinities.h5", "--threshold", 0.5, "--min-size", 30, "--edits", log.path
    call(*given, "-o", tmp_path / "first.zarr")
    call(*given, "-o", tmp_path / "other.zarr", *blocks)
    names = "whole.h5", "parts.h5", "first.zarr", "other.zarr"
    whole, parts, first, other = (open_volume(tmp_path / name) for name in names)
    assert np.array_equal(parts.read(), whole.read())
    assert parts.metadata == whole.metadata
    np.testing.assert_array_equal(partition(other.read()), partition(first.read()))
    assert other.metadata == first.metadata
    assert {v.metadata.extra["edits"]["applied"] for v in (parts, other)} == {2}
    assert not list(tmp_path.glob("*.blocks"))
    assert "give --block" in call("apply", "s", log.path, "-o", tmp_path / "x.h5", "--work", tmp_path / "w", code=2)
    assert "--fill" in call(*given, "-o", tmp_path / "x.zarr", "--fill", *blocks, code=2)
    assert not (tmp_path / "x.zarr.blocks").exists()
    call("edits", log.path, "--undo", 2)
    call("apply", folder / "segmentation.h5", log.path, "-o", tmp_path / "whole.h5")
    call("apply", folder / "segmentation.h5", log.path, "-o", tmp_path / "parts.h5", *blocks)
    assert np.array_equal(open_volume(tmp_path / "parts.h5").read(), open_volume(tmp_path / "whole.h5").read())


def test_other_affinities_and_levels_are_refused(folder, log, tmp_path):
    words = folder / "affinities.h5", "-o", tmp_path / "b.h5", "--edits", log.path
    assert "low" in call("segment", *words, "--low", 0.01, code=2)
    array = open_volume(folder / "affinities.h5").read() * np.float32(0.5)
    write_volume(tmp_path / "other.h5", array, Metadata(origin=(100, 0, 0)))
    assert "affinities" in call("segment", tmp_path / "other.h5", *words[1:], code=2)
    words = folder / "segmentation.h5", log.path, "-o", tmp_path / "c.h5", "--affinities", tmp_path / "other.h5"
    assert "begun with" in call("apply", *words, code=2)
    call("edits", log.path, "--undo", 2)  # with joins alone they are not read as a whole, but compared all the same
    assert "begun with" in call("apply", *words, code=2)


@pytest.mark.parametrize("kinds", ["join", "join and separate"])
def test_a_log_of_other_levels_is_not_applied(folder, log, tmp_path, kinds):
    if kinds == "join":
        log.append("undo", undoes=2)
    text = log.path.read_text(encoding="utf-8")
    assert '"low": 0.0001' in text
    log.path.write_text(text.replace('"low": 0.0001', '"low": 0.01'), encoding="utf-8")
    words = folder / "segmentation.h5", log.path, "-o", tmp_path / "a.h5", "--affinities", folder / "affinities.h5"
    assert "expected low 0.0001, the log has 0.01" in call("apply", *words, code=2)
    assert not (tmp_path / "a.h5").exists()


def test_a_last_line_without_an_end_is_told(folder, log, tmp_path):
    log.path.write_bytes(log.path.read_bytes()[:-1])
    said = call("apply", folder / "segmentation.h5", log.path, "-o", tmp_path / "a.h5")
    assert "its last line has no end" in said
    assert "1 decisions" in said


def test_edits_lists_checks_and_merges(folder, log, tmp_path):
    said = call("edits", log.path)
    assert "line 2: join" in said
    assert "2 decisions in force" in said
    said = call("edits", log.path, "--merge", log.path, "-o", tmp_path / "both")
    assert "4 decisions in force" in said
    assert "go together" in call("edits", log.path, "--merge", log.path, code=2)
    assert "undone already" in (call("edits", log.path, "--undo", 1) and call("edits", log.path, "--undo", 1, code=2))
