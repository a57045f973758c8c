"""scripts/narrow.py: a narrower finest level; what says nothing goes first."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

from neuropil import NeuropilError, train
from neuropil.models.checkpoint import load_model, save_checkpoint
from training_data import recipe, stripes

SCRIPT = Path(__file__).parents[2] / "scripts/narrow.py"


def narrow(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, words)])
    runpy.run_path(str(SCRIPT), run_name="__main__")


@pytest.fixture
def trained(tmp_path):
    return train(recipe(stripes(tmp_path), "training.iterations=3", "model.widths=[6,8]"), tmp_path / "run")


def test_channels_that_nothing_reads_are_dropped_without_a_change(trained, tmp_path, monkeypatch):
    model = load_model(trained)
    readers = ("encoder.0.enter.0", "encoder.0.body.0", "encoder.0.body.3", "encoder.1.enter.0", "decoder.0.enter.0",
               "decoder.0.body.0", "decoder.0.body.3", "head")  # fmt: skip
    with torch.no_grad():
        for name in readers:
            model.network.get_parameter(f"{name}.weight")[:, [1, 4]] = 0
        for name in ("encoder.0", "decoder.0"):  # what the shortcut adds, no layer reads, but the norms still write
            model.network.get_parameter(f"{name}.body.4.weight")[[1, 4]] = 0
    content = {"config": model.config.to_dict(), "weights": model.network.state_dict(), "info": {}}
    save_checkpoint(tmp_path / "old.pt", content)
    narrow(monkeypatch, tmp_path / "old.pt", 4, tmp_path / "new.pt")
    small = load_model(tmp_path / "new.pt")
    assert small.config.model.widths == (4, 8)
    image = torch.rand(1, 1, 4, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(small.network.eval()(image), model.network.eval()(image), rtol=1e-4, atol=1e-5)


def test_training_goes_on_from_it(trained, tmp_path, monkeypatch):
    narrow(monkeypatch, trained, 3, tmp_path / "new.pt")
    data = stripes(tmp_path)
    new = recipe(data, "training.iterations=1", "model.widths=[3,8]", f"training.pretrained={tmp_path / 'new.pt'}")
    assert load_model(train(new, tmp_path / "more")).config.model.widths == (3, 8)


def test_what_cannot_be_narrowed_is_refused(trained, tmp_path, monkeypatch):
    with pytest.raises(NeuropilError, match="expected a width of 1 to 6, got 7"):
        narrow(monkeypatch, trained, 7, tmp_path / "new.pt")
    squeezed = recipe(stripes(tmp_path), "training.iterations=1", "model.squeeze=true")
    with pytest.raises(NeuropilError, match="without squeeze or auxiliary heads"):
        narrow(monkeypatch, train(squeezed, tmp_path / "squeezed"), 2, tmp_path / "new.pt")
