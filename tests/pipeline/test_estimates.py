"""What a large volume takes is told before the work, and refused where there is less memory."""

import json
from pathlib import Path

import pytest

from commands import neuropil
from forks import python
from neuropil import NeuropilError

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


@pytest.mark.parametrize(("work", "words"), [
    ("volumes.convert.convert_volume", "convert image.zarr o.zarr"),
    ("evaluation.scores.evaluate_placed", "evaluate image.zarr image.zarr"),
    ("inference.predict_volume", "predict snemi3d image.zarr -o a.zarr"),
])  # fmt: skip
@pytest.mark.usefixtures("folder")
def test_time_is_told_before_the_work(monkeypatch, work, words):
    def begin(*_, **__):
        raise NeuropilError("the work begins")

    monkeypatch.setattr(f"neuropil.{work}", begin)
    code, told, error = neuropil(*words.split())
    assert code == 2
    assert error.endswith("neuropil: the work begins\n")  # after a line on absent chunks, where it is the first
    assert "1,000,000,000,000 voxels of image.zarr: about" in told
    assert "hours" in told


def test_a_box_that_leaves_the_volume_is_told_before_the_work(folder):
    for words in ("convert image.zarr b.zarr", "predict snemi3d image.zarr -o a.zarr"):
        code, told, error = neuropil(*words.split(), "--box", "0:1000000000000000,0:5,0:5")
        assert code == 2
        assert "leaves image.zarr, which holds 0:10000,0:10000,0:10000" in error
        assert "hours" not in told
