"""The modules that hold the voxels on their way, as docs/tour.md lists them: found by looking into every call."""

import re
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import neuropil
from neuropil import Config, Metadata, synthetic, train, write_volume
from neuropil.cli import app

SOURCE = str(Path(neuropil.__file__).parent) + "/"
TOUR = Path(__file__).parents[1] / "docs/tour.md"
SMALLEST = 6 * 24 * 24
"""Voxels of the smallest part that is looked for: a tile."""


def listed():
    """What the table of the tour says: the modules of each way."""
    rows = re.findall(r"^\| ([^|]+) \| (`[^|]+) \|$", TOUR.read_text().partition("## Which modules")[2], re.M)
    return {name: re.findall(r"`(.+?)`", cell) for name, cell in rows}


def holders(work):
    """Modules with a function that is given, makes or returns as many voxels as a tile has, sorted."""
    found: set[str] = set()

    def look(frame, event, arg):
        path = frame.f_code.co_filename
        if event == "return" and path.startswith(SOURCE) and path not in found:
            sizes = (
                np.size(v) if isinstance(v, np.ndarray) else v.numel()
                for v in (arg, *frame.f_locals.values())
                if isinstance(v, np.ndarray | torch.Tensor)
            )
            if max(sizes, default=0) >= SMALLEST:
                found.add(path)

    work()  # what is done once, when a module is imported, is not looked at
    threading.setprofile(look)
    sys.setprofile(look)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return sorted(path.removeprefix(SOURCE) for path in found)


def command(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ways")
    image, labels = synthetic.neuropil((16, 96, 96), seed=3)
    write_volume(folder / "image.h5", image, Metadata(voxel_size=(30, 6, 6)))
    write_volume(folder / "labels.h5", labels, Metadata(voxel_size=(30, 6, 6)))
    write_volume(folder / "affinities.zarr", synthetic.affinities(labels, seed=4))
    learn(folder)
    return folder


def learn(folder):
    shutil.rmtree(folder / "run", ignore_errors=True)
    data = {"train": [{"image": str(folder / "image.h5"), "labels": str(folder / "labels.h5")}]}
    model = {"widths": [2, 3], "downsample": [[1, 2, 2]]}
    training = {"patch": [8, 48, 48], "iterations": 1, "batch": 1, "workers": 0}
    train(Config.from_dict({"data": data, "model": model, "training": training}), out=folder / "run")


def segment(folder, *more):
    command("segment", folder / "affinities.zarr", "-o", folder / "found.zarr", "--threshold", "0.5", *more)


WAYS = {
    "`segment` in memory": segment,
    "`segment` by blocks": lambda folder: segment(folder, "--block", "8,48,48"),
    "a sample and its labels in `train`": learn,
    "a tile in `predict`": lambda folder: command(
        "predict",
        folder / "run/checkpoints/last.pt",
        folder / "image.h5",
        "-o",
        folder / "predicted.zarr",
        "--tile",
        "6,24,24",
        "--overlap",
        "2,6,6",
        "--box",
        "0:8,0:40,0:40",
        "--tta",
        "4",
        "--precision",
        "bf16",
    ),
    "labels in `evaluate`": lambda folder: command("evaluate", folder / "labels.h5", folder / "labels.h5"),
}


def test_the_tour_lists_these_ways():
    assert list(listed()) == list(WAYS)


@pytest.mark.parametrize("way", WAYS)
def test_the_tour_names_the_modules_that_hold_the_voxels(folder, way):
    assert holders(lambda: WAYS[way](folder)) == sorted(listed()[way])
