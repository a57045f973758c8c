"""What test-time symmetries are worth: scores on held-out sections against the threshold, by the number of views.

    python benchmarks/symmetries.py CHECKPOINT IMAGE LABELS --box 80:100,:,: --min-size 400 [--views 1,4,8,16]
                                    [--mode mean|min] [--precision int8|bf16|fp32] [--out FILE.json]

Each view is computed once: the views of 1, 4 and 8 are the first of 16. The box is segmented by mean affinity at every
threshold of ``--thresholds FROM:TO:STEP`` with the minimum size, and scored. For each number of views follow the curve
and the middle of the interval in which VI is at most 0.015 bit worse than the best: the threshold that a model of the
package is given. Without a checkpoint nothing is done.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neuropil import Box, Volume, evaluate, open_volume
from neuropil.augment import apply_symmetry, edges_inside, readings, undone
from neuropil.config.mistakes import changed
from neuropil.inference.canvas import Cells, Plan
from neuropil.inference.engine import Engine
from neuropil.inference.request import Request, make_request
from neuropil.inference.stream import predict_cells
from neuropil.inference.symmetries import symmetries
from neuropil.models.checkpoint import load_model
from neuropil.progress import ProgressCounter, ProgressDisplay
from neuropil.segmentation import merge_tree
from neuropil.volumes import LOGIT8, Metadata, array_volume

TOLERANCE = 0.015
"""Bits of VI by which a threshold may be worse than the best one."""

Rows = dict[str, dict[str, float]]
"""Scores by threshold."""


@dataclass(frozen=True)
class Counting(Engine):
    """Returns the three nearest edges once for each number of views, from one pass over all of them."""

    counts: tuple[int, ...] = (1,)

    @torch.inference_mode()
    def affinities(self, image_BZYX: Tensor) -> Tensor:
        edges = self.keep[: len(self.keep) // len(self.counts)]
        image = self.shown(image_BZYX)
        total = torch.zeros((len(image), len(edges), *image.shape[1:]), device=self.device)
        seen, out = [0] * len(edges), []
        for number, view in enumerate(symmetries(max(self.counts)), start=1):
            found = readings(view, self.offsets, edges)
            held = undone(self._probabilities(apply_symmetry(image, view), range(len(self.offsets))), view)
            for e, reading in enumerate(found):
                if reading is None:
                    continue
                place = edges_inside(edges[e], image.shape[1:])
                moved = tuple(slice(s.start + d, s.stop + d) for s, d in zip(place, reading.shift, strict=True))
                values, into = held[:, reading.channel][:, *moved], total[:, e][:, *place]
                if self.mode == "mean" or not seen[e]:
                    into += values
                else:
                    torch.minimum(into, values, out=into)
                seen[e] += 1
            if number in self.counts:
                share = torch.tensor(seen).view(-1, 1, 1, 1) if self.mode == "mean" else 1
                out.append(total / share)
        return torch.cat(out, dim=1)


def predict_counts(request: Request, counts: tuple[int, ...]) -> dict[int, Volume]:
    """Affinities of the box by the number of views, stored as ``predict`` stores them."""
    plain = request.engines(request.computes)[0]
    engine = Counting(
        plain.network, plain.offsets, request.keep * len(counts), mode=request.settings.tta_mode,
        device=plain.device, bf16=plain.bf16, counts=counts,
    )  # fmt: skip
    tiling = request.tiling()
    plan = Plan(tiling, Cells(request.box, request.box.shape), request.context, request.batch(tiling))
    out: list[npt.NDArray[np.float32]] = []
    clock = ProgressCounter("predict", request.box.size, 0, ProgressDisplay())
    predict_cells([engine], request.image, plan, lambda _, __, found: out.append(found), clock)
    clock.finish()
    placed = Metadata(origin=request.box.start, offsets=request.keep, encoding=LOGIT8)
    parts = np.split(out[0], len(counts))
    return {n: array_volume(LOGIT8.encode(part), placed) for n, part in zip(counts, parts, strict=True)}


def score(affinities: Volume, labels: Volume, thresholds: list[float], min_size: int) -> Rows:
    """Scores at each threshold, with the minimum size."""
    found, rows = merge_tree(affinities), {}
    for threshold in thresholds:
        scores = evaluate(found.placed(found.segment(threshold, min_size)), labels)
        rows[f"{threshold:.4g}"] = {
            "adapted_rand_error": scores.adapted_rand_error,
            "voi_split": scores.voi_split,
            "voi_merge": scores.voi_merge,
            "voi": scores.voi_split + scores.voi_merge,
        }
    return rows


def plateau(rows: Mapping[str, Mapping[str, float]]) -> tuple[float, float]:
    """The interval of thresholds around the best VI in which it is at most ``TOLERANCE`` worse.

    >>> plateau({"0.1": {"voi": 0.5}, "0.2": {"voi": 0.4}, "0.3": {"voi": 0.41}, "0.4": {"voi": 0.6}})
    (0.2, 0.3)
    """
    levels, values = [float(t) for t in rows], [row["voi"] for row in rows.values()]
    first = last = values.index(min(values))
    while first > 0 and values[first - 1] <= min(values) + TOLERANCE:
        first -= 1
    while last < len(values) - 1 and values[last + 1] <= min(values) + TOLERANCE:
        last += 1
    return levels[first], levels[last]


def show(name: str, rows: Rows) -> None:
    """The curve of one number of views."""
    low, high = plateau(rows)
    print(f"\n{name}: VI within {TOLERANCE} bit of the best from {low:g} to {high:g}, middle {(low + high) / 2:g}\n")
    print("| threshold | adapted Rand error | VI | split | merge |\n|---|---|---|---|---|")
    for threshold, row in rows.items():
        numbers = [row[key] for key in ("adapted_rand_error", "voi", "voi_split", "voi_merge")]
        print(f"| {threshold} | {numbers[0]:.4f} | " + " | ".join(f"{n:.3f}" for n in numbers[1:]) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?")
    parser.add_argument("image", nargs="?")
    parser.add_argument("labels", nargs="?")
    parser.add_argument("--box", default=":,:,:")
    parser.add_argument("--views", default="1,4,8,16")
    parser.add_argument("--mode", choices=("mean", "min"), default="mean")
    parser.add_argument("--precision", choices=("auto", "int8", "bf16", "fp32"), default="auto")
    parser.add_argument("--min-size", type=int, default=0)
    parser.add_argument("--thresholds", default="0.05:0.5:0.025")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=None, help="keep all curves here as JSON")
    given = parser.parse_args()
    if given.labels is None:
        print("give a checkpoint, an image and labels that it was not trained on")
        return
    model = load_model(given.checkpoint)
    image, labels = open_volume(given.image), open_volume(given.labels)
    counts = tuple(sorted(int(n) for n in given.views.split(",")))
    how = changed(
        model.config.predict, {"tta": max(counts), "tta_mode": given.mode, "precision": given.precision}, "benchmark"
    )
    request = make_request(model, image, how, box=Box.parse(given.box, image.box), device=given.device)
    begin = time.perf_counter()
    found = predict_counts(request, counts)
    print(f"{len(symmetries(max(counts)))} views in {time.perf_counter() - begin:.0f} s")
    first, last, step = (float(n) for n in given.thresholds.split(":"))
    thresholds = np.arange(first, last + step / 2, step).tolist()
    curves = {str(n): score(volume, labels, thresholds, given.min_size) for n, volume in found.items()}
    if given.out:
        given.out.write_text(json.dumps(curves, indent=1))
    for n, rows in curves.items():
        show(f"{n} view{'s'[: int(n) > 1]}, {given.mode}, {given.precision}", rows)


if __name__ == "__main__":
    main()
