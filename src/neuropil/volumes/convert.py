"""Copy a volume into another file or format, a slab at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from neuropil.geometry import Box, VoxelSize, blocks
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
    metadata = replace(source.metadata, origin=box.start, voxel_size=voxel_size or source.metadata.voxel_size)
    with create_volume(path, (*channels, *box.shape), source.dtype, metadata) as copy:
        deep = copy.chunks[-3] if copy.chunks else 1
        section = box.shape[1] * box.shape[2] * source.dtype.itemsize * (channels[0] if channels else 1)
        height = max(SLAB_BYTES // (section * deep), 1) * deep
        for slab in blocks(box, (height, *box.shape[1:])):
            copy.write(slab, source.read(slab))
