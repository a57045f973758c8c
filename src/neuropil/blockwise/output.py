"""The array that blocks of the segmentation are written into by many at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from neuropil.blockwise.job import Job
from neuropil.geometry import Triple
from neuropil.volumes import Metadata, create_volume
from neuropil.volumes.location import parse_location

LARGEST_CHUNK: Triple = (64, 128, 128)
"""Voxels of a chunk of the output beyond which blocks are cut."""


def create_output(job: Job, segments: int, metadata: Metadata) -> None:
    """Make the array, unless a run before has."""
    location = parse_location(job.output)
    begun = _begun(job.folder) if location.remote else Path(location.container)
    if begun.exists():
        return
    shutil.rmtree(Path(job.folder) / "relabel-0", ignore_errors=True)  # blocks that went with another output
    dtype = np.uint32 if segments < 1 << 32 else np.uint64
    with create_volume(job.output, job.shape, dtype, metadata, chunks_for(job.shape, job.block)):
        pass
    if location.remote:
        begun.touch()


def chunks_for(shape: Triple, block: Triple) -> Triple:
    """Chunks that no two blocks share: whole blocks, or equal parts of them.

    >>> chunks_for((100, 1000, 1000), (100, 500, 257))
    (50, 125, 257)
    """
    return tuple(_chunk(min(n, b), limit) for n, b, limit in zip(shape, block, LARGEST_CHUNK, strict=True))  # type: ignore[return-value]


def _chunk(length: int, limit: int) -> int:
    parts = -(-length // limit)
    while length % parts:
        parts += 1
    return length // parts if length // parts * 4 >= limit else length


def _begun(folder: Path | str) -> Path:
    """Says that the array in a bucket is ours."""
    return Path(folder) / "output-begun"
