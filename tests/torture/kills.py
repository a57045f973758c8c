"""Commands killed at any moment: outputs are the old or the new ones, whole, and the same command ends what was cut."""

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

from neuropil import write_volume
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
    "objects labels.h5 -o o.csv",
    "rank affinities.h5 ids.h5 -o o.csv",
    "config new image.h5 labels.h5 -o o.yaml",
    "convert snemi3d o.safetensors",
]
"""Verbs and formats; all write ``o…``."""


INPUTS = ("image.h5", "labels.h5", "affinities.h5", "ids.h5", "ids.h5.yaml")


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


def content(folder: Path) -> dict[str, Any]:
    """Every output: bytes of text, voxels of arrays; names of all else, partial files too."""
    found: dict[str, Any] = {}
    for place in sorted(folder.iterdir()):
        if place.name in INPUTS:
            continue
        if place.suffix in (".h5", ".zarr", ".n5", ".precomputed", ".tif", ".npy"):
            found[place.name] = open_volume(place).read().tobytes()
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


def run_in(folder: Path, words: str) -> tuple[int, str]:
    """A command in a folder: exit code, and what it complained of."""
    os.chdir(folder)
    code, _, err = command(words.split())
    return code, err


def torture(seed: int, count: int, folder: Path, tell: Callable[[str], None]) -> Outcome:
    """Kill commands, look, and run them again."""
    folder.mkdir(parents=True)
    base = folder / "base"
    base.mkdir()
    in_child(lambda: inputs(base), 120)
    whole: dict[str, tuple[float, dict[str, Any]]] = {}
    found = Outcome("kills")
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        words = rng.choice(COMMANDS)
        if words not in whole:
            place = folder / "whole"
            shutil.copytree(base, place)
            start = time.monotonic()
            done = in_child(lambda p=place, w=words: run_in(p, w), 120)
            whole[words] = (time.monotonic() - start, in_child(lambda p=place: content(p), 60).value)
            shutil.rmtree(place)
            if done.value is None or done.value[0]:
                found.add(1, [f"{words}: {done}"])
        seconds, expected = whole[words]
        wrong = one(rng, folder / "work", base, words, seconds, expected)
        found.add(1, [f"seed {seed} case {number}, {words}: {wrong}"] if wrong else [])
        if number % 100 == 99:
            tell(str(found))
    return found


def one(rng: random.Random, work: Path, base: Path, words: str, seconds: float, expected: dict[str, Any]) -> str:
    """Kill a command once or twice, then let it end; what is wrong, or ""."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(base, work)
    replaced = rng.random() < 0.5
    if replaced:
        in_child(lambda: run_in(work, words), 120)
    for _ in range(rng.choice((1, 1, 2))):
        after = rng.random() * seconds * 1.2

        pid = os.fork()
        if pid == 0:
            try:
                run_in(work, words)
            finally:
                os._exit(0)
        time.sleep(after)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        shown = in_child(lambda: {k: v for k, v in content(work).items() if not k.startswith(".")}, 60)
        if shown.value is None:
            return f"killed after {after:.3f} s, an output cannot be read ({shown.told})"
        for name, value in shown.value.items():
            if name in expected and value != expected[name] and value != "there":
                return f"killed after {after:.3f} s, {name} is neither the old nor the new one"
        if replaced and "--block" not in words and any(name not in shown.value for name in expected):
            return f"killed after {after:.3f} s, the old output is gone"
    done = in_child(lambda: run_in(work, words), 120)
    if done.value is None or done.value[0]:
        return f"killed after {after:.3f} s, the next run fails: {done}"
    again = in_child(lambda: content(work), 60).value
    if again != expected:
        odd = sorted((again or {}).keys() ^ expected.keys()) or [n for n in expected if expected[n] != again[n]]
        return f"killed after {after:.3f} s, the next run leaves something else: {odd}"
    return ""
