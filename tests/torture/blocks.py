"""Random volumes by random blocks, threads and scores: the partition of the slow reference."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from neuropil.blockwise import segment_blocks
from neuropil.config import SegmentConfig
from neuropil.geometry import NEAREST
from neuropil.volumes import Metadata, open_volume, write_volume
from reference import agglomeration as slow
from reference.partitions import partition
from reference.region_graph import region_graph
from reference.watershed import watershed
from torture.children import Outcome, in_child

LEVELS = (0, 40, 80, 120, 160, 200, 254, 255)
"""Codes are few, so that ties are many."""


def slow_segmentation(codes: np.ndarray, config: SegmentConfig) -> np.ndarray:
    """Watershed, graph, greedy merging and minimum size as one would explain them; affinities are codes / 255."""
    values = codes.astype(np.float32) / np.float32(255)
    fragments = watershed(values, config.low, config.high, list(NEAREST))
    edges = region_graph(codes, fragments, list(NEAREST))
    score, table = slow.SCORES[config.score], list(range(256))
    sizes = {
        int(n): int(count) for n, count in zip(*np.unique(fragments[fragments > 0], return_counts=True), strict=True)
    }
    names = slow.segments(sizes, slow.agglomerate(edges, score, table), config.threshold * 255)
    if config.min_size > 1:
        names = slow.absorb_small(names, sizes, edges, score, table, config.min_size)
    return np.vectorize((names | {0: 0}).get)(fragments)


def torture(seed: int, count: int, folder: Path, tell: Callable[[str], None]) -> Outcome:
    """Segment by blocks and slowly, some hundred in each child."""
    folder.mkdir(parents=True)
    found = Outcome("random block runs")

    def some(first: int, last: int) -> list[str]:
        return [text for number in range(first, last) if (text := one(f"{seed} {number}", folder / "work"))]

    for first in range(0, count, 100):
        last = min(first + 100, count)
        done = in_child(lambda a=first, b=last: some(a, b), seconds=3000)
        found.add(last - first, done.value if done.value is not None else [f"{first}–{last}: {done.told}"])
        tell(str(found))
    return found


def one(seed: str, folder: Path) -> str:
    """One random case; what is wrong, or ""."""
    rng = random.Random(seed)
    numbers = np.random.default_rng(rng.getrandbits(63))
    shape = tuple(rng.randint(1, 5) for _ in range(3))
    codes = numbers.choice(rng.sample(LEVELS, rng.randint(1, 5)), (3, *shape)).astype(np.uint8)
    config = SegmentConfig(
        score=rng.choice(("mean", "max", "min", "q25", "q50", "q85")), low=rng.choice((0.0, 1e-4, 0.3)),
        high=rng.choice((0.7, 0.9999, 1.0)), threshold=rng.choice((0.1111, 0.3123, 0.5077, 0.6234, 0.9011)),
        min_size=rng.choice((0, 2, 5, 20)),
    )  # fmt: skip
    block = tuple(rng.randint(1, 6) for _ in range(3))
    os.environ["OMP_NUM_THREADS"] = str(rng.randint(1, 4))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    write_volume(folder / "a.zarr", codes, Metadata(offsets=NEAREST))
    segment_blocks(open_volume(folder / "a.zarr"), folder / "s.zarr", config, block=block)
    left = sorted(path.name for path in folder.iterdir())
    found, right = open_volume(folder / "s.zarr").read(), slow_segmentation(codes, config)
    if left != ["a.zarr", "s.zarr"]:
        return f"seed {seed}: left {left}"
    same = np.array_equal(partition(found), partition(right))
    return "" if same else f"seed {seed}: shape {shape}, block {block}, {config.model_dump()}: another partition"
