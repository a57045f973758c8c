"""Every shipped recipe trains two steps and predicts: its own network, targets and augmentation, on a small volume."""

import shutil

import numpy as np
import pytest

from neuropil import load_config, predict, synthetic, train, write_volume
from neuropil.config import Config
from test_configs import ROOT

SHIPPED = sorted(path for path in ROOT.glob("configs/*/*.yaml") if path.parent.name != "SNEMI")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tissue")
    image, labels = synthetic.neuropil((12, 64, 64), seed=0)
    write_volume(folder / "image.h5", image)
    write_volume(folder / "labels.h5", labels)
    return folder


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_trains_and_predicts(path, data, tmp_path, monkeypatch):
    monkeypatch.setenv("NEUROPIL_DATA", str(data))
    values = load_config([path]).to_dict()
    pair = {"image": f"{data}/image.h5", "labels": f"{data}/labels.h5"}
    values["data"] |= {"train": [pair], "validation": [pair | {"box": "9:12,:,:"}], "test": None}
    patch = [min(4, values["training"]["patch"][0]), 48, 48]
    small = {"patch": patch, "batch": 1, "iterations": 2, "precision": "fp32", "segment_validation": None}
    values["training"] |= small | {"device": "cpu", "workers": 0}
    config = Config.from_dict(values)
    checkpoint = train(config, tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (2, 50, 50), dtype=np.uint8)
    affinities = predict(checkpoint, image, tta=1, keep=config.predict.keep)
    assert affinities.shape[1:] == image.shape
    assert len(affinities) == (3 if config.predict.keep == "nearest" else len(config.model.offsets))
    assert np.isfinite(affinities).all()
    shutil.rmtree(tmp_path / "tensorboard")
