"""Weights with flipped bits are refused, not loaded as other weights."""

import numpy as np
import pytest
import torch

from neuropil.errors import NeuropilError
from neuropil.models.checkpoint import read_checkpoint, save_checkpoint
from neuropil.models.released import read_weights, write_weights

WEIGHTS = {"conv.weight": torch.randn(8, 4, 3, 3, 3, generator=torch.Generator().manual_seed(0)), "n": torch.ones(3)}


def content_of(found):
    return {name: tensor.tolist() for name, tensor in found["weights"].items()}, found["config"]


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
def test_every_flipped_bit_is_noticed_or_changes_nothing(tmp_path, name):
    path = tmp_path / name
    if name.endswith(".pt"):
        save_checkpoint(path, {"weights": WEIGHTS, "config": {"a": 1}})
    else:
        write_weights(path, WEIGHTS, {"a": 1}, {})
    whole, right = path.read_bytes(), content_of(read_checkpoint(path))
    chance = np.random.default_rng(0)
    refused = 0
    for bit in chance.choice(8 * len(whole), 150, replace=False):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(changed)
        try:
            assert content_of(read_checkpoint(path)) == right
        except NeuropilError:
            refused += 1
    assert refused > 50


def test_files_without_a_checksum_load_with_a_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("neuropil.models.released.weights_digest", lambda *_: "b2b:0")
    write_weights(tmp_path / "a.safetensors", WEIGHTS, {}, {})
    content = (tmp_path / "a.safetensors").read_bytes().replace(b'"digest"', b'"nigest"')
    (tmp_path / "a.safetensors").write_bytes(content)
    read_weights(tmp_path / "a.safetensors")
    assert "no checksum" in capsys.readouterr().out


@pytest.mark.parametrize("opcodes", [b"\x80\x02.", b"\x80\x02ta.", b"\x80\x02K\x01K\x02s.", b"\x80\x02]K\x01b."])
def test_what_torch_takes_for_a_pickle_ends_in_one_message(tmp_path, opcodes):
    """A checkpoint whose ZIP directory is damaged is read as a plain pickle, of which any part may be missing."""
    (tmp_path / "c.pt").write_bytes(opcodes)
    with pytest.raises(NeuropilError, match=r"c\.pt is not a neuropil checkpoint"):
        read_checkpoint(tmp_path / "c.pt")
