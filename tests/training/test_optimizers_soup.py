"""scripts/soup.py: the mean of the weights of several networks, with statistics of their training volumes."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

from neuropil import NeuropilError, train
from neuropil.models.checkpoint import load_model, read_checkpoint
from training_data import recipe, stripes

SCRIPT = Path(__file__).parents[2] / "scripts/soup.py"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two networks that went on from one, and a wider one."""
    folder = tmp_path_factory.mktemp("runs")
    data = stripes(folder)
    first = train(recipe(data, "training.iterations=3"), folder / "first")
    more = "training.iterations=3", f"training.pretrained={first}"
    second = train(recipe(data, *more, "training.seed=1"), folder / "second")
    return first, second, train(recipe(data, "training.iterations=1", "model.widths=[4,8]"), folder / "wide")


def soup(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, words)])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def test_weights_are_the_mean_and_norms_are_measured(runs, tmp_path, monkeypatch):
    first, second, _ = runs
    soup(monkeypatch, first, second, tmp_path / "soup.pt")
    made = read_checkpoint(tmp_path / "soup.pt")["weights"]
    one, other = (load_model(path).network.state_dict() for path in (first, second))
    for name, tensor in made.items():
        if name.endswith(("weight", "bias")):
            torch.testing.assert_close(tensor, (one[name] + other[name]) / 2)
    counts = {int(tensor) for name, tensor in made.items() if name.endswith("num_batches_tracked")}
    assert counts == {40}
    assert load_model(tmp_path / "soup.pt").config == load_model(first).config


def test_one_network_stays_itself_but_for_its_norms(runs, tmp_path, monkeypatch):
    first, _, _ = runs
    soup(monkeypatch, first, first, tmp_path / "soup.pt")
    made, known = read_checkpoint(tmp_path / "soup.pt")["weights"], load_model(first).network.state_dict()
    assert all(torch.equal(made[name], known[name]) for name in made if name.endswith(("weight", "bias")))


def test_another_network_is_refused(runs, tmp_path, monkeypatch):
    first, _, wide = runs
    with pytest.raises(NeuropilError, match="expected the network of"):
        soup(monkeypatch, first, wide, tmp_path / "soup.pt")
    assert not (tmp_path / "soup.pt").exists()
