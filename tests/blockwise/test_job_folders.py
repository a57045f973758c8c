"""Workers that were started in another folder find what was named relative to this one."""

import os
from pathlib import Path

import numpy as np
import pytest

from neuropil import Config, Metadata
from neuropil.blockwise import evaluate_blocks, segment_blocks, tune_blocks
from neuropil.blockwise.executor import Serial
from neuropil.blockwise.predict import predict_blocks
from neuropil.config import PredictConfig, SegmentConfig
from neuropil.models import build_network
from neuropil.models.checkpoint import save_checkpoint
from neuropil.volumes import open_volume, write_volume
from neuropil.volumes.location import absolute_path


class Elsewhere(Serial):
    """Does each task in another folder, as the workers of a cluster do."""

    def __init__(self, folder):
        self.folder = folder

    def run(self, tasks):
        for task in tasks:
            here = os.getcwd()
            os.chdir(self.folder)
            try:
                outcome = next(super().run([task]))
            finally:
                os.chdir(here)
            yield outcome


@pytest.fixture
def executor(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Elsewhere(tmp_path / "elsewhere")


@pytest.mark.parametrize("name", ["a.zarr", "a.h5/main", "a.n5"])
def test_affinities_and_labels(executor, name):
    write_volume(name, np.full((3, 2, 6, 6), 0.9, np.float32))
    write_volume("t.h5", np.ones((2, 6, 6), np.uint8))
    affinities, labels = open_volume(name), open_volume("t.h5")
    options = {"block": (2, 3, 4), "executor": executor}
    assert segment_blocks(affinities, "s.zarr", SegmentConfig(threshold=0.5), **options) == 1
    assert evaluate_blocks(open_volume("s.zarr"), labels, work="scores.blocks", **options).adapted_rand_error == 0
    assert tune_blocks([(affinities, labels)], **options).score == 0
    assert not list(executor.folder.iterdir())


def test_image_and_checkpoint(executor):
    config = Config.from_dict({"model": {"widths": [2, 3], "downsample": [[1, 2, 2]]}})
    weights = build_network(config.model).state_dict()
    save_checkpoint(Path("net.pt"), {"config": config.to_dict(), "weights": weights, "info": {}})
    write_volume("image.zarr", np.zeros((4, 20, 20), np.uint8), Metadata(voxel_size=(30, 6, 6)))
    how = PredictConfig(tta=1, tile=(4, 16, 16), overlap=(0, 4, 4))
    predict_blocks("net.pt", open_volume("image.zarr"), "p.zarr", how, block=(4, 20, 10), executor=executor)
    assert open_volume("p.zarr").shape == (3, 4, 20, 20)


def test_a_folder_above_with_a_known_extension_changes_no_meaning(tmp_path, monkeypatch):
    (tmp_path / "run.zarr").mkdir()
    monkeypatch.chdir(tmp_path / "run.zarr")
    assert absolute_path("a.h5/main") == "a.h5/main"
