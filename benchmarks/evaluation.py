"""Time and memory of scoring, against scikit-image; and of a threshold curve, against scoring threshold by threshold.

    python benchmarks/evaluation.py [--only synthetic|cortex|curve] [--labels FILE.h5] [--quick] [--out FILE.json]

Every measurement runs in a process of its own: the median of several calls, and by how much memory rose above the
arrays. ``--labels`` takes a large label volume (the 512³ cortex labels of connected-components-3d's benchmarks); with
``NEUROPIL_DATA`` set, ``cortex_labels/labels.h5`` beneath it is used.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import neuropil
from neuropil import synthetic

Arrays = tuple[np.ndarray, np.ndarray]


def with_mistakes(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """A copy in which a fifth of the objects is merged with another, and all are split at planes far apart."""
    rng = np.random.default_rng(seed)
    ids, index = np.unique(labels, return_inverse=True)
    other = np.arange(len(ids), dtype=np.uint32)
    merged = rng.random(len(ids)) < 0.2
    other[merged] = rng.integers(1, len(ids), merged.sum())
    other[0] = 0
    z, y, x = (np.arange(n) // 300 for n in labels.shape)
    part = (z[:, None, None] * 4 + y[None, :, None] * 2 + x[None, None, :]).astype(np.uint32)
    seg = other[index.reshape(labels.shape)]
    return np.where(seg > 0, seg * 8 + part % 8, 0).astype(np.uint32)


def near_the_top(ids: np.ndarray) -> np.ndarray:
    """The same ids counted down from 2^64 - 1; 0 stays."""
    return np.where(ids > 0, np.uint64(2**64 - 1) - ids.astype(np.uint64), np.uint64(0))


def ours(seg: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    scores = neuropil.evaluate(seg, labels)
    return {"error": scores.scikit_image.error, "split": scores.voi_split, "merge": scores.voi_merge}


def scikit_image(seg: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    from skimage.metrics import adapted_rand_error, variation_of_information

    error = adapted_rand_error(labels, seg, ignore_labels=(0,))[0]
    split, merge = variation_of_information(labels, seg, ignore_labels=(0,))
    return {"error": float(error), "split": float(split), "merge": float(merge)}


CALLS: dict[str, Callable[..., dict[str, float]]] = {"neuropil": ours, "scikit-image": scikit_image}


def memory(what: str) -> int:
    """VmRSS (now) or VmHWM (the highest since it was reset) of this process, bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024
    return 0


def measure_here(call: str, folder: str, repeats: int) -> dict[str, Any]:
    """Run one call on the arrays in a folder."""
    seg, labels = np.load(f"{folder}/seg.npy"), np.load(f"{folder}/labels.npy")
    CALLS[call](seg[:2], labels[:2])  # imports, first use
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = CALLS[call](seg, labels)
        seconds.append(time.perf_counter() - start)
    extra = (memory("VmHWM") - before) / seg.size
    return {"seconds": median(seconds), "extra_bytes_per_voxel": max(extra, 0.0), "voxels": seg.size, **result}


def measure(call: str, arrays: Arrays, repeats: int) -> dict[str, Any]:
    """Run one call in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        for name, array in zip(("seg", "labels"), arrays, strict=True):
            np.save(f"{folder}/{name}.npy", array)
        command = [sys.executable, __file__, "--here", call, folder, str(repeats)]
        return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def compare(name: str, arrays: Arrays, repeats: int) -> dict[str, Any]:
    """Both packages on one pair of arrays; their scores must agree."""
    rows = {call: measure(call, arrays, repeats) for call in CALLS}
    high = measure("neuropil", (near_the_top(arrays[0]), near_the_top(arrays[1])), repeats)
    for score in ("error", "split", "merge"):
        assert abs(rows["neuropil"][score] - rows["scikit-image"][score]) < 1e-9, (name, score)
        assert abs(rows["neuropil"][score] - high[score]) < 1e-9, (name, score)
    rows["neuropil, ids near 2^64"] = high
    for call, row in rows.items():
        speed, times = row["voxels"] / row["seconds"] / 1e6, rows["scikit-image"]["seconds"] / row["seconds"]
        print(
            f"{name:16} {call:24} {row['seconds']:8.3f} s {speed:8.1f} Mvoxel/s  x{times:6.1f}  "
            f"{row['extra_bytes_per_voxel']:6.2f} B/voxel"
        )
    return rows


def curve(shape: tuple[int, int, int], repeats: int) -> dict[str, Any]:
    """All thresholds at once, in units of one evaluation with its relabelling."""
    labels = synthetic.neuropil(shape)[1]
    affinities = synthetic.affinities(labels)
    fragments = neuropil.watershed(affinities)
    tree = neuropil.agglomerate(affinities, fragments)

    def once() -> None:
        neuropil.evaluate(tree.segment(fragments, 0.5), labels)

    def everything() -> None:
        neuropil.threshold_curve(tree, fragments, labels)

    seconds = {}
    for call in (once, everything):
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        seconds[call.__name__] = median(times)
    ratio = seconds["everything"] / seconds["once"]
    print(
        f"curve of {len(tree)} merges of {fragments.max()} fragments, {labels.size / 1e6:.1f} Mvoxel: "
        f"{seconds['everything']:.3f} s = {ratio:.2f} evaluations of {seconds['once']:.3f} s"
    )
    return {**seconds, "evaluations": ratio, "merges": len(tree), "voxels": labels.size}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, help="a large label volume")
    parser.add_argument("--only", choices=["synthetic", "cortex", "curve"], help="all three without it")
    parser.add_argument("--quick", action="store_true", help="small volumes, to see that it runs")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    parser.add_argument("--here", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        print(json.dumps(measure_here(args.here[0], args.here[1], int(args.here[2]))))
        return
    shape, repeats = ((16, 128, 128), 1) if args.quick else ((128, 512, 512), 5)
    wanted = [args.only] if args.only else ["synthetic", "cortex", "curve"]
    results: dict[str, Any] = {"machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"}
    if "synthetic" in wanted:
        labels = synthetic.neuropil(shape)[1]
        results["synthetic"] = compare("synthetic", (with_mistakes(labels), labels), repeats)
    data = os.environ.get("NEUROPIL_DATA")
    path = args.labels or (Path(data) / "cortex_labels" / "labels.h5" if data and not args.quick else None)
    if "cortex" in wanted and path and path.exists():
        large = neuropil.open_volume(path).read()
        results["cortex_labels"] = compare("cortex_labels", (with_mistakes(large), large), 3)
    if "curve" in wanted:
        results["curve"] = curve((8, 128, 128) if args.quick else (20, 1024, 1024), min(repeats, 3))
    if args.out:
        args.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
