"""How many processes draw samples."""

import pytest

from neuropil import load_config, train
from neuropil.models.checkpoint import read_checkpoint
from neuropil.training.workers import choose_workers
from training_data import recipe, stripes


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return stripes(tmp_path_factory.mktemp("stripes"))


@pytest.mark.parametrize(
    ("device", "cores", "batch", "in_memory", "expected"),
    [
        ("cpu", 64, 8, False, 0),
        ("cuda", 64, 8, True, 0),
        ("cuda", 64, 1, False, 4),
        ("cuda", 64, 8, False, 32),
        ("cuda", 16, 8, False, 15),
        ("cuda", 1, 8, False, 0),
    ],
)
def test_the_rule(device, cores, batch, in_memory, expected):
    assert choose_workers(device, cores, batch, (8, 256, 256), in_memory) == expected


def stored(out):
    config = load_config([out / "config.yaml"]).training.workers
    return config, read_checkpoint(out / "checkpoints" / "last.pt")["config"]["training"]["workers"]


def test_what_is_chosen_is_said_stored_and_kept(data, tmp_path, capsys):
    train(recipe(data, "training.iterations=1"), tmp_path / "ruled")
    assert "training.workers: 0 (by a rule of cpu, " in capsys.readouterr().out
    assert stored(tmp_path / "ruled") == (0, 0)
    first = train(recipe(data, "training.iterations=1", "training.workers=1"), tmp_path / "given")
    assert "training.workers" not in capsys.readouterr().out
    train(recipe(data, "training.iterations=2"), tmp_path / "given", resume=first)
    assert f"training.workers: 1 (as in {first})" in capsys.readouterr().out
    assert stored(tmp_path / "given") == (1, 1)
