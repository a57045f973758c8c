"""The tutorial's folder at a tiny size, and its commands as processes."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import tifffile

from neuropil import open_volume, synthetic
from neuropil.geometry import Box
from real_data import SNEMI3D

ROOT = Path(__file__).parents[1]
TINY = shlex.split(
    "MODEL.INPUT_SIZE [9,33,33] MODEL.OUTPUT_SIZE [9,33,33] MODEL.FILTERS [4,4,4,8,8] SOLVER.ITERATION_TOTAL 2 "
    "SOLVER.ITERATION_SAVE 1 MONITOR.ITERATION_NUM [1,1] SOLVER.SAMPLES_PER_BATCH 1 SYSTEM.NUM_CPUS 0 "
    "INFERENCE.INPUT_SIZE [9,49,49] INFERENCE.OUTPUT_SIZE [9,49,49] INFERENCE.STRIDE [4,32,32]"
)
"""Sizes and iteration counts for a test, as trailing overrides."""
SMALL = {
    "unetr": "MODEL.HIDDEN_SIZE 24 MODEL.MLP_DIM 32 MODEL.UNETR_NUM_HEADS 4 MODEL.UNETR_FEATURE_SIZE 4",
    "swinunetr": "MODEL.SWIN_UNETR_FEATURE_SIZE 12 MODEL.DEPTHS (1,1,1,1) MODEL.SWIN_UNETR_NUM_HEADS (1,1,1,1)",
}
"""Transformers for a test."""


def clone(folder):
    """What a fresh clone has that the tutorial uses, and SNEMI3D as its download lies in it."""
    shutil.copytree(ROOT / "configs" / "SNEMI", folder / "configs" / "SNEMI")
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    image, labels, unseen = _stack()
    (folder / "datasets/SNEMI3D/image").mkdir(parents=True)
    (folder / "datasets/SNEMI3D/seg").mkdir()
    tifffile.imwrite(folder / "datasets/SNEMI3D/image/train-input.tif", image)
    tifffile.imwrite(folder / "datasets/SNEMI3D/seg/train-labels.tif", labels.astype(np.uint16))
    tifffile.imwrite(folder / "datasets/SNEMI3D/image/test-input.tif", unseen)
    return folder


def _stack():
    """Crops of the real stack where it is at hand (the unseen one from sections 80-99), else synthetic tissue."""
    if not SNEMI3D.is_dir():
        image, labels = synthetic.neuropil((24, 64, 64), seed=3)
        return image[:12], labels[:12], image[12:]
    image, labels = open_volume(SNEMI3D / "image.h5"), open_volume(SNEMI3D / "labels_z000-099.h5")
    near = Box((0, 400, 400), (12, 464, 464))
    return image.read(near), labels.read(near), image.read(Box((80, 400, 400), (92, 464, 464)))


def free_port():
    """A port that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def run(folder, words, **environment):
    """Run a command in a folder; ``python`` is the one of the tests."""
    words = [sys.executable if word == "python" else word for word in words]
    return subprocess.run(
        words,
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=900,  # seconds; a dozen when nothing else runs
    )
