"""The whole way on a tiny volume: what is left behind, what is skipped, what is done anew, what goes on."""

import json
import shutil

import numpy as np
import pytest
from matplotlib.figure import Figure

from neuropil import synthetic
from neuropil.config import Config, SegmentConfig, load_config
from neuropil.errors import NeuropilError
from neuropil.pipeline import scaling
from neuropil.pipeline.running import run
from neuropil.volumes import Metadata, array_volume, open_volume, write_volume

STEPS = {"train", "predict validation/0.zarr", "tune", "predict affinities.zarr", "segment"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    image, labels = synthetic.neuropil((24, 48, 48), seed=3)
    write_volume(folder / "image.h5", image, Metadata(voxel_size=(30, 6, 6)))
    write_volume(folder / "labels.h5", labels)
    return folder


def recipe(folder, **changes) -> Config:
    pair = {"image": f"{folder}/image.h5", "labels": f"{folder}/labels.h5"}
    values = {
        "data": {
            "train": [{**pair, "box": "0:12,:,:"}],
            "validation": [{**pair, "box": "12:18,:,:"}],
            "test": {**pair, "box": "18:24,:,:"},
        },
        "model": {
            "widths": [4, 6],
            "offsets": [[-1, 0, 0], [0, -1, 0], [0, 0, -1]],
        },
        "training": {"patch": [8, 24, 24], "iterations": 2, "device": "cpu"},
        "predict": {"tta": 1},
    }
    for name, section in changes.items():
        values[name] = {**values.get(name, {}), **section}
    return Config.from_dict(values)


@pytest.fixture
def no_pictures(monkeypatch):
    """They take most of the time."""
    monkeypatch.setattr("neuropil.pipeline.running.write_results", lambda *_, **__: None)
    monkeypatch.setattr("neuropil.evaluation.tuning.draw_curve", lambda *_: Figure())


def skipped(text: str) -> set[str]:
    return {line.split(":")[0] for line in text.splitlines() if line.endswith("done before")}


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    run(recipe(data), out)
    return out


def test_everything_is_left_in_the_folder(data, done):
    for name in ("checkpoints/last.pt", "checkpoints/best.pt", "affinities.zarr", "figure.png", "index.html"):
        assert (done / name).exists(), name
    # With the number of DataLoader workers that the rule chose.
    assert load_config([done / "config.yaml"]) == recipe(data, training={"workers": 0})
    scores = json.loads((done / "scores.json").read_text())
    assert 0 <= scores["adapted_rand_error"] <= 1
    assert scores["trained"]["voi"] == scores["voi"]
    assert scores["box"] == "18:24,0:48,0:48"
    assert set(scores["seconds"]) == {"train", "tune", "predict", "segment"}
    segmentation, affinities = open_volume(done / "segmentation.h5"), open_volume(done / "affinities.zarr")
    assert segmentation.box == affinities.box
    assert segmentation.metadata.voxel_size == (30, 6, 6)
    assert affinities.metadata.extra["threshold"] == pytest.approx(scores["threshold"])
    assert segmentation.metadata.extra["threshold"] == pytest.approx(scores["threshold"])


def test_a_second_run_does_nothing_twice(data, done, capsys):
    before = json.loads((done / "scores.json").read_text())
    run(recipe(data), done)
    assert skipped(capsys.readouterr().out) == STEPS
    after = json.loads((done / "scores.json").read_text())
    assert {**after, "seconds": None} == {**before, "seconds": None}


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"training": {"log_every": 7}}, STEPS),
        ({"segment": {"min_size": 5}}, STEPS - {"segment", "tune"}),
        ({"segment": {"threshold": 0.5}}, {"train", "predict affinities.zarr"}),
        ({"predict": {"tta_mode": "min"}}, {"train"}),
        ({"training": {"seed": 1}}, set()),
    ],
    ids=["how often to print", "minimum size", "threshold", "prediction", "training"],
)
def test_what_changed_is_done_anew_and_what_depends_on_it(data, done, tmp_path, capsys, changes, kept):
    out = tmp_path / "out"
    shutil.copytree(done, out)
    run(recipe(data, **changes), out)
    assert skipped(capsys.readouterr().out) == kept


@pytest.mark.usefixtures("no_pictures")
def test_changed_data_are_noticed(data, tmp_path, capsys):
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    run(recipe(copy), tmp_path / "out")
    labels = open_volume(copy / "labels.h5").read()
    write_volume(copy / "labels.h5", labels + (labels > 0).astype(labels.dtype))
    capsys.readouterr()
    run(recipe(copy), tmp_path / "out")
    assert "train" not in skipped(capsys.readouterr().out)


@pytest.mark.usefixtures("no_pictures")
def test_training_that_was_interrupted_goes_on(data, tmp_path, monkeypatch, capsys):
    import neuropil.pipeline.running as running

    resumed = []
    train = running.train

    def interrupted(config, out, resume=None, pretrained=None):
        resumed.append(resume)
        path = train(config, out, resume=resume, pretrained=pretrained)
        if len(resumed) == 1:
            raise KeyboardInterrupt
        return path

    monkeypatch.setattr(running, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(recipe(data), tmp_path)
    run(recipe(data), tmp_path)
    assert resumed == [None, tmp_path / "checkpoints" / "last.pt"]


@pytest.mark.usefixtures("no_pictures")
def test_without_labels_there_are_no_scores(data, tmp_path, capsys):
    test = {"image": f"{data}/image.h5", "box": "18:22,:,:"}
    run(recipe(data, data={"test": test, "validation": []}), tmp_path)
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert "adapted_rand_error" not in scores
    assert scores["threshold"] == 0.5
    assert "the default" in capsys.readouterr().out
    assert open_volume(tmp_path / "segmentation.h5").shape == (4, 48, 48)


@pytest.mark.usefixtures("no_pictures")
def test_a_mask_and_ignored_ids_are_left_out_of_the_score(data, tmp_path):
    mask = np.ones((24, 48, 48), np.uint8)
    mask[:, :24] = 0
    write_volume(tmp_path / "mask.h5", mask)
    test = {
        "image": f"{data}/image.h5",
        "labels": f"{data}/labels.h5",
        "mask": f"{tmp_path}/mask.h5",
        "box": "18:24,:,:",
    }
    labels = open_volume(data / "labels.h5").read()[18:24, 24:]
    gone = int(labels.max())
    run(recipe(data, data={"test": test, "unlabelled": gone}), tmp_path / "out")
    scores = json.loads((tmp_path / "out/scores.json").read_text())
    assert scores["scored"] == np.count_nonzero((labels > 0) & (labels != gone))


@pytest.mark.usefixtures("no_pictures")
def test_a_recipe_without_a_test_volume_is_refused_before_training(data, tmp_path):
    with pytest.raises(NeuropilError, match=r"data\.test"):
        run(recipe(data, data={"test": None}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_tuning_by_blocks_that_was_stopped_goes_on(tmp_path, monkeypatch):
    """Labels that are the same are not written anew, which would be another job."""
    write_volume(tmp_path / "a.zarr", np.full((3, 2, 4, 4), 0.9, np.float32))
    labels = array_volume(np.ones((2, 4, 4), np.uint8))
    monkeypatch.setattr(scaling, "free_ram", lambda: 1)
    monkeypatch.setattr(scaling, "BLOCK", (2, 2, 4))

    def tune(stop):
        monkeypatch.setattr(scaling.ProgressDisplay, "__call__", stop)
        return scaling.tune_either_way([(open_volume(tmp_path / "a.zarr"), labels)], SegmentConfig(), tmp_path)

    def stopped(self, step, done, total):
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            tune(stopped)
        assert len(list((tmp_path / "tune.blocks").glob("*/job.json"))) == 1
    tune(lambda self, step, done, total: None)
    assert not (tmp_path / "tune.blocks").exists()


@pytest.mark.usefixtures("no_pictures")
def test_too_little_memory_is_noticed_and_changes_nothing(data, done, tmp_path, monkeypatch, capsys):
    """The same network, affinities and threshold; the same partition, from blocks."""
    out = tmp_path / "out"
    shutil.copytree(done, out)
    for name in ("segmentation.h5", "validation/segment.yaml"):
        (out / name).unlink()
    monkeypatch.setattr("neuropil.pipeline.scaling.free_ram", lambda: 1000)
    monkeypatch.setattr("neuropil.pipeline.scaling.BLOCK", (4, 30, 30))
    run(recipe(data), out)
    told = capsys.readouterr().out
    assert skipped(told) == STEPS - {"segment", "tune"}
    assert "tuning by blocks of 4×30×30: 0.0 GB would be needed" in told
    assert "segmenting by blocks of 4×30×30" in told
    before, after = (json.loads((folder / "scores.json").read_text()) for folder in (done, out))
    assert {**after, "seconds": None} == {**before, "seconds": None}
    assert (out / "validation/segment.yaml").read_text() == (done / "validation/segment.yaml").read_text()
    found, expected = (open_volume(folder / "segmentation.h5").read() for folder in (out, done))
    assert len(np.unique(np.stack([found.ravel(), expected.ravel()]), axis=1).T) == len(np.unique(expected))
    assert not list(out.rglob("*.blocks"))
