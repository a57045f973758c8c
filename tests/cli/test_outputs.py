"""No command destroys what it reads; signals end every verb cleanly."""

import os
import signal
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from forks import python, start
from neuropil import open_volume, write_volume
from neuropil.cli import app

LABELS = np.kron(np.arange(1, 9).reshape(2, 2, 2), np.ones((2, 8, 8), int)).astype(np.uint32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_volume("labels.h5", LABELS)
    write_volume("stack/s*.png", LABELS.astype(np.uint8))
    write_volume("affinities.h5", np.full((3, 4, 16, 16), 0.9, np.float32))
    os.link("labels.h5", "same.h5")
    os.symlink("labels.h5", "link.h5")
    return tmp_path


@pytest.mark.parametrize("words", [
    "evaluate labels.h5 labels.h5 --json labels.h5",
    "evaluate labels.h5 labels.h5 --json same.h5",
    "evaluate labels.h5 labels.h5 --json link.h5",
    "evaluate labels.h5 labels.h5 --report labels.h5",
    "config new stack/s*.png labels.h5 -o labels.h5",
    "config new stack/s*.png labels.h5 -o stack/s0000.png",
    "convert labels.h5 labels.h5",
    "convert stack/s*.png labels.h5/*.png",
    "convert labels.h5 labels.h5/*.png",
    "convert stack/s*.png stack/t*.png",
    "segment affinities.h5 -o affinities.h5/main",
    "rank affinities.h5 labels.h5 -o labels.h5",
    "objects labels.h5 -o same.h5",
])  # fmt: skip
def test_an_output_never_destroys_an_input(folder, words):
    before = {name: (folder / name).read_bytes() for name in ("labels.h5", "affinities.h5", "stack/s0000.png")}
    done = CliRunner().invoke(app, words.split())
    assert done.exit_code == 2, done.output
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert not list(folder.rglob("*.partial"))


def test_another_array_of_the_same_file_is_no_input(folder):
    done = CliRunner().invoke(app, ["segment", "affinities.h5/main", "-o", "affinities.h5/segmentation"])
    assert done.exit_code == 0, done.output
    assert open_volume("affinities.h5/segmentation").shape == (4, 16, 16)
    assert open_volume("affinities.h5/main").shape == (3, 4, 16, 16)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_a_verb_with_its_code_and_leaves_nothing(folder, number):
    code = (
        "import signal, sys, time; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # which stays ignored where the tests run under nohup
        "import neuropil.__main__, neuropil.proofreading.objects as objects\n"
        "def slow(rows, path):\n"
        "    from neuropil.volumes.atomic import replacing\n"
        "    with replacing(path) as file:\n"
        "        file.write_text('half'); open('begun', 'w').close(); time.sleep(600)\n"
        "objects.write_objects = slow\n"
        "sys.argv = ['neuropil', 'objects', 'labels.h5', '-o', 'objects.csv']\n"
        "neuropil.__main__.main()"
    )
    process = start("-c", code)
    while not (folder / "begun").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    done = process.wait()
    assert done.returncode == 128 + number
    assert "Traceback" not in done.stderr
    assert not list(folder.glob(".objects*"))
    assert not (folder / "objects.csv").exists()


def test_a_hangup_that_was_ignored_stays_ignored(folder):
    code = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "import neuropil.__main__; from neuropil.proofreading import objects\n"
        "whole = objects.objects_of\n"
        "objects.objects_of = lambda v: (os.kill(os.getpid(), signal.SIGHUP), whole(v))[1]\n"
        "sys.argv = ['neuropil', 'objects', 'labels.h5', '-o', 'objects.csv']\n"
        "neuropil.__main__.main()"
    )
    assert python("-c", code).returncode == 0
    assert (folder / "objects.csv").exists()
