"""Are bf16 convolutions right on this processor, and what do right ones cost? Made for processors with AMX.

    python benchmarks/convolutions.py --only scan [--cases 600] [--repeats 3] [--plain] [--seconds 10]
    python benchmarks/convolutions.py --only speed [--runs 9]
    python benchmarks/convolutions.py --only learn [--steps 50] [--width 64] [--config RECIPE]...

``scan``: output and gradients of input, weight and bias of our convolution in bfloat16 against float32, over shapes,
kernels, batches and threads, each case in fresh processes with dirty memory; what is wrong, crashes or hangs in one of
them counts. ``--plain`` scans ``nn.Conv3d`` instead, which shows what torch computes wrongly here.

``speed``: processor seconds of one thread, medians of alternating runs, ours beside ``nn.Conv3d``, in bf16 and
in fp32: forward and backward, and forward alone, of single layers and of whole networks (a training step, a
prediction).

``learn``: mean loss of the last ten of 50 steps in bf16 and in fp32, on the same samples of synthetic tissue, with one
and two threads, each in a process of its own. Patches are those of the recipe, up to 8 sections of WIDTH pixels.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from neuropil import load_config, synthetic, train, write_volume
from neuropil.models import build_network
from neuropil.models.convolution import Convolution
from neuropil.models.folding import for_prediction, in_bfloat16
from neuropil.models.selfcheck import faults

KERNELS = ((1, 1, 1), (1, 3, 3), (3, 3, 3), (1, 5, 5))
MOST = 10_000_000
"""Values of the largest input."""
RECIPES = [
    "default",
    *(f"configs/{name}.yaml" for name in ("snemi3d/full", "snemi3d/minutes", "plane/sections")),
    *(f"configs/{name}.yaml" for name in ("snemi3d/gpu", "fib25/gpu")),
]
LAYERS = {
    "layer 1×3×3, 2×16×8×96×96": (2, 16, 8, 96, (1, 3, 3)),
    "layer 1×3×3, 2×32×16×64×64": (2, 32, 16, 64, (1, 3, 3)),
    "layer 1×5×5, 2×16×16×80×80": (2, 16, 16, 80, (1, 5, 5)),
    "layer 1×1×1, 2×32×16×64×64": (2, 32, 16, 64, (1, 1, 1)),
    "layer 3×3×3, 2×24×8×48×48": (2, 24, 8, 48, (3, 3, 3)),
    "layer 3×3×3, 2×48×8×24×24": (2, 48, 8, 24, (3, 3, 3)),
    "layer 3×3×3, 1×64×16×48×48": (1, 64, 16, 48, (3, 3, 3)),
}
"""Batch, channels, depth, height and kernel, by what a row is called; most are shapes that PyTorch computes rightly."""
NETWORKS = {
    "the default network, 2×8×96×96": ("default", 2, 8, 96),
    "configs/snemi3d/minutes.yaml, 2×16×128×128": ("configs/snemi3d/minutes.yaml", 2, 16, 128),
    "configs/snemi3d/full.yaml, 1×16×96×96": ("configs/snemi3d/full.yaml", 1, 16, 96),
    "configs/snemi3d/fast.yaml, 1×16×96×96": ("configs/snemi3d/fast.yaml", 1, 16, 96),
}
"""Recipe, batch, depth and height, by what a row is called."""
Case = tuple[int, int, int, int, tuple[int, int, int]]
"""Batch, channels, depth, height and kernel."""


def cases(count: int) -> list[tuple[Case, int]]:
    """Cases with their threads, spread over all combinations of up to 10 million values; the same ones each time."""
    sizes = itertools.product((1, 2, 4), (1, 8, 12, 16, 20, 32, 48, 64, 80), (1, 2, 4, 6, 8, 16), (20, 64, 80, 96, 160))
    fitting = [size for size in sizes if size[0] * size[1] * size[2] * size[3] ** 2 <= MOST]
    every = [((*size, kernel), threads) for size in fitting for kernel in KERNELS for threads in (1, 2)]
    return random.Random(0).sample(every, min(count, len(every)))


def child(case: Case, threads: int, plain: bool, out: Any) -> None:
    """A fresh process: what is wrong with one case."""
    torch.set_num_threads(threads)
    if plain:
        Convolution.forward = nn.Conv3d.forward  # type: ignore[method-assign]
    out.send(list(faults([case])))


def outcome(case: Case, threads: int, plain: bool, seconds: float) -> str:
    """``right``, ``wrong``, ``crashed`` or ``hung`` of a process forked from this one, which has computed nothing."""
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(case, threads, plain, send))
    process.start()
    send.close()
    try:
        found = receive.recv() if receive.poll(seconds) else None
    except EOFError:
        process.join()
        return "crashed"
    if found is None:
        process.kill()
        process.join()
        return "hung"
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        return "hung"
    return "crashed" if process.exitcode else "wrong" if found else "right"


def scan(count: int, repeats: int, plain: bool, seconds: float) -> None:
    """A table of outcomes by kernel; every case that was not right each time is printed."""
    table: Counter[tuple[tuple[int, int, int], str]] = Counter()
    for case, threads in cases(count):
        found = [outcome(case, threads, plain, seconds) for _ in range(repeats)]
        worst = next((kind for kind in ("hung", "crashed", "wrong") if kind in found), "right")
        table[case[4], worst] += 1
        if worst != "right":
            print(f"{worst:<8} batch, channels, depth, height, kernel {case}, {threads} threads: {found}", flush=True)
    print("kernel      right  wrong  crashed  hung")
    for kernel in KERNELS:
        numbers = [table[kernel, kind] for kind in ("right", "wrong", "crashed", "hung")]
        print(f"{'×'.join(map(str, kernel)):<10}  " + "  ".join(f"{n:5d}" for n in numbers))


def speed(runs: int) -> None:
    """Ours beside PyTorch's, one thread, each row in a process of its own, since PyTorch's may crash it."""
    ways = [(key, half) for half in (True, False) for key in ("plain", "own")]
    heads = [f"{key} {'bf16' if half else 'fp32'}" for key, half in ways]
    print(f"{'ms, training / forward':<34}" + "".join(f"{head:>18}" for head in heads))
    for name in (*LAYERS, *NETWORKS):
        receive, send = multiprocessing.get_context("fork").Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(target=compare, args=(name, runs, send))
        process.start()
        send.close()
        try:
            middle = receive.recv() if receive.poll(600) else "PyTorch's hangs"
        except EOFError:
            process.join()
            middle = "PyTorch's crashes" if process.exitcode < 0 else "cannot be measured"
        process.kill()
        if isinstance(middle, str):
            print(f"{name:<34} {middle}", flush=True)
            continue
        found = [[1000 * middle[key, half, learns] for learns in (True, False)] for key, half in ways]
        print(f"{name:<34}" + "".join(f"{train:10.1f} /{forward:6.1f}" for train, forward in found), flush=True)


def compare(name: str, runs: int, out: Any) -> None:
    """A fresh process: medians of processor seconds, by ours or plain, bf16 or not, training or forward alone."""
    torch.set_num_threads(1)
    if name in LAYERS:
        batch, channels, depth, height, kernel = LAYERS[name]
        network: nn.Module = Convolution(channels, channels, kernel)
        image = torch.randn(batch, channels, depth, height, height)
    else:
        recipe, batch, depth, height = NETWORKS[name]
        os.environ.setdefault("NEUROPIL_DATA", ".")  # recipes name it; only their networks are used
        network = build_network(load_config([] if recipe == "default" else [recipe]).model)
        image = torch.randn(batch, 1, depth, height, height)
    image = image.contiguous(memory_format=torch.channels_last_3d)
    learning = {"own": network.to(memory_format=torch.channels_last_3d)}  # type: ignore[call-overload]
    learning["plain"] = deepcopy(learning["own"])
    for part in learning["plain"].modules():
        if isinstance(part, Convolution):
            part.__class__ = nn.Conv3d  # type: ignore[assignment]
    halves = whole = learning
    if name in NETWORKS:
        whole = {key: for_prediction(deepcopy(value).eval()) for key, value in learning.items()}
        halves = {key: in_bfloat16(value) for key, value in whole.items()}
    seconds: dict[tuple[str, bool, bool], list[float]] = {}
    for _, key, half, learns in itertools.product(range(runs + 1), ("own", "plain"), (True, False), (True, False)):
        module = (learning if learns else halves if half else whole)[key]
        seconds.setdefault((key, half, learns), []).append(timed(module, image, half, learns))
    out.send({key: statistics.median(values[1:]) for key, values in seconds.items()})


def timed(module: Callable[[torch.Tensor], Any], image: torch.Tensor, half: bool, learns: bool) -> float:
    """Processor seconds of one call, and of its gradients where it learns."""
    image = image.bfloat16() if half and image.shape[1] > 1 else image  # what the layer before would give
    start = time.process_time()
    with torch.set_grad_enabled(learns), torch.autocast("cpu", torch.bfloat16, enabled=half):
        out = module(image.requires_grad_(learns and image.shape[1] > 1))
    if learns:
        (out if isinstance(out, torch.Tensor) else out[0]).sum().backward()
    return time.process_time() - start


def learn(recipes: list[str], steps: int, width: int) -> None:
    """Losses of each recipe, precision and number of threads, by processes of their own."""
    print("recipe                        threads     fp32     bf16   ratio", flush=True)
    for recipe, threads in itertools.product(recipes, (1, 2)):
        found = {}
        for precision in ("fp32", "bf16"):
            command = [sys.executable, __file__, "--only", "one", "--config", recipe, "--steps", str(steps)]
            done = subprocess.run(
                [*command, "--width", str(width), "--precision", precision],
                env=os.environ | {"OMP_NUM_THREADS": str(threads)},
                capture_output=True,
                text=True,
                timeout=3600,
            )
            if done.returncode:
                print(f"{recipe} in {precision} with {threads} threads failed: {done.stderr.strip().splitlines()[-1:]}")
            found[precision] = float("nan") if done.returncode else float(done.stdout.split()[-1])
        ratio = found["bf16"] / found["fp32"]
        print(f"{recipe:<32} {threads:4d} {found['fp32']:10.5f} {found['bf16']:8.5f} {ratio:8.4f}", flush=True)


def one_run(recipe: str, steps: int, width: int, precision: str) -> None:
    """Train a recipe, smaller, on synthetic tissue; prints the mean loss of its last ten steps."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    os.environ.setdefault("NEUROPIL_DATA", ".")  # recipes name it; their volumes are replaced
    config = load_config([] if recipe == "default" else [recipe])
    depth = min(config.training.patch[0], 8)
    with TemporaryDirectory() as folder:
        image, labels = synthetic.neuropil((24, 192, 192), seed=0)
        write_volume(f"{folder}/image.h5", image)
        write_volume(f"{folder}/labels.h5", labels)
        changed = config.to_dict()
        changed["data"] |= {"train": [{"image": f"{folder}/image.h5", "labels": f"{folder}/labels.h5"}]}
        changed["data"] |= {"validation": [], "test": None}
        changed["training"]["segment_validation"] = None
        changed["training"] |= {"patch": [depth, width, width], "batch": 2, "iterations": steps, "minutes": None}
        changed["training"] |= {
            "segment_validation": None,
            "log_every": 1,
            "precision": precision,
            "device": "cpu",
            "workers": 0,
        }
        train(type(config).from_dict(changed, recipe), Path(folder) / "out")
        events = EventAccumulator(f"{folder}/out/tensorboard", size_guidance={"scalars": 0})
        events.Reload()
        losses = [event.value for event in events.Scalars("loss/train")]
    print(f"\n{statistics.mean(losses[-10:])}")


def main() -> None:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("scan", "speed", "learn", "one"))
    parser.add_argument("--cases", type=int, default=600)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--config", action="append")
    parser.add_argument("--precision", default="auto")
    given = parser.parse_args()
    recipes = given.config or RECIPES
    if given.only == "one":
        one_run(recipes[0], given.steps, given.width, given.precision)
        return
    if "MALLOC_PERTURB_" not in os.environ:  # glibc reads it when a process starts
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"MALLOC_PERTURB_": "128"})
    about = subprocess.run([sys.executable, "-m", "neuropil", "info", "--system"], capture_output=True, text=True)
    print(about.stdout)
    if given.only in (None, "scan"):
        scan(given.cases, given.repeats, given.plain, given.seconds)
    if given.only in (None, "learn"):
        learn(recipes, given.steps, given.width)
    if given.only in (None, "speed"):  # last: forked processes must find a torch that has not computed
        speed(given.runs)


if __name__ == "__main__":
    main()
