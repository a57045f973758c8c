"""scripts/widen.py: a wider network predicts what the narrow one does, until noise lets its copies differ."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

from neuropil import Config, NeuropilError
from neuropil.models import build_network
from neuropil.models.checkpoint import Model, load_model, save_checkpoint

SCRIPT = Path(__file__).parents[2] / "scripts/widen.py"


def widen(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, words)])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def test_predicts_the_same_but_for_the_noise(tmp_path, monkeypatch):
    torch.manual_seed(0)
    config = Config.from_dict({"model": {"widths": [2, 5, 7], "stem": [1, 2, 2], "downsample": [[1, 2, 2], [2, 2, 2]]}})
    network = build_network(config.model).eval()
    save_checkpoint(tmp_path / "old.pt", {"config": config.to_dict(), "weights": network.state_dict(), "info": {}})
    widen(monkeypatch, tmp_path / "old.pt", "4,5,16", tmp_path / "new.pt")
    wide = load_model(tmp_path / "new.pt")
    assert wide.config.model.widths == (4, 5, 16)
    image = torch.rand(1, 1, 4, 32, 32)
    with torch.no_grad():
        assert (network(image) - wide.network(image)).abs().max() < 0.5
        widened = runpy.run_path(str(SCRIPT))["widened"]
        widened.__globals__["NOISE"] = 0.0
        exact = build_network(wide.config.model).eval()
        exact.load_state_dict(widened(network.state_dict(), [2, 5, 7], [4, 5, 16]))
        torch.testing.assert_close(exact(image), network(image), atol=1e-5, rtol=1e-5)
    assert isinstance(wide, Model)


@pytest.mark.parametrize("widths", ["2,5", "1,5,7", "4,5,6"])
def test_refuses_what_is_not_wider(tmp_path, monkeypatch, widths):
    config = Config.from_dict({"model": {"widths": [2, 5, 7], "downsample": [[1, 2, 2], [2, 2, 2]]}})
    weights = build_network(config.model).state_dict()
    save_checkpoint(tmp_path / "old.pt", {"config": config.to_dict(), "weights": weights, "info": {}})
    with pytest.raises(NeuropilError, match="expected 3 widths of at least"):
        widen(monkeypatch, tmp_path / "old.pt", widths, tmp_path / "new.pt")
