"""Sixty mistakes of a newcomer: each is answered with one line that says what to do, and exit code 2."""

import os
import shlex

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from neuropil.cli import app
from neuropil.volumes import LOGIT8, Metadata, write_volume

GREY = np.random.default_rng(0).integers(0, 255, (16, 48, 48)).astype(np.uint8)
IDS = np.repeat(np.repeat(np.arange(1, 17, dtype=np.uint32).reshape(1, 4, 4), 12, 1), 12, 2) * np.ones((16, 1, 1), "u4")

MISTAKES = [
    # Names of files
    ("predict snemi3d imgae.h5 -o a.zarr", "imgae.h5"),
    ("predict snemi3d image.h5/raw -o a.zarr", "main"),
    ("predict snemi image.h5 -o a.zarr", "snemi3d"),
    ("predict snemi3d image.h5 -o a", "a"),
    ("predict snemi3d notes.txt -o a.zarr", "notes.txt"),
    ("predict image.h5 snemi3d -o a.zarr", "image.h5"),
    ("predict broken.pt image.h5 -o a.zarr", "broken.pt"),
    ("predict snemi3d empty.h5 -o a.zarr", "empty.h5"),
    ("predict snemi3d . -o a.zarr", "."),
    ("predict snemi3d '*.png' -o a.zarr", "png"),
    ("segment affinities.zarr -o affinities.zarr", "affinities.zarr"),
    ("convert image.h5 image.h5", "image.h5"),
    ("convert image.h5 image.jpg", "jpg"),
    ("info nothing.h5", "nothing.h5"),
    ("view nothing.h5", "nothing.h5"),
    ("config show nothing.yaml", "nothing.yaml"),
    # The wrong kind of volume
    ("predict snemi3d affinities.zarr -o a.zarr", "[z, y, x]"),
    ("predict snemi3d colours.tif -o a.zarr", "colours.tif"),
    ("segment image.h5 -o s.h5", "image.h5"),
    ("segment labels.h5 -o s.h5", "labels.h5"),
    ("segment four.h5 -o s.h5", "offsets"),
    ("evaluate image.h5 labels.h5", "image.h5"),
    ("evaluate labels.h5 image.h5", "image.h5"),
    ("evaluate affinities.zarr labels.h5", "affinities.zarr"),
    ("evaluate small.h5 labels.h5", "small.h5"),
    ("evaluate fractions.h5 labels.h5", "fractions.h5"),
    ("tune labels.h5 affinities.zarr", "labels.h5"),
    ("tune affinities.zarr small.h5", "small.h5"),
    ("tune affinities.zarr zeros.h5", "zeros.h5"),
    ("evaluate labels.h5 zeros.h5", "zeros.h5"),
    ("objects image.h5 -o o.csv", "image.h5"),
    ("rank labels.h5 affinities.zarr -o d.csv", "labels.h5"),
    ("export image.h5 --to swc -o out", "image.h5"),
    # Options
    ("segment affinities.zarr -o s.h5 --threshold 128", "threshold"),
    ("segment affinities.zarr -o s.h5 --threshold high", "--threshold"),
    ("segment affinities.zarr -o s.h5 --score average", "average"),
    ("segment affinities.zarr -o s.h5 --min-size -5", "min"),
    ("segment affinities.zarr -o s.h5 --low 0.9 --high 0.1", "low"),
    ("segment affinities.zarr -o s.h5 --method waterz", "waterz"),
    ("segment affinities.zarr -o s.h5 --block 64", "block"),
    ("segment affinities.zarr -o s.h5 --tresh 0.5", "tresh"),
    ("segment affinities.zarr", "-o"),
    ("segmnet affinities.zarr -o s.h5", "segmnet"),
    ("predict snemi3d image.h5 -o a.zarr --box 0:100,:,:", "0:100"),
    ("predict snemi3d image.h5 -o a.zarr --box 0-8", "0-8"),
    ("predict snemi3d image.h5 -o a.zarr --tta 3", "3"),
    ("predict snemi3d image.h5 -o a.zarr --tile 0,64,64", "tile"),
    ("predict snemi3d image.h5 -o a.zarr --device cuda", "cuda"),
    ("evaluate labels.h5 labels.h5 --report page.pdf", "page.pdf"),
    ("evaluate labels.h5 labels.h5 --ignore none", "none"),
    # Recipes and training
    ("config new image.h5", "labels"),
    ("config new labels.h5 image.h5", "exchange"),
    ("config new image.h5 labels.h5", "voxel"),
    ("config new image.h5 small.h5 --voxel-size 30,6,6", "small.h5"),
    ("config new image.h5 labels.h5 --voxel-size 30,6", "30,6"),
    ("config new image.h5 negative.h5 --voxel-size 8,8,8", "negative"),
    ("train recipe.yaml model.width=[8]", "model.width"),
    ("train recipe.yaml training.minutes=soon", "minutes"),
    ("train recipe.yaml training.patch=[64,64,64]", "patch"),
    ("train recipe.yaml --resume broken.pt --out o", "broken.pt"),
    ("train recipe.yaml --resume last.pt --pretrained snemi3d", "only one"),
    ("train recipe.yaml data.train=[] --out o2", "data.train"),
    ("train tabs.yaml --out o3", "tabs.yaml"),
    ("train image.h5 --out o4", "image.h5"),
    ("run recipe.yaml data.test.image=image.h5 --out image.h5", "image.h5"),
    ("fetch cremi", "cremi"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a newcomer may have in a folder."""
    import h5py
    import tifffile

    folder = tmp_path_factory.mktemp("newcomer")
    write_volume(folder / "image.h5", GREY)
    write_volume(folder / "labels.h5", IDS)
    write_volume(folder / "small.h5", IDS[:4, :20, :20])
    write_volume(folder / "zeros.h5", IDS * 0)
    with h5py.File(folder / "fractions.h5", "w") as file:
        file["main"] = IDS + 0.5
    with h5py.File(folder / "negative.h5", "w") as file:
        file["main"] = IDS.astype(np.int32) - 5
    with h5py.File(folder / "four.h5", "w") as file:
        file["main"] = np.zeros((4, 4, 8, 8), np.uint8)
    h5py.File(folder / "empty.h5", "w").close()
    codes = np.random.default_rng(1).integers(60, 200, (3, *GREY.shape)).astype(np.uint8)
    nearest = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
    write_volume(folder / "affinities.zarr", codes, Metadata(offsets=nearest, encoding=LOGIT8))
    tifffile.imwrite(folder / "colours.tif", np.zeros((32, 32, 3), np.uint8), photometric="rgb")
    (folder / "notes.txt").write_text("hello")
    (folder / "broken.pt").write_bytes(b"PK\x03\x04" + b"\0" * 50)
    torch.save({"hello": 1}, folder / "last.pt")
    (folder / "tabs.yaml").write_text("training:\n\tminutes: 5\n")
    (folder / "recipe.yaml").write_text(
        "data: {train: [{image: image.h5, labels: labels.h5}], voxel_size: [30, 6, 6]}\n"
        "model: {widths: [4, 6], offsets: nearest}\ntraining: {iterations: 1, patch: [8, 32, 32]}\n"
    )
    return folder


@pytest.mark.parametrize(("command", "says"), MISTAKES, ids=[command for command, _ in MISTAKES])
def test_a_mistake_is_answered_in_one_line(folder, monkeypatch, command, says):
    monkeypatch.chdir(folder)
    before = sorted(os.listdir("."))
    done = CliRunner().invoke(app, shlex.split(command))
    assert done.exit_code == 2, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    lines = [line for line in done.stderr.splitlines() if line and not line.startswith(("Usage:", "Try "))]
    assert len(lines) == 1, done.stderr
    assert says in lines[0]
    assert len(lines[0]) < 400
    if not command.startswith("train"):
        assert sorted(os.listdir(".")) == before, "it left something behind"


def test_there_are_sixty():
    assert len({command for command, _ in MISTAKES}) >= 60
