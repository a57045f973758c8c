"""Every shipped recipe trains a step and predicts: its own network, targets and augmentation, on a small volume."""

import shutil

import numpy as np
import pytest
from PIL import Image

from neuropil import load_config, mutex_watershed, predict, synthetic, train, write_volume
from neuropil.compat.pytc import read_settings, translate
from neuropil.config import Config
from test_configs import ROOT, SHIPPED, TUTORIAL

NATIVE = [path for path in SHIPPED if path.parent.name not in TUTORIAL]
BASE = ROOT / "configs" / "SNEMI" / "SNEMI-Base.yaml"
CLASSIC = sorted(path for path in BASE.parent.glob("*.yaml") if path != BASE)


def name(path):
    return f"{path.parent.name}/{path.name}"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tissue")
    image, labels = synthetic.neuropil((18, 64, 64), seed=0)
    write_volume(folder / "image.h5", image)
    write_volume(folder / "labels.h5", labels)
    return folder


def small(config, data):
    """The recipe on a small volume, for one step; its network, targets, losses and augmentation are what they are."""
    values = config.to_dict()
    pair = {"image": f"{data}/image.h5", "labels": f"{data}/labels.h5"}
    box = "0:18,:,:" if config.augment.cube else "9:12,:,:"
    values["data"] |= {"train": [pair], "validation": [pair | {"box": box}], "test": None}
    patch = [18, 18, 18] if config.augment.cube else [min(3, values["training"]["patch"][0]), 32, 32]
    little = {"patch": patch, "batch": 1, "iterations": 1, "precision": "fp32", "segment_validation": None}
    values["training"] |= little | {"device": "cpu", "devices": 1, "strategy": "auto", "workers": 0}
    values["predict"] |= {"tile": None, "overlap": None}
    return Config.from_dict(values)


def check(config, folder):
    checkpoint = train(config, folder)
    image = np.random.default_rng(0).integers(0, 256, (2, 36, 34), dtype=np.uint8)
    affinities = predict(checkpoint, image, tta=1, keep=config.predict.keep)
    assert affinities.shape[1:] == image.shape
    assert len(affinities) == (3 if config.predict.keep == "nearest" else len(config.model.offsets))
    assert np.isfinite(affinities).all()
    shutil.rmtree(folder / "tensorboard")


@pytest.mark.parametrize("path", NATIVE, ids=name)
def test_trains_and_predicts(path, data, tmp_path, monkeypatch):
    monkeypatch.setenv("NEUROPIL_DATA", str(data))
    check(small(load_config([path]), data), tmp_path)


@pytest.mark.parametrize("path", CLASSIC, ids=name)
def test_the_tutorials_train_and_predict(path, data, tmp_path):
    check(small(translate(read_settings([BASE, path])).config, data), tmp_path)


def test_one_picture_is_enough(tmp_path):
    """A 2-D image and its labels as PNG: trained on, predicted, cut into neurons."""
    image, labels = synthetic.neuropil((1, 96, 96), seed=2)
    Image.fromarray(image[0]).save(tmp_path / "image.png")
    Image.fromarray(labels[0].astype(np.uint8)).save(tmp_path / "labels.png")
    pair = f"data.train=[{{image: {tmp_path}/image.png, labels: {tmp_path}/labels.png}}]"
    little = ["training.patch=[1,64,64]", "training.batch=1", "training.iterations=2", "training.precision=fp32"]
    config = load_config([ROOT / "configs" / "plane" / "sections.yaml"], [pair, *little])
    checkpoint = train(config, tmp_path / "run")
    affinities = predict(checkpoint, tmp_path / "image.png", tta=8, keep="all")
    assert affinities.shape == (2, 1, 96, 96)
    assert not affinities[0, :, 0].any()
    assert not affinities[1, :, :, 0].any()
    segmentation = mutex_watershed(affinities, config.model.offsets)
    assert segmentation.shape == (1, 96, 96)
    assert segmentation.max() >= 1
