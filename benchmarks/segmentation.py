"""Affinities to segments: time, memory and scores, against waterz, mwatershed, bioimage-cpp and scikit-image.

    python benchmarks/segmentation.py                                          synthetic affinities
    python benchmarks/segmentation.py --affinities A.zarr --labels L.h5        real ones, as `predict` writes them
    python benchmarks/segmentation.py … --only "neuropil mean;waterz mean"     some rows (--list shows all)
    python benchmarks/segmentation.py … --repeat 3 --write real                median of three; table to docs/speed.md
    python benchmarks/segmentation.py … --scaling [--largest 268]              twice the volume, and twice again
    python benchmarks/segmentation.py … --hostile [--voxels 262144]            inputs made for the worst case

Every measurement runs in a process of its own: seconds of the call, and by how much memory rose at its highest above
what was there before (on Linux the highest mark is set back first). Peers get the same values, decoded to the type
they want, and the same low and high. A row's scores are those of the best of the thresholds 0.05, 0.10 … 0.95.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import neuropil
from neuropil import synthetic
from neuropil.config import SegmentConfig
from neuropil.segmentation import agglomerate_graph
from neuropil.segmentation.codes import face_codes

LOW, HIGH = 1e-4, 0.9999
THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.05), 2)
WATERZ_MEAN = "OneMinus<MeanAffinity<RegionGraphType, ScoreValue>>"
WATERZ_MEDIAN = "OneMinus<HistogramQuantileAffinity<RegionGraphType, 50, ScoreValue, 256>>"
SPEED_PAGE = Path(__file__).parents[1] / "docs" / "speed.md"
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
Result = dict[str, Any]
Call = Callable[[], Any]


class Meter:
    """Seconds and peak memory of calls, one stage after another."""

    def __init__(self) -> None:
        self.stages: dict[str, float] = {}
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
        self.before = _memory("VmRSS")

    def __call__(self, stage: str, call: Call) -> Any:
        start = time.perf_counter()
        value = call()
        self.stages[stage] = time.perf_counter() - start
        return value

    def result(self, voxels: int) -> Result:
        """Call this before anything else is done with the results."""
        extra = (_memory("VmHWM") - self.before) / voxels
        return {"stages": self.stages, "seconds": sum(self.stages.values()), "extra": extra}


def _memory(mark: str) -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    found = re.search(rf"{mark}:\s+(\d+) kB", status.read_text())
    return 1024 * int(found[1]) if found else 0


def best_of(segmentations: Any, labels: Any) -> Result:
    """The scores of the one with the smallest adapted Rand error; none without labels."""
    if labels is None:
        return {}
    best = min((neuropil.evaluate(s, labels) for s in segmentations), key=lambda s: s.adapted_rand_error)
    return {"are": best.adapted_rand_error, "split": best.voi_split, "merge": best.voi_merge}


def ours(volume: Any, labels: Any, score: str, threads: int) -> Result:
    affinities = volume.read()
    meant = {"offsets": volume.metadata.offsets, "encoding": volume.metadata.encoding, "threads": threads}
    meter = Meter()
    fragments = meter("watershed", lambda: neuropil.watershed(affinities, low=LOW, high=HIGH, **meant))
    tree = meter("graph and merging", lambda: neuropil.agglomerate(affinities, fragments, score, **meant))
    result = meter.result(fragments.size)
    result["note"] = f"{int(fragments.max()):,} fragments"
    return {**result, **best_of((tree.segment(fragments, t) for t in THRESHOLDS), labels)}


def ours_in_one(volume: Any, labels: Any, min_size: int) -> Result:
    """From affinities to the segmentation at 0.5 in one call: merging stops there."""
    affinities = volume.read()
    meant = {"offsets": volume.metadata.offsets, "encoding": volume.metadata.encoding, "min_size": min_size}
    meter = Meter()
    settings = SegmentConfig(low=LOW, high=HIGH)
    segmentation = meter("all", lambda: neuropil.segment(affinities, settings, threshold=0.5, **meant))
    return {**meter.result(segmentation.size), "note": f"{int(segmentation.max()):,} segments"}


def our_graph(volume: Any, labels: Any, threads: int) -> Result:
    """The region graph as arrays, and the tree from it: what a user does who wants to see the graph."""
    affinities = volume.read()
    meant = {"offsets": volume.metadata.offsets, "encoding": volume.metadata.encoding, "threads": threads}
    fragments = neuropil.watershed(affinities, low=LOW, high=HIGH, **meant)
    meter = Meter()
    graph = meter("region graph", lambda: neuropil.region_graph(affinities, fragments, **meant))
    meter("merging", lambda: agglomerate_graph(graph, threads=threads))
    return {**meter.result(fragments.size), "note": f"{len(graph):,} edges"}


def waterz(volume: Any, labels: Any, scoring_function: str, queue: int) -> Result:
    """All of it to threshold 0.5; its watershed alone is the time to the first threshold that merges nothing."""
    import waterz as peer

    faces = face_codes(volume)
    values = faces.encoding.table.astype(np.float32)
    affinities = np.stack([values[c] for c in (faces.z, faces.y, faces.x)])
    del faces
    options = {
        "aff_threshold_low": LOW,
        "aff_threshold_high": HIGH,
        "discretize_queue": queue,
        "scoring_function": scoring_function,
    }
    meter = Meter()
    meter("all", lambda: next(iter(peer.agglomerate(affinities, [0.5], **options))))
    result = meter.result(affinities[0].size)
    return {**result, **best_of(peer.agglomerate(affinities, (1 - THRESHOLDS[::-1]).tolist(), **options), labels)}


def mutex(volume: Any, labels: Any, which: str, threads: int) -> Result:
    affinities, offsets = volume.read(), volume.metadata.offsets
    encoding = volume.metadata.encoding
    if which == "neuropil":
        meter = Meter()
        call: Call = partial(neuropil.mutex_watershed, affinities, offsets, encoding=encoding, threads=threads)
    else:
        table = (encoding or neuropil.Encoding("linear8")).table
        values = table[affinities] if affinities.dtype.kind == "u" else affinities
        if which == "mwatershed":
            import mwatershed

            weights = values.astype(np.float64) - 0.5
            call = partial(mwatershed.agglom, weights, [list(o) for o in offsets])
        else:
            import bioimage_cpp.segmentation as bic

            # It knows attractive channels and repulsive ones, the latter the stronger the higher the value. So the
            # nearest attract, and the far ones repel, or where there are none the nearest once more.
            near = [e for e, o in enumerate(offsets) if sum(map(abs, o)) == 1]
            repel = [e for e in range(len(offsets)) if e not in near] or near
            both = np.concatenate([values[near], 1 - values[repel]]).astype(np.float32)
            call = partial(bic.mutex_watershed, both, [list(offsets[e]) for e in near + repel], len(near))
        del values
        meter = Meter()
    segmentation = meter("all", call)
    return {**meter.result(affinities[0].size), **best_of([np.asarray(segmentation)], labels)}


def scikit_image(volume: Any, labels: Any) -> Result:
    """Its seeded watershed on the mean affinity, seeds where that is high: no peer of agglomeration, a yardstick."""
    from skimage.measure import label
    from skimage.segmentation import watershed

    faces = face_codes(volume)
    boundary = 1 - sum(faces.encoding.table[c] for c in (faces.z, faces.y, faces.x)).astype(np.float32) / 3
    meter = Meter()
    segmentation = meter("all", lambda: watershed(boundary, label(boundary < 0.05)))
    return {**meter.result(boundary.size), **best_of([segmentation.astype(np.uint32)], labels)}


def tiled(volume: Any, labels: Any, times: int) -> Result:
    """Mean agglomeration of the volume, mirrored at its ends until it is so many times as large."""
    faces = face_codes(volume)
    assert not faces.flipped, "tiling wants faces stored at their upper voxels"
    codes = np.stack([faces.z, faces.y, faces.x])
    axis = 0
    while times > 1:
        codes, times, axis = mirrored(codes, axis), times // 2, (axis + 1) % 3
    meant = neuropil.Metadata(offsets=neuropil.NEAREST, encoding=faces.encoding)
    return ours(neuropil.array_volume(codes, meant), None, "mean", CORES) | {"voxels": codes[0].size}


def mirrored(codes_EZYX: Any, axis: int) -> Any:
    """The volume and its mirror image behind it; the face between a voxel and its own image is certain."""
    image = np.flip(codes_EZYX, axis + 1).copy()
    across = np.moveaxis(image[axis], axis, 0)
    across[1:] = across[:-1].copy()  # the face before a voxel was the one behind it
    across[0] = np.iinfo(codes_EZYX.dtype).max
    return np.concatenate([codes_EZYX, image], axis + 1)


RUNS: dict[str, Callable[[Any, Any], Result]] = {
    "neuropil mean": partial(ours, score="mean", threads=CORES),
    "neuropil mean, 1 thread": partial(ours, score="mean", threads=1),
    "neuropil segment": partial(ours_in_one, min_size=0),
    "neuropil segment, minimum size 400": partial(ours_in_one, min_size=400),
    "waterz mean": partial(waterz, scoring_function=WATERZ_MEAN, queue=0),
    "neuropil graph, then mean": partial(our_graph, threads=CORES),
    "neuropil q50": partial(ours, score="q50", threads=CORES),
    "waterz median, 256 bins": partial(waterz, scoring_function=WATERZ_MEDIAN, queue=256),
    "neuropil max": partial(ours, score="max", threads=CORES),
    "neuropil mutex": partial(mutex, which="neuropil", threads=CORES),
    "neuropil mutex, 1 thread": partial(mutex, which="neuropil", threads=1),
    "mwatershed": partial(mutex, which="mwatershed", threads=1),
    "bioimage-cpp mutex": partial(mutex, which="bioimage-cpp", threads=1),
    "scikit-image watershed": scikit_image,
}
SCALING = {f"{n} times": partial(tiled, times=n) for n in (1, 2, 4, 8, 16)}
RATIOS = (
    ("neuropil mean", "waterz mean"),
    ("neuropil segment", "waterz mean"),
    ("neuropil segment, minimum size 400", "waterz mean"),
    ("neuropil q50", "waterz median, 256 bins"),
    ("neuropil mutex", "mwatershed"),
    ("neuropil mutex", "bioimage-cpp mutex"),
)


def synthetic_case(folder: Path, shape: tuple[int, int, int]) -> tuple[Path, Path]:
    """Affinities of synthetic neurites: three nearest and three far channels."""
    offsets = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (-3, 0, 0), (0, -9, 0), (0, 0, -9))
    labels = synthetic.neuropil(shape, seed=0)[1]
    codes = np.stack([neuropil.LOGIT8.encode(synthetic.affinities(labels, [o], seed=0)[0]) for o in offsets])
    meant = neuropil.Metadata(offsets=offsets, encoding=neuropil.LOGIT8)
    neuropil.write_volume(folder / "affinities.zarr", codes, meant)
    neuropil.write_volume(folder / "labels.h5", labels)
    return folder / "affinities.zarr", folder / "labels.h5"


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


def measure(name: str, paths: tuple[Path, Path], scored: bool) -> Result | None:
    """One run in a fresh process; None where it fails."""
    with tempfile.NamedTemporaryFile() as result:
        command = [sys.executable, __file__, "--affinities", paths[0], "--one", name, "--result", result.name]
        command += ["--labels", paths[1]] if scored else []
        # waterz writes its progress to the C standard output.
        done = subprocess.run(
            [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        if done.returncode:
            print(f"{name}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
            return None
        found: Result = json.loads(Path(result.name).read_text())
    print(name, found, file=sys.stderr, flush=True)
    return found


def measure_all(names: list[str], paths: tuple[Path, Path], repeat: int) -> dict[str, Result]:
    """Round after round of all rows, so that a noisy minute falls on all alike; of each the run with the median time.

    Only the first round is scored: the others give the same segmentations."""
    rounds: dict[str, list[Result]] = {name: [] for name in names}
    for turn in range(repeat):
        for name in names:
            found = measure(name, paths, scored=turn == 0 and name in RUNS)
            rounds[name] += [found] if found else []
    rows = {}
    for name, results in rounds.items():
        if results:
            middle = statistics.median_low(result["seconds"] for result in results)
            rows[name] = {**results[0], **next(result for result in results if result["seconds"] == middle)}
            rows[name]["spread"] = [f(result["seconds"] for result in results) for f in (min, max)]
    return rows


def table(rows: dict[str, Result], voxels: int) -> list[str]:
    """The results as Markdown."""
    lines = [
        "| | seconds | Mvoxel/s | extra bytes per voxel | adapted Rand error | VI split | VI merge |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, r in rows.items():
        here = r.get("voxels", voxels)
        scores = f"{r['are']:.4f} | {r['split']:.3f} | {r['merge']:.3f}" if "are" in r else "| | "
        note = f" ({r['note']})" if "note" in r else ""
        rate = here / r["seconds"] / 1e6
        seconds = f"{r['seconds']:.2f}"
        if len(set(r.get("spread", ()))) > 1:
            seconds += " ({:.2f}–{:.2f})".format(*r["spread"])
        lines.append(f"| {name}{note} | {seconds} | {rate:.2f} | {r['extra']:.1f} | {scores} |")
        if len(r["stages"]) > 1:
            for stage, seconds in r["stages"].items():
                lines.append(f"| – {stage} | {seconds:.2f} | {here / seconds / 1e6:.1f} | | | | |")
    ratios = [(a, b, rows[b]["seconds"] / rows[a]["seconds"]) for a, b in RATIOS if a in rows and b in rows]
    return [*lines, "", *(f"{ratio:.1f} times as fast as {b}: {a}.  " for a, b, ratio in ratios)]


def write_between(page: Path, name: str, text: str) -> None:
    """Replace what stands between the two markers of that name."""
    begin, end = f"<!-- segmentation {name}: begin -->", f"<!-- segmentation {name}: end -->"
    before = page.read_text(encoding="utf-8")
    if begin not in before or end not in before:
        raise SystemExit(f"expected the markers {begin} and {end} in {page}")
    head, rest = before.split(begin)
    page.write_text(f"{head}{begin}\n{text.strip()}\n{end}{rest.split(end)[1]}", encoding="utf-8")


def print_worst_cases(affinities: Path, voxels: int) -> None:
    sys.path.append(str(Path(__file__).parent))
    from hostile import worst_cases

    print("\n".join(worst_cases(neuropil.open_volume(affinities), voxels)))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--affinities")
    parser.add_argument("--labels")
    parser.add_argument("--crop", default="32,1024,1024", help="voxels z,y,x that are measured")
    parser.add_argument("--only", default="", help="rows, with ; between them")
    parser.add_argument("--skip", default="", help="rows to leave out")
    parser.add_argument("--list", action="store_true", help="the names of the rows")
    parser.add_argument("--repeat", type=int, default=1, help="runs per row, of which the median counts")
    parser.add_argument("--scaling", action="store_true", help="mean agglomeration of ever larger volumes instead")
    parser.add_argument("--largest", type=float, default=270, help="Mvoxel of the largest volume of --scaling")
    parser.add_argument(
        "--hostile", action="store_true", help="time per voxel of inputs made for the worst case instead"
    )
    parser.add_argument("--voxels", type=int, default=1 << 18, help="size of the inputs of --hostile")
    parser.add_argument("--write", choices=("real", "synthetic", "scaling"), help="table of docs/speed.md to renew")
    parser.add_argument("--out", type=Path, help="a file for the table")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure, print a table, and write it where asked."""
    options = parse()
    if options.list:
        raise SystemExit("\n".join(RUNS))
    if options.one:
        labels = neuropil.open_volume(options.labels).read() if options.labels else None
        run = {**RUNS, **SCALING}[options.one]
        options.result.write_text(json.dumps(run(neuropil.open_volume(options.affinities), labels)))
        return
    z, y, x = (int(n) for n in options.crop.split(","))
    with tempfile.TemporaryDirectory() as folder:
        paths = prepare(Path(folder), options, (z, y, x))
        if options.hostile:
            print_worst_cases(paths[0], options.voxels)
            return
        shape = neuropil.open_volume(paths[1]).shape
        voxels = int(np.prod(shape))
        if options.scaling:
            names = [n for n in SCALING if int(n.split()[0]) * voxels <= options.largest * 1e6]
        else:
            wanted = options.only.split(";") if options.only else RUNS
            names = [n for n in RUNS if n in wanted and n not in options.skip.split(";")]
        rows = measure_all(names, paths, options.repeat)
    what = "real" if options.affinities else "synthetic"
    head = (
        f"{'×'.join(map(str, shape))} voxels of {what} affinities, {platform.machine()}, {CORES} cores, neuropil "
        f"{neuropil.__version__}" + (f", median of {options.repeat} runs." if options.repeat > 1 else ".")
    )
    text = "\n".join([head, "", *table(rows, voxels)]) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    if options.write:
        write_between(SPEED_PAGE, options.write, text)


if __name__ == "__main__":
    main()
