"""The scripts of docs/scaling.md with jobs on this machine: a cluster as batch systems start it, and its address."""

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import neuropil
from neuropil.blockwise import open_executor
from neuropil.blockwise.executor import Task
from neuropil.volumes import open_volume, write_volume
from reference.cluster_tasks import resources_here

pytest.importorskip("dask_jobqueue")
pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs/scaling.md"
LOCAL = {
    "from dask_jobqueue import SLURMCluster": "from dask_jobqueue.local import LocalCluster as SLURMCluster",
    "cores=16, processes=16": "cores=2, processes=2",
    "jobs=40": "jobs=2",
}


def snippets():
    """The scripts of the page, for this machine."""
    found = re.findall(r"```py\n(.*?)```", DOCS.read_text(), re.S)
    for old, new in LOCAL.items():
        found = [text.replace(old, new) for text in found]
    return found


@contextmanager
def running(folder, script):
    """The address that a script of the page prints; the cluster is up until the end of the block."""
    (folder / "cluster.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    run = subprocess.Popen(
        [sys.executable, "-u", "cluster.py"], cwd=folder, env=environment, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield run.stdout.readline().split()[1]
    finally:
        run.communicate("\n", timeout=120)
    assert run.returncode == 0


def test_from_the_address_to_the_segmentation(tmp_path):
    array = (np.random.default_rng(0).integers(0, 9, (3, 6, 20, 22)) * 28).astype(np.uint8)
    write_volume(tmp_path / "a.zarr", array)
    fragments = neuropil.watershed(array)
    expected = neuropil.agglomerate(array, fragments).segment(fragments, 0.5)
    write_volume(tmp_path / "t.zarr", expected)
    with running(tmp_path, snippets()[0]) as address:
        for words in (
            ("segment", "a.zarr", "-o", "s.zarr", "--threshold", "0.5", "--block", "3,11,9"),
            ("evaluate", "s.zarr", "t.zarr", "--block", "3,11,9"),
            ("tune", "a.zarr", "t.zarr", "--block", "3,11,9"),
        ):
            done = subprocess.run(
                [sys.executable, "-m", "neuropil", *words, "--scheduler", address],
                cwd=tmp_path, capture_output=True, text=True, timeout=300,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert words[0] == "segment" or "adapted Rand error" in done.stdout
    assert "0.0000" in done.stdout
    found = open_volume(tmp_path / "s.zarr").read()
    pairs = np.unique(np.stack([found.ravel(), expected.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(found)) == len(np.unique(expected)), "one id for one id"


def test_what_needs_a_gpu_goes_to_workers_that_have_one(tmp_path):
    """The second script's arguments, less what only a batch system understands; beside workers without a GPU."""
    plain, tagged = snippets()[:2]
    arguments = tagged[tagged.index("(") : tagged.rindex(")") + 1].replace('["--gres=gpu:1"]', "[]")
    script = plain.replace("SLURMCluster(cores=2, processes=2, memory", f"SLURMCluster{arguments}; _ = dict(memory")
    assert script != plain
    with (
        running(tmp_path, script) as address,
        subprocess.Popen(
            [sys.executable, "-m", "dask", "worker", address, "--nthreads", "1", "--no-dashboard"],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}, stderr=subprocess.DEVNULL,
        ) as other,
    ):  # fmt: skip
        try:
            with open_executor(scheduler=address, resources={"GPU": 1}) as executor:
                executor.client.wait_for_workers(3, timeout=60)
                work = [Task(resources_here, (), "look", str(i), ("look", (0, i))) for i in range(12)]
                assert [found for _, found in executor.run(work)] == [{"GPU": 1}] * 12
            with open_executor(scheduler=address) as executor:
                work = [Task(resources_here, (), "look", str(i), ("look", (0, i))) for i in range(30)]
                assert {found["GPU"] for _, found in executor.run(work)} == {0, 1}
        finally:
            other.terminate()
