"""Two processes on one output: the second is refused, readers never see a mixture, refused commands leave nothing."""

import fcntl
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from forks import python
from neuropil import NeuropilError, open_volume, write_volume
from neuropil.cli import app
from neuropil.geometry import Box
from neuropil.volumes import create_volume

LABELS = np.kron(np.arange(1, 9).reshape(2, 2, 2), np.ones((2, 8, 8), int)).astype(np.uint8)
RECIPE = """
data:
  train: [{image: labels.h5, labels: labels.h5}]
  test: {image: labels.h5, labels: labels.h5}
training: {patch: [4, 16, 16]}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_volume("labels.h5", LABELS)
    write_volume("affinities.h5", np.full((3, 4, 16, 16), 0.9, np.float32))
    Path("recipe.yaml").write_text(RECIPE)
    return tmp_path


def command(text):
    return CliRunner().invoke(app, text.split())


def everything(folder):
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}


def test_a_second_array_of_an_hdf5_file_that_is_being_written_is_refused(folder):
    with create_volume("a.h5/one", LABELS.shape, np.uint8) as volume:
        volume.write(volume.box, LABELS)
        code = "import neuropil, numpy; neuropil.write_volume('a.h5/two', numpy.ones((1, 2, 3), 'u1'))"
        assert "a.h5 is being written by process" in python("-c", code).stderr
        with pytest.raises(NeuropilError, match="is being written by process"):
            write_volume("a.h5/two", LABELS)
    write_volume("a.h5/two", LABELS)
    assert all((open_volume(f"a.h5/{name}").read() == LABELS).all() for name in ("one", "two"))
    assert [path.name for path in folder.glob(".*")] == []


@pytest.mark.parametrize("words", [
    "train recipe.yaml --out run --minutes 0.01",
    "run recipe.yaml --out run --minutes 0.01",
    "demo --out run --minutes 0",
])  # fmt: skip
def test_two_in_one_folder(folder, words):
    Path("run").mkdir()
    with open("run/.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = command(words)
    assert done.exit_code == 2, done.output
    assert "another process is at work in run" in done.stderr
    assert [path.name for path in Path("run").rglob("*")] == [".lock"]


def test_the_lock_of_a_folder_goes_with_its_process(folder):
    from neuropil.volumes.locks import working_in

    with working_in(Path("run")):
        assert Path("run/.lock").exists()
    assert not list(Path("run").iterdir())


@pytest.mark.parametrize(
    "name", ["a.zarr", "zarr2://a.zarr", "a.n5", "a.precomputed", "a/*.png", "a/*.tif", "a.h5", "a.npy"]
)
def test_a_reader_of_what_is_replaced_sees_one_version(folder, name):
    write_volume(name, np.full((4, 300, 20), 1, np.uint8))
    volume = open_volume(name)
    first, second = Box((0, 0, 0), (2, 300, 20)), Box((2, 0, 0), (4, 300, 20))
    assert (volume.read(first) == 1).all()
    write_volume(name, np.full((4, 300, 20), 2, np.uint8))
    if name in ("a.h5", "a.npy"):  # open files are still the old ones
        assert (volume.read(second) == 1).all()
    else:
        with pytest.raises(NeuropilError, match="was replaced while"):
            volume.read(second)
    assert (open_volume(name).read() == 2).all()


@pytest.mark.parametrize("words", [
    "train recipe.yaml --out new/run --resume nothing.pt",
    "train recipe.yaml --out new/run --set training.patch=[4,16,3000]",
    "train recipe.yaml --out labels.h5",
    "train recipe.yaml --out labels.h5/new",
    "run recipe.yaml --out labels.h5",
    "run recipe.yaml --out new/run --set data.test.image=nothing.h5",
    "run recipe.yaml --out new/run --pretrained nothing.pt",
    "demo --data nothing --out new/run",
    "tune affinities.h5 labels.h5 -o new/tuned --search --block 4,16,16",
    "tune affinities.h5 labels.h5 -o new/tuned --workers 1 --scheduler tcp://127.0.0.1:1",
    "tune affinities.h5 labels.h5 -o labels.h5",
    "segment affinities.h5 -o new/s.h5 --block 4,16,16 --work labels.h5",
    "segment affinities.h5 -o new/s.h5 --block 4,16,16 --work labels.h5/new",
    "segment affinities.h5 -o new/s.h5 --method mutex --edits nothing.jsonl",
    "segment affinities.h5 -o new/s.n5/labels.h5 --offsets 1,2",
    "evaluate labels.h5 labels.h5 --json new/s.json --block 4,16,16 --border 3",
    "predict snemi3d affinities.h5 -o new/a.zarr",
    "export labels.h5 -o new/x --to webknossos",
    "convert labels.h5 new/a.safetensors",
    "config new labels.h5 affinities.h5 -o new/c.yaml",
])  # fmt: skip
def test_a_refused_command_leaves_nothing(folder, words):
    before = everything(folder)
    done = command(words)
    assert done.exit_code == 2, (done.output, done.exception)
    assert everything(folder) == before


def test_a_folder_that_was_there_stays(folder):
    Path("new").mkdir()
    assert command("tune affinities.h5 labels.h5 -o new/tuned --search --block 4,16,16").exit_code == 2
    assert Path("new").exists()
    shutil.rmtree("new")
