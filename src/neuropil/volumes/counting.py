"""Statistics of labels: the labelled share, where it lies, and whether a volume looks like labels at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.errors import NeuropilError
from neuropil.geometry import Box, blocks
from neuropil.volumes.volume import Volume

BETWEEN = 16
"""Voxels within a section: a 0 farther than this from any id does not lie between neurons."""

_SAMPLE = (4, 256, 256)
_AT_ONCE = 1 << 26


@dataclass(frozen=True)
class LabelCount:
    """Where in a region labels are."""

    region: Box
    """What was looked at."""
    box: Box
    """The smallest box that holds every voxel with an id; empty where there is none."""
    voxels: int
    """Voxels with an id."""
    along: tuple[NDArray[np.int64], ...]
    """Voxels with an id in each plane of ``box``, for each of the three axes."""
    far_zeros: float
    """Share of the zeros in ``box`` that lie more than ``BETWEEN`` voxels from any id of their section."""

    @property
    def share(self) -> float:
        """Share of the region's voxels that have an id."""
        return self.voxels / max(self.region.size, 1)


def count_labels(labels: Volume, region: Box, mask: Volume | None = None) -> LabelCount:
    """Count what is labelled, section by section.

    Args:
        labels: ``[z, y, x]``, integers; 0 is no label.
        region: the part to look at.
        mask: voxels where this is 0 do not count.

    Raises:
        NeuropilError: negative ids.

    >>> from neuropil.volumes import array_volume
    >>> labels = array_volume(np.pad(np.ones((2, 3, 3), np.uint8), 1))
    >>> found = count_labels(labels, labels.box)
    >>> str(found.box), found.voxels, round(found.share, 2)
    ('1:3,1:4,1:4', 18, 0.18)
    """
    along = [np.zeros(n, np.int64) for n in region.shape]
    far, zeros = 0, 0
    depth = max(_AT_ONCE // max(region.shape[1] * region.shape[2], 1), 1)
    for part in blocks(region, (depth, *region.shape[1:])):
        array = labels.read(part)
        if array.dtype.kind == "i" and array.size and array.min() < 0:
            raise NeuropilError(
                f"expected ids from 0, 0 = no label, got {array.min()}, in {labels.path}; write the ids that are not "
                "annotated as 0"
            )
        here = array != 0
        if mask is not None:
            here &= mask.read(part) != 0
        start = part.start[0] - region.start[0]
        along[0][start : start + part.shape[0]] = here.sum((1, 2))
        along[1] += here.sum((0, 2))
        along[2] += here.sum((0, 1))
        section = here[part.shape[0] // 2]
        if section.any():
            section = _cropped(section)
            zeros += int((~section).sum())
            far += int((~_near(section)).sum())
    spans = [np.flatnonzero(n) for n in along]
    if not len(spans[0]):
        return LabelCount(region, Box.at(region.start, (0, 0, 0)), 0, tuple(n[:0] for n in along), 0.0)
    first, last = [int(s[0]) for s in spans], [int(s[-1]) + 1 for s in spans]
    box = Box.at((0, 0, 0), [b - a for a, b in zip(first, last, strict=True)])
    box = box.shift([a + s for a, s in zip(first, region.start, strict=True)])
    cropped = tuple(n[a:b] for n, a, b in zip(along, first, last, strict=True))
    return LabelCount(region, box, int(along[0].sum()), cropped, far / max(zeros, 1))


def _cropped(section: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The part of a section from its first to its last labelled row and column."""
    rows, columns = np.flatnonzero(section.any(1)), np.flatnonzero(section.any(0))
    return section[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _near(section: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where a label lies within ``BETWEEN`` rows and columns."""
    width = 2 * BETWEEN + 1
    padded: NDArray[np.int64] = np.pad(section.astype(np.int64), BETWEEN)
    sums = np.pad(padded.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = sums[width:, width:] - sums[width:, :-width] - sums[:-width, width:] + sums[:-width, :-width]
    return np.asarray(inside > 0)


def looks_like_image(volume: Volume) -> bool:
    """Whether a volume of small numbers varies from voxel to voxel as grey values do, and not by regions as ids do.

    >>> from neuropil.volumes import array_volume
    >>> grey = np.random.default_rng(0).integers(0, 255, (4, 64, 64)).astype(np.uint8)
    >>> looks_like_image(array_volume(grey)), looks_like_image(array_volume(np.repeat(grey, 8, axis=2)))
    (True, False)
    """
    if len(volume.shape) != 3 or volume.dtype.itemsize > 2:
        return volume.dtype.kind == "f"
    sample = _middle(volume)
    return sample.size > 1 and len(np.unique(sample)) > 32 and _constant(sample) < 0.3


def refuse_image(volume: Volume) -> Volume:
    """The volume itself, if it does not look like an image where a segmentation is expected.

    Floats pass: ``require_labels`` reads whole numbers in them as ids and refuses others.

    Raises:
        NeuropilError: grey values, as ``looks_like_image`` finds them.
    """
    if len(volume.shape) == 3 and volume.dtype.kind != "f" and looks_like_image(volume):
        raise NeuropilError(
            f"expected a segmentation, one id per neuron, got what looks like an image ({volume.dtype}, most voxels "
            f"differ from their neighbour), in {volume.path}; name the segmentation, such as segmentation.h5"
        )
    return volume


def looks_like_labels(volume: Volume) -> bool:
    """Whether nearly all voxels equal their neighbour, as ids do, and more than two values occur.

    >>> from neuropil.volumes import array_volume
    >>> looks_like_labels(array_volume(np.repeat(np.arange(9, dtype=np.uint8), 32).reshape(1, 9, 32)))
    True
    """
    sample = _middle(volume)
    return sample.size > 1 and len(np.unique(sample)) > 2 and _constant(sample) > 0.8


def _middle(volume: Volume) -> NDArray[Any]:
    box = volume.box
    shape = [min(n, s) for n, s in zip(box.shape, _SAMPLE, strict=True)]
    start = [a + (n - s) // 2 for a, n, s in zip(box.start, box.shape, shape, strict=True)]
    return volume.read(Box.at(start, shape))


def _constant(sample: NDArray[Any]) -> float:
    """Share of voxels that equal their neighbour in x, leaving out pairs of zeros."""
    left, right = sample[..., 1:], sample[..., :-1]
    counted = (left != 0) | (right != 0)
    return float((left == right)[counted].mean()) if counted.any() else 1.0
