"""Outputs of long runs: before the work it is checked that they can be written; complete ones are renamed."""

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
    """Raised to leave ``create_volume`` without a result."""


def can_be_written(
    output: Path | str, shape: tuple[int, ...], dtype: npt.DTypeLike, metadata: Metadata | None = None
) -> None:
    """Check before the work that an output can be written: create it, and remove it at once.

    Raises:
        NeuropilError: the output cannot be written.

    >>> can_be_written("/proc/a.zarr", (1, 1, 1), "u1")
    Traceback (most recent call last):
    neuropil.errors.NeuropilError: cannot write in /proc: No such file or directory
    """
    with suppress(_Enough), create_volume(output, shape, dtype, metadata):
        raise _Enough


def written_at(output: Path | str, folder: Path, name: str) -> str:
    """Path at which many processes write an output until it is complete: in a bucket, which cannot rename, the output
    itself; else a chunked array ``name`` among the intermediate files, in the output's format if that is chunked.

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
    """Move a complete array to its final path: by renaming if the formats agree, else by copying boxes of ``part``
    voxels, in ``chunks`` if the format has them. An array that was written at its final path stays there.

    Raises:
        NeuropilError: the output cannot be written.
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
    """Whether the container is a local folder that holds this array alone, so that renaming the folder renames it."""
    return location.format.folder and not location.remote and not location.format.settle(location).array
