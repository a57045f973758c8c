"""Align a segmentation with labels: find the box to compare, and count its contingency table slab by slab."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.errors import NeuropilError
from neuropil.evaluation.table import Contingency, contingency, total
from neuropil.geometry import Box, VoxelSize, blocks
from neuropil.volumes import Volume, as_volume, require_labels
from neuropil.volumes.scored import check_fit, scored_labels, tell_unlabelled
from neuropil.volumes.volume import ArrayStore

Readable = Volume | NDArray[Any] | str | Path
"""Ids ``[z, y, x]``: an array, a volume, or a path to open."""

_SLAB = 1 << 24
"""Voxels read at a time from a file."""


@dataclass(frozen=True)
class Placed:
    """A segmentation and labels, and the box of the image in which they are compared."""

    segmentation: Volume
    labels: Volume
    box: Box

    @property
    def voxel_size(self) -> VoxelSize | None:
        """nm, z y x, of the labels, or else of the segmentation."""
        return self.labels.metadata.voxel_size or self.segmentation.metadata.voxel_size

    @cached_property
    def table(self) -> Contingency:
        """The contingency table of the box, counted when first used and kept."""
        return table_of(self)

    def slabs(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """(segmentation, labels) of a few whole sections at a time; arrays in memory in one piece, not copied."""
        in_memory = all(isinstance(v.store, ArrayStore) for v in (self.segmentation, self.labels))
        for part in [self.box] if in_memory else slabs(self.box):
            yield read_box(self.segmentation, part), read_box(self.labels, part)


def slabs(box: Box) -> Iterator[Box]:
    """Divide a box into slabs of whole sections, each of about 16 million voxels.

    >>> len(list(slabs(Box.whole((40, 2048, 2048)))))
    10
    """
    _, y, x = box.shape
    return blocks(box, (max(1, _SLAB // (y * x)), y, x))


def place(segmentation: Readable, labels: Readable, box: Box | None = None) -> Placed:
    """Find the box to compare: ``box``, or else where the two overlap by their origins.

    Where neither has an origin nor a box is given, their shapes must be equal.

    Raises:
        NeuropilError: not integer ids ``[z, y, x]``, shapes that differ, no overlap, or a box not inside both.

    >>> place(np.zeros((9, 8, 7), int), np.zeros((9, 8, 7), int), Box((0, 0, 0), (5, 8, 7))).box.shape
    (5, 8, 7)
    """
    s, t = require_labels(as_volume(segmentation)), scored_labels(as_volume(labels))
    return Placed(s, t, common_box(s, t, box))


def common_box(first: Volume, second: Volume, box: Box | None = None) -> Box:
    """The box in which two volumes are compared, without channels: see :func:`place`.

    Different voxel sizes are an error if volumes are aligned by origins, and a message if they have equal shapes.
    """
    check_fit(first, second)
    if box is not None:
        for volume in (first, second):
            if not volume.box.contains(box) or box.size == 0:
                raise NeuropilError(f"box {box} is not inside {volume.path}, which holds {volume.box}")
        return box
    if first.box == second.box:
        return first.box
    if first.metadata.origin is None and second.metadata.origin is None:
        raise NeuropilError(
            f"expected equal shapes, got {first.box.shape} in {first.path} and {second.box.shape} in {second.path}; "
            "give the box to compare (--box Z0:Z1,Y0:Y1,X0:X1), or store the origin with the smaller one"
        )
    overlap = first.box.intersect(second.box)
    if overlap.size == 0:
        raise NeuropilError(
            f"{first.path} holds {first.box} and {second.path} holds {second.box}: they have no voxel in common"
        )
    return overlap


def table_of(
    placed: Placed, threads: int | None = None, change_labels: Callable[[NDArray[Any]], NDArray[Any]] | None = None
) -> Contingency:
    """The contingency table of the placed box; ``change_labels`` is applied to the labels of each slab first."""
    table = total(
        contingency(segmentation, change_labels(labels) if change_labels else labels, threads)
        for segmentation, labels in placed.slabs()
    )
    tell_unlabelled(table.truth, placed.labels.path)
    return table


def without_borders(labels: NDArray[Any], border: float, voxel_size: VoxelSize) -> NDArray[Any]:
    """Labels with 0 near borders in the same section, as CREMI leaves truth borders out.

    A border pixel differs from one of its four neighbours. Every pixel whose centre is within ``border`` nm of a border
    pixel's centre is set to 0. The edge of the image is no border.

    >>> without_borders(np.array([[[1, 1, 1, 2, 2, 2]]]), 4.0, (40, 4, 4)).tolist()
    [[[1, 0, 0, 0, 0, 2]]]
    """
    near = _border_pixels(labels)
    _, high, wide = labels.shape
    before = np.zeros((*labels.shape[:2], wide + 1), np.int32)
    np.cumsum(near, axis=2, out=before[:, :, 1:])  # border pixels left of each x
    x = np.arange(wide)
    for dy in range(min(int(border / voxel_size[1]) + 1, high)):
        reach = int(np.sqrt(border**2 - (dy * voxel_size[1]) ** 2) / voxel_size[2])
        row = before[:, :, np.minimum(x + reach + 1, wide)] > before[:, :, np.maximum(x - reach, 0)]
        near[:, dy:] |= row[:, : high - dy]
        near[:, : high - dy] |= row[:, dy:]
    return np.where(near, 0, labels).astype(labels.dtype)


def _border_pixels(labels: NDArray[Any]) -> NDArray[np.bool_]:
    border = np.zeros(labels.shape, bool)
    for axis in (1, 2):
        first = (slice(None),) * axis + (slice(None, -1),)
        second = (slice(None),) * axis + (slice(1, None),)
        differs = labels[first] != labels[second]
        border[first] |= differs
        border[second] |= differs
    return border


def read_box(volume: Volume, box: Box) -> NDArray[Any]:
    """The voxels of a box; a view where the volume is an array, whatever its memory layout."""
    if isinstance(volume.store, ArrayStore):
        return volume.store.array[box.relative_to(volume.metadata.start).slices]
    return volume.read(box)
