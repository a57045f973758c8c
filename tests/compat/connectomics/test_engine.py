"""The classic Trainer: it trains and predicts as scripts/main.py does."""

import numpy as np
import pytest

from classic_data import TINY
from neuropil import NeuropilError, open_volume, synthetic, write_volume
from neuropil.compat.connectomics.config import get_cfg_defaults
from neuropil.compat.connectomics.engine import Trainer
from neuropil.models.checkpoint import read_checkpoint

FEW = (
    'MODEL.TARGET_OPT ["2"] MODEL.OUT_PLANES 3 MODEL.LOSS_OPTION [["WeightedBCEWithLogitsLoss"]] '
    "SOLVER.ITERATION_TOTAL 1 INFERENCE.AUG_NUM None DATASET.OUTPUT_PATH out DATASET.IMAGE_NAME image.h5 "
    "DATASET.LABEL_NAME labels.h5 DATASET.INPUT_PATH . INFERENCE.IMAGE_NAME image.h5 INFERENCE.PAD_SIZE [0,0,0]"
)


@pytest.fixture
def cfg(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image, labels = synthetic.neuropil((10, 49, 49), seed=5)
    write_volume("image.h5", image)
    write_volume("labels.h5", labels)
    cfg = get_cfg_defaults()
    cfg.merge_from_list([*TINY, *FEW.split()])
    cfg.freeze()
    return cfg


def test_a_trainer_trains_and_predicts(cfg):
    Trainer(cfg, "cpu", "train").train()
    saved = "out/checkpoint_00001.pth"
    assert read_checkpoint(saved)["info"]["iteration"] == 1
    Trainer(cfg, "cpu", "test", checkpoint=saved).test()
    with open_volume("out/test/result.h5/vol0") as affinities:
        assert (affinities.shape, affinities.dtype) == ((3, 10, 49, 49), np.uint8)


def test_what_a_trainer_cannot_do_is_told(cfg, monkeypatch, capsys):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(NeuropilError, match="expected mode train or test, got 'val'"):
        Trainer(cfg, mode="val")
    with pytest.raises(NeuropilError, match="start several processes with torchrun"):
        Trainer(cfg, rank=1)
    with pytest.raises(NeuropilError, match="expected a Trainer with mode 'test'"):
        Trainer(cfg).test()
    with pytest.raises(NeuropilError, match="the test run failed"):
        Trainer(cfg, "cpu", "test").test()
    assert "--inference needs --checkpoint" in capsys.readouterr().err
