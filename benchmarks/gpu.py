"""How fast this machine's GPU trains and predicts, beside the network alone; needs only the installed package.

    python benchmarks/gpu.py [--out FILE] [--only PART]... [--tiny] [--device cuda]

Each part runs in a process with a time limit of its own, 150 seconds in all, and its line is written as soon as it is
there. ``alone`` is what the package could reach: the same network, loss and optimizer on one batch that lies on the
device, or the same network on one batch of tiles, again and again. Data are synthetic tissue; ``--tiny`` is for tests.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from neuropil import Config, agglomerate, synthetic, watershed
from neuropil.dataset import VolumeDataset
from neuropil.inference import predict_volume
from neuropil.inference.in_memory import predict_request
from neuropil.inference.request import make_request
from neuropil.models import build_network
from neuropil.models.checkpoint import Model
from neuropil.models.convolution import convolves_with_ours
from neuropil.sources import LabelledVolume
from neuropil.targets import label_margin
from neuropil.training.batches import Numbers
from neuropil.training.device_batches import drawn_batches
from neuropil.training.loop import learn, prepared
from neuropil.training.monitor import Monitor
from neuropil.training.optimizers import update_average
from neuropil.training.ranks import start_fabric
from neuropil.training.run import Step, plain, start_run
from neuropil.training.stopping import NanCheck
from neuropil.volumes import array_volume

WIDTHS = {"narrow": (24, 32, 48, 64), "middle": (48, 64, 96, 128), "wide": (64, 96, 128, 160)}

PARTS = {
    "card": 10,
    "train narrow": 22,
    "train middle": 22,
    "train wide": 22,
    "predict narrow": 16,
    "predict middle": 16,
    "predict 8 views": 16,
    "segment": 26,
}
"""Seconds that each part may take, the start of Python included."""


def recipe(widths: tuple[int, ...], device: str, tiny: bool) -> Config:
    """The recipe of the shipped model with other widths: stem, edges and augmentation as there."""
    return Config.from_dict(
        {
            "model": {"widths": list(widths), "stem": [1, 2, 2], "activation": "relu", "offsets": "long12"},
            "augment": {"rotate": 45, "scale": 0.1, "elastic": 4, "step": 0.35, "slip": 0.15, "missing": 0.2}
            | {"partly_missing": 0.1, "blurred": 0.2, "noisy": 0.05, "motion": 0.05},
            "training": {"patch": [4, 64, 64] if tiny else [20, 192, 192], "batch": 2 if tiny else 4, "device": device},
        },
        "benchmarks/gpu.py",
    )


def tissue(shape: tuple[int, int, int], labelled: bool = True) -> list[np.ndarray]:
    """An image of this shape and, if wanted, its labels: a small synthetic volume, mirrored until it is large."""
    small = tuple(min(n, m) for n, m in zip(shape, (20, 256, 256), strict=True))
    arrays = [part if isinstance(part, np.ndarray) else part.read() for part in synthetic.neuropil(small, seed=0)]
    around = [(0, n - m) for n, m in zip(shape, small, strict=True)]
    return [np.pad(array, around, mode="symmetric") for array in arrays[: 1 + labelled]]


def wait(device: torch.device) -> None:
    """Until a GPU has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def train(widths: tuple[int, ...], device: str, tiny: bool) -> dict[str, float]:
    """Mvoxel/s of the loop that ``neuropil train`` runs, and of its network, loss and optimizer on one batch."""
    config, count = recipe(widths, device, tiny), 2 if tiny else 60
    fabric = start_fabric(config.training, convolves_with_ours(build_network(config.model)))
    image, labels = tissue((8, 96, 96) if tiny else (40, 512, 512))
    data = VolumeDataset(
        [LabelledVolume(array_volume(image), array_volume(labels))],
        config.training.patch,
        margin=label_margin(config.model),
        augment=config.augment,
    )
    voxels = config.training.batch * np.prod(config.training.patch) / 1e6
    with TemporaryDirectory() as folder:
        run = start_run(config, fabric, None, Path(folder), None)
        stream = prepared(run, drawn_batches(data, Numbers(0, config.training.batch), config, fabric.device))
        check, found = NanCheck(run.folder, fabric.device), {}
        for name, source in (("package", stream), ("alone", repeat(next(stream)))):
            monitor = Monitor(run.folder / "tensorboard", config, 0)
            for timed in (False, True):
                monitor.waited, start = 0.0, time.perf_counter()
                for _ in range(count if timed else max(count // 6, 1)):
                    learn(run, Step(), source, monitor, check)
                    if name == "package":
                        update_average(run.average, plain(run.network), config, 0.0)
                wait(fabric.device)
                seconds = time.perf_counter() - start
            found[name] = count * voxels / seconds
            if name == "package":
                found["share waiting"] = monitor.waited / seconds
        stream.close()
    return found


def predict(widths: tuple[int, ...], views: int, device: str, tiny: bool) -> dict[str, float]:
    """Mvoxel/s of prediction in memory and into a volume on disk, and of the network on one batch of its tiles."""
    config = recipe(widths, device, tiny)
    torch.manual_seed(0)
    model = Model(build_network(config.model).eval(), config, {})
    (image,) = tissue((6, 96, 96) if tiny else (100, 1024, 1024), labelled=False)
    settings = config.predict.model_copy(update={"tta": views})
    request = make_request(model, array_volume(image), settings, device=device)
    predict_request(request)
    repeats = 1 if tiny or views > 1 else 2
    found = {"package": image.size / min(seconds(lambda: predict_request(request), repeats)) / 1e6}
    if views == 1:
        with TemporaryDirectory() as folder:
            out = Path(folder) / "affinities.zarr"
            (disk,) = seconds(lambda: predict_volume(model, image, out, settings, device=device), 1)
        found["to disk"] = image.size / disk / 1e6
    tiling = request.tiling()
    engine = request.engines(request.computes)[0]
    window = torch.rand(request.batch(tiling), *tiling.shape, device=request.device)

    @torch.inference_mode()
    def alone() -> None:
        for _ in range(views):
            engine._probabilities(window, range(len(engine.offsets)))
        wait(request.device)

    alone()
    found["alone"] = window.numel() / statistics.median(seconds(alone, 2 if tiny or views > 1 else 7)) / 1e6
    return found


def seconds(piece: Callable[[], object], repeats: int) -> list[float]:
    """How long each of so many calls takes."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        piece()
        found.append(time.perf_counter() - start)
    return found


def segment(tiny: bool) -> dict[str, float]:
    """Seconds of watershed and mean agglomeration in memory by threads."""
    labels = tissue((6, 64, 64) if tiny else (20, 1024, 1024))[1]
    affinities = synthetic.affinities(labels, seed=0)
    found = {}
    for threads in (1, 2) if tiny else (1, 2, 4, 8, 16):
        start = time.perf_counter()
        agglomerate(affinities, watershed(affinities, threads=threads), threads=threads)
        found[f"{threads} threads (s)"] = time.perf_counter() - start
    return found


def card(device: str) -> dict[str, object]:
    """What it is measured on."""
    name = torch.cuda.get_device_name() if device == "cuda" else "no GPU: processor"
    return {"name": name, "torch": torch.__version__, "date": time.strftime("%Y-%m-%d")}


def part(name: str, device: str, tiny: bool) -> dict[str, object]:
    """One line of the table."""
    if name == "card":
        return card(device)
    if name == "segment":
        return dict(segment(tiny))
    verb, which = name.split(" ", 1)
    widths = (8, 12) if tiny else WIDTHS.get(which, WIDTHS["middle"])
    widths = widths if len(widths) == 4 else (8, 12, 12, 12)
    found = (
        train(widths, device, tiny) if verb == "train" else predict(widths, 8 if "views" in which else 1, device, tiny)
    )
    return {**found, "share of alone": found["package"] / found["alone"]}


def line(name: str, found: dict[str, object]) -> str:
    """A line to read."""
    told = ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in found.items())
    return f"{name:<16}  {told}"


def main() -> None:
    """Runs the parts one after the other; rates are in Mvoxel/s."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu.jsonl"))
    parser.add_argument("--only", action="append", choices=list(PARTS))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    wanted = given.only or list(PARTS)
    if given.inside:
        print(json.dumps(part(wanted[0], given.device, given.tiny)))
        return
    given.out.write_text("")
    for name in wanted:
        command = [sys.executable, __file__, "--inside", "--only", name, "--device", given.device]
        seconds = 600 if given.tiny else PARTS[name]
        found: dict[str, object]
        try:
            done = subprocess.run(
                command + ["--tiny"] * given.tiny, capture_output=True, text=True, timeout=seconds, check=True
            )
            found = json.loads(done.stdout.strip().splitlines()[-1])
        except subprocess.TimeoutExpired:
            found = {"failed": f"took longer than {seconds} s"}
        except subprocess.CalledProcessError as error:
            found = {"failed": (error.stderr.strip().splitlines() or ["no message"])[-1]}
        with given.out.open("a") as file:
            file.write(json.dumps({"part": name, **found}) + "\n")
        print(line(name, found), flush=True)


if __name__ == "__main__":
    main()
