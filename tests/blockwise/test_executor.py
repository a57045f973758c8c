"""Executors do every task once, try again what may work, and name what does not."""

import os
import signal

import numpy as np
import pytest

import neuropil
from neuropil import NeuropilError
from neuropil.blockwise import Serial, open_executor, segment_blocks
from neuropil.blockwise.executor import MALLOC, TRIES, Failure, Task
from neuropil.config import SegmentConfig
from neuropil.volumes import open_volume, write_volume
from reference.cluster_tasks import count, die_once


def tasks(call, arguments):
    return [Task(call, given, "count", f"block {i}", ("count", (0, i))) for i, given in enumerate(arguments)]


def test_one_process_does_all_that_can_be_done(tmp_path):
    found = {
        task.node[1]: outcome for task, outcome in Serial().run(tasks(count, [(str(tmp_path), i) for i in range(7)]))
    }
    assert len(found) == 7
    assert isinstance(found[3], Failure)
    assert "block 3: 3 is no block" in str(found[3])
    assert found[5] == {"number": 5}
    assert len(list(tmp_path.glob("5.*"))) == 2


@pytest.fixture(scope="module")
def cluster():
    with open_executor(workers=2) as executor:
        yield executor


def test_a_cluster_does_all_that_can_be_done(cluster, tmp_path):
    found = {task.node[1]: out for task, out in cluster.run(tasks(count, [(str(tmp_path), i) for i in range(7)]))}
    assert {i for i, outcome in found.items() if isinstance(outcome, Failure)} == {0, 3, 6}
    assert found[5] == {"number": 5}
    assert len(list(tmp_path.glob("3.*"))) == TRIES


def test_workers_keep_the_memory_that_blocks_give_back(cluster, tmp_path):
    """Dask would have glibc return it at once, and every block fetch it again page by page."""
    list(cluster.run(tasks(die_once, [(str(tmp_path), 0)])))  # one of them is started anew
    found = cluster.client.run(lambda dask_worker: (dict(os.environ), dask_worker.memory_manager.memory_pause_fraction))
    for environment, pause in found.values():
        assert {key: int(environment[key]) for key in MALLOC} == MALLOC
        assert pause is False, "it would wait for memory to be given back"


def test_a_worker_that_dies_costs_only_its_block(cluster, tmp_path):
    outcomes = [outcome for _, outcome in cluster.run(tasks(die_once, [(str(tmp_path), i) for i in range(5)]))]
    assert sorted(outcome["number"] for outcome in outcomes) == [0, 1, 2, 3, 4]


def test_a_cluster_segments_as_one_process_does(cluster, tmp_path):
    rng = np.random.default_rng(0)
    write_volume(tmp_path / "a.zarr", array := (rng.integers(0, 9, (3, 6, 20, 20)) * 28).astype(np.uint8))
    affinities, config = open_volume(tmp_path / "a.zarr"), SegmentConfig(threshold=0.5)
    segment_blocks(affinities, tmp_path / "s.zarr", config, block=(3, 11, 9), executor=cluster)
    segment_blocks(affinities, tmp_path / "t.zarr", config, block=(3, 11, 9))
    found = open_volume(tmp_path / "s.zarr").read()
    np.testing.assert_array_equal(found, open_volume(tmp_path / "t.zarr").read())
    fragments = neuropil.watershed(array)
    assert found.max() == neuropil.agglomerate(array, fragments).segment(fragments, 0.5).max()


def test_two_deaths_and_a_stop_do_not_show(cluster, tmp_path):
    """The small sister of test_chaos."""
    rng = np.random.default_rng(1)
    write_volume(tmp_path / "a.zarr", (rng.integers(0, 9, (3, 6, 20, 20)) * 28).astype(np.uint8))
    affinities, config = open_volume(tmp_path / "a.zarr"), SegmentConfig(threshold=0.5)

    def progress(step, done, total):
        if (step, done) in [("watershed and merging", 3), ("faces", 3)]:
            os.kill(min(cluster.client.run(os.getpid).values()), signal.SIGKILL)
        if step == "merging, level 1":
            raise KeyboardInterrupt

    options = {"block": (3, 7, 7), "executor": cluster, "progress": progress}
    with pytest.raises(KeyboardInterrupt):
        segment_blocks(affinities, tmp_path / "s.zarr", config, **options)
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "s.zarr.blocks").rglob("[mf]*-0/*/*.npz")}
    assert len(done) == 2 * 18
    segment_blocks(affinities, tmp_path / "s.zarr", config, **options | {"progress": watch_only(done)})
    segment_blocks(affinities, tmp_path / "t.zarr", config, block=(3, 7, 7))
    found = open_volume(tmp_path / "s.zarr").read()
    np.testing.assert_array_equal(found, open_volume(tmp_path / "t.zarr").read())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "s.zarr", "t.zarr"]


def watch_only(done):
    """Watches that nothing is done twice."""

    def progress(step, count, total):
        if not step.startswith(("ids", "relabelling")):
            assert all(path.stat().st_mtime_ns == before for path, before in done.items())

    return progress


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workers": 2, "scheduler": "tcp://127.0.0.1:1"}, "got both"),
        ({"workers": 0}, "from one to 1024 workers"),
        ({"scheduler": "nowhere"}, "running Dask scheduler"),
    ],
)
def test_an_executor_that_cannot_be_had_is_refused(options, words, monkeypatch):
    monkeypatch.setattr("neuropil.blockwise.executor.CONNECT", 0.5)
    with pytest.raises(NeuropilError, match=words), open_executor(**options):
        pass
