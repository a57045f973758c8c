"""Decoders of other packages in a process of their own."""

import contextlib
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from neuropil.errors import NeuropilError
from neuropil.volumes.formats import decoders

IDS = np.asfortranarray(np.random.default_rng(0).integers(1, 9, (16, 12, 5), np.uint32))


@pytest.fixture
def chunk():
    return pytest.importorskip("crackle").compress(IDS)


def test_what_comes_back_is_what_was_packed(chunk):
    assert np.array_equal(np.squeeze(decoders.decode_apart("crackle", chunk)), IDS)


def test_faults_are_told_and_the_next_chunk_is_read(chunk):
    for data in (b"", b"no chunk", chunk[:40]):
        with pytest.raises(ValueError, match=r"."):
            decoders.decode_apart("crackle", data)
    assert np.array_equal(np.squeeze(decoders.decode_apart("crackle", chunk)), IDS)


def test_another_process_takes_the_place_of_one_that_was_killed(chunk):
    decoders.decode_apart("crackle", chunk)
    os.kill(decoders._shared.process.pid, signal.SIGKILL)
    assert np.array_equal(np.squeeze(decoders.decode_apart("crackle", chunk)), IDS)


def test_a_chunk_that_ends_two_processes_is_told(chunk, monkeypatch):
    start, started = decoders._start, []

    def dies():
        started.append(start())
        started[-1].kill()
        return started[-1]

    decoders._shared.process = None
    with monkeypatch.context() as patch:
        patch.setattr(decoders, "_start", dies)
        with pytest.raises(ValueError, match="crashed on it"):
            decoders.decode_apart("crackle", chunk)
    assert len(started) == 2
    assert np.array_equal(np.squeeze(decoders.decode_apart("crackle", chunk)), IDS)


def test_an_interrupted_chunk_does_not_answer_for_the_next(chunk, monkeypatch):
    """As Ctrl-C in a notebook while a chunk is unpacked."""
    other = pytest.importorskip("crackle").compress(IDS + 1)
    decoders.decode_apart("crackle", chunk)
    process = decoders._shared.process

    class Interrupted:
        def readline(self):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(process, "stdout", Interrupted())
        patch.setattr(process, "communicate", lambda: None)
        with pytest.raises(KeyboardInterrupt):
            decoders.decode_apart("crackle", chunk)
    assert np.array_equal(np.squeeze(decoders.decode_apart("crackle", other)), IDS + 1)


def test_damaged_borders_between_ids_end_another_process_only(chunk):
    """With crackle 0.55 some do; each is told, or the ids are those that were packed."""
    parts = pytest.importorskip("crackle").codec.components(chunk)
    borders = sum(len(parts[name]) for name in ("header", "z_index", "labels"))
    for at in range(borders, borders + 10):
        damaged = bytearray(chunk)
        damaged[at] ^= 2
        with contextlib.suppress(ValueError):
            assert np.array_equal(np.squeeze(decoders.decode_apart("crackle", bytes(damaged))), IDS)
    assert np.array_equal(np.squeeze(decoders.decode_apart("crackle", chunk)), IDS)


def test_threads_and_forked_processes_take_turns(chunk):
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: decoders.decode_apart("crackle", chunk), range(20)):
            assert np.array_equal(np.squeeze(found), IDS)
    mine = decoders._shared.process.pid
    pid = os.fork()
    if pid == 0:
        found = decoders.decode_apart("crackle", chunk)
        os._exit(0 if np.array_equal(np.squeeze(found), IDS) and decoders._shared.process.pid != mine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert decoders._shared.process.pid == mine


def test_a_package_that_is_not_known_is_refused():
    with pytest.raises(NeuropilError, match="encoded by nothing, which is not read here; known are raw"):
        decoders.find_decoder("nothing", "p")
