"""Workers and whole runs killed at random moments: the same result, nothing left behind, no hang."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

import neuropil
from neuropil.volumes import create_volume, open_volume

pytestmark = pytest.mark.slow

SHAPE, BLOCK = (12, 60, 60), "3,12,12"


@pytest.fixture
def affinities(tmp_path):
    rng = np.random.default_rng(7)
    array = (rng.integers(0, 6, (3, *SHAPE)) * 50).astype(np.uint8)
    with create_volume(tmp_path / "a.zarr", array.shape, array.dtype, chunks=(12, 12, 12)) as volume:
        volume.write(volume.box, array)
    (tmp_path / "tmp").mkdir()
    return array


def start(folder, options=("--workers", "2")):
    """The command line, in a process group and with a folder for temporary files of its own."""
    command = [sys.executable, "-m", "neuropil", "segment", "a.zarr", "-o", "s.zarr", "--threshold", "0.5"]
    environment = os.environ | {"TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("a") as log:
        return subprocess.Popen(
            [*command, "--block", BLOCK, *options], cwd=folder, env=environment, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip


def workers(run):
    """Processes of Dask workers: those that are spawned and have nothing below them."""
    try:
        below = psutil.Process(run.pid).children(recursive=True)
        return [p for p in below if any("spawn_main" in word for word in p.cmdline())]
    except psutil.Error:
        return []


def done(folder):
    return len(list(folder.glob("s.zarr.blocks/*/*/*/*.npz")))


def assert_right(folder, array):
    fragments = neuropil.watershed(array)
    expected = neuropil.agglomerate(array, fragments).segment(fragments, 0.5)
    found = open_volume(folder / "s.zarr").read()
    np.testing.assert_array_equal(found == 0, expected == 0)
    pairs = np.unique(np.stack([found.ravel(), expected.ravel()])[:, found.ravel() > 0], axis=1)
    assert pairs.shape[1] == expected.max() == found.max(), "one id for one id"
    assert_clean(folder)


def assert_clean(folder):
    """No folder of work, no temporary files, no process."""
    assert sorted(path.name for path in folder.iterdir()) == ["a.zarr", "log", "s.zarr", "s.zarr.yaml", "tmp"]
    written = [path.relative_to(folder / "s.zarr") for path in (folder / "s.zarr").rglob("*") if path.is_file()]
    assert [path for path in written if path.name != "zarr.json" and not path.name.isdigit()] == []
    kept = {path.name for path in (folder / "tmp").rglob("*")}
    assert kept <= {"dask-scratch-space", "global.lock", "purge.lock"}, "Dask's two empty locks, at most"
    assert [p.pid for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(folder)] == []


def test_twenty_workers_are_killed(tmp_path, affinities):
    draw, run, killed = random.Random(0), start(tmp_path), 0
    until = time.monotonic() + 600
    while run.poll() is None and time.monotonic() < until:
        time.sleep(draw.uniform(0.1, 0.6))
        alive = workers(run) if done(tmp_path) else []
        if killed < 20 and alive:
            draw.choice(alive).kill()
            killed += 1
    assert run.wait(timeout=1) == 0, (tmp_path / "log").read_text()[-3000:]
    assert killed == 20
    assert_right(tmp_path, affinities)


def test_the_whole_run_is_killed_five_times(tmp_path, affinities):
    draw, reached = random.Random(1), 0
    for _ in range(5):
        run = start(tmp_path)
        enough, until = done(tmp_path) + draw.randint(10, 50), time.monotonic() + 120
        while done(tmp_path) < enough and run.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        assert run.poll() is None, (tmp_path / "log").read_text()[-3000:]
        below = psutil.Process(run.pid).children(recursive=True)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        psutil.wait_procs(below, timeout=60)
        assert not [p for p in below if p.is_running() and p.status() != psutil.STATUS_ZOMBIE], (
            "workers end with the run"
        )
        assert done(tmp_path) >= reached, "what is done stays"
        reached = done(tmp_path)
    assert reached > 40
    assert start(tmp_path).wait(timeout=600) == 0, (tmp_path / "log").read_text()[-3000:]
    assert_right(tmp_path, affinities)


def test_a_block_that_cannot_be_read_stops_no_other(tmp_path, affinities):
    chunk = next(path for path in (tmp_path / "a.zarr/c").rglob("2") if path.parts[-3:] == ("0", "2", "2"))
    whole = chunk.read_bytes()
    chunk.write_bytes(b"no chunk")
    assert start(tmp_path).wait(timeout=120) == 1
    told = (tmp_path / "log").read_text()
    assert "watershed and merging of block 3:6,24:36,24:36: " in told
    assert "a.zarr" in told
    assert "Traceback" not in told
    assert not (tmp_path / "s.zarr").exists()
    seen = 4 * 4  # the damaged column of blocks, and those before it, which need its faces
    assert len(list(tmp_path.glob("s.zarr.blocks/*/merge-0/*/*.npz"))) == 100 - seen
    chunk.write_bytes(whole)
    assert start(tmp_path).wait(timeout=120) == 0, (tmp_path / "log").read_text()[-3000:]
    assert_right(tmp_path, affinities)


SCHEDULER = """
import time
from distributed import LocalCluster
if __name__ == "__main__":
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None)
    print(cluster.scheduler_address, flush=True)
    time.sleep(600)
"""


def test_a_scheduler_that_dies_ends_the_run_and_another_goes_on(tmp_path, affinities):
    (tmp_path / "tmp/cluster.py").write_text(SCHEDULER)
    command = [sys.executable, str(tmp_path / "tmp/cluster.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as scheduler:
        run = start(tmp_path, ("--scheduler", scheduler.stdout.readline().strip()))
        until = time.monotonic() + 60
        while not done(tmp_path) and time.monotonic() < until:
            time.sleep(0.05)
        scheduler.kill()
    assert run.wait(timeout=120) == 1
    told = (tmp_path / "log").read_text()
    assert "the scheduler is gone" in told
    assert "Traceback" not in told.partition("neuropil:")[2]
    shutil.rmtree(tmp_path / "tmp")
    (tmp_path / "tmp").mkdir()
    assert start(tmp_path).wait(timeout=120) == 0
    assert_right(tmp_path, affinities)
