"""How long the data path takes: seconds of one core per sample, from volume to batch, and of one training step.

    python benchmarks/training.py [--patch 17,257,257] [--samples 8] [--steps 0] [--json FILE]

The volume is random and in memory; the sample is drawn, warped, spoiled, varied, eroded and turned into affinities with
validity, and its edges are weighed by class, as in training. ``--steps`` adds steps of the default network, once as
training runs it and once plain (float32, contiguous), on all cores.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import torch

from neuropil import Config
from neuropil.config import AugmentConfig
from neuropil.dataset import VolumeDataset, VolumePair
from neuropil.losses import class_weights
from neuropil.models import build_network
from neuropil.targets import label_margin
from neuropil.training.batches import Batch, prepare
from neuropil.training.objective import judge
from neuropil.volumes import array_volume

KINDS = ("missing", "partly_missing", "blurred", "noisy", "motion", "cut_noise", "cut_blur")
FULL = AugmentConfig(
    rotate=45, scale=0.2, elastic=4, warp_probability=1.0, step=0.35, slip=0.15, **dict.fromkeys(KINDS, 0.1)
)
"""Every part of the augmentation, and every sample warped."""


def volume(seed: int = 0) -> VolumePair:
    """Random grey values, and labels in patches of 16 voxels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 300, (40, 40, 40)).astype(np.uint32).repeat(16, 1).repeat(16, 2)
    return VolumePair(array_volume(rng.integers(0, 256, labels.shape, dtype=np.uint8)), array_volume(labels))


def data_path(patch: tuple[int, int, int], offsets: str, augment: AugmentConfig | None, samples: int) -> float:
    """Median processor seconds per sample, on one core: what other programs do meanwhile does not count."""
    config = Config.from_dict({"model": {"offsets": offsets}, "training": {"patch": list(patch)}})
    data = VolumeDataset([volume()], patch, margin=label_margin(config.model), augment=augment)
    seconds = []
    for number in range(samples + 1):
        start = time.process_time()
        batch = prepare([data[number]], config, 0, augment)
        class_weights(batch.target_BEZYX, batch.validity_BEZYX, 10.0)
        seconds.append(time.process_time() - start)
    return float(np.median(seconds[1:]))


def step_seconds(batch: Batch, config: Config, fast: bool, steps: int) -> float:
    """Median seconds of forward, loss and backward."""
    torch.manual_seed(0)
    network, image = build_network(config.model), batch.image_BCZYX
    if fast:
        network = network.to(memory_format=torch.channels_last_3d)
        image = image.to(memory_format=torch.channels_last_3d)
    seconds = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            logits = network(image)
        judge(logits, batch, config).loss.backward()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[1:]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patch", default="17,257,257")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    z, y, x = (int(n) for n in given.patch.split(","))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = {}
    for name, offsets, augment in [
        ("3 edges, no augmentation", "nearest", None),
        ("3 edges, flips and grey values", "nearest", AugmentConfig()),
        ("3 edges, full augmentation", "nearest", FULL),
        ("12 edges, full augmentation", "long12", FULL),
    ]:
        found[name] = round(data_path((z, y, x), offsets, augment, given.samples), 4)
        print(f"{name:32s} {found[name]:.4f} s a sample, one core", flush=True)
    if given.steps:
        torch.set_num_threads(threads)
        config = Config.from_dict({"training": {"patch": [16, 144, 144]}})
        data = VolumeDataset([volume()], (16, 144, 144), margin=1)
        batch = prepare([data[0]], config, 0, None)
        for name, fast in (("step as trained", True), ("step in plain PyTorch", False)):
            found[name] = round(step_seconds(batch, config, fast, given.steps), 4)
            print(f"{name:32s} {found[name]:.4f} s, {threads} threads", flush=True)
    if given.json:
        given.json.write_text(
            json.dumps({"machine": platform.machine(), "patch": given.patch, **found}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
