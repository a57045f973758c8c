"""How fast training is: the data path alone, and whole steps against plain PyTorch.

    python benchmarks/training.py --only data [--patch 17,257,257] [--samples 8]     seconds per sample, one core
    python benchmarks/training.py --only steps --steps 20 [--config RECIPE] [--set section.key=value] [--json FILE]

``data``: processor seconds of one core per sample, from volume to batch: drawn, warped, spoiled, varied, eroded, turned
into affinities with validity, its edges weighed by class. The volume is random and in memory.

``steps``: steps per second of the loop that ``neuropil train`` runs (batch, network, loss, optimizer, average), and the
share of its time that it waits for data; against a plain loop over the same samples, network, loss and optimizer in
eager float32 and contiguous memory. Pieces of ``--piece`` steps of the two alternate, so that other work on the machine
hits both; medians are compared. ``plain network`` is the plain loop's forward, loss and backward alone.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from neuropil import Config, load_config
from neuropil.config import AugmentConfig
from neuropil.dataset import VolumeDataset
from neuropil.losses import class_weights
from neuropil.models import build_network
from neuropil.sources import LabelledVolume
from neuropil.targets import label_margin
from neuropil.training.batches import Batch, Numbers, prepare
from neuropil.training.device_batches import drawn_batches
from neuropil.training.loop import learn, prepared
from neuropil.training.monitor import Monitor
from neuropil.training.objective import compute_losses
from neuropil.training.optimizers import make_optimizer, update_average
from neuropil.training.ranks import start_fabric
from neuropil.training.run import Run, Step, start_run
from neuropil.training.run import plain as unwrapped
from neuropil.training.stopping import NanCheck
from neuropil.volumes import array_volume

KINDS = ("missing", "partly_missing", "blurred", "noisy", "motion", "cut_noise", "cut_blur")
FULL = AugmentConfig(
    rotate=45, scale=0.2, elastic=4, warp_probability=1.0, step=0.35, slip=0.15, **dict.fromkeys(KINDS, 0.1)
)
"""Every part of the augmentation, and every sample warped."""


def volume(seed: int = 0) -> LabelledVolume:
    """Random grey values, and labels in patches of 16 voxels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 300, (40, 40, 40)).astype(np.uint32).repeat(16, 1).repeat(16, 2)
    return LabelledVolume(array_volume(rng.integers(0, 256, labels.shape, dtype=np.uint8)), array_volume(labels))


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


def run_of(config: Config, folder: Path) -> tuple[Run, Iterator[Batch], Monitor]:
    """What ``neuropil train`` sets up for a recipe, over a random volume."""
    fabric = start_fabric(config.training, own=True)
    data = VolumeDataset(
        [volume()],
        config.training.patch,
        margin=label_margin(config.model),
        augment=config.augment,
    )
    run = start_run(config, fabric, None, folder, None)
    samples = drawn_batches(data, Numbers(0, config.training.batch), config, fabric.device)
    return run, prepared(run, samples), Monitor(folder / "tensorboard", config, 0)


class Plain:
    """The loop that one would write first: eager float32, contiguous, the library's own parts."""

    def __init__(self, run: Run, stream: Iterator[Batch]) -> None:
        torch.manual_seed(run.config.training.seed)
        self.run, self.stream = run, stream
        self.network = build_network(run.config.model).to(run.fabric.device)
        self.optimizer = make_optimizer(self.network, run.config)

    def step(self) -> float:
        batch = next(self.stream)
        start = time.perf_counter()
        compute_losses(self.network(batch.image_BCZYX), batch, self.run.config).loss.backward()
        wait(self.run)
        seconds = time.perf_counter() - start
        if self.run.config.optimizer.clip:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.run.config.optimizer.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return seconds


def wait(run: Run) -> None:
    """Until a GPU has done what it was told."""
    if run.fabric.device.type == "cuda":
        torch.cuda.synchronize(run.fabric.device)


def steps(config: Config, count: int, piece: int) -> dict[str, float]:
    """Seconds per step of the two loops, alternating, and the share of ours spent on data."""
    with TemporaryDirectory() as folder:
        run, stream, monitor = run_of(config, Path(folder))
        plain = Plain(run, stream)
        step, watch = Step(), NanCheck(run.folder, run.fabric.device)
        seconds: dict[str, list[float]] = {"step": [], "plain step": [], "plain network": [], "share waiting": []}
        for part in range(count // piece + 1):  # the first piece warms up
            monitor.waited, start = 0.0, time.perf_counter()
            for _ in range(piece):
                learn(run, step, stream, monitor, watch)
                update_average(run.average, unwrapped(run.network), config, 0.0)
            wait(run)
            ours = time.perf_counter() - start
            start = time.perf_counter()
            alone = [plain.step() for _ in range(piece)]
            wait(run)
            if part:
                seconds["step"].append(ours / piece)
                seconds["plain step"].append((time.perf_counter() - start) / piece)
                seconds["plain network"] += alone
                seconds["share waiting"].append(monitor.waited / ours)
        monitor.__exit__()
    return {name: float(np.median(values)) for name, values in seconds.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["data", "steps"], help="both without it")
    parser.add_argument("--patch", default="17,257,257", help="of the data path")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--piece", type=int, default=5, help="steps in a row")
    parser.add_argument("--config", type=Path, action="append", default=[], help="a recipe; the default one without")
    parser.add_argument("--set", action="append", default=[], help="section.key=value for steps")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found: dict[str, float | str] = {"machine": platform.machine()}
    if given.only != "steps":
        found |= {"patch": given.patch} | measure_data(given.patch, given.samples)
    if given.only != "data":
        config = load_config(given.config, ["training.iterations=1000000", *given.set])
        measured = steps(config, given.steps, given.piece)
        for name, value in measured.items():
            print(f"{name:32s} {value:.4f}" + ("" if name == "share waiting" else " s"), flush=True)
        ratio = measured["plain step"] / measured["step"]
        print(f"{'steps per second':32s} {1 / measured['step']:.3f}, {ratio:.2f} times the plain loop's")
        found |= {name: round(value, 4) for name, value in measured.items()} | {"threads": torch.get_num_threads()}
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


def measure_data(patch: str, samples: int) -> dict[str, float]:
    """Seconds per sample of several recipes, on one core."""
    z, y, x = (int(n) for n in patch.split(","))
    threads, found = torch.get_num_threads(), {}
    torch.set_num_threads(1)
    for name, offsets, augment in [
        ("3 edges, no augmentation", "nearest", None),
        ("3 edges, flips and grey values", "nearest", AugmentConfig()),
        ("3 edges, full augmentation", "nearest", FULL),
        ("12 edges, full augmentation", "long12", FULL),
    ]:
        found[name] = round(data_path((z, y, x), offsets, augment, samples), 4)
        print(f"{name:32s} {found[name]:.4f} s a sample, one core", flush=True)
    torch.set_num_threads(threads)
    return found


if __name__ == "__main__":
    main()
