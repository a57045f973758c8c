"""Time per voxel of inputs that are made for the worst case, beside that of a given volume."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import neuropil
from neuropil.segmentation.codes import face_codes

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from reference.hostile import CASES

SCORES = ("mean", "max", "min", "q50", "q99")


def microseconds(affinities: Any, fragments: Any, score: str, **meant: Any) -> float:
    """Per voxel, of watershed (where there are no fragments), tree, and the cut at 0.5."""
    start = time.perf_counter()
    if fragments is None:
        fragments = neuropil.watershed(affinities, low=1e-4, high=0.9999, **meant)
    neuropil.agglomerate(affinities, fragments, score, **meant).segment(fragments, 0.5)
    return (time.perf_counter() - start) / fragments.size * 1e6


def worst_cases(volume: Any, voxels: int) -> list[str]:
    """A table of every case and score, the worst first, and the real volume's row above them."""
    encoding = face_codes(volume).encoding
    affinities, meant = volume.read(), {"offsets": volume.metadata.offsets, "encoding": encoding}
    real = {score: microseconds(affinities, None, score, **meant) for score in SCORES}
    rows = {}
    for name, make in CASES.items():
        codes, fragments = make(voxels)
        times = {score: microseconds(codes, fragments, score, encoding=neuropil.LOGIT8) for score in SCORES}
        rows[name] = times
    worst = sorted(rows, key=lambda name: max(rows[name][score] / real[score] for score in SCORES), reverse=True)
    lines = [
        f"Microseconds per voxel at {voxels:,} voxels, and how many times those of the volume; the worst first.",
        "",
        "| | " + " | ".join(SCORES) + " |",
        "|---" * (1 + len(SCORES)) + "|",
        "| the volume | " + " | ".join(f"{real[score]:.3f}" for score in SCORES) + " |",
    ]
    for name in worst:
        cells = (f"{rows[name][score]:.3f} ({rows[name][score] / real[score]:.1f})" for score in SCORES)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines
