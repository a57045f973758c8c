"""The command line: recipes, exit codes, and what happens to mistakes of every kind."""

import errno

import pytest

from commands import neuropil
from neuropil import __version__
from neuropil.config import Config, load_config


def test_show_prints_a_recipe_that_reads_back(tmp_path):
    recipe = tmp_path / "a.yaml"
    recipe.write_text("training: {minutes: 6}\n")
    code, out, _ = neuropil("config", "show", recipe, "--set", "model.norm=group", "--set", "training.batch=2")
    assert code == 0
    assert "# Samples per iteration" in out
    (tmp_path / "b.yaml").write_text(out)
    shown = load_config([tmp_path / "b.yaml"])
    assert (shown.training.minutes, shown.model.norm, shown.training.batch) == (6.0, "group", 2)


def test_show_without_files_is_the_defaults(tmp_path):
    (tmp_path / "a.yaml").write_text(neuropil("config", "show")[1])
    assert load_config([tmp_path / "a.yaml"]) == Config()


def test_a_value_after_the_files_is_one_more_set(tmp_path):
    code, out, _ = neuropil("config", "show", "--set", "training.batch=2", "training.minutes=3")
    assert code == 0
    assert "batch: 2\n" in out
    assert "minutes: 3.0\n" in out


def test_version():
    assert neuropil("--version") == (0, f"neuropil {__version__}\n", "")


def test_an_unknown_key_is_one_message_and_exit_code_2(tmp_path):
    recipe = tmp_path / "a.yaml"
    recipe.write_text("training:\n  minuts: 6\n")
    code, out, err = neuropil("config", "show", recipe)
    assert (code, out) == (2, "")
    assert err == f"neuropil: {recipe}:2: training.minuts: unknown key; did you mean minutes?\n"


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["config", "show", "--nonsense"]])
def test_unknown_verbs_and_options_exit_with_2(arguments):
    code, out, err = neuropil(*arguments)
    assert (code, out) == (2, "")
    assert "No such" in err


@pytest.mark.parametrize(
    ("problem", "code", "says"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.h5"), 2, "a.h5: No such file or directory"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), 2, "/root/x: Permission denied"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
    ids=["missing", "full", "forbidden", "ctrl-c"],
)
def test_what_the_world_does_is_one_message(monkeypatch, problem, code, says):
    def fail(*_):
        raise problem

    monkeypatch.setattr("neuropil.cli.recipes.read_recipe", fail)
    assert neuropil("config", "show") == (code, "", says + "\n" if code == 130 else f"neuropil: {says}\n")


def test_our_own_mistakes_keep_their_traceback(monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("neuropil.cli.recipes.read_recipe", fail)
    with pytest.raises(ZeroDivisionError):
        neuropil("config", "show")
