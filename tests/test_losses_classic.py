"""Losses and weights under classic names are the classic ones."""

import json

import numpy as np
import pytest
import torch

from neuropil.compat.pytc import read_settings, translate
from neuropil.losses import classic_loss, classic_weights
from neuropil.training.batches import Batch
from neuropil.training.objective import compute_losses
from recorded import CLASSIC, needs_classic

KINDS = {
    "WeightedBCEWithLogitsLoss": "bce",
    "WeightedBCE": "bce",
    "WeightedBCEFocalLoss": "focal",
    "DiceLoss": "dice",
    "WSDiceLoss": "ws_dice",
    "WeightedMSE": "mse",
    "WeightedMAE": "mae",
}
BASE = ["MODEL.TARGET_OPT", '["2"]', "MODEL.OUT_PLANES", "3"]


@pytest.fixture(scope="module")
def recorded():
    arrays = np.load(CLASSIC / "losses.npz")
    return {name: torch.from_numpy(arrays[name]) for name in arrays}


def recorded_weight(recorded, name):
    names = {"1": "weight_1", "1-1": "weight_1-1", "0 with valid mask": "weight_mask"}
    return None if name == "0" else recorded[names.get(name, "weight_1_with_mask")]


@needs_classic
def test_each_loss_alone(recorded):
    singles = json.loads((CLASSIC / "losses.json").read_text())["single"]
    assert len(singles) > 40
    for case in singles:
        if case.get("kwargs"):  # LOSS_KWARGS_VAL is refused
            continue
        pred = recorded["pred"].clone().requires_grad_()
        weight = recorded_weight(recorded, case["weight"])
        found = classic_loss(KINDS[case["loss"]], pred, recorded["target"], weight, case["act"])
        assert found.item() == pytest.approx(case["value"], rel=1e-5), case
        found.backward()
        assert pred.grad.abs().sum().item() == pytest.approx(case["grad_abs_sum"], rel=1e-4), case


@needs_classic
@pytest.mark.parametrize(("balance", "name"), [("rare", "weight_1"), ("grown", "weight_1-1")])
def test_weights_of_classes(recorded, balance, name):
    target = recorded["target"] > 0
    found = classic_weights(target, torch.ones_like(target), balance)
    torch.testing.assert_close(found, recorded[name], rtol=1e-5, atol=0)


@needs_classic
@pytest.mark.parametrize("option", ["1", "1-1", "0"])
def test_the_loss_of_the_tutorial_with_its_gradient(recorded, option):
    cases = json.loads((CLASSIC / "losses.json").read_text())["cases"]
    (case,) = (case for case in cases if case["name"].endswith(f"[['{option}','0']]"))
    words = ["MODEL.LOSS_OPTION", '[["WeightedBCEWithLogitsLoss", "DiceLoss"]]', "MODEL.LOSS_WEIGHT", "[[1.0, 0.5]]"]
    words += ["MODEL.WEIGHT_OPT", f'[["{option}", "0"]]', "MODEL.OUTPUT_ACT", '[["none", "sigmoid"]]']
    config = translate(read_settings([], [*BASE, *words])).config
    target = recorded["target"] > 0
    pred = recorded["pred"].clone().requires_grad_()
    found = compute_losses(pred, Batch(pred, target, torch.ones_like(target), target[:, 0]), config)
    assert found.loss.item() == pytest.approx(case["total"], rel=1e-5)
    assert 0.5 * found.terms["dice"].item() == pytest.approx(case["terms"]["2_DiceLoss_0_1"], rel=1e-5)
    found.loss.backward()
    if option == "1":
        torch.testing.assert_close(pred.grad, recorded["grad_default"], rtol=1e-4, atol=1e-8)


def test_what_must_not_count_has_no_weight_and_one_class_alone_weighs_nothing_more():
    target = torch.tensor([1, 1, 0, 0]).bool().reshape(1, 1, 1, 1, 4)
    valid = torch.tensor([1, 1, 0, 0]).bool().reshape(1, 1, 1, 1, 4)
    assert classic_weights(target, valid).flatten().tolist() == [1, 1, 0, 0]
    assert classic_weights(target, torch.ones_like(target), "none").flatten().tolist() == [1, 1, 1, 1]
