"""Draw training samples: boxes of image and labels from one or several volumes, each a function of its number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from neuropil.augment import Warp, draw_warp
from neuropil.config import AugmentConfig
from neuropil.errors import NeuropilError
from neuropil.geometry import Box, Triple, VoxelSize
from neuropil.volumes import Volume
from neuropil.volumes.grey import grey_levels


class Sample(NamedTuple):
    """One training sample, as stored."""

    image_ZYX: Tensor
    """The patch, in the image's dtype; wider by the reach of the warp where there is one."""
    labels_ZYX: Tensor
    """int32 ids of this sample only, 0 = background or masked; ``margin`` voxels wider than the patch in y and x, or as
    wide as the image where there is a warp."""
    mask_ZYX: Tensor
    """bool, which labels may be used; as wide as the labels."""
    number: int
    """The sample's number; with the seed it decides everything drawn for it."""
    warp: Warp | None = None
    """The geometry that was drawn for it; it decides how much around the patch is read."""
    real_YX: Tensor | None = None
    """bool, as wide as the image: where it was read. Beyond the border of the region its last voxels are repeated.
    None: read everywhere."""


@dataclass(frozen=True)
class LabelledVolume:
    """An image with its labels, and the part of them to draw from."""

    image: Volume
    labels: Volume
    mask: Volume | None = None
    box: Box | None = None
    weight: float = 1.0

    def region(self) -> Box:
        """The box to draw from.

        Raises:
            NeuropilError: image and labels do not overlap, differ in shape with neither box nor origin, or the box
                reaches outside of either.
        """
        image, labels = self.image.box, self.labels.box
        placed = any(volume.metadata.origin is not None for volume in (self.image, self.labels))
        if self.box is None and not placed and image != labels:
            raise NeuropilError(
                f"image {self.image.path} has shape {image.shape} and labels {self.labels.path} have {labels.shape}; "
                "give both the same shape, store an `origin` attribute with them, or name a `box`"
            )
        overlap = image.intersect(labels)
        box = overlap if self.box is None else self.box
        if box.size == 0 or not overlap.contains(box):
            raise NeuropilError(
                f"the box {box} must lie inside image {self.image.path} ({image}) "
                f"and labels {self.labels.path} ({labels})"
            )
        return box


class Wanted(NamedTuple):
    """What a sample must hold, or its place is drawn again: labels are looked at before the image is read."""

    foreground: float = 0.0
    """Share of the patch's voxels that must carry a label and be usable."""
    ids: int = 0
    """Different usable labels that must be there, on every fourth voxel of the patch in y and x."""
    attempts: int = 50
    """Places to try; after that the one with most labels is taken."""


class VolumeDataset(torch.utils.data.Dataset[Sample]):
    """Random patches of labelled volumes; sample ``i`` of seed ``s`` is always the same patch.

    Because a sample depends on nothing but its number, workers and ranks that are given different numbers draw
    independent streams, and a run that is resumed goes on with the samples it would have drawn.

    Args:
        pairs: where to draw from, each with probability proportional to weight × number of patch positions.
        patch: size of a patch in voxels (z, y, x).
        seed: first half of each sample's random stream.
        margin: voxels of labels around the patch in y and x, so that erosion at its border sees what lies beyond.
        augment: how samples will be warped, so that enough is read around them; None: not at all.
        unlabelled: an id that means "not labelled", masked out; None where 0 is true background.
        wanted: what a place must hold to be taken; None: nothing.
        memory: bytes that may be kept; volumes beyond are read box by box.
        device: where volumes are kept. Samples of those lie there too, and need no copy to be trained on.
        length: how many samples an epoch has; the stream itself never ends.

    Raises:
        NeuropilError: no pairs, a patch larger than a volume, images of other than bytes, 16-bit or shares of 1, labels
            that are not integers or negative, shapes that do not match, no label in any volume that is kept.

    >>> from neuropil.volumes import array_volume
    >>> image, labels = np.zeros((8, 32, 32), np.uint8), np.ones((8, 32, 32), np.uint32)
    >>> data = VolumeDataset([LabelledVolume(array_volume(image), array_volume(labels))], (4, 16, 16), seed=0, margin=1)
    >>> tuple(data[5].image_ZYX.shape), tuple(data[5].labels_ZYX.shape)
    ((4, 16, 16), (4, 18, 18))
    """

    def __init__(
        self,
        pairs: Sequence[LabelledVolume],
        patch: Triple,
        *,
        seed: int = 0,
        margin: int = 0,
        augment: AugmentConfig | None = None,
        unlabelled: int | None = None,
        wanted: Wanted | None = None,
        memory: float = 4e9,
        device: torch.device | None = None,
        length: int = 2**31,
    ) -> None:
        if not pairs:
            raise NeuropilError("training needs at least one image with labels; fill `data.train`")
        self.patch, self.seed, self.margin, self.length = patch, seed, margin, length
        self.augment, self.wanted = augment, wanted
        self._sources: list[_Source] = []
        for pair in pairs:
            self._sources.append(_Source(pair, patch, unlabelled, memory, device or torch.device("cpu")))
            memory -= self._sources[-1].kept
        if not any(source.may_teach for source in self._sources):
            raise NeuropilError(
                f"expected neurons, got no voxel with an id above 0 that may be used in {pairs[0].labels.path}"
                f"{f' and {len(pairs) - 1} more' if len(pairs) > 1 else ''}; look at labels, mask and box in the recipe"
            )
        positions = np.array([source.pair.weight * math.prod(source.positions) for source in self._sources])
        self._until = (positions / positions.sum()).cumsum()
        self._until /= self._until[-1]

    @property
    def voxel_size(self) -> VoxelSize | None:
        """In nm, of the first volume that tells."""
        sizes = [source.pair.image.metadata.voxel_size for source in self._sources]
        return next((size for size in sizes if size is not None), None)

    @property
    def grey_levels(self) -> tuple[float, float, float]:
        """What the grey values are like: the 1st, 50th and 99th percentile, shares of 1, the mean over volumes."""
        levels = np.mean([grey_levels(source.pair.image) for source in self._sources], axis=0)
        return (float(levels[0]), float(levels[1]), float(levels[2]))

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> Sample:
        source, patch = self._place(sample_rng(self.seed, number))
        warp = None
        if self.augment is not None:
            warp = draw_warp(sample_rng(self.seed, number, part=2), self.augment, self.patch, self.margin)
        if warp is None:
            return Sample(source.image(patch), *source.labels(patch.grow((0, self.margin, self.margin))), number)
        wide = patch.grow((0, *warp.reach))
        image, real = source.wide_image(wide)
        return Sample(image, *source.labels(wide), number, warp, real)

    def _place(self, rng: np.random.Generator) -> tuple[_Source, Box]:
        """A volume and a patch in it that holds what is wanted."""
        best: tuple[float, _Source, Box] | None = None
        for _ in range(self.wanted.attempts if self.wanted else 1):
            # What rng.choice with these shares does, without checking them each time.
            source = self._sources[int(self._until.searchsorted(rng.random(), side="right"))]
            start = [a + int(rng.integers(0, n)) for a, n in zip(source.region.start, source.positions, strict=True)]
            patch = Box.at(start, self.patch)
            if self.wanted is None:
                return source, patch
            labels, mask = source.labels(patch)
            foreground = float(((labels > 0) & mask).float().mean())
            ids = torch.unique(labels[:, ::4, ::4]) if self.wanted.ids else labels[:0]
            if foreground >= self.wanted.foreground and int(ids.count_nonzero()) >= self.wanted.ids:
                return source, patch
            if best is None or foreground > best[0]:
                best = (foreground, source, patch)
        assert best is not None
        return best[1:]

    @property
    def in_memory(self) -> bool:
        """Whether every volume is kept in memory."""
        return all(source.kept for source in self._sources)


def sample_rng(seed: int, number: int, part: int = 0) -> np.random.Generator:
    """The random stream of one sample.

    ``part`` separates what draws from it: 0 the place, 1 symmetry and grey values, 2 the warp, 3 defects. So switching
    one of them on or off leaves the others as they are.

    >>> sample_rng(0, 5).integers(1000) == sample_rng(0, 5).integers(1000)
    np.True_
    """
    return np.random.Generator(np.random.Philox(key=[seed & (2**64 - 1), (number << 8) + part]))


def collate(samples: Sequence[Sample]) -> list[Sample]:
    """A batch as it travels: the samples side by side, because those with a warp are wider than the others."""
    return list(samples)


class _Source:
    """One pair, read once where it is small enough to be kept, on the device that trains; else box by box."""

    def __init__(
        self, pair: LabelledVolume, patch: Triple, unlabelled: int | None, memory: float, device: torch.device
    ) -> None:
        self.pair, self.region, self.unlabelled = pair, pair.region(), unlabelled
        _check_kinds(pair)
        if any(n < p for n, p in zip(self.region.shape, patch, strict=True)):
            raise NeuropilError(
                f"the patch {patch} is larger than {pair.image.path} ({self.region.shape} voxels to draw from); "
                "make training.patch smaller"
            )
        self.positions = tuple(n - p + 1 for n, p in zip(self.region.shape, patch, strict=True))
        # The image, labels as int32, and the mask.
        size = self.region.size * (pair.image.dtype.itemsize + 5)
        fits = size <= memory
        self.kept = size if fits else 0
        self._image = _read_grey(pair.image, self.region).to(device) if fits else None
        self.may_teach = True
        """Whether any voxel carries a label that may be used; of volumes that are not kept nobody knows."""
        self._labels: tuple[Tensor, Tensor] | None = None
        if fits:
            labels, mask = self._read_labels(self.region)
            self.may_teach = bool(((labels > 0) & mask).any())
            self._labels = labels.to(device), mask.to(device)

    def image(self, box: Box) -> Tensor:
        if self._image is None:
            return _read_grey(self.pair.image, box)
        return self._image[box.relative_to(self.region.start).slices].clone()

    def wide_image(self, box: Box) -> tuple[Tensor, Tensor | None]:
        """The image of a box that may reach out of the region in y and x, and where it does not (None: nowhere)."""
        inside = box.intersect(self.region)
        image = self.image(inside)
        if inside == box:
            return image, None
        real = torch.ones(image.shape[1:], dtype=torch.bool, device=image.device)
        for axis in (1, 2):
            # The last voxels are repeated; indices say so for every dtype and device.
            at = torch.arange(box.start[axis], box.stop[axis], device=image.device)
            at = at.clamp(inside.start[axis], inside.stop[axis] - 1) - inside.start[axis]
            bits = image.view(torch.int16) if image.dtype == torch.uint16 else image  # GPUs index no uint16
            image = bits.index_select(axis, at).view(image.dtype)
        return image, F.pad(real, _lack(box, inside)[:4])

    def labels(self, box: Box) -> tuple[Tensor, Tensor]:
        """Labels and mask of a box that may reach out of the region: there 0, and not to be used."""
        inside = box.intersect(self.region)
        if self._labels is None:
            labels, mask = self._read_labels(inside)
        else:
            labels, mask = (part[inside.relative_to(self.region.start).slices].clone() for part in self._labels)
        lack = _lack(box, inside)
        return (F.pad(labels, lack), F.pad(mask, lack)) if any(lack) else (labels, mask)

    def _read_labels(self, box: Box) -> tuple[Tensor, Tensor]:
        labels = self.pair.labels.read(box)
        if labels.dtype.kind == "i" and labels.size and labels.min() < 0:
            raise NeuropilError(
                f"ids must not be negative, {self.pair.labels.path} holds {labels.min()}; give what is not labelled an "
                "id of its own (data.unlabelled), or a mask"
            )
        if self.pair.mask is None and self.unlabelled is None:
            return torch.from_numpy(_compact(labels)), torch.ones(labels.shape, dtype=torch.bool)
        mask = np.ones(labels.shape, bool) if self.pair.mask is None else self.pair.mask.read(box) != 0
        if self.unlabelled is not None:
            mask &= labels != self.unlabelled
        # What nobody knows is no neuron: it erodes none beside it, and is not counted where neurons are.
        labels = np.where(mask, labels, labels.dtype.type(0))
        return torch.from_numpy(_compact(labels)), torch.from_numpy(mask)


def _check_kinds(pair: LabelledVolume) -> None:
    """Refuse what cannot be an image or its labels, whatever the voxels are."""
    if pair.labels.dtype.kind not in "iu":
        raise NeuropilError(f"labels must be integers, {pair.labels.path} holds {pair.labels.dtype}")
    if pair.image.dtype not in (np.uint8, np.uint16) and pair.image.dtype.kind != "f":
        raise NeuropilError(
            f"an image must be uint8, uint16 or float in [0, 1]; {pair.image.path} holds {pair.image.dtype}"
        )
    if len(pair.image.shape) != 3 or len(pair.labels.shape) != 3:
        raise NeuropilError(
            f"image and labels must be [z, y, x], got {pair.image.path} {pair.image.shape} and "
            f"{pair.labels.path} {pair.labels.shape}"
        )


def _read_grey(image: Volume, box: Box) -> Tensor:
    """Voxels of an image; of floats every one that is read is looked at."""
    array = image.read(box)
    if array.dtype.kind == "f" and array.size and not (array.min() >= 0 and array.max() <= 1):
        raise NeuropilError(
            f"a float image must be finite and lie in [0, 1]; {image.path} holds {array.min():g} to {array.max():g}; "
            "rescale it, or store it as uint8"
        )
    return _tensor(array)


def _tensor(array: npt.NDArray[Any]) -> Tensor:
    """An array as a tensor. Pages of a TIFF may come read-only, and torch warns of those: they are copied."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def _lack(box: Box, inside: Box) -> list[int]:
    """Voxels of a box before and behind the part of it that is there, last axis first, as padding is written."""
    ends = zip(box.start, box.stop, inside.start, inside.stop, strict=True)
    return [n for a, b, c, d in reversed(list(ends)) for n in (c - a, b - d)]


def _compact(labels: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
    """Ids of any size as int32, which every device computes with; 0 stays 0."""
    if labels.size == 0 or (labels.min() >= 0 and labels.max() < 2**31 - 1):
        return labels.astype(np.int32)
    ids, compact = np.unique(labels, return_inverse=True)
    shift = 0 if ids.size and ids[0] == 0 else 1
    small: npt.NDArray[np.int32] = (compact.reshape(labels.shape) + shift).astype(np.int32)
    return small
