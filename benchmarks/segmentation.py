"""Affinities to segments: time, memory and scores, against waterz, mwatershed, bioimage-cpp and scikit-image.

    python benchmarks/segmentation.py [--affinities FILE --labels FILE] [--crop Z,Y,X] [--skip NAME;…] [--out FILE.md]

Every measurement runs in a process of its own: seconds of the call, and by how much memory rose above the input
arrays. Without ``--affinities`` (a volume with its offsets and encoding, as `predict` writes it) they are synthetic.
Peers get the same values, decoded to the type they want. Scores are the best over thresholds 0.05, 0.10 … 0.95.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import neuropil
from neuropil import synthetic
from neuropil.segmentation.codes import face_codes

LOW, HIGH = 1e-4, 0.9999
THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.05), 2)
WATERZ_MEAN = "OneMinus<MeanAffinity<RegionGraphType, ScoreValue>>"
WATERZ_MEDIAN = "OneMinus<HistogramQuantileAffinity<RegionGraphType, 50, ScoreValue, 256>>"
Result = dict[str, Any]


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """waterz writes its progress to the C standard output."""
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def peak() -> int:
    """Largest memory of this process so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measured(call: Callable[[], Any], voxels: int) -> tuple[Any, Result]:
    """What the call returns, its seconds, and bytes per voxel above what was there before."""
    before, start = peak(), time.perf_counter()
    with silent():
        value = call()
    seconds = time.perf_counter() - start
    return value, {"seconds": seconds, "extra": (peak() - before) / voxels}


def best_of(scores: list[Any]) -> Result:
    """The scores of the threshold with the smallest adapted Rand error."""
    best = min(scores, key=lambda s: s.adapted_rand_error)
    return {"are": best.adapted_rand_error, "split": best.voi_split, "merge": best.voi_merge}


def ours(volume: Any, labels: Any, score: str, threads: int) -> Result:
    affinities = volume.read()
    meant = {"offsets": volume.metadata.offsets, "encoding": volume.metadata.encoding, "threads": threads}
    parts: Result = {}

    def all_steps() -> Any:
        start = time.perf_counter()
        fragments = neuropil.watershed(affinities, low=LOW, high=HIGH, **meant)
        parts["watershed"] = time.perf_counter() - start
        return fragments, neuropil.agglomerate(affinities, fragments, score, **meant)

    (fragments, tree), result = measured(all_steps, labels.size)
    scores = [neuropil.evaluate(tree.segment(fragments, t), labels) for t in THRESHOLDS]
    return {**result, **parts, "fragments": int(fragments.max()), **best_of(scores)}


def waterz(volume: Any, labels: Any, scoring_function: str, queue: int) -> Result:
    import waterz as peer

    faces = face_codes(volume)
    table = faces.encoding.table.astype(np.float32)
    affinities = np.stack([table[c] for c in (faces.z, faces.y, faces.x)])
    del faces
    options = {"aff_threshold_low": LOW, "aff_threshold_high": HIGH, "discretize_queue": queue}

    def one_threshold() -> Any:
        return next(iter(peer.agglomerate(affinities, [0.5], scoring_function=scoring_function, **options)))

    _, result = measured(one_threshold, labels.size)
    with silent():
        sweep = peer.agglomerate(
            affinities, (1 - THRESHOLDS[::-1]).tolist(), scoring_function=scoring_function, **options
        )
        scores = [neuropil.evaluate(segmentation, labels) for segmentation in sweep]
    return {**result, **best_of(scores)}


def mutex(volume: Any, labels: Any, which: str, threads: int) -> Result:
    affinities, offsets = volume.read(), volume.metadata.offsets
    encoding = volume.metadata.encoding
    values = (
        (encoding or neuropil.Encoding("linear8")).table[affinities] if affinities.dtype.kind == "u" else affinities
    )
    calls: dict[str, Callable[[], Any]] = {}
    if which == "neuropil":
        del values
        calls[which] = lambda: neuropil.mutex_watershed(affinities, offsets, encoding=encoding, threads=threads)
    elif which == "mwatershed":
        import mwatershed

        weights = values.astype(np.float64) - 0.5
        calls[which] = lambda: mwatershed.agglom(weights, [list(o) for o in offsets])
    else:
        import bioimage_cpp.segmentation as bic

        near = sum(abs(a) + abs(b) + abs(c) == 1 for a, b, c in offsets)
        affs = values.astype(np.float32)
        calls[which] = lambda: bic.mutex_watershed(affs, [list(o) for o in offsets], near)
    segmentation, result = measured(calls[which], labels.size)
    return {**result, **best_of([neuropil.evaluate(np.asarray(segmentation), labels)])}


def scikit_image(volume: Any, labels: Any) -> Result:
    """Its seeded watershed on the mean affinity, seeds where that is high: no peer of agglomeration, a yardstick."""
    from skimage.measure import label
    from skimage.segmentation import watershed

    faces = face_codes(volume)
    boundary = 1 - sum(faces.encoding.table[c] for c in (faces.z, faces.y, faces.x)).astype(np.float32) / 3
    segmentation, result = measured(lambda: watershed(boundary, label(boundary < 0.05)), labels.size)
    return {**result, **best_of([neuropil.evaluate(segmentation.astype(np.uint32), labels)])}


RUNS: dict[str, Callable[[Any, Any], Result]] = {
    "neuropil mean": lambda v, t: ours(v, t, "mean", os.cpu_count() or 1),
    "neuropil mean, 1 thread": lambda v, t: ours(v, t, "mean", 1),
    "waterz mean": lambda v, t: waterz(v, t, WATERZ_MEAN, 0),
    "neuropil q50": lambda v, t: ours(v, t, "q50", os.cpu_count() or 1),
    "waterz median, 256 bins": lambda v, t: waterz(v, t, WATERZ_MEDIAN, 256),
    "neuropil mutex": lambda v, t: mutex(v, t, "neuropil", os.cpu_count() or 1),
    "mwatershed": lambda v, t: mutex(v, t, "mwatershed", 1),
    "bioimage-cpp mutex": lambda v, t: mutex(v, t, "bioimage-cpp", 1),
    "scikit-image watershed": scikit_image,
}


def synthetic_case(folder: Path, shape: tuple[int, int, int]) -> tuple[Path, Path]:
    """Affinities of synthetic neurites: three nearest and three far channels."""
    offsets = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (-3, 0, 0), (0, -9, 0), (0, 0, -9))
    labels = synthetic.neuropil(shape, seed=0)[1]
    codes = np.stack([neuropil.LOGIT8.encode(synthetic.affinities(labels, [o], seed=0)[0]) for o in offsets])
    meant = neuropil.Metadata(offsets=offsets, encoding=neuropil.LOGIT8)
    neuropil.write_volume(folder / "affinities.zarr", codes, meant)
    neuropil.write_volume(folder / "labels.h5", labels)
    return folder / "affinities.zarr", folder / "labels.h5"


def table(rows: dict[str, Result], shape: tuple[int, ...]) -> str:
    """The results as Markdown."""
    voxels = float(np.prod(shape))
    lines = [
        f"{shape[0]}×{shape[1]}×{shape[2]} voxels, {platform.machine()}, {os.cpu_count()} cores, neuropil "
        f"{neuropil.__version__}.",
        "",
        "| | seconds | Mvoxel/s | extra bytes per voxel | adapted Rand error | VI split | VI merge |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, r in rows.items():
        lines.append(
            f"| {name} | {r['seconds']:.2f} | {voxels / r['seconds'] / 1e6:.2f} | {r['extra']:.1f} | {r['are']:.4f} | "
            f"{r['split']:.3f} | {r['merge']:.3f} |"
        )
        if "watershed" in r:
            part = f"| – its watershed ({r['fragments']} fragments) | {r['watershed']:.2f} | "
            lines.append(part + f"{voxels / r['watershed'] / 1e6:.0f} | | | | |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print a table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--affinities")
    parser.add_argument("--labels")
    parser.add_argument("--crop", default="32,1024,1024")
    parser.add_argument("--skip", default="")
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    z, y, x = (int(n) for n in options.crop.split(","))
    if options.one:
        labels = neuropil.open_volume(options.labels).read()
        print(json.dumps(RUNS[options.one](neuropil.open_volume(options.affinities), labels)))
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = prepare(Path(folder), options, (z, y, x))
        shape = neuropil.open_volume(paths[1]).shape
        rows: dict[str, Result] = {}
        for name in RUNS:
            if name in options.skip.split(";") or (options.only and name not in options.only.split(";")):
                continue
            command = [
                sys.executable,
                __file__,
                "--affinities",
                str(paths[0]),
                "--labels",
                str(paths[1]),
                "--one",
                name,
            ]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                print(f"{name}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
                continue
            rows[name] = json.loads(done.stdout.splitlines()[-1])
            print(name, rows[name], file=sys.stderr, flush=True)
    text = table(rows, shape)
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")


def prepare(folder: Path, options: argparse.Namespace, shape: tuple[int, int, int]) -> tuple[Path, Path]:
    """The arrays that every run reads: cropped copies of what was given, or synthetic ones."""
    if not options.affinities:
        return synthetic_case(folder, shape)
    volume, labels = neuropil.open_volume(options.affinities), neuropil.open_volume(options.labels)
    both = volume.box.intersect(labels.box)
    crop = neuropil.Box.at(both.start, shape).intersect(both)
    meant = neuropil.Metadata(offsets=volume.metadata.offsets, encoding=volume.metadata.encoding)
    neuropil.write_volume(folder / "affinities.zarr", volume.read(crop), meant)
    neuropil.write_volume(folder / "labels.h5", labels.read(crop))
    return folder / "affinities.zarr", folder / "labels.h5"


if __name__ == "__main__":
    main()
