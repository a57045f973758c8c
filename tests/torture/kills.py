"""Commands killed at any moment, or at any change of the disk: outputs are the old or the new ones, whole, and the same
command ends what was cut."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuropil import load_config, write_volume
from neuropil.config import SegmentConfig
from neuropil.models import build_network
from neuropil.models.checkpoint import save_checkpoint
from neuropil.segmentation.edits import EditLog, log_header
from neuropil.volumes import Metadata, open_volume
from torture.children import Outcome, command, in_child

SHAPE = (4, 24, 24)
FORMATS = ("o.h5", "o.zarr", "zarr2://o.zarr", "o.n5", "o.precomputed", "o.tif", "o.npy", "o/*.tif")

COMMANDS = [
    *(f"convert image.h5 {name}" for name in (*FORMATS, "o/*.png", "o.ome.zarr")),
    "convert image.h5 o.zarr --downsample 1",
    *(f"segment affinities.h5 -o {name}" for name in FORMATS),
    *(f"segment affinities.h5 -o {name} --block 4,12,12" for name in ("o.h5", "o.zarr", "o.n5")),
    "tune affinities.h5 labels.h5 -o o",
    "evaluate labels.h5 labels.h5 --json o.json",
    *(f"predict net.pt image.h5 -o {name} --device cpu" for name in ("o.h5", "o.zarr", "o.n5", "o.precomputed")),
    "predict net.pt image.h5 -o o.zarr --device cpu --block 4,16,16",
    "train net.yaml --out o --force",
    "apply ids.h5 log.jsonl -o o.h5",
    "apply ids.h5 log.jsonl -o o.zarr",
    "export ids.h5 --to neuroglancer -o o",
    "check image.h5 labels.h5 --report o.html",
    "objects labels.h5 -o o.csv",
    "rank affinities.h5 ids.h5 -o o.csv",
    "config new image.h5 labels.h5 -o o.yaml",
    "convert snemi3d o.safetensors",
]
"""Verbs and formats; all write ``o…``."""

LONG = [
    "run run.yaml --out o",
    "demo --minutes 0 --out o",
    "segment affinities.h5 -o o.zarr --block 4,12,12 --workers 2",
    "predict net.pt image.h5 -o o.zarr --device cpu --block 4,16,16 --workers 2",
]
"""What takes seconds by itself, drawn in one case of fifty: all steps, the demo without data, Dask's workers."""


INPUTS = (
    "image.h5",
    "labels.h5",
    "affinities.h5",
    "ids.h5",
    "ids.h5.yaml",
    "net.pt",
    "net.yaml",
    "run.yaml",
    "log.jsonl",
)

RECIPE = """
model: {widths: [2, 3], downsample: [[1, 2, 2]]}
training: {patch: [4, 16, 16], batch: 1, iterations: 3, checkpoint_every: 1, workers: 0, device: cpu}
"""


def inputs(folder: Path) -> None:
    """What the commands read; the output of the same commands on other data lies in ``old``."""
    os.chdir(folder)
    rng = np.random.default_rng(0)
    labels = np.kron(np.arange(1, 9).reshape(2, 2, 2), np.ones((2, 12, 12), int)).astype(np.uint32)
    meta = Metadata(voxel_size=(30, 6, 6))
    write_volume("image.h5", rng.integers(0, 256, SHAPE, dtype=np.uint8), meta)
    write_volume("labels.h5", labels, meta)
    write_volume("affinities.h5", rng.random((3, *SHAPE), dtype=np.float32), meta)
    command(["segment", "affinities.h5", "-o", "ids.h5"])
    log = EditLog.begin("log.jsonl", log_header(open_volume("affinities.h5"), SegmentConfig(threshold=0.5)))
    log.append("join", (0, 0, 0), (3, 23, 23))
    pair = "{image: image.h5, labels: labels.h5}"
    Path("net.yaml").write_text(f"data: {{train: [{pair}]}}{RECIPE}")
    Path("run.yaml").write_text(f"data: {{train: [{pair}], validation: [{pair}], test: {pair}}}{RECIPE}")
    torch.manual_seed(0)
    config = load_config(["net.yaml"])
    weights = build_network(config.model).state_dict()
    save_checkpoint(Path("net.pt"), {"config": config.to_dict(), "weights": weights, "info": {}})


def content(folder: Path) -> dict[str, Any]:
    """Every output: bytes of text, voxels of arrays; names of all else, partial files too."""
    found: dict[str, Any] = {}
    for place in sorted(folder.iterdir()):
        if place.name in INPUTS:
            continue
        if place.suffix in (".h5", ".zarr", ".n5", ".precomputed", ".tif", ".npy"):
            found[place.name] = open_volume(place).read().tobytes()
        elif (place / "segmentation.h5").exists() and (place / "scores.json").exists():  # of ``run`` and ``demo``
            for name in ("affinities.zarr", "segmentation.h5"):
                found[f"{place.name}/{name}"] = open_volume(place / name).read().tobytes()
        elif place.is_dir() and not place.name.startswith(".") and any(place.glob("*.[pt][ni][gf]")):
            kind = "*.png" if any(place.glob("*00.png")) else "*.tif"
            if any(place.glob("curve.csv")):
                for file in place.iterdir():
                    found[f"{place.name}/{file.name}"] = "there" if file.suffix == ".png" else file.read_bytes()
            else:
                found[place.name] = open_volume(place / kind).read().tobytes()
        else:
            same = place.is_file() and place.suffix != ".safetensors"  # whose header has its keys in any order
            found[place.name] = place.read_bytes() if same else "there"
    return found


def dying(moment: int) -> list[int]:
    """From now on this process kills itself before a change of the disk; they are counted in what is returned."""
    done = [0]

    def watched(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*given: Any, **named: Any) -> Any:
            done[0] += 1
            if done[0] > moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*given, **named)

        return changed

    for name in ("rename", "replace", "unlink", "rmdir", "mkdir"):
        setattr(os, name, watched(getattr(os, name)))
    return done


def run_dying(folder: Path, words: str, moment: int = 10**9) -> int:
    """A command in a folder, which may kill this process; how many changes of the disk it made."""
    done = dying(moment)
    run_in(folder, words)
    return done[0]


def run_in(folder: Path, words: str) -> tuple[int, str]:
    """A command in a folder: exit code, and what it complained of."""
    os.chdir(folder)
    code, _, err = command(words.split())
    return code, err


Case = Callable[[random.Random, Path, Path, str, float, dict[str, Any]], str]
"""From random numbers, a folder to work in, the inputs, a command, its seconds and its output to what is wrong."""


def torture(seed: int, count: int, folder: Path, tell: Callable[[str], None]) -> Outcome:
    """Kill commands, look, and run them again."""
    return cases(Outcome("kills"), one, seed, count, folder, tell)


def cases(found: Outcome, case: Case, seed: int, count: int, folder: Path, tell: Callable[[str], None]) -> Outcome:
    """Random commands, each disturbed in one way; ``found`` with what was wrong."""
    folder.mkdir(parents=True)
    base = folder / "base"
    base.mkdir()
    in_child(lambda: inputs(base), 120)
    whole: dict[str, tuple[float, dict[str, Any]]] = {}
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        words = rng.choice(LONG if rng.random() < 0.02 else COMMANDS)
        if words not in whole:
            place = folder / "whole"
            shutil.copytree(base, place)
            begun = time.monotonic()
            done = in_child(lambda p=place, w=words: run_in(p, w), 300)
            whole[words] = (time.monotonic() - begun, in_child(lambda p=place: content(p), 60).value)
            shutil.rmtree(place)
            if done.value is None or done.value[0]:
                found.add(1, [f"{words}: {done}"])
        seconds, expected = whole[words]
        wrong = case(rng, folder / "work", base, words, seconds, expected)
        found.add(1, [f"seed {seed} case {number}, {words}: {wrong}"] if wrong else [])
        if number % 100 == 99:
            tell(str(found))
    return found


def one(rng: random.Random, work: Path, base: Path, words: str, seconds: float, expected: dict[str, Any]) -> str:
    """Kill a command once or twice, then let it end; what is wrong, or ""."""
    replaced = begin(rng, work, base, words)
    kept = work.with_name("kept")
    shutil.copytree(work, kept)
    changes = in_child(lambda: run_dying(work, words), 300).value or 1
    shutil.rmtree(work)
    kept.rename(work)
    for _ in range(rng.choice((1, 1, 2))):
        how = (
            kill_at_change(rng, work, words, changes) if rng.random() < 0.5 else kill_at_time(rng, work, words, seconds)
        )
        wrong = shown(work, words, expected, replaced)
        if wrong:
            return f"killed {how}, {wrong}"
    wrong = ended(work, words, expected)
    return f"killed {how}, {wrong}" if wrong else ""


def kill_at_time(rng: random.Random, work: Path, words: str, seconds: float) -> str:
    """Kill a command at any time; when."""
    after = rng.random() * seconds * 1.2
    pid = start(lambda: run_in(work, words))
    time.sleep(after)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return f"after {after:.3f} s"


def kill_at_change(rng: random.Random, work: Path, words: str, changes: int) -> str:
    """Let a command kill itself before a change of the disk, one of the last ones in half of the cases; which one."""
    moment = rng.randrange(changes) if rng.random() < 0.5 else max(0, changes - 1 - rng.randrange(20))
    pid = start(lambda: run_dying(work, words, moment))
    os.waitpid(pid, 0)
    return f"before change {moment} of {changes}"


def begin(rng: random.Random, work: Path, base: Path, words: str) -> bool:
    """A folder with the inputs, and in half of the cases with an earlier output, which is said."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(base, work)
    replaced = rng.random() < 0.5 and not words.startswith("export")  # which wants a new folder
    if replaced:
        in_child(lambda: run_in(work, words), 300)
    return replaced


def start(work: Callable[[], Any]) -> int:
    """Do something in a forked process, which is not waited for; returns its number."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def shown(work: Path, words: str, expected: dict[str, Any], replaced: bool) -> str:
    """What is wrong with outputs after a command was cut: each must be the old or the new one, whole."""
    found = in_child(lambda: {k: v for k, v in content(work).items() if not k.startswith(".")}, 60)
    if found.value is None:
        return f"an output cannot be read ({found.told})"
    for name, value in found.value.items():
        if name in expected and value != expected[name] and value != "there":
            return f"{name} is neither the old nor the new one"
    if replaced and "--block" not in words and any(name not in found.value for name in expected):
        return "the old output is gone"
    return ""


def ended(work: Path, words: str, expected: dict[str, Any]) -> str:
    """What is wrong after the same command ran to its end, with outputs or with what else lies there."""
    if words.startswith("export"):  # which wants a new folder
        shutil.rmtree(work / "o", ignore_errors=True)
    done = in_child(lambda: run_in(work, words), 300)
    if done.value is None or done.value[0]:
        return f"the next run fails: {done}"
    again = in_child(lambda: content(work), 60).value
    if again != expected:
        odd = sorted((again or {}).keys() ^ expected.keys()) or [n for n in expected if expected[n] != again[n]]
        return f"the next run leaves something else: {odd}"
    return ""
