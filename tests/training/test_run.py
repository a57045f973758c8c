"""What a run leaves is not replaced by accident, and what does not fit a trained network is named."""

import pytest
from tests.training_data import recipe, stripes
from typer.testing import CliRunner

from neuropil import cli, train
from neuropil.config import config_to_yaml
from neuropil.errors import NeuropilError
from neuropil.models.checkpoint import read_checkpoint, save_checkpoint
from neuropil.training.ranks import start_fabric
from neuropil.training.run import check_folder, restore, start_run


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return stripes(tmp_path_factory.mktemp("stripes"))


def test_another_recipes_run_is_replaced_only_by_force(data, tmp_path):
    first = recipe(data, "training.iterations=2")
    train(first, tmp_path / "run")
    before = (tmp_path / "run/checkpoints/last.pt").read_bytes()
    check_folder(first, tmp_path / "run")
    check_folder(recipe(data, "training.iterations=2", "training.log_every=1"), tmp_path / "run")
    other = recipe(data, "training.iterations=1", "optimizer.clip=2")
    with pytest.raises(NeuropilError, match=r"optimizer\.clip, training\.iterations, in .*--force"):
        check_folder(other, tmp_path / "run")

    (tmp_path / "other.yaml").write_text(config_to_yaml(other))
    words = ["train", f"{tmp_path}/other.yaml", "--out", f"{tmp_path}/run"]
    result = CliRunner().invoke(cli.app, words)
    assert (result.exit_code, (tmp_path / "run/checkpoints/last.pt").read_bytes()) == (2, before)
    result = CliRunner().invoke(cli.app, [*words, "--force"])
    assert result.exit_code == 0, result.stderr
    assert "best.pt" in result.stdout
    assert (tmp_path / "run/checkpoints/last.pt").read_bytes() != before


def test_minutes_take_the_place_of_the_recipes_length(data, tmp_path, monkeypatch):
    monkeypatch.setattr("neuropil.training.train", lambda config, out, **_: lengths.append(config.training) or out)
    lengths = []
    (tmp_path / "a.yaml").write_text(config_to_yaml(recipe(data, "training.iterations=2")))
    CliRunner().invoke(cli.app, ["train", f"{tmp_path}/a.yaml", "--minutes", "3"], catch_exceptions=False)
    assert [(t.minutes, t.iterations) for t in lengths] == [(3.0, None)]


def test_validation_losses_are_printed(data, tmp_path, capsys):
    pair = f'[{{"image": "{data}/image.h5", "labels": "{data}/labels.h5"}}]'
    train(recipe(data, "training.iterations=2", f"data.validation={pair}"), tmp_path)
    assert "iteration      2  validation loss " in capsys.readouterr().out


def test_start_run_names_the_keys_that_differ(data, tmp_path):
    config = recipe(data, "training.iterations=1", "training.pretrained=snemi3d")
    with pytest.raises(NeuropilError, match=r"model\.widths \(64, 96, 128, 160\) there, \(4, 6\) here"):
        start_run(config, start_fabric(config.training, own=True), None, tmp_path)


def test_a_run_of_a_gpu_goes_on_where_adam_is_not_fused(data, tmp_path):
    config = recipe(data, "training.iterations=1")
    last = train(config, tmp_path / "gpu")
    content = read_checkpoint(last)
    for group in content["optimizer"]["param_groups"]:
        group["fused"] = True
    save_checkpoint(last, content)
    run = start_run(config, start_fabric(config.training, own=True), None, tmp_path)
    assert restore(run, last).iteration == 1
    assert [group["fused"] for group in run.optimizer.param_groups] == [None, None]
