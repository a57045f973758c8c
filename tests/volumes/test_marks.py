"""What neuropil did not write is replaced only with --force; its own outputs, those of version 0.1 too, as before."""

import json
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import torch
import zarr
from PIL import Image
from typer.testing import CliRunner

from neuropil import open_volume, write_volume
from neuropil.cli import app
from neuropil.volumes import Metadata

LABELS = np.kron(np.arange(1, 9).reshape(2, 2, 2), np.ones((2, 8, 8), int)).astype(np.uint8)
OTHER = np.full((4, 16, 16), 77, np.uint8)


def n5(path):
    Path(path).mkdir()
    values = {"dimensions": [16, 16, 4], "blockSize": [16, 16, 4], "dataType": "uint8", "compression": {"type": "raw"}}
    Path(path, "attributes.json").write_text(json.dumps(values))


def precomputed(path):
    Path(path).mkdir()
    scale = {"key": "4", "size": [16, 16, 4], "resolution": [1, 1, 1], "chunk_sizes": [[16, 16, 4]], "encoding": "raw"}
    info = {"type": "image", "data_type": "uint8", "num_channels": 1, "scales": [scale]}
    Path(path, "info").write_text(json.dumps(info))


def hdf5(path):
    with h5py.File(path, "w") as file:
        file["main"] = OTHER


def pictures(path):
    Path(path).parent.mkdir()
    for z in range(4):
        Image.fromarray(OTHER[z]).save(path.replace("*", f"{z:04d}"))


def sheets(path):
    Path(path).parent.mkdir()
    for z in range(4):
        tifffile.imwrite(path.replace("*", f"{z:04d}"), OTHER[z])


OF_OTHERS = {
    "o.h5": hdf5,
    "o.zarr": lambda path: zarr.save_array(path, OTHER, zarr_format=3),
    "zarr2://o.zarr": lambda path: zarr.save_array("o.zarr", OTHER, zarr_format=2),
    "o.n5": n5,
    "o.precomputed": precomputed,
    "o.tif": lambda path: tifffile.imwrite(path, OTHER),
    "o.npy": lambda path: np.save(path, OTHER),
    "o/*.png": pictures,
    "o/*.tif": sheets,
}
"""Volumes that other libraries write."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_volume("labels.h5", LABELS, Metadata(voxel_size=(30, 6, 6)))
    write_volume("affinities.h5", np.full((3, 4, 16, 16), 0.9, np.float32))
    return tmp_path


def command(text):
    return CliRunner().invoke(app, text.split())


def content(folder):
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", OF_OTHERS)
def test_a_volume_of_another_program_is_replaced_only_with_force(folder, name):
    OF_OTHERS[name](name)
    before = content(folder)
    done = command(f"convert labels.h5 {name}")
    assert done.exit_code == 2, done.output
    assert "was not written by neuropil" in done.stderr
    assert content(folder) == before
    for words in (f"convert labels.h5 {name} --force", f"convert labels.h5 {name}"):  # the second replaces its own
        done = command(words)
        assert done.exit_code == 0, done.output
        assert (open_volume(name).read() == LABELS).all()


TEXTS = {
    "evaluate labels.h5 labels.h5 --json o.json": "o.json",
    "evaluate labels.h5 labels.h5 --report o.html": "o.html",
    "check labels.h5 --report o.html": "o.html",
    "config new labels.h5 labels.h5 -o o.yaml": "o.yaml",
    "objects labels.h5 -o o.csv": "o.csv",
    "rank affinities.h5 ids.h5 -o o.csv": "o.csv",
    "tune affinities.h5 labels.h5 -o o": "o/curve.csv",
    "tune affinities.h5 labels.h5  -o o": "o/curve.png",
    "tune affinities.h5 labels.h5   -o o": "o/segment.yaml",
    "segment affinities.h5 -o o.h5": "o.h5.yaml",
    "convert snemi3d o.safetensors": "o.safetensors",
}


@pytest.mark.parametrize("words", TEXTS)
def test_tables_pages_and_recipes_of_others_are_kept(folder, words):
    command("segment affinities.h5 -o ids.h5")
    file = Path(TEXTS[words])
    file.parent.mkdir(exist_ok=True)
    file.write_text("my notes on neuropil\n")
    before = content(folder)
    done = command(words)
    assert done.exit_code == 2, done.output
    assert f"{file} exists and was not written by neuropil" in done.stderr
    assert content(folder) == before
    assert command(f"{words} --force").exit_code == 0
    assert command(words).exit_code == 0
    assert file.read_bytes() != b"my notes on neuropil\n"


def test_checkpoints_and_recipes_of_others_are_kept_by_train(folder):
    recipe = Path("recipe.yaml")
    recipe.write_text("data: {train: [{image: labels.h5, labels: labels.h5}]}\ntraining: {patch: [4, 16, 16]}\n")
    for name in ("run/checkpoints/last.pt", "run/checkpoints/best.pt", "run/config.yaml"):
        shutil.rmtree("run", ignore_errors=True)
        Path(name).parent.mkdir(parents=True)
        torch.save({"weights": torch.zeros(3)}, name)
        before = Path(name).read_bytes()
        done = command("train recipe.yaml --out run --minutes 0.01")
        assert done.exit_code == 2, done.output
        assert f"{name} exists" in done.stderr
        assert Path(name).read_bytes() == before


def test_a_new_array_in_a_file_of_others_replaces_nothing(folder):
    hdf5("o.h5")
    assert command("convert labels.h5 o.h5/more").exit_code == 0
    assert (open_volume("o.h5/main").read() == 77).all()
    assert (open_volume("o.h5/more").read() == LABELS).all()


@pytest.mark.parametrize("name", ["o.h5", "o.zarr", "zarr2://o.zarr", "o.n5", "o.precomputed", "o.tif"])
def test_outputs_of_version_0_1_count_as_ours(folder, name, monkeypatch):
    for module in ("hdf5", "zarr", "n5", "precomputed", "tiff_metadata"):
        monkeypatch.setattr(f"neuropil.volumes.formats.{module}.marked", dict)
    assert command(f"convert labels.h5 {name}").exit_code == 0
    monkeypatch.undo()
    os.chdir(folder)
    done = command(f"convert affinities.h5 {name}")
    assert done.exit_code == 0, done.output
    assert open_volume(name).shape == (3, 4, 16, 16)


@pytest.mark.parametrize("name", ["o.json", "o.h5", "o.npy"])
def test_an_empty_file_may_be_replaced(folder, name):
    Path(name).touch()
    words = "evaluate labels.h5 labels.h5 --json o.json" if name == "o.json" else f"convert labels.h5 {name}"
    done = command(words)
    assert done.exit_code == 0, done.output


def test_a_pipe_or_a_device_is_no_output(folder):
    os.mkfifo("pipe.json")
    os.symlink("/dev/null", "null.json")
    os.symlink("circle.json", "circle.json")
    for name in ("pipe.json", "null.json", "circle.json"):
        done = command(f"evaluate labels.h5 labels.h5 --json {name} --force")
        assert done.exit_code == 2, done.output
        assert os.path.lexists(name)
        assert Path("/dev/null").is_char_device()


def test_in_python_the_caller_decides(folder):
    hdf5("o.h5")
    write_volume("o.h5", LABELS)
    assert (open_volume("o.h5").read() == LABELS).all()


def test_the_mark_is_no_metadata_of_the_volume(folder):
    for name in ("o.h5", "o.zarr", "zarr2://p.zarr", "o.n5", "o.precomputed", "o.tif"):
        write_volume(name, LABELS, Metadata(voxel_size=(30, 6, 6)))
        assert open_volume(name).metadata == Metadata(voxel_size=(30, 6, 6))
