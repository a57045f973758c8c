"""Segment and tune in memory if enough is free, else block by block."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np

from neuropil.blockwise import BLOCK, segment_blocks, tune_blocks
from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError
from neuropil.evaluation.tuning import Tuning, tune_pairs
from neuropil.geometry import Triple
from neuropil.memory import free_ram
from neuropil.progress import ProgressDisplay
from neuropil.segmentation import segment_volume
from neuropil.volumes import Volume, as_volume, open_volume, write_volume
from neuropil.volumes.atomic import remove_folder

EXTRA_BYTES = 30
"""Bytes per voxel for watershed and merging, without the affinities: labels, and an upper estimate for the graph."""

GRAPH_BYTES, HISTOGRAM_BYTES = 25, 70
"""Further bytes per voxel if the graph is kept, without and with histograms; on SNEMI3D 50 and 90 in total."""


def segment_either_way(affinities: Volume | Path | str, output: Path | str, settings: SegmentConfig) -> Path:
    """Segment in memory if it is large enough, else by blocks; prints which.

    Raises:
        NeuropilError: as :func:`neuropil.segmentation.segment_volume`.
    """
    volume = as_volume(affinities)
    if not chosen_way("segmenting", memory_needed(volume, settings), whole_volume_for(settings)):
        return segment_volume(volume, output, settings)
    with ProgressDisplay("blocks") as progress:
        segment_blocks(volume, output, settings, block=BLOCK, progress=progress)
    return Path(output)


def tune_either_way(pairs: Sequence[tuple[Volume, Volume]], settings: SegmentConfig, folder: Path) -> Tuning:
    """Tune the threshold in memory if it is large enough, else by blocks; prints which.

    Args:
        pairs: affinities in files, and labels.
        settings: as for :func:`neuropil.evaluation.tuning.tune`.
        folder: for intermediate files of the blocks.

    Raises:
        NeuropilError: as :func:`neuropil.evaluation.tuning.tune`.
    """
    needed = max(memory_needed(affinities, settings, tuning=True) for affinities, _ in pairs)
    if not chosen_way("tuning", needed, ""):
        return tune_pairs(pairs, settings)
    work = folder / "tune.blocks"
    stored: list[tuple[Volume, Volume]] = []
    for number, (affinities, labels) in enumerate(pairs):
        path = work / f"labels{number}.zarr"
        if not _holds(path, labels):  # rewriting equal labels would start another job instead of resuming
            write_volume(path, labels.read(), labels.metadata)
        stored.append((affinities, open_volume(path)))
    with ProgressDisplay("blocks") as progress:
        found = tune_blocks(stored, settings, block=BLOCK, work=work, progress=progress)
    remove_folder(work)
    return found


def _holds(path: Path, labels: Volume) -> bool:
    """Whether the file exists and holds these labels."""
    try:
        stored = open_volume(path)
        return stored.metadata == labels.metadata and np.array_equal(stored.read(), labels.read())
    except NeuropilError:
        return False


def chosen_way(doing: str, needed: int, whole: str) -> bool:
    """Whether to work by blocks: if memory is too small and no setting needs the whole volume. Prints the choice.

    Args:
        doing: the work, for the line.
        needed: bytes that it would need in memory.
        whole: the setting that needs the whole volume; "" if there is none.
    """
    free = free_ram()
    small = needed > 0.8 * free
    way = f"by blocks of {'×'.join(map(str, BLOCK))}" if small and not whole else "in memory"
    why = f", since {whole} needs the whole volume" if small and whole else ""
    print(f"{doing} {way}{why}: {needed / 1e9:.1f} GB would be needed, {free / 1e9:.1f} GB are free", flush=True)
    return small and not whole


def whole_volume_for(settings: SegmentConfig) -> str:
    """The setting that cannot be computed by blocks; "" if there is none.

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


def memory_needed(
    affinities: Volume, settings: SegmentConfig | None = None, *, tuning: bool = False, part: Triple | None = None
) -> int:
    """Bytes of memory for segmenting or tuning: affinities, their codes, labels and graph; of the whole volume, or of a
    ``part`` of this shape.

    >>> import numpy as np
    >>> from neuropil.volumes import array_volume
    >>> volume = array_volume(np.zeros((3, 10, 10, 10), np.uint8))
    >>> memory_needed(volume), memory_needed(volume, SegmentConfig(score="q50"), tuning=True)
    (33000, 103000)
    """
    settings = settings or SegmentConfig()
    voxels = prod(affinities.shape[1:]) if part is None else min(prod(affinities.shape[1:]), prod(part))
    stored = affinities.shape[0] * affinities.dtype.itemsize + (6 if affinities.dtype.kind == "f" else 0)
    graph = 0
    if tuning or (settings.min_size or 0) > 1:
        graph = HISTOGRAM_BYTES if settings.score.startswith("q") else GRAPH_BYTES
    return voxels * (stored + EXTRA_BYTES + graph)
