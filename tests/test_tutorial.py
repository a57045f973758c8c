"""Every command of docs/tutorial.md, one after the other, at a tiny size in what a fresh clone has."""

import os
import re
import shlex
import signal
import subprocess
import sys
from functools import partial

import pytest
from typer.testing import CliRunner

from classic_data import ROOT, SMALL, TINY, clone, free_port, run
from neuropil.cli import app
from neuropil.compat.pytc import program

PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")


def commands():
    """The commands of the page as words, in order."""
    text = "\n".join(re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
    return [words for line in text.replace("\\\n", " ").splitlines() if (words := shlex.split(line))]


def tiny(words):
    """A command at the size of a test: overrides at its end, and checkpoints of the second iteration."""
    words = [re.sub(r"checkpoint_\d+", "checkpoint_00002", word) for word in words]
    if "scripts/main.py" not in words:
        return words
    given = words[words.index("scripts/main.py") :]
    if "unetr" in given:
        words = [*words, *SMALL["unetr"].split()]
    more = [pair for pair in zip(TINY[::2], TINY[1::2], strict=True) if pair[0] not in given]
    return [*words, *(word for pair in more for word in pair)]


def test_the_page_shows_the_commands_of_the_classic_tutorial():
    shown = [" ".join(words) for words in commands()]
    for part in (
        "CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7 python -m torch.distributed.launch --nproc_per_node=2 --master_port=1234 "
        "scripts/main.py --distributed --config-base configs/SNEMI/SNEMI-Base.yaml",
        "torchrun ",
        "python -u scripts/main.py --config-base",
        "--checkpoint outputs/SNEMI_UNet/checkpoint_100000.pth.tar",
        "tensorboard --logdir outputs/SNEMI_UNet/",
        "--inference --checkpoint outputs/SNEMI_UNet/checkpoint_100000.pth",
        "--evaluate datasets/SNEMI3D/seg/train-labels.tif",
        "neuropil segment",
        "neuropil view",
    ):
        assert any(part in line for line in shown), part


def test_commands_of_the_page_are_understood():
    for words in map(tiny, commands()):
        if "scripts/main.py" in words:
            options = program.parse(words[words.index("scripts/main.py") + 1 :])
            assert len(options.overrides) % 2 == 0
            assert (ROOT / options.config_base).is_file()
            assert (ROOT / options.config_file).is_file()


@pytest.mark.slow
def test_every_command_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(clone(tmp_path))
    for words in map(tiny, commands()):
        said = execute(tmp_path, words)
        assert "Traceback" not in said, shlex.join(words)
    assert (tmp_path / "outputs/SNEMI_UNet_LR/test/mutex.h5").exists()
    assert (tmp_path / "outputs/SNEMI_UNet/report.html").exists()


def execute(folder, words):
    """Run one command of the page; without a launcher, in this process. What it said."""
    environment = dict(word.split("=") for word in words if re.match(r"[A-Z_]+=", word))
    words = words[len(environment) :]
    if words[0] == "tensorboard":
        words = ["python", "-m", "tensorboard.main", *words[1:], "--inspect"]
    elif words[:2] == ["neuropil", "view"]:
        return look(folder, words)
    elif words[0] == "neuropil":
        done = CliRunner().invoke(app, words[1:])
        assert done.exit_code == 0, f"{shlex.join(words)}\n{done.output}\n{done.exception!r}"
        return done.output
    elif words[:3] == ["python", "-u", "scripts/main.py"]:
        assert program.main(words[3:]) == 0, shlex.join(words)
        return ""
    elif words[0] == "torchrun":
        words = ["python", "-m", "torch.distributed.run", *words[1:]]
    words = [re.sub(r"--master_port=\d+", f"--master_port={free_port()}", word) for word in words]
    done = run(folder, words, **environment)
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def look(folder, words):
    """Start the viewer, read its address, and stop it with Ctrl-C."""
    command = [sys.executable, "-m", "neuropil", *words[1:]]
    with subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # shells ignore Ctrl-C in the background
    ) as viewer:
        try:
            line = viewer.stdout.readline()
            while line and "http" not in line:
                line = viewer.stdout.readline()
            viewer.send_signal(signal.SIGINT)
            viewer.wait(60)
        finally:
            viewer.kill()
    assert "http" in line
    return line
