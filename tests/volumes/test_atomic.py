"""Unfinished files: whose they are, and who removes them."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from neuropil.volumes import atomic, open_volume, write_volume
from neuropil.volumes.atomic import remove_leftovers, replacing, temporary_name


def leave(path, ready):
    """Begin an output, and hang."""
    with replacing(path) as temporary:
        temporary.write_text("half")
        ready.set()
        time.sleep(600)


@pytest.fixture
def begun(tmp_path):
    """A process that has begun to write ``out``."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=leave, args=(tmp_path / "out", ready))
    process.start()
    assert ready.wait(60)
    yield process
    process.kill()
    process.join()


def test_what_a_killed_process_left_is_removed_by_the_next(begun, tmp_path):
    (left,) = tmp_path.glob(".out.*.partial")
    with replacing(tmp_path / "out") as temporary:
        temporary.write_text("whole")
        assert left.exists()  # its process still runs
    os.kill(begun.pid, signal.SIGKILL)
    begun.join()
    (tmp_path / ".other.host-1-2.01234567.partial").touch()
    with replacing(tmp_path / "out") as temporary:
        temporary.write_text("whole")
    assert not left.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.host-1-2.01234567.partial", "out"]


def test_only_this_machines_and_this_names_leftovers_go(tmp_path):
    mine = temporary_name(tmp_path / "out")
    mine.touch()
    elsewhere = tmp_path / ".out.another-machine-1-2.01234567.partial"
    longer = tmp_path / mine.name.replace(".out.", ".out.h5.")
    for path in (elsewhere, longer):
        path.touch()
    remove_leftovers(tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {mine.name, elsewhere.name, longer.name}


def test_a_number_that_another_process_has_now_does_not_protect(tmp_path):
    host, pid, _ = temporary_name(tmp_path / "out").name.split(".")[2].rsplit("-", 2)
    old = tmp_path / f".out.{host}-{pid}-1.01234567.partial"
    old.mkdir()
    (old / "chunk").touch()
    remove_leftovers(tmp_path / "out")
    assert not old.exists()


@pytest.fixture
def flushed(monkeypatch):
    """Inodes of the files and folders that were flushed (fsync)."""
    inodes, real = set(), os.fsync

    def fsync(handle):
        inodes.add(os.fstat(handle).st_ino)
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    return inodes


@pytest.mark.parametrize(
    "name", ["o.zarr", "zarr2://o.zarr", "o.n5", "o.precomputed", "o/*.png", "o/*.tif", "o.h5", "o.npy", "o.tif"]
)
def test_every_file_of_an_output_is_flushed_before_it_gets_its_name(tmp_path, monkeypatch, flushed, name):
    """TensorStore does not flush the chunks that it writes."""
    monkeypatch.chdir(tmp_path)
    inside, replace, exchange = {}, os.replace, atomic._exchanged

    def note(complete, path):
        inside.update({file: file.stat().st_ino in flushed for file in [complete, *complete.rglob("*")]})

    monkeypatch.setattr(os, "replace", lambda a, b: (note(Path(a), b), replace(a, b))[1])
    monkeypatch.setattr(atomic, "_exchanged", lambda a, b: (note(a, b), exchange(a, b))[1])
    array = np.random.default_rng(0).integers(0, 255, (6, 90, 90), np.uint8)
    for _ in range(2):  # a new output, and in place of one
        inside.clear()
        write_volume(name, array)
        assert inside
        assert all(inside.values()), inside
    assert (open_volume(name.removeprefix("zarr2://")).read() == array).all()
