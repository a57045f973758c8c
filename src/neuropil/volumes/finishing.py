"""Outputs of long runs: checked for being writable before the work, renamed when they are complete."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy.typing as npt

from neuropil.geometry import Triple, blocks
from neuropil.volumes.atomic import move_into_place, remove_leftovers
from neuropil.volumes.formats import CHUNKED, Location
from neuropil.volumes.location import parse_location
from neuropil.volumes.metadata import Metadata
from neuropil.volumes.opening import create_volume, open_volume


class _Enough(Exception):
    """Ends a trial."""


def can_be_written(
    output: Path | str, shape: tuple[int, ...], dtype: npt.DTypeLike, metadata: Metadata | None = None
) -> None:
    """Refuse now, not after hours, an output that cannot be written: made, and taken back at once.

    Raises:
        NeuropilError: it cannot.

    >>> can_be_written("/proc/a.zarr", (1, 1, 1), "u1")
    Traceback (most recent call last):
    neuropil.errors.NeuropilError: cannot write in /proc: No such file or directory
    """
    with suppress(_Enough), create_volume(output, shape, dtype, metadata):
        raise _Enough


def written_at(output: Path | str, folder: Path, name: str) -> str:
    """Where many processes write an output until it is complete: one in a bucket, which cannot rename, at its own
    place; else a folder of chunks called ``name`` among intermediate files, in the output's own format if that has
    chunks.

    >>> written_at("a.n5", Path("work"), "segmentation"), written_at("a.h5", Path("work"), "segmentation")
    ('work/segmentation.n5', 'work/segmentation.zarr')
    """
    location = parse_location(output)
    if location.remote:
        return location.path
    if not is_whole_folder(location):
        return str(folder / f"{name}{CHUNKED.suffixes[0]}")
    return Location(location.format, str(folder / f"{name}{location.format.suffixes[0]}"), "", location.scheme).path


def put_in_place(complete: Path | str, output: Path | str, part: Triple, chunks: tuple[int, ...] | None = None) -> None:
    """Give a complete array its name: by renaming where that makes the same, else copied in boxes of ``part`` voxels
    into ``chunks``, where the format has any. An array that was written at its own place is left there.

    Raises:
        NeuropilError: it cannot be written.
    """
    source, target = parse_location(complete), parse_location(output)
    if target.remote and source == target:
        return
    same = source.format is target.format and source.scheme == target.scheme
    if same and is_whole_folder(source) and is_whole_folder(target):
        remove_leftovers(Path(target.container))
        move_into_place(Path(source.container), Path(target.container))
        return
    with (
        open_volume(complete) as volume,
        create_volume(output, volume.shape, volume.dtype, volume.metadata, chunks) as copy,
    ):
        for box in blocks(volume.box, part):
            copy.write(box, volume.read(box))


def is_whole_folder(location: Location) -> bool:
    """Whether the array is all that its container holds, a local folder, so that renaming the folder renames it."""
    return location.format.folder and not location.remote and not location.format.settle(location).array
