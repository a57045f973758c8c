"""Copy a volume into another file or format, a part at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuropil.errors import NeuropilError, tell
from neuropil.geometry import Box, Triple, VoxelSize, blocks
from neuropil.volumes.opening import create_volume
from neuropil.volumes.roles import is_lossy
from neuropil.volumes.volume import Volume

SLAB_BYTES = 2**28
"""About how many bytes are held in memory at a time."""


@dataclass(frozen=True)
class Voxels:
    """How voxel values are converted in a copy.

    Args:
        dtype: their type; None: that of the source, or what ``kind`` and ``scale_range`` ask for.
        kind: ``segmentation``: ids, in uint32 or uint64, as viewers want them, -1 as 0; ``image``: grey values;
            "": as they are.
        scale_range: the values that become the smallest and the largest of the type, uint8 unless one is given;
            values beyond are clipped.
    """

    dtype: str | None = None
    kind: Literal["", "image", "segmentation"] = ""
    scale_range: tuple[float, float] | None = None

    def of(self, source: Volume) -> np.dtype[Any]:
        """The type of the copy.

        Raises:
            NeuropilError: an unknown type, or a range that does not ascend.
        """
        if self.scale_range is not None and not self.scale_range[0] < self.scale_range[1]:
            raise NeuropilError(f"expected --scale-range LOW,HIGH ascending, got {self.scale_range}")
        if self.dtype is not None:
            try:
                return np.dtype(self.dtype)
            except TypeError:
                raise NeuropilError(f"expected a type such as uint8, got --dtype {self.dtype}") from None
        if self.scale_range is not None:
            return np.dtype(np.uint8)
        if self.kind == "segmentation":
            return np.dtype(np.uint64 if source.dtype.itemsize > 4 else np.uint32)
        return source.dtype

    def convert(self, array: NDArray[Any], dtype: np.dtype[Any], path: str) -> NDArray[Any]:
        """Voxels in the type of the copy.

        Raises:
            NeuropilError: values that the type cannot hold; without ``scale_range`` nothing is clipped or rounded to
                integers.
        """
        if self.scale_range is not None:
            return _scaled(array, self.scale_range, dtype, path)
        if self.kind == "segmentation" and dtype.kind == "u" and array.dtype.kind == "i" and (array == -1).any():
            tell(f"-1 in {path} means not labelled; it is 0 in the copy")
            array = np.where(array == -1, array.dtype.type(0), array)
        with np.errstate(all="ignore"):
            turned = array.astype(dtype)
        if array.dtype == dtype:
            return turned
        same = _same(array, turned)
        if not bool(np.all(same)):
            worst = array[~same].flat[0]
            do = "name another --dtype" + ("" if self.kind == "segmentation" else ", or --scale-range LOW,HIGH")
            ids = "; of ids, --type segmentation makes -1, not labelled, 0" if worst == -1 and not self.kind else ""
            raise NeuropilError(f"{dtype} cannot hold {worst}, which {path} has; {do}{ids}")
        return turned


def _scaled(array: NDArray[Any], scale_range: tuple[float, float], dtype: np.dtype[Any], path: str) -> NDArray[Any]:
    """Values scaled linearly from the given range to that of the type."""
    low, high = scale_range
    unit = np.clip((array.astype(np.float64) - low) / (high - low), 0, 1)
    if dtype.kind == "f":
        return unit.astype(dtype)
    if np.isnan(unit).any():
        raise NeuropilError(
            f"{dtype} cannot hold nan, which {path} has; --dtype float32 keeps it, or give these voxels a number first"
        )
    least, most = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    return np.rint(unit * (most - least) + least).astype(dtype)


def _same(array: NDArray[Any], turned: NDArray[Any]) -> NDArray[np.bool_]:
    """Where values are unchanged. Only floats converted to floats may lose digits; none may become infinite."""
    before, after = array.dtype, turned.dtype
    if np.can_cast(before, after, "safe") and not (after.kind == "f" and before.kind in "iu" and before.itemsize == 8):
        return np.ones((), np.bool_)
    if before.kind == "f" and after.kind == "f":
        return np.asarray(np.isinf(turned) <= np.isinf(array))
    if after.kind == "f":  # rounding may carry the largest integers beyond their type, where they cannot be cast back
        inside = np.isfinite(turned) & (turned.astype(np.float64) < float(np.iinfo(before).max) + 1)
        return np.asarray(inside & (np.where(inside, turned, 0).astype(before) == array))
    if before.kind == "f":
        info = np.iinfo(np.uint8) if after.kind == "b" else np.iinfo(after)
        inside = (array >= info.min) & (array.astype(np.float64) < float(info.max) + 1)
        return np.asarray(inside & (turned.astype(np.float64) == array))
    return np.asarray((turned == array) & ((turned < 0) == (array < 0)))


AS_THEY_ARE = Voxels()


def convert_volume(
    source: Volume,
    path: str | Path,
    *,
    box: Box | None = None,
    voxel_size: VoxelSize | None = None,
    voxels: Voxels = AS_THEY_ARE,
    sharded: bool = False,
) -> None:
    """Copy a volume, or a box of it, with its metadata; the ending of ``path`` decides the format.

    Args:
        source: what to copy.
        path: where to.
        box: the part to copy, in voxels of the image; the copy carries its start as ``origin``.
        voxel_size: nm, z y x, instead of what the source says.
        voxels: what becomes of the values.
        sharded: as for :func:`create_volume`.

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
    dtype = voxels.of(source)
    if is_lossy(source) and not voxels.kind:
        tell(
            f"{source.path}: its compression may have changed values (JPEG or similar), and the copy does not say so: "
            "use it as an image, not for ids"
        )
    with create_volume(path, (*channels, *box.shape), dtype, metadata, sharded=sharded) as copy:
        lead, empty = channels[0] if channels else 1, True
        for part in blocks(box, part_shape(box.shape, copy.chunks, source.chunks, lead * source.dtype.itemsize)):
            found = source.read(part)
            empty = empty and not found.any()
            copy.write(part, voxels.convert(found, dtype, source.path).astype(copy.dtype))
    if empty:
        tell(f"all voxels of {source.path} that were copied are 0")


def part_shape(shape: Triple, target: Sequence[int] | None, source: Sequence[int] | None, voxel: int) -> Triple:
    """Shape of the box to copy at a time: whole chunks of the target, and, as far as memory allows, so large that each
    chunk of the source is decompressed once."""
    part = list(target[-3:]) if target else [1, 1, 1]
    wanted = [max(a, b) for a, b in zip(part, source[-3:] if source else part, strict=True)]
    for goal in (wanted, shape):
        for axis in (2, 1, 0):
            room = SLAB_BYTES // (voxel * prod(part)) * part[axis]
            longest = min(-(-goal[axis] // part[axis]) * part[axis], room // part[axis] * part[axis])
            part[axis] = max(part[axis], longest)
    return (part[0], part[1], part[2])
