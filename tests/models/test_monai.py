"""MONAI's networks by name: built from strict options, any size in, trained, saved, loaded, predicted with."""

import sys

import numpy as np
import pytest
import torch

from neuropil import Config, NeuropilError, load_config, predict, train
from neuropil.config import config_to_yaml
from neuropil.models import build_network
from neuropil.models.checkpoint import load_model, read_checkpoint
from training_data import recipe, stripes

TINY = {
    "unetr": {"width": 4, "hidden": 24, "mlp": 32, "heads": 2, "grid": [1, 2, 2]},
    "swin_unetr": {"width": 12, "depths": [1, 1, 1, 1], "heads": [1, 1, 1, 1], "window": [2, 4, 4]},
    "dynunet": {"widths": [4, 6, 8], "downsample": [[1, 2, 2], [2, 2, 2]]},
    "mednext": {"width": 4},
    "segresnet": {"width": 8, "down": [1, 1, 1], "up": [1, 1]},
}


@pytest.fixture(scope="module", autouse=True)
def monai():
    """Imported when these tests run: importing takes seconds, in each process that only collects them, too."""
    pytest.importorskip("monai")


def model(name, options=None, **more):
    given = {"architecture": name, name: TINY[name] | (options or {}), "offsets": "nearest"}
    return Config.from_dict({"model": given | more}).model


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return stripes(tmp_path_factory.mktemp("stripes"))


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n == "swin_unetr" else n for n in TINY])
def test_two_steps_a_checkpoint_and_a_prediction(name, data, tmp_path):
    sets = [f"model.architecture={name}", f"model.{name}={TINY[name]}", "model.widths=[16,24,32,48]"]
    config = recipe(data, *sets, "model.stem=[1,2,2]", "model.aux_contour=1", "training.iterations=2")
    path = train(config, tmp_path)
    fresh = build_network(config.model)
    content = read_checkpoint(path)
    before = fresh.state_dict()
    assert any(not torch.equal(before[key], value) for key, value in content["weights"].items())
    loaded = load_model(path)
    for key, value in loaded.network.state_dict().items():
        assert torch.equal(value, content["average"][key]), key
    image = np.random.default_rng(0).integers(0, 256, (5, 40, 37), dtype=np.uint8)
    found = predict(path, image, tta=1)
    assert found.shape == (3, 5, 40, 37)
    assert np.isfinite(found).all()
    assert found.std() > 0


@pytest.mark.parametrize("name", TINY)
def test_any_size_comes_back_and_every_parameter_learns(name):
    network = build_network(model(name, aux_contour=1)).train()
    logits = network(torch.rand(1, 1, 5, 33, 17))
    assert logits.shape == (1, 4, 5, 33, 17)
    logits.square().mean().backward()
    assert not [key for key, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert network.eval()(torch.rand(2, 1, 1, 8, 8)).shape == (2, 3, 1, 8, 8)


@pytest.mark.parametrize("name", ["dynunet", "mednext"])
def test_coarser_levels_follow_the_others_while_learning(name):
    network = build_network(model(name, aux_contour=1, deep_supervision=True)).train()
    image = torch.rand(1, 1, 4, 40, 24)
    logits = network(image)
    levels = {"dynunet": 1, "mednext": 4}[name]
    assert logits.shape == (1, 4 + 3 * levels, 4, 40, 24)
    assert network.eval()(image).shape == (1, 3, 4, 40, 24)
    # No norm of these networks knows of training: the finest logits come first.
    assert torch.allclose(network(image), logits[:, :3], atol=1e-5)


def test_positions_are_interpolated_where_there_are_more_tokens():
    small, wide = build_network(model("unetr")), build_network(model("unetr", {"grid": [1, 2, 3]}))
    name = "network.vit.patch_embedding.position_embeddings"
    with torch.no_grad():
        everywhere = torch.randn(24)
        small.get_parameter(name).copy_(everywhere.expand(1, 4, 24))
        weights = small.state_dict() | {name: everywhere.expand(1, 6, 24).clone()}
    wide.load_state_dict(weights)
    image = torch.rand(1, 1, 16, 32, 48)
    with torch.no_grad():
        assert torch.allclose(small.eval()(image), wide.eval()(image), atol=1e-5)
        small.get_parameter(name)[0, 0] += 1
        assert not torch.allclose(small(image), wide(image), atol=1e-3)


def test_recomputing_swin_changes_nothing():
    torch.manual_seed(0)
    plain = build_network(model("swin_unetr"))
    again = build_network(model("swin_unetr", recompute=True))
    again.load_state_dict(plain.state_dict())
    image = torch.rand(1, 1, 4, 40, 24)
    for network in (plain, again):
        network.train()(image).square().mean().backward()
    for (name, a), b in zip(plain.named_parameters(), again.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-6), name


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"architecture": "mednext", "mednext": {"widht": 4}},
            r"mednext\.widht: unknown key; did you mean width",
        ),
        ({"architecture": "mednext", "mednext": {"kernel": 4}}, "kernel: expected 3, 5 or 7, got 4"),
        ({"architecture": "mednext", "unetr": {}}, "no section unetr, since the architecture is mednext"),
        ({"segresnet": {}}, "no section segresnet, since the architecture is residual_unet"),
        ({"architecture": "unetr", "widths": [8, 16]}, r"no widths with the architecture unetr.*model\.unetr"),
        ({"architecture": "unetr", "recompute": True}, "no recompute with the architecture unetr"),
        ({"architecture": "segresnet", "deep_supervision": True}, "no deep_supervision with the architecture"),
        ({"architecture": "unetr", "unetr": {"heads": 5}}, "multiple of heads, got 768 and 5"),
        ({"architecture": "swin_unetr", "swin_unetr": {"heads": [5, 6, 12, 24]}}, "heads that divide the channels"),
        ({"architecture": "dynunet", "dynunet": {"widths": [4, 8, 8, 8, 8]}}, "one factor fewer"),
        ({"architecture": "segresnet", "segresnet": {"up": [1]}}, "one number fewer"),
        ({"architecture": "vnet"}, "residual_unet"),
    ],
)
def test_refuses(given, message):
    with pytest.raises(NeuropilError, match=message):
        Config.from_dict({"model": given})


def test_options_are_written_out_and_read_back(tmp_path):
    config = Config.from_dict({"model": {"architecture": "mednext"}})
    assert config.model.mednext.size == "S"
    assert Config.from_dict(config.to_dict()) == config
    (tmp_path / "a.yaml").write_text(config_to_yaml(config))
    assert load_config([tmp_path / "a.yaml"]) == config


@pytest.mark.parametrize("lacking", ["monai", "einops"])
def test_without_the_extra_its_name_is_told(lacking, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == lacking]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, lacking, None)
    with pytest.raises(NeuropilError, match=rf"{lacking}.* is not installed; pip install 'neuropil\[monai\]'"):
        build_network(model("unetr"))
    build_network(Config().model)
