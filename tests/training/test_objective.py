import numpy as np
import pytest
import torch

from neuropil import Config, NeuropilError
from neuropil.dataset import VolumeDataset
from neuropil.losses import balanced_bce
from neuropil.models import build_network
from neuropil.sources import LabelledVolume
from neuropil.targets import label_margin
from neuropil.training.batches import prepare
from neuropil.training.objective import compute_losses
from neuropil.volumes import array_volume


def config_of(model=None, loss=None):
    small = {"widths": [4, 5, 6], "offsets": "nearest"}
    return Config.from_dict({"model": small | (model or {}), "loss": loss or {}, "training": {"patch": [3, 16, 16]}})


def batch_of(config, count=2):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (4, 10, 10)).repeat(4, 1).repeat(4, 2).astype(np.uint8)
    pair = LabelledVolume(array_volume((labels * 80).astype(np.uint8)), array_volume(labels))
    data = VolumeDataset([pair], (3, 16, 16), margin=label_margin(config.model))
    return prepare([data[n] for n in range(count)], config, 0, None)


def test_plain_cross_entropy_is_the_default():
    config = config_of()
    batch = batch_of(config)
    logits = torch.randn(batch.target_BEZYX.shape)
    found = compute_losses(logits, batch, config)
    assert found.loss.item() == balanced_bce(logits, batch.target_BEZYX, batch.validity_BEZYX).item()
    assert list(found.terms) == ["bce"]


def test_terms_are_weighed_and_named():
    model = {
        "aux_erosions": [0, 2],
        "aux_contour": 1,
        "aux_distance": 3,
        "aux_descriptors": True,
        "deep_supervision": True,
    }
    loss = {"dice": 0.5, "focal": 0.25, "mse": 2.0, "aux_distance": 3.0}
    config = config_of(model, loss)
    batch, network = batch_of(config), build_network(config.model)
    logits = network(batch.image_BCZYX)
    assert logits.shape[1] == 3 + (3 + 3 + 1 + 1 + 10) + 3
    found = compute_losses(logits, batch, config)
    weights = {"bce": 1, "dice": 0.5, "focal": 0.25, "mse": 2, "distance": 3, "contour": 0.5, "level 1": 0.5}
    total = sum(weights.get(name, 1.0) * term for name, term in found.terms.items())
    assert set(weights) | {"erosion 0", "erosion 2", "descriptors"} == set(found.terms)
    assert found.loss.item() == pytest.approx(total.item(), rel=1e-5)
    found.loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_dice_of_auxiliary_targets_counts_those_of_yes_and_no():
    model = {"aux_contour": 1, "aux_distance": 3, "aux_foreground": True}
    config = config_of(model, {"aux_dice": 2.0, "aux_foreground": 0.25})
    batch = batch_of(config)
    found = compute_losses(build_network(config.model)(batch.image_BCZYX), batch, config)
    weights = {"bce": 1, "contour": 0.5, "contour dice": 2, "foreground": 0.25, "foreground dice": 2, "distance": 0.5}
    assert set(found.terms) == set(weights)
    total = sum(weights[name] * term for name, term in found.terms.items())
    assert found.loss.item() == pytest.approx(total.item(), rel=1e-5)


def test_prediction_sees_affinities_only():
    config = config_of({"aux_contour": 1, "deep_supervision": True})
    network = build_network(config.model).eval()
    assert network(torch.rand(1, 1, 3, 17, 15)).shape == (1, 3, 3, 17, 15)
    assert compute_losses(network(batch_of(config).image_BCZYX), batch_of(config), config).terms.keys() == {"bce"}


def test_a_loss_without_terms_is_refused():
    config = config_of(loss={"bce": 0.0})
    batch = batch_of(config)
    with pytest.raises(NeuropilError, match=r"loss\.bce"):
        compute_losses(torch.zeros(batch.target_BEZYX.shape), batch, config)


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_recomputing_activations_changes_nothing(norm):
    torch.manual_seed(0)
    plain = build_network(config_of({"norm": norm, "squeeze": True}).model)
    thrifty = build_network(config_of({"norm": norm, "squeeze": True, "recompute": True}).model)
    thrifty.load_state_dict(plain.state_dict())
    for image in torch.rand(3, 1, 1, 3, 16, 16):
        for network in (plain, thrifty):
            network(image).square().mean().backward()
    for a, b in zip(plain.parameters(), thrifty.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-6)
    # Running means and variances too: a batch that is looked at twice counts once.
    assert norm == "group" or len(list(plain.buffers())) > 0
    for a, b in zip(plain.buffers(), thrifty.buffers(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
