"""The verbs one after the other on a small volume, as a user types them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from commands import printed as neuropil
from neuropil import Box, synthetic
from neuropil.cli import app
from neuropil.config import load_config
from neuropil.volumes import Metadata, open_volume, write_volume

SMALL = [
    "model.widths=[4, 6]",
    "model.downsample=[[1,2,2]]",
    "model.offsets=[[-1,0,0],[0,-1,0],[0,0,-1],[0,0,-3]]",
    "training.patch=[6,24,24]",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """image.h5, labels.h5, a recipe for them, and a network trained for two steps."""
    folder = tmp_path_factory.mktemp("chain")
    image, labels = synthetic.neuropil((40, 48, 48), seed=3)
    write_volume(folder / "image.h5", image, Metadata(voxel_size=(30, 6, 6)))
    write_volume(folder / "labels.h5", labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        neuropil("config", "new", "image.h5", "labels.h5", "-o", "mine.yaml")
        neuropil("config", "check", "mine.yaml", *SMALL)
        neuropil("train", "mine.yaml", *SMALL, "training.iterations=2", "training.device=cpu")
    return folder


@pytest.fixture(autouse=True)
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)


CHECKPOINT = "outputs/mine/checkpoints/last.pt"


def test_train_leaves_a_run_named_after_the_recipe():
    for name in ("checkpoints/last.pt", "checkpoints/best.pt", "config.yaml", "tensorboard"):
        assert (Path("outputs/mine") / name).exists()
    assert "iteration" in neuropil("info", CHECKPOINT)


def test_train_resumes_and_starts_from_weights(tmp_path):
    more = [*SMALL, "training.iterations=3", "training.device=cpu"]
    neuropil("train", "mine.yaml", *more, "--resume", CHECKPOINT, "--out", tmp_path / "resumed")
    neuropil("train", "mine.yaml", *more, "--pretrained", CHECKPOINT, "--out", tmp_path / "started")
    first, second = (
        torch.load(tmp_path / name / "checkpoints/last.pt", weights_only=True) for name in ("resumed", "started")
    )
    assert first["info"]["iteration"] == second["info"]["iteration"] == 3
    assert first["step"]["seconds"] > 0


def test_predict_segment_evaluate(tmp_path):
    box = "30:40,:,4:40"
    out = neuropil("predict", CHECKPOINT, "image.h5", "-o", tmp_path / "a.zarr", "--box", box, "--tta", "4")
    assert f"wrote {tmp_path}/a.zarr" in out
    affinities = open_volume(tmp_path / "a.zarr")
    assert affinities.shape == (3, 10, 48, 36)
    assert affinities.box == Box((30, 0, 4), (40, 48, 40))
    assert affinities.metadata.encoding.kind == "logit8"
    neuropil("segment", tmp_path / "a.zarr", "-o", tmp_path / "s.tif", "--threshold", "0.4")
    out = neuropil("evaluate", tmp_path / "s.tif", "labels.h5", "--json", tmp_path / "scores.json")
    assert "30:40,0:48,4:40" in out
    assert 0 <= json.loads((tmp_path / "scores.json").read_text())["adapted_rand_error"] <= 1


def test_predict_keeps_all_edges_in_floats(tmp_path):
    options = ("--keep", "all", "--encoding", "float32", "--tta", "1", "--box", "0:4,:,:")
    neuropil("predict", CHECKPOINT, "image.h5", "-o", tmp_path / "a.h5", *options)
    affinities = open_volume(tmp_path / "a.h5")
    assert affinities.shape[0] == 4
    assert affinities.dtype == np.float32
    assert affinities.metadata.offsets[-1] == (0, 0, -3)
    neuropil("segment", tmp_path / "a.h5", "-o", tmp_path / "s.h5")


def test_predict_takes_tiles_and_what_lies_around_a_box(tmp_path):
    options = ("--tta", "1", "--tile", "4,32,32", "--overlap", "1,8,8", "--context", "1,4,4", "--box", "4:9,8:48,0:48")
    neuropil("predict", CHECKPOINT, "image.h5", "-o", tmp_path / "a.zarr", "--surround", "1,2,3", *options)
    assert open_volume(tmp_path / "a.zarr").metadata.extra["made_by"]["seen"] == "3:10,6:48,0:48"
    used = load_config([tmp_path / "a.zarr.yaml"]).predict
    assert (used.tile, used.overlap, used.surround, used.context) == ((4, 32, 32), (1, 8, 8), (1, 2, 3), (1, 4, 4))
    for option in (("--surround", "1,2"), ("--tile", "one"), ("--tile", "0,4,4"), ("--devices", "3")):
        result = CliRunner().invoke(app, ["predict", CHECKPOINT, "image.h5", "-o", str(tmp_path / "b.zarr"), *option])
        assert result.exit_code == 2, option
        assert option[0].strip("-") in result.stderr
    assert not list(tmp_path.glob("b.zarr*"))


def test_the_threshold_of_a_model_travels_with_its_affinities(tmp_path):
    content = torch.load(CHECKPOINT, weights_only=True)
    tuned = tmp_path / "tuned.pt"
    torch.save({**content, "info": {**content["info"], "threshold": 0.3125}}, tuned)
    neuropil("predict", tuned, "image.h5", "-o", tmp_path / "a.zarr", "--box", "0:4,:,:", "--tta", "1")
    assert "threshold 0.3125 (stored with" in neuropil("segment", tmp_path / "a.zarr", "-o", tmp_path / "s.h5")
    assert open_volume(tmp_path / "s.h5").metadata.extra["threshold"] == 0.3125
    out = neuropil("segment", tmp_path / "a.zarr", "-o", tmp_path / "t.h5", "--threshold", "0.75")
    assert "threshold 0.75 (as asked)" in out
    neuropil("convert", tmp_path / "a.zarr", tmp_path / "b.h5")
    assert "0.3125 (stored with" in neuropil("segment", tmp_path / "b.h5", "-o", tmp_path / "u.h5")


def test_predict_warns_of_another_scale(tmp_path):
    write_volume("coarse.h5", open_volume("image.h5").read(Box.parse("0:4,0:48,0:48")), Metadata(voxel_size=(30, 9, 9)))
    out = neuropil("predict", CHECKPOINT, "coarse.h5", "-o", tmp_path / "a.h5", "--tta", "1")
    assert "neuropil: warning: coarse.h5/main has voxels of" in out
    assert "UserWarning" not in out


@pytest.mark.parametrize("option", [["--tta", "3"], ["--tta-mode", "median"], ["--encoding", "int4"]])
def test_predict_refuses_options_it_does_not_know(option, tmp_path):
    result = CliRunner().invoke(app, ["predict", CHECKPOINT, "image.h5", "-o", str(tmp_path / "a.h5"), *option])
    assert result.exit_code == 2
    assert option[1] in result.stderr
    assert not list(tmp_path.iterdir())


def test_run_does_it_all(tmp_path):
    out = neuropil("run", "mine.yaml", *SMALL, "training.iterations=1", "predict.tta=1", "--out", tmp_path / "run")
    assert "adapted Rand error" in out
    for name in ("affinities.zarr", "segmentation.h5", "scores.json", "config.yaml", "index.html"):
        assert (tmp_path / "run" / name).exists()
