"""Checkpoints of the classic program, with its configuration beside them and without."""

import shutil

import pytest
import torch

from commands import neuropil
from neuropil import NeuropilError
from neuropil.compat.pytc import read_settings, translate
from neuropil.compat.pytc.checkpoint import is_classic, load_any_model, resumable
from neuropil.models.checkpoint import load_model, read_checkpoint
from recorded import CLASSIC, NETWORKS, checkpoint, needs_classic

pytestmark = needs_classic


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ("unet_3d_pooling",)])
def test_weights_tell_the_network(name):
    model, said = load_any_model(checkpoint(name))
    assert is_classic(model)
    assert "taken as by default" in said
    described = CLASSIC / f"{name}_config.yaml"
    config = translate(read_settings([described])).config
    known, _ = load_any_model(checkpoint(name), config)
    kinds = ("architecture", model.config.model.architecture)
    assert [getattr(known.config.model, kind) for kind in kinds] == [
        getattr(model.config.model, kind) for kind in kinds
    ]


def test_the_configuration_beside_a_checkpoint_counts(tmp_path):
    shutil.copy(checkpoint("unet_3d_pooling"), tmp_path / "checkpoint_100000.pth.tar")
    shutil.copy(CLASSIC / "unet_3d_pooling_config.yaml", tmp_path / "config.yaml")
    model, said = load_any_model(tmp_path / "checkpoint_100000.pth.tar")
    assert model.config.model.unet_3d.pooling
    assert said.endswith("config.yaml")
    assert model.info["iteration"] == 100_000


@pytest.mark.parametrize("verb", ["info CKPT", "convert CKPT w.safetensors", "predict CKPT none.h5 -o a.h5"])
def test_every_verb_says_what_the_weights_do_not_tell(tmp_path, monkeypatch, verb):
    """Pooling has no weights: without config.yaml another network is taken, whose affinities are others."""
    monkeypatch.chdir(tmp_path)
    _, out, error = neuropil(*verb.replace("CKPT", str(checkpoint("unet_3d_pooling"))).split())
    assert "taken as by default: ACT_MODE elu, PAD_MODE replicate, POOLING_LAYER False" in out + error


def test_averaged_weights_are_those_of_the_last_step():
    averaged, _ = load_any_model(CLASSIC / "unet_3d_isotropic_swa.pth.tar")
    last, _ = load_any_model(checkpoint("unet_3d_isotropic"))
    for one, other in zip(averaged.network.parameters(), last.network.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_training_goes_on_with_what_the_optimizer_remembers(tmp_path):
    name = "unet_3d_residual_se"
    config = translate(read_settings([CLASSIC / f"{name}_config.yaml"])).config
    path = resumable(checkpoint(name), config, tmp_path / "taken.pt")
    content, theirs = read_checkpoint(path), torch.load(checkpoint(name), weights_only=True)
    assert content["step"]["iteration"] == theirs["iteration"]
    ours = [state["momentum_buffer"] for state in content["optimizer"]["state"].values()]
    expected = [state["momentum_buffer"] for state in theirs["optimizer"]["state"].values()]
    assert len(ours) == len(expected)
    assert sum(float(one.double().sum()) for one in ours) == pytest.approx(
        sum(float(o.double().sum()) for o in expected)
    )
    network = load_model(path).network
    enter = content["optimizer"]["state"][0]["momentum_buffer"]
    assert enter.shape == next(p for p in network.parameters() if p.ndim > 1).shape
    torch.testing.assert_close(enter, expected[0])


@pytest.mark.parametrize("damaged", [b"\x80\x02.", b"\x80\x02]\x85R.", b"\x80", b""])
def test_damaged_files_are_told(tmp_path, damaged):
    (tmp_path / "a.pt").write_bytes(damaged)
    with pytest.raises(NeuropilError, match=r"a\.pt is not a neuropil checkpoint: it is damaged"):
        load_any_model(tmp_path / "a.pt")


def test_files_that_only_code_could_load_are_refused(tmp_path):
    torch.save({"state_dict": {"conv_in.0.weight": torch.zeros(1)}, "path": tmp_path}, tmp_path / "a.pth")
    with pytest.raises(NeuropilError, match=r"expected tensors and plain values, got pathlib.*state_dict alone"):
        load_any_model(tmp_path / "a.pth")


def test_other_networks_are_refused_by_name(tmp_path):
    torch.save({"state_dict": {"backbone.stem.weight": torch.zeros(1)}}, tmp_path / "a.pth")
    with pytest.raises(NeuropilError, match="expected the weights of unet_3d, unet_plus_3d, fpn_3d on a ResNet"):
        load_any_model(tmp_path / "a.pth")
