"""What a large volume takes is told before the work, and refused where there is less memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from forks import python

SPEC = {
    "zarr_format": 3, "node_type": "array", "data_type": "uint8",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [64, 64, 64]}},
    "chunk_key_encoding": {"name": "default"}, "fill_value": 0, "codecs": [{"name": "bytes"}],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Volumes that claim 10¹² voxels in a few bytes."""
    monkeypatch.chdir(tmp_path)
    for name, shape in (("image.zarr", [10**4] * 3), ("affinities.zarr", [3, *[10**4] * 3])):
        spec = SPEC
        if len(shape) == 4:
            spec = SPEC | {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [3, 64, 64, 64]}}}
        Path(name).mkdir()
        Path(name, "zarr.json").write_text(json.dumps(spec | {"shape": shape}))
    return tmp_path


@pytest.mark.parametrize("words", [
    "segment affinities.zarr -o s.h5",
    "segment affinities.zarr -o s.h5 --block 4000,4000,4000",
    "tune affinities.zarr image.zarr",
    "objects image.zarr -o o.csv",
    "rank affinities.zarr image.zarr",
])  # fmt: skip
def test_more_memory_than_there_is_is_refused_before_the_work(folder, words):
    done = python("-m", "neuropil", *words.split(), RLIMIT_CPU=60)
    assert done.returncode == 2, done
    assert "GB of memory, and" in done.stderr
    assert "block" in done.stderr
    assert not list(folder.glob("[so].*"))


@pytest.mark.parametrize("words", [
    "convert image.zarr o.zarr", "evaluate image.zarr image.zarr", "predict snemi3d image.zarr -o a.zarr"
])  # fmt: skip
def test_time_is_told_before_the_work(folder, words):
    words = [sys.executable, "-m", "neuropil", *words.split()]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        line = next(line for line in process.stdout if "hours" in line)
        process.terminate()
    assert "1,000,000,000,000 voxels of image.zarr" in line
