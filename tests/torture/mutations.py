"""Damaged and hostile files of every format: each is read, or refused with one message."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import mrcfile
import nibabel
import nrrd
import numpy as np
import tifffile
import torch
import zarr

from neuropil import write_volume
from neuropil.config import Config, config_to_yaml
from neuropil.models import build_network
from neuropil.models.checkpoint import save_checkpoint
from neuropil.models.released import write_weights
from neuropil.segmentation.edits import EditLog, LogHeader
from neuropil.volumes import Metadata
from torture.children import Outcome, in_child, run

IMAGE = np.arange(4 * 12 * 12, dtype=np.uint32).reshape(4, 12, 12)
SMALL = {"model": {"name": "unet", "channels": [2, 4]}}

HOSTILE: list[Any] = [
    None, True, -1, 0, 1, 2.5, 1e308, float("nan"), 10**18, -(2**63), "", "x", "../../../../etc/passwd", "\0", "a\nb",
    "\x1b[31m", "é" * 300, [], [[]], {}, [None], [1, 2], [0, 0, 0], [-1, 4, 4], ["a"] * 3, {"a": None}, "uint8",
    "float128",
    "<f2", "|O", "NaN", "Infinity", [1e9] * 3, [10**12] * 3, {"name": "zstd"}, {"name": None}, [{"name": "gzip"}],
]  # fmt: skip
"""What a description may hold in place of what is expected."""


DESCRIPTIONS = ("zarr.json", ".zarray", ".zattrs", ".zgroup", "attributes.json", "info")
"""Files of JSON beside chunks."""


def bases(folder: Path) -> dict[str, str]:
    """Good files of every format, by us and by others: where they lie, and the command that reads them."""
    os.chdir(folder)
    meta = Metadata(voxel_size=(30, 6, 6), origin=(1, 2, 3))
    for name in ("own.h5", "own.zarr", "zarr2://own2.zarr", "own.n5", "own.precomputed", "own.tif", "own.npy"):
        write_volume(name, IMAGE, meta if not name.endswith("npy") else None)
    write_volume("ome.ome.zarr", IMAGE, meta)
    write_volume("png/*.png", IMAGE.astype(np.uint16))
    write_volume("pages/*.tif", IMAGE)
    with h5py.File("their.h5", "w", libver="latest") as file:
        raw = file.create_dataset("volumes/raw", data=IMAGE, chunks=True, compression="lzf")
        raw.attrs["resolution"] = [30, 6, 6]
    sizes = {"resolution": [4, 4, 4]}
    zarr.create_array("their.zarr", data=IMAGE, shards=(4, 12, 12), chunks=(2, 6, 6), attributes=sizes)
    tifffile.imwrite("their.tif", IMAGE, compression="zlib", imagej=False, ome=True)
    tifffile.imwrite("imagej.tif", IMAGE.astype(np.uint16), imagej=True, metadata={"spacing": 2, "unit": "nm"})
    Path("recipe.yaml").write_text(config_to_yaml(Config()))
    torch.manual_seed(0)
    config = Config()
    network = build_network(config.model)
    content = {"config": config.to_dict(), "weights": network.state_dict(), "info": {}}
    save_checkpoint(Path("c.pt"), content)
    write_weights(Path("c.safetensors"), network.state_dict(), config.to_dict(), {})
    log = EditLog.begin("log.jsonl", LogHeader("0" * 32, 0.1, 0.9, "mean", 0.5, 0))
    log.append("join", (0, 0, 0), (1, 1, 1))
    Path("classic.yaml").write_text("SYSTEM:\n  NUM_GPUS: 1\nDATASET:\n  IMAGE_NAME: own.h5\n  LABEL_NAME: own.h5\n")
    copy = "convert {} out.zarr --force"
    names = ["own.h5", "own.zarr", "own2.zarr", "own.n5", "own.precomputed", "own.tif", "own.npy", "ome.ome.zarr"]
    with mrcfile.new("their.mrc") as file:
        file.set_data(IMAGE.astype("u2"))
    nibabel.save(nibabel.Nifti1Image(IMAGE.T, None), "their.nii.gz")
    nrrd.write("their.nrrd", IMAGE.T)
    names += ["their.h5", "their.zarr", "their.tif", "imagej.tif", "their.mrc", "their.nii.gz", "their.nrrd"]
    return {
        **dict.fromkeys(names, copy),
        "png": copy.replace("{}", "{}/*.png"),
        "pages": copy.replace("{}", "{}/*.tif"),
        "recipe.yaml": "config show {}",
        "classic.yaml": "config convert {} {}",
        "c.pt": "info {}",
        "c.safetensors": "info {}",
        "log.jsonl": "edits {}",
    }


def mutated(rng: random.Random, place: Path) -> str:
    """Damage one file below a place; says how."""
    files = sorted(p for p in ([place] if place.is_file() else place.rglob("*")) if p.is_file())
    described = [p for p in files if p.name in DESCRIPTIONS]
    file = rng.choice(described) if described and rng.random() < 0.7 else rng.choice(files)
    if file in described and rng.random() < 0.8:
        return f"{file.name}: {_mutate_json(rng, file)}"
    text = bytearray(file.read_bytes())
    kind = rng.choice(("flip", "flip", "flip", "cut", "insert", "zeros", "control"))
    at = min(int(rng.random() ** 2 * len(text)), max(len(text) - 1, 0))  # heads of files decide most
    if kind == "flip":
        for _ in range(rng.choice((1, 1, 1, 8))):
            at = min(int(rng.random() ** 2 * len(text)), max(len(text) - 1, 0))
            text[at : at + 1] = bytes([(text[at] ^ (1 << rng.randrange(8))) if text else 0])
    elif kind == "cut":
        del text[at:]
    elif kind == "insert":
        text[at:at] = rng.randbytes(rng.choice((1, 8, 100)))
    elif kind == "zeros":
        text[at : at + 64] = bytes(min(64, len(text) - at))
    else:
        text[at:at] = rng.choice((b"\0", b"\x1b[31m", b"\xff\xfe", b"\r", b"\x85", b"&a [*a, *a]", b"\x07", b"!!x "))
    file.write_bytes(text)
    return f"{file.name}: {kind} at {at}"


def _mutate_json(rng: random.Random, file: Path) -> str:
    try:
        whole = json.loads(file.read_text())
    except ValueError:
        return "no JSON"
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            walk(node[key])

    walk(whole)
    if not places or rng.random() < 0.03:
        file.write_text(json.dumps(rng.choice(HOSTILE)))
        return "another document"
    told = []
    for _ in range(rng.choice((1, 1, 1, 2))):
        node, key = rng.choice(places)
        if rng.random() < 0.2 and isinstance(node, dict):
            node.pop(key, None)
            told.append(f"without {key!r}")
            continue
        value = rng.choice(HOSTILE)
        if isinstance(node, dict) and rng.random() < 0.05:
            node[str(rng.choice(HOSTILE))] = value
        else:
            node[key] = value
        told.append(f"{key!r}: {value!r:.40}")
    file.write_text(json.dumps(whole))
    return ", ".join(told)


def torture(seed: int, count: int, folder: Path, tell: Callable[[str], None]) -> Outcome:
    """Damage and read files, some hundred in each child process."""
    good = folder / "good"
    good.mkdir(parents=True)
    here = Path.cwd()
    made = in_child(lambda: bases(good), seconds=120)
    commands: dict[str, str] = made.value
    found = Outcome("mutated files")

    def some(first: int, last: int) -> list[tuple[int, str]]:
        bad = []
        for number in range(first, last):
            rng = random.Random(f"{seed} {number}")
            name = rng.choice(sorted(commands))
            work = folder / f"work{number}"
            work.mkdir()
            os.chdir(work)
            copy = shutil.copytree if (good / name).is_dir() else shutil.copy
            copy(good / name, work / name)
            how = mutated(rng, work / name)
            (folder / "current").write_text(f"{number} {name}: {how}")
            wrong = run(commands[name].replace("{}", name), seconds=5, megabytes=500)
            if wrong:
                bad.append((number, f"{name}, {how}: {wrong}"))
            os.chdir(folder)
            shutil.rmtree(work)
        return bad

    for first in range(0, count, 200):
        last = min(first + 200, count)
        while first < last:
            done = in_child(lambda a=first, b=last: some(a, b), seconds=2000)
            if done.value is not None:
                found.add(last - first, [f"seed {seed} case {n}: {text}" for n, text in done.value])
                break
            current = (folder / "current").read_text()  # the process died in this one
            number = int(current.split()[0])
            found.add(number + 1 - first, [f"seed {seed} case {current}: the process died ({done.told})"])
            first = number + 1
        tell(str(found))
        for work in folder.glob("work*"):
            shutil.rmtree(work)
    os.chdir(here)
    return found
