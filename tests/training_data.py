"""Data and recipes that are learnable in seconds, for the tests that train."""

import numpy as np
import torch

from neuropil import load_config, write_volume
from neuropil.models.checkpoint import read_checkpoint
from neuropil.volumes import Metadata


def stripes(folder):
    """Stripes of two neurons with dark membranes between."""
    x = np.arange(96)
    labels = np.broadcast_to((x // 12 % 2 + 1 + x // 24 * 2) * (x % 12 > 1), (6, 64, 96)).astype(np.uint32)
    noise = np.random.default_rng(0).normal(0, 10, labels.shape)
    image = (np.where(labels > 0, 170, 60) + noise).clip(0, 255).astype(np.uint8)
    write_volume(folder / "image.h5", image, Metadata(voxel_size=(30, 6, 6)))
    write_volume(folder / "labels.h5", labels)
    return folder


def recipe(data, *more):
    pair = f'{{"image": "{data}/image.h5", "labels": "{data}/labels.h5"}}'
    small = ["model.widths=[4,6]", "training.patch=[4,24,24]", "training.precision=fp32", "optimizer.warmup=5"]
    return load_config([], [f"data.train=[{pair}]", *small, "training.log_every=5", *more])


def weights(path):
    return read_checkpoint(path)["weights"]


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
