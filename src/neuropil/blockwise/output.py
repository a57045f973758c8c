"""The array that blocks of the segmentation are written into by many at once, and how it gets its name."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np

from neuropil.blockwise.job import Job
from neuropil.geometry import Triple, blocks
from neuropil.volumes import Metadata, create_volume, open_volume
from neuropil.volumes.atomic import move_into_place
from neuropil.volumes.location import Location, parse_location

LARGEST_CHUNK: Triple = (64, 128, 128)
"""Voxels of a chunk of the output beyond which blocks are cut."""


class _Enough(Exception):
    """Ends a trial."""


def check_output(output: Path | str) -> None:
    """Refuse now, not after hours, an output that cannot be written: made, and taken back at once.

    Raises:
        NeuropilError: it cannot.
    """
    with suppress(_Enough), create_volume(output, (1, 1, 1), np.uint32):
        raise _Enough


def output_path(output: Path | str, place: Path) -> str:
    """Where blocks are written: a bucket, which cannot rename, at once; else among the files of the job."""
    location = parse_location(output)
    if location.remote:
        return location.path
    if _is_plain(location):
        suffix = {"zarr": "zarr", "zarr2": "zarr", "n5": "n5"}.get(location.format, "precomputed")
        return Location(location.format, str(place / f"segmentation.{suffix}")).path
    return str(place / "segmentation.zarr")


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


def finish_output(job: Job, output: Path | str) -> None:
    """Give the complete array its name: by renaming where it can be, else copied block by block."""
    location = parse_location(output)
    if location.remote:
        return
    if _is_plain(location):
        move_into_place(Path(parse_location(job.output).container), Path(location.container))
        return
    with open_volume(job.output) as source, create_volume(output, source.shape, source.dtype, source.metadata) as out:
        for box in blocks(source.box, job.block):
            out.write(box, source.read(box))


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


def _is_plain(location: Location) -> bool:
    """Whether the array is a whole folder, which can be renamed."""
    chunked = location.format in ("zarr", "zarr2", "n5", "precomputed")
    return chunked and not location.array and ".ome." not in location.container


def _begun(folder: Path | str) -> Path:
    """Says that the array in a bucket is ours."""
    return Path(folder) / "output-begun"
