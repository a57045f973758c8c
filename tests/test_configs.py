"""Every recipe that is shipped loads, can be trained, and says what it is for."""

import re
from pathlib import Path

import pytest

import neuropil
from neuropil.config import check_trainable, config_to_yaml, load_config

ROOT = Path(__file__).parents[1]
SHIPPED = sorted([*ROOT.glob("configs/*/*.yaml"), *Path(neuropil.__file__).parent.glob("pipeline/*.yaml")])
TUTORIAL = {"SNEMI"}  # folders in the vocabulary of PyTorch Connectomics, which compat translates


def test_there_are_some():
    assert SHIPPED


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_shipped_recipe(path, monkeypatch, tmp_path):
    if path.parent.name in TUTORIAL:
        pytest.skip("in the tutorial's vocabulary")
    monkeypatch.setenv("NEUROPIL_DATA", "/data")
    # A recipe that says "It changes other.yaml" is an overlay, given behind the other.
    below = [path.with_name(name) for name in re.findall(r"^# It changes (\S+\.yaml)", path.read_text(), re.M)]
    config = load_config([*below, path])
    if config.data.train:
        check_trainable(config)
    else:  # data is given by whoever uses it
        assert config.training.minutes or config.training.iterations
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert len(header) >= 3, "the header says data, hardware, minutes and score"
    assert not re.search(r"@\w+@", "\n".join(header)), "figures that were to be filled in"
    named = re.findall(r"\w+\.yaml", "\n".join(header))
    assert [name for name in named if not list(ROOT.glob(f"configs/**/{name}"))] == []
    again = tmp_path / "again.yaml"
    again.write_text(config_to_yaml(config))
    assert load_config([again]) == config
