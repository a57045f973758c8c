"""Unfinished files: whose they are, and who removes them."""

import multiprocessing
import os
import signal
import time

import pytest

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
