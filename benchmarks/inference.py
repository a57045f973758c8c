"""Speed and memory of prediction against plain PyTorch, with the same windows and the same overlap.

    python benchmarks/inference.py [--network tutorial|default] [--shape Z,Y,X] [--tta 1] [--only "plain;neuropil"]
                                   [--compile] [--out FILE.json]

``tutorial``: a residual squeeze-and-excitation U-Net of the size that the classic tutorial trains (widths
32-64-96-128-160, group norm), windows 17×257×257 with half overlap. ``default``: the network of our default recipe in
the tiles that ``predict`` chooses. Each way runs in a process of its own:

    bare      the network on one window, eager, float32: what no tiling can beat without touching the network
    plain     windows, blending in float32 with an array of weights, eager float32
    neuropil  ``neuropil.predict``
    fast bare the network as neuropil runs it (number format, memory layout), on one of its tiles

``--compile`` lets neuropil try torch.compile; its minute or two of compiling are part of what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuropil import Config, predict
from neuropil.config.mistakes import changed
from neuropil.inference.memory import reusing_memory
from neuropil.inference.request import make_request
from neuropil.models import build_network
from neuropil.models.checkpoint import Model
from neuropil.volumes import array_volume

WAYS = ("bare", "plain", "fast bare", "neuropil")


class Residual(nn.Module):
    """Two convolutions with a squeeze-and-excitation gate and a shortcut."""

    def __init__(self, width: int, flat: bool) -> None:
        super().__init__()
        self.a, self.b = conv(width, width, flat), conv(width, width, flat)
        self.norm_a, self.norm_b = nn.GroupNorm(8, width), nn.GroupNorm(8, width)
        self.squeeze, self.excite = nn.Conv3d(width, width // 4, 1), nn.Conv3d(width // 4, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm_b(self.b(F.elu(self.norm_a(self.a(x)))))
        gate = self.excite(F.elu(self.squeeze(h.mean((2, 3, 4), keepdim=True)))).sigmoid()
        return F.elu(x + h * gate)


def conv(inside: int, outside: int, flat: bool, stride: tuple[int, int, int] = (1, 1, 1)) -> nn.Conv3d:
    kernel, padding = ((1, 3, 3), (0, 1, 1)) if flat else ((3, 3, 3), (1, 1, 1))
    return nn.Conv3d(inside, outside, kernel, stride, padding, padding_mode="replicate", bias=False)


class TutorialNet(nn.Module):
    """Residual SE U-Net: three flat levels, two isotropic ones, summed skips; any size."""

    def __init__(self, widths: tuple[int, ...] = (32, 64, 96, 128, 160)) -> None:
        super().__init__()
        flat = (True, True, True, False, False)
        self.enter = conv(1, widths[0], True)
        self.encoder = nn.ModuleList(Residual(w, f) for w, f in zip(widths, flat, strict=True))
        self.decoder = nn.ModuleList(Residual(w, f) for w, f in zip(widths[:-1], flat, strict=False))
        strides = [(1, 2, 2) if f else (2, 2, 2) for f in flat[1:]]
        pairs = list(zip(widths, widths[1:], flat[1:], strict=False))
        self.down = nn.ModuleList(conv(a, b, f, s) for (a, b, f), s in zip(pairs, strides, strict=True))
        self.up = nn.ModuleList(nn.Conv3d(b, a, 1) for a, b, _ in pairs)
        self.leave = nn.Conv3d(widths[0], 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, skips = self.encoder[0](F.elu(self.enter(x))), []
        for down, block in zip(self.down, self.encoder[1:], strict=True):
            skips.append(x)
            x = block(F.elu(down(x)))
        for up, block in zip(reversed(self.up), reversed(self.decoder), strict=True):
            skip = skips.pop()
            size = [int(n) for n in skip.shape[2:]]
            x = block(skip + F.interpolate(up(x), size, mode="trilinear", align_corners=False))
        return self.leave(x)


def make_model(name: str) -> Model:
    """A model with random weights."""
    torch.manual_seed(0)
    if name == "default":
        config = Config()
        return Model(build_network(config.model).eval(), config, {})
    offsets = [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]
    return Model(TutorialNet().eval(), Config.from_dict({"model": {"offsets": offsets}}), {})


@torch.inference_mode()
def plain(network: nn.Module, image: np.ndarray, window: tuple[int, ...], overlap: tuple[int, ...]) -> np.ndarray:
    """What one writes in an afternoon: windows, a bump, float32 arrays for the sum and for the weights."""
    x = torch.from_numpy(image).float() / 255
    out, weights = torch.zeros(3, *image.shape), torch.zeros(image.shape)
    lines = [(torch.arange(n) + 1) / (n + 1) for n in window]
    z, y, x_ = (-((line * (1 - line)) ** -1.5) for line in lines)
    bump = z[:, None, None] + y[:, None] + x_
    bump = (bump - bump.max()).exp().clamp_min(1e-6)
    for start in product(*(starts(n, w, o) for n, w, o in zip(image.shape, window, overlap, strict=True))):
        part = tuple(slice(a, a + w) for a, w in zip(start, window, strict=True))
        out[:, *part] += network(x[part][None, None])[0, :3].sigmoid() * bump
        weights[part] += bump
    return (out / weights).numpy()


def starts(size: int, window: int, overlap: int) -> list[int]:
    step = window - overlap
    return sorted({min(s, size - window) for s in range(0, max(size - overlap, 1), step)})


@torch.inference_mode()
def bare(network: nn.Module, shape: tuple[int, ...], seconds: float = 8.0, **how: Any) -> float:
    """Voxels per second of the network alone: the best of several calls."""
    x = torch.rand(1, 1, *shape).contiguous(memory_format=how.get("layout", torch.contiguous_format))
    best = 0.0
    with torch.autocast("cpu", torch.bfloat16, enabled=how.get("bf16", False)):
        network(x)
        end = time.perf_counter() + seconds
        while best == 0 or time.perf_counter() < end:
            begin = time.perf_counter()
            network(x)
            best = max(best, x.numel() / (time.perf_counter() - begin))
    return best


def measure(way: str, name: str, shape: tuple[int, ...], tta: int, compiled: bool) -> dict[str, float]:
    """Run one way here. Voxels are those of the image, once; tta views cost tta times as much."""
    model = make_model(name)
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    given = {"tile": [17, 257, 257], "overlap": [9, 129, 129]} if name == "tutorial" else {}
    request = make_request(
        model, array_volume(image), changed(model.config.predict, {"tta": tta, **given}, "benchmark"), device="cpu"
    )
    tiling = request.tiling()
    overlap = tuple(a.length - (min(np.diff(a.starts)) if len(a.starts) > 1 else a.length) for a in tiling.axes)
    begin = time.perf_counter()
    if way == "bare":
        speed = bare(model.network, tiling.shape)
    elif way == "fast bare":
        engine = request.engines(request.computes)[0]
        with reusing_memory():
            speed = bare(engine.network, tiling.shape, layout=torch.channels_last_3d, bf16=engine.bf16)
    elif way == "plain":
        plain(model.network, image, tiling.shape, overlap)
        speed = image.size / (time.perf_counter() - begin)
    else:
        predict(model, image, tta=tta, device="cpu", compile=compiled, **given)
        speed = image.size / (time.perf_counter() - begin)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"voxels_per_second": speed, "peak_bytes": memory, "overhead": tiling.overhead}


def compare(rows: dict[str, dict[str, float]], tta: int) -> None:
    """Say what neuropil's speed is beside the others'; voxels of all views count."""
    speed, overhead = rows["neuropil"]["voxels_per_second"] * tta, rows["neuropil"]["overhead"]
    if "plain" in rows:
        print(f"neuropil / plain: {speed / rows['plain']['voxels_per_second']:.2f}")
    if "fast bare" in rows:
        share = speed * overhead / rows["fast bare"]["voxels_per_second"]
        print(f"share of what the network alone would reach: {share:.2f}")
    print(f"voxels in tiles per voxel of the image: {overhead:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=["tutorial", "default"], default="tutorial")
    parser.add_argument("--shape", default=None, help="voxels Z,Y,X of the image")
    parser.add_argument("--tta", type=int, default=1)
    parser.add_argument("--only", default=";".join(WAYS))
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=None, help="write the results here as JSON")
    parser.add_argument("--way", choices=WAYS, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    text = given.shape or ("17,513,513" if given.network == "tutorial" else "10,1024,1024")
    shape = tuple(int(n) for n in text.split(","))
    if given.way:
        print(json.dumps(measure(given.way, given.network, shape, given.tta, given.compile)))
        return
    rows = {}
    for way in given.only.split(";"):
        command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rows[way] = json.loads(said.splitlines()[-1])  # after notes, such as that AMX is off
        row = rows[way]
        print(f"{way:10s} {row['voxels_per_second'] / 1e6:7.3f} Mvoxel/s   peak {row['peak_bytes'] / 1e9:5.2f} GB")
    if "neuropil" in rows:
        compare(rows, given.tta)
    if given.out:
        about = {
            "machine": platform.processor() or platform.machine(),
            "threads": given.threads,
            "torch": torch.__version__,
        }
        given.out.write_text(
            json.dumps({**about, "network": given.network, "shape": shape, "tta": given.tta, "ways": rows}, indent=1)
        )


if __name__ == "__main__":
    main()
