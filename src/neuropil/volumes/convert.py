"""Copy a volume into another file or format, a part at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from pathlib import Path

from neuropil.geometry import Box, Triple, VoxelSize, blocks
from neuropil.volumes.opening import create_volume
from neuropil.volumes.volume import Volume

SLAB_BYTES = 2**28
"""About how much is held in memory at a time."""


def convert_volume(
    source: Volume, path: str | Path, *, box: Box | None = None, voxel_size: VoxelSize | None = None
) -> None:
    """Write a volume, or a box of it, under another name, whose ending decides the format. Metadata come along.

    Args:
        source: what to copy.
        path: where to.
        box: the part to copy, in voxels of the image; the copy carries its start as ``origin``.
        voxel_size: nm, z y x, instead of what the source says.

    Raises:
        NeuropilError: a box that leaves the source, or what :func:`create_volume` refuses.

    >>> import numpy as np, tempfile
    >>> from neuropil.volumes import array_volume, open_volume
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     image = array_volume(np.arange(24, dtype=np.uint8).reshape(4, 3, 2))
    ...     convert_volume(image, f"{folder}/a.h5", box=Box((1, 0, 0), (3, 3, 2)))
    ...     open_volume(f"{folder}/a.h5").box
    Box(start=(1, 0, 0), stop=(3, 3, 2))
    """
    box = box or source.box
    channels = source.shape[:-3]
    metadata = replace(
        source.metadata,
        origin=source.metadata.origin if box == source.box else box.start,
        voxel_size=voxel_size or source.metadata.voxel_size,
    )
    with create_volume(path, (*channels, *box.shape), source.dtype, metadata) as copy:
        lead = channels[0] if channels else 1
        for part in blocks(box, _part(box.shape, copy.chunks, source.chunks, lead * source.dtype.itemsize)):
            copy.write(part, source.read(part))


def _part(shape: Triple, target: Sequence[int] | None, source: Sequence[int] | None, voxel: int) -> Triple:
    """How much to copy at a time: whole chunks of the target, wide enough that chunks of the source are unpacked once,
    as far as memory allows."""
    part = list(target[-3:]) if target else [1, 1, 1]
    wanted = [max(a, b) for a, b in zip(part, source[-3:] if source else part, strict=True)]
    for goal in (wanted, shape):
        for axis in (2, 1, 0):
            room = SLAB_BYTES // (voxel * prod(part)) * part[axis]
            longest = min(-(-goal[axis] // part[axis]) * part[axis], room // part[axis] * part[axis])
            part[axis] = max(part[axis], longest)
    return (part[0], part[1], part[2])
