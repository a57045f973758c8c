"""The log: appended, flushed, checked; two writers, crashes, other affinities."""

import json
import multiprocessing
import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest

from neuropil.errors import NeuropilError
from neuropil.segmentation.edits import EditLog, LogHeader, affinities_digest, merged, session
from neuropil.volumes import Metadata, array_volume, open_volume, write_volume

HEADER = LogHeader("b2b:00", 1e-4, 0.9999, "mean", 0.5, 0)


def test_decisions_come_back(tmp_path):
    log = EditLog.begin(tmp_path / "log", HEADER)
    log.append("join", (1, 2, 3), (4, 5, 6), by="ann")
    log.append("separate", (0, 0, 0), (0, 0, 9), by="bob")
    log.append("undo", undoes=1)
    again = EditLog.read(tmp_path / "log")
    assert again.edits == log.edits
    assert [edit.kind for edit in again.active()] == ["separate"]
    lines = (tmp_path / "log").read_text().splitlines()
    assert json.loads(lines[0])["version"] == 1
    assert json.loads(lines[1]) | {"time": ""} == {
        "id": 1, "time": "", "by": "ann", "kind": "join", "a": [1, 2, 3], "b": [4, 5, 6],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["affinities_digest", "low", "high"])
def test_a_log_of_other_fragments_is_refused(tmp_path, name):
    EditLog.begin(tmp_path / "log", HEADER)
    EditLog.begin(tmp_path / "log", replace(HEADER, threshold=0.2, score="max", min_size=9))
    with pytest.raises(NeuropilError, match=name):
        EditLog.begin(tmp_path / "log", replace(HEADER, **{name: "other" if name[0] == "a" else 0.3}))


@pytest.mark.parametrize("line", ["{", "[]", '{"id": 2}', '{"id": 1, "kind": "join"}', '{"id": 1, "kind": "paint"}',
                                  '{"id": 1, "kind": "undo", "undoes": 1}', '{"id": true, "kind": "keep"}',
                                  '{"id": 1, "kind": "join", "a": [1, 2], "b": [1, 2, 3]}'])  # fmt: skip
def test_a_damaged_line_is_named(tmp_path, line):
    EditLog.begin(tmp_path / "log", HEADER)
    with open(tmp_path / "log", "a") as file:
        file.write(line + "\n")
    with pytest.raises(NeuropilError, match="log"):
        EditLog.read(tmp_path / "log")


def test_what_a_crash_cut_off_is_dropped(tmp_path):
    log = EditLog.begin(tmp_path / "log", HEADER)
    log.append("keep", (0, 0, 0), (0, 0, 1))
    with open(tmp_path / "log", "a") as file:
        file.write('{"id": 2, "ki')
    assert EditLog.read(tmp_path / "log").unfinished
    log.append("unsure", (0, 0, 0), (0, 0, 1))
    again = EditLog.read(tmp_path / "log")
    assert not again.unfinished
    assert [edit.kind for edit in again.edits] == ["keep", "unsure"]


def write_many(path, name, count):
    log = EditLog.read(path)
    for i in range(count):
        log.append("keep", (i, 0, 0), (i, 0, 1), by=name)


def test_several_processes_append(tmp_path):
    EditLog.begin(tmp_path / "log", HEADER)
    context = multiprocessing.get_context("spawn")
    people = [context.Process(target=write_many, args=(tmp_path / "log", name, 20)) for name in "ab"]
    for person in people:
        person.start()
    for person in people:
        person.join()
    edits = EditLog.read(tmp_path / "log").edits
    assert [edit.id for edit in edits] == list(range(1, 41))
    assert sorted(edit.by for edit in edits) == ["a"] * 20 + ["b"] * 20


def test_a_killed_writer_loses_nothing_that_was_acknowledged(tmp_path):
    EditLog.begin(tmp_path / "log", HEADER)
    person = multiprocessing.get_context("spawn").Process(target=write_many, args=(tmp_path / "log", "a", 100000))
    person.start()
    while len(EditLog.read(tmp_path / "log").edits) < 5:
        time.sleep(0.01)
    before = len(EditLog.read(tmp_path / "log").edits)
    os.kill(person.pid, signal.SIGKILL)
    person.join()
    log = EditLog.read(tmp_path / "log")
    assert len(log.edits) >= before
    log.append("keep", (0, 0, 0), (0, 0, 1))
    assert EditLog.read(tmp_path / "log").edits == log.edits


def test_a_second_session_is_refused(tmp_path):
    EditLog.begin(tmp_path / "log", HEADER)
    with (
        session(tmp_path / "log"),
        pytest.raises(NeuropilError, match=rf"in use by .*{os.getpid()}"),
        session(tmp_path / "log"),
    ):
        pass
    with session(tmp_path / "log"):
        pass
    assert not (tmp_path / "log.lock").exists()


def test_merged_logs(tmp_path):
    one, other = EditLog.begin(tmp_path / "one", HEADER), EditLog.begin(tmp_path / "other", HEADER)
    one.append("join", (0, 0, 0), (0, 0, 1), by="ann")
    other.append("keep", (0, 0, 2), (0, 0, 3), by="bob")
    other.append("undo", undoes=1)
    other.append("unsure", (0, 0, 4), (0, 0, 5), by="bob")
    assert [(e.kind, e.by) for e in merged([one, other], tmp_path / "both").edits] == [
        ("join", "ann"),
        ("unsure", "bob"),
    ]
    with pytest.raises(NeuropilError, match="exists"):
        merged([one, other], tmp_path / "both")


def test_the_digest_is_of_voxels_and_not_of_files(tmp_path):
    array = np.random.default_rng(0).random((3, 4, 8, 8)).astype(np.float32)
    digests = set()
    for name in ("a.h5", "a.zarr"):
        write_volume(tmp_path / name, array, Metadata(voxel_size=(30, 6, 6)))
        digests.add(affinities_digest(open_volume(tmp_path / name)))
    assert len(digests) == 1
    array[0, 0, 0, 0] += 0.125
    assert affinities_digest(array_volume(array)) not in digests
