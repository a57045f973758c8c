"""Shape descriptors through all symmetries: what an oracle says comes back, vectors turned as vectors."""

import numpy as np
import pytest
import torch
from torch import nn

from neuropil import Config, NeuropilError
from neuropil.augment import undone
from neuropil.config import PredictConfig
from neuropil.inference import predict_descriptors, symmetries
from neuropil.inference.request import make_request
from neuropil.inference.symmetries import combine_descriptors, turn_descriptors
from neuropil.models import build_network
from neuropil.models.checkpoint import Model
from neuropil.targets import shape_descriptors
from neuropil.volumes import array_volume

SIGMA = (1.0, 2.0, 2.0)


@pytest.fixture(scope="module")
def labels():
    rng = np.random.default_rng(3)
    coarse = np.kron(rng.integers(0, 3, (3, 3, 3)), np.ones((2, 4, 5), int))[:5, :11, :13]
    return torch.from_numpy(coarse)


def oracle(image_BZYX):
    """Knows the descriptors of whatever it is shown."""
    return torch.stack([shape_descriptors((one * 255).round().long(), SIGMA) for one in image_BZYX])


def check(found, labels):
    """Background has no shape, and what is said of it means nothing."""
    truth, neurons = shape_descriptors(labels, SIGMA), labels > 0
    torch.testing.assert_close(found[:, neurons], truth[:, neurons], rtol=0, atol=2e-5)


@pytest.mark.parametrize("tta", [1, 4, 8, 16])
def test_an_oracle_comes_back(labels, tta):
    found = combine_descriptors(labels[None].float() / 255, oracle, tta)
    check(found[0], labels)


@pytest.mark.parametrize("tta", [4, 16])
def test_turned_in_space_only_the_oracle_is_lost(labels, tta, monkeypatch):
    """The test above can fail: vectors that are left as the view says them point elsewhere."""
    monkeypatch.setattr(symmetries, "turn_descriptors", lambda found, view: found)
    found = combine_descriptors(labels[None].float() / 255, oracle, tta)
    wrong = (found[0] - shape_descriptors(labels, SIGMA)).abs()[:, labels > 0]
    assert wrong.mean() > 0.01


@pytest.mark.parametrize("view", symmetries.symmetries(16), ids=str)
def test_each_view_says_the_same_of_size_and_its_own_of_the_rest(labels, view):
    shown = symmetries.apply_symmetry(labels, view)
    found = turn_descriptors(undone(shape_descriptors(shown, SIGMA), view)[None], view)[0]
    check(found, labels)


def made(**model):
    torch.manual_seed(0)
    given = {"widths": [3], "aux_descriptors": True, "aux_contour": 1, "stem": [1, 2, 2], **model}
    config = Config.from_dict({"model": given, "training": {"precision": "fp32"}})
    return Model(build_network(config.model).eval(), config, {})


def test_the_channels_of_a_network_that_learned_them():
    model, image = made(), np.random.default_rng(0).random((3, 12, 14), np.float32)
    network = model.network
    network.train()  # which is when it says them
    for part in network.modules():
        if isinstance(part, nn.BatchNorm3d):
            part.eval()
    with torch.no_grad():
        expected = network(torch.from_numpy(image)[None, None])[0, 10:20].sigmoid()
    found = predict_descriptors(model, image, PredictConfig(tta=1))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    tiled = predict_descriptors(
        model, np.zeros((5, 40, 40), np.uint8), PredictConfig(tile=(3, 30, 30), overlap=(1, 8, 8))
    )
    assert tiled.shape == (10, 5, 40, 40)
    assert np.isfinite(tiled).all()


def test_networks_that_cannot_are_refused():
    image = np.zeros((3, 9, 9), np.uint8)
    with pytest.raises(NeuropilError, match=r"model\.aux_descriptors: true"):
        predict_descriptors(made(aux_descriptors=False), image)
    with pytest.raises(NeuropilError, match=r"exchanges y and x.*tta 1 or 4"):
        predict_descriptors(made(aux_descriptor_sigma=[4.0, 20.0, 10.0]), image)


@pytest.mark.parametrize(
    "data", [{"intensity": {"scale": [0, 100]}}, {"zoom": [1, 0.5, 0.5]}], ids=["grey values", "zoom"]
)
def test_the_image_is_read_as_the_recipe_says(data):
    """Grey values scaled, and voxels zoomed, as for affinities."""
    image = np.random.default_rng(0).integers(0, 101, (3, 24, 28), np.uint8)
    plain = made()
    model = Model(plain.network, Config.from_dict({**plain.config.to_dict(), "data": data}), {})
    settings = PredictConfig(tta=1)
    seen = make_request(model, array_volume(image), settings, device="cpu").image
    shown = seen.read()
    assert shown.shape != image.shape or not np.array_equal(shown, image)
    found = predict_descriptors(model, image, settings, device="cpu")
    np.testing.assert_array_equal(found, predict_descriptors(plain, shown, settings, device="cpu"))


def test_nan_is_refused():
    model = made()
    with torch.no_grad():
        next(model.network.parameters()).fill_(float("nan"))
    with pytest.raises(NeuropilError, match="NaN"):
        predict_descriptors(model, np.zeros((3, 12, 14), np.uint8), PredictConfig(tta=1), device="cpu")
