"""Which way a volume is segmented: all of it in memory, or block by block."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuropil.blockwise import evaluate_blocks, segment_blocks, tune_blocks
from neuropil.blockwise.engine import Engine
from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError
from neuropil.evaluation import Scores
from neuropil.evaluation.curve import Metric
from neuropil.evaluation.tuning import PLATEAU, Tuning, tune_pairs
from neuropil.geometry import Box, Triple
from neuropil.inference.memory import free_memory
from neuropil.segmentation import segment_volume, segmentation_metadata, threshold_for, with_offsets
from neuropil.volumes import Volume, as_volume, open_volume, write_volume

BLOCK: Triple = (128, 512, 512)
"""Voxels of a block where none is asked for: a worker needs less than 2 GB."""

EXTRA_BYTES = 30
"""Bytes per voxel that watershed and merging take beside the affinities: labels, and generously for the graph."""

GRAPH_BYTES, HISTOGRAM_BYTES = 25, 70
"""Further bytes per voxel where the graph is kept, without and with histograms; on SNEMI3D 50 and 90 in all."""


def segment_in_blocks(
    affinities: Volume | Path | str,
    output: Path | str,
    settings: SegmentConfig,
    *,
    block: Triple | None = None,
    engine: Engine | None = None,
    work: Path | str | None = None,
) -> Path:
    """:func:`neuropil.segmentation.segment_volume` for volumes of any size: the same partition, ids in another order.

    Args:
        affinities, output, settings: as for :func:`neuropil.segmentation.segment_volume`.
        block, engine, work: as for :func:`neuropil.blockwise.segment_blocks`.

    Raises:
        NeuropilError, BlocksFailed: as :func:`neuropil.blockwise.segment_blocks`.

    >>> import tempfile, numpy as np
    >>> from neuropil.volumes import open_volume, write_volume
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_volume(f"{folder}/a.zarr", np.full((3, 2, 4, 4), 0.9, np.float32))
    ...     path = segment_in_blocks(f"{folder}/a.zarr", f"{folder}/s.zarr", SegmentConfig(), block=(2, 2, 4))
    ...     open_volume(path).metadata.extra["threshold"]
    0.5
    """
    volume = with_offsets(as_volume(affinities))
    threshold = threshold_for(volume, settings)[0]
    segment_blocks(
        volume,
        output,
        settings.model_copy(update={"threshold": threshold}),
        block=block or BLOCK,
        engine=engine,
        metadata=segmentation_metadata(volume, settings, threshold),
        work=work,
        watch=BlockProgress(),
    )
    return Path(output)


def predict_in_blocks(
    checkpoint: Path | str,
    image: Volume,
    output: Path | str,
    changes: Mapping[str, Any],
    *,
    block: Triple | None,
    box: Box | None = None,
    device: str = "auto",
    engine: Engine | None = None,
) -> None:
    """:func:`neuropil.blockwise.predict.predict_blocks`, with progress.

    Raises:
        NeuropilError, BlocksFailed: as there.
    """
    from neuropil.blockwise.predict import predict_blocks

    predict_blocks(
        checkpoint, image, output, changes, block=block or BLOCK, box=box, device=device, engine=engine,
        watch=BlockProgress(),
    )  # fmt: skip


def score_in_blocks(
    segmentation: Volume,
    labels: Volume,
    *,
    block: Triple | None,
    work: Path | str | None = None,
    box: Box | None = None,
    engine: Engine | None = None,
) -> Scores:
    """:func:`neuropil.blockwise.evaluate_blocks`, with progress.

    Raises:
        NeuropilError, BlocksFailed: as there.
    """
    watch = BlockProgress()
    return evaluate_blocks(segmentation, labels, block=block or BLOCK, work=work, box=box, engine=engine, watch=watch)


def tune_in_blocks(
    pairs: Sequence[tuple[Volume, Volume]],
    settings: SegmentConfig,
    *,
    metric: Metric,
    box: Box | None = None,
    block: Triple | None,
    engine: Engine | None = None,
    work: Path | str | None = None,
) -> Tuning:
    """:func:`neuropil.blockwise.tune_blocks`, with progress.

    Raises:
        NeuropilError, BlocksFailed: as there.
    """
    watch = BlockProgress()
    return tune_blocks(
        pairs, settings, metric=metric, box=box, block=block or BLOCK, engine=engine, work=work, watch=watch
    )


def segment_either_way(affinities: Volume | Path | str, output: Path | str, settings: SegmentConfig) -> Path:
    """Segment in memory where that is large enough, else by blocks; says which.

    Raises:
        NeuropilError: as :func:`neuropil.segmentation.segment_volume`.
    """
    volume = as_volume(affinities)
    by_blocks = chosen_way("segmenting", memory_needed(volume, settings), whole_volume_for(settings))
    return (segment_in_blocks if by_blocks else segment_volume)(volume, output, settings)


def tune_either_way(pairs: Sequence[tuple[Volume, Volume]], settings: SegmentConfig, folder: Path) -> Tuning:
    """Choose the threshold for other data in memory where that is large enough, else by blocks; says which.

    Args:
        pairs: affinities in files, and labels.
        settings: as for :func:`neuropil.evaluation.tuning.tune`.
        folder: where blocks may leave files.

    Raises:
        NeuropilError: as :func:`neuropil.evaluation.tuning.tune`.
    """
    needed = max(memory_needed(affinities, settings, tuning=True) for affinities, _ in pairs)
    if not chosen_way("tuning", needed, ""):
        return tune_pairs(pairs, settings, tolerance=PLATEAU)
    work = folder / "tune.blocks"
    stored: list[tuple[Volume, Volume]] = []
    for number, (affinities, labels) in enumerate(pairs):
        path = work / f"labels{number}.zarr"
        if not _holds(path, labels):  # written anew it would be another job
            write_volume(path, labels.read(), labels.metadata)
        stored.append((affinities, open_volume(path)))
    watch = BlockProgress()
    found = tune_blocks(stored, settings, tolerance=PLATEAU, block=BLOCK, work=work, watch=watch)
    shutil.rmtree(work)
    return found


def _holds(path: Path, labels: Volume) -> bool:
    """Whether a file is there that holds these labels."""
    try:
        stored = open_volume(path)
        return stored.metadata == labels.metadata and np.array_equal(stored.read(), labels.read())
    except NeuropilError:
        return False


def chosen_way(doing: str, needed: int, whole: str) -> bool:
    """Whether to work by blocks, which is said: where memory is too small and nothing takes the whole volume.

    Args:
        doing: what, for the line.
        needed: bytes that it would take in memory.
        whole: what takes the whole volume, empty where nothing does.
    """
    free = free_memory(torch.device("cpu"))
    small = needed > 0.8 * free
    way = f"by blocks of {'×'.join(map(str, BLOCK))}" if small and not whole else "in memory"
    why = f", since {whole} takes the whole volume" if small and whole else ""
    print(f"{doing} {way}{why}: {needed / 1e9:.1f} GB would be needed, {free / 1e9:.1f} GB are free", flush=True)
    return small and not whole


def whole_volume_for(settings: SegmentConfig) -> str:
    """What cannot be done by blocks; empty where all can.

    >>> whole_volume_for(SegmentConfig(fill=True)), whole_volume_for(SegmentConfig(method="mutex", fragments=True))
    ('segment.fill', '')
    """
    if settings.fill:
        return "segment.fill"
    return (
        "segment.method=mutex without segment.fragments"
        if settings.method == "mutex" and not settings.fragments
        else ""
    )


def memory_needed(affinities: Volume, settings: SegmentConfig | None = None, *, tuning: bool = False) -> int:
    """Bytes that segmenting, or tuning, takes in memory: the affinities, their codes, labels and graph.

    >>> import numpy as np
    >>> from neuropil.volumes import array_volume
    >>> volume = array_volume(np.zeros((3, 10, 10, 10), np.uint8))
    >>> memory_needed(volume), memory_needed(volume, SegmentConfig(score="q50"), tuning=True)
    (33000, 103000)
    """
    settings = settings or SegmentConfig()
    stored = affinities.shape[0] * affinities.dtype.itemsize + (6 if affinities.dtype.kind == "f" else 0)
    graph = 0
    if tuning or settings.min_size > 1:
        graph = HISTOGRAM_BYTES if settings.score.startswith("q") else GRAPH_BYTES
    return prod(affinities.shape[1:]) * (stored + EXTRA_BYTES + graph)


class BlockProgress:
    """Print progress step by step: in a terminal a line that is kept up to date, in a log one line per step."""

    def __init__(self) -> None:
        self.step, self.start, self.last = "", 0.0, 0.0

    def __call__(self, step: str, done: int, total: int) -> None:
        now, terminal = time.monotonic(), sys.stderr.isatty()
        if step != self.step:
            self.step, self.start = step, now
        if done < total and (not terminal or now - self.last < 0.2):
            return
        self.last = now
        end = "\n" if done == total or not terminal else ""
        seconds = f"{now - self.start:.1f} s" if done > 1 else ""
        print(f"{chr(13) if terminal else ''}{step}  {done} of {total} blocks  {seconds}   ", end=end, file=sys.stderr)
