"""Sources of samples: an image with labels, mask and a teacher's affinities, kept in memory or read box by box."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from neuropil.errors import NeuropilError
from neuropil.geometry import Box, Offsets, Triple
from neuropil.volumes import LOGIT8, Volume
from neuropil.volumes.scored import tell_unlabelled


class TeacherAffinities(NamedTuple):
    """Affinities that another network, the teacher, predicted for a patch."""

    codes_EZYX: Tensor
    """uint8, codes of ``logit8``."""
    offsets: Offsets
    """The edges of their channels."""


@dataclass(frozen=True)
class LabelledVolume:
    """An image with its labels or a teacher's affinities, or both, and the part of them to draw from."""

    image: Volume
    labels: Volume | None
    mask: Volume | None = None
    box: Box | None = None
    weight: float = 1.0
    teacher: Volume | None = None
    """Affinities ``[edge, z, y, x]`` in codes of ``logit8``, placed by their origin."""

    def region(self) -> Box:
        """The box to draw from.

        Raises:
            NeuropilError: image and labels do not overlap, differ in shape with neither box nor origin, or the box
                reaches outside of either.
        """
        if self.labels is None:
            return self.image.box if self.box is None else self.box
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


SPARSE = 0.5
"""Share of usable voxels below which positions are drawn in proportion to them, and not uniformly."""


class Source:
    """One pair: if it is small enough it is read once and kept on the training device; else it is read box by box."""

    def __init__(
        self,
        pair: LabelledVolume,
        patch: Triple,
        unlabelled: Collection[int],
        memory: float,
        device: torch.device,
        offsets: Offsets,
    ) -> None:
        self.pair, self.region, self.unlabelled = pair, pair.region(), unlabelled
        _check_kinds(pair)
        if any(n < p for n, p in zip(self.region.shape, patch, strict=True)):
            raise NeuropilError(
                f"the patch {patch} is larger than {pair.image.path} ({self.region.shape} voxels to draw from); "
                "make training.patch smaller"
            )
        self.positions = tuple(n - p + 1 for n, p in zip(self.region.shape, patch, strict=True))
        self._channels = _teaching_channels(pair, offsets, self.region)
        # The image, labels as int32, the mask, and a byte for each edge of a teacher.
        size = self.region.size * (pair.image.dtype.itemsize + 5 + len(self._channels))
        fits = size <= memory
        self.kept = size if fits else 0
        self._image = _read_grey(pair.image, self.region).to(device) if fits else None
        self.may_teach = True
        """Whether any voxel has a usable label; assumed for volumes that are not kept."""
        self.usable_everywhere = pair.mask is None and (
            pair.labels is None or (not unlabelled and pair.labels.dtype.kind == "u")
        )
        """Whether every voxel is usable; for volumes that are not kept, whether that is certain without reading."""
        self._labels: tuple[Tensor, Tensor] | None = None
        self._planes: list[npt.NDArray[np.bool_]] | None = None
        self._by_section: npt.NDArray[np.int64] | None = None
        share = 1.0
        if fits:
            labels, mask = self._read_labels(self.region)
            self.may_teach = bool(((labels > 0) & mask).any()) or pair.teacher is not None
            self._labels = labels.to(device), mask.to(device)
            self.usable_everywhere = bool(mask.all())
            share = self._look_at(mask)
        self.room = math.prod(self.positions) * share
        """Number of patch positions, times the usable share if that is below ``SPARSE``."""
        self._teacher: TeacherAffinities | None = None
        if fits and pair.teacher is not None:
            codes, edges = self._read_teacher(pair.teacher, self.region)
            self._teacher = TeacherAffinities(codes.to(device), edges)

    def _look_at(self, mask: Tensor) -> float:
        """Store which planes have usable voxels; returns the share by which the volume is drawn."""
        if self.usable_everywhere:
            return 1.0
        counts = mask.numpy()
        self._planes = [np.asarray(counts.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
        by_section = counts.sum(axis=(1, 2), dtype=np.int64)
        share = float(by_section.sum() / mask.numel())
        if not 0 < share < SPARSE:
            return 1.0
        self._by_section = by_section.cumsum()
        return share

    def start(self, rng: np.random.Generator, patch: Triple) -> list[int]:
        """Draw the first voxel of a patch: uniformly, or, if few voxels are usable, in proportion to those."""
        if self._by_section is None or self._labels is None:
            return [a + int(rng.integers(0, n)) for a, n in zip(self.region.start, self.positions, strict=True)]
        # A usable voxel, drawn uniformly; then one of the positions whose patch contains it.
        number = int(rng.integers(0, self._by_section[-1]))
        z = int(self._by_section.searchsorted(number, side="right"))
        inside = number - (int(self._by_section[z - 1]) if z else 0)
        y, x = divmod(int(self._labels[1][z].flatten().nonzero()[inside]), self.region.shape[2])
        found = []
        for at, first, size, room in zip((z, y, x), self.region.start, patch, self.positions, strict=True):
            low, high = max(0, at - size + 1), min(at, room - 1)
            found.append(first + int(rng.integers(low, high + 1)))
        return found

    def possible(self, offset: Triple) -> bool:
        """Whether both ends of an edge can be in planes with a usable voxel; True if planes were not counted."""
        if self._planes is None:
            return True
        for usable, step in zip(self._planes, offset, strict=True):
            far = abs(step)
            if not (usable[far:] & usable[: len(usable) - far]).any():
                return False
        return True

    def whole(self) -> tuple[Tensor, Tensor, Tensor]:
        """Image, labels and mask of a source that is kept; do not write to them."""
        assert self._image is not None
        assert self._labels is not None
        return self._image, *self._labels

    def image(self, box: Box) -> Tensor:
        if self._image is None:
            return _read_grey(self.pair.image, box)
        return self._image[box.relative_to(self.region.start).slices].clone()

    def wide_image(self, box: Box) -> tuple[Tensor, Tensor | None]:
        """The image of a box that may reach beyond the region in y and x, padded; and where it is no padding (None:
        everywhere)."""
        inside = box.intersect(self.region)
        image = self.image(inside)
        if inside == box:
            return image, None
        real = torch.ones(image.shape[1:], dtype=torch.bool, device=image.device)
        for axis in (1, 2):
            # Repeat the last voxels, by indices, which works for every dtype and device.
            at = torch.arange(box.start[axis], box.stop[axis], device=image.device)
            at = at.clamp(inside.start[axis], inside.stop[axis] - 1) - inside.start[axis]
            bits = image.view(torch.int16) if image.dtype == torch.uint16 else image  # GPUs index no uint16
            image = bits.index_select(axis, at).view(image.dtype)
        return image, F.pad(real, _lack(box, inside)[:4])

    def labels(self, box: Box) -> tuple[Tensor, Tensor]:
        """Labels and mask of a box that may reach beyond the region, where they are 0 and False."""
        inside = box.intersect(self.region)
        if self._labels is None:
            labels, mask = self._read_labels(inside)
        else:
            labels, mask = (part[inside.relative_to(self.region.start).slices].clone() for part in self._labels)
        lack = _lack(box, inside)
        return (F.pad(labels, lack), F.pad(mask, lack)) if any(lack) else (labels, mask)

    def teacher(self, box: Box) -> TeacherAffinities | None:
        """The teacher's affinities of a box inside the region; None without a teacher."""
        if self._teacher is not None:
            return TeacherAffinities(
                self._teacher.codes_EZYX[:, *box.relative_to(self.region.start).slices], self._teacher.offsets
            )
        return None if self.pair.teacher is None else self._read_teacher(self.pair.teacher, box)

    def _read_teacher(self, teacher: Volume, box: Box) -> TeacherAffinities:
        held = teacher.metadata.offsets or ()
        codes = torch.from_numpy(teacher.read(box)[self._channels])
        return TeacherAffinities(codes, tuple(held[channel] for channel in self._channels))

    def _read_labels(self, box: Box) -> tuple[Tensor, Tensor]:
        if self.pair.labels is None:
            known = np.ones(box.shape, bool) if self.pair.mask is None else self.pair.mask.read(box) != 0
            return torch.zeros(box.shape, dtype=torch.int32), torch.from_numpy(known)
        labels = self.pair.labels.read(box)
        signed = labels.dtype.kind == "i" and labels.size > 0
        if signed and labels.min() < -1:
            raise NeuropilError(
                f"ids must not be negative, {self.pair.labels.path} holds {labels.min()}; give what is not labelled an "
                "id of its own (data.unlabelled), or a mask"
            )
        left = labels == -1 if signed else np.zeros((), bool)  # -1 means: not labelled
        held = np.iinfo(labels.dtype)
        tell_unlabelled(labels, self.pair.labels.path, "data.unlabelled:", self.unlabelled)
        gone = [number for number in self.unlabelled if held.min <= number <= held.max]
        if self.pair.mask is None and not gone and not left.any():
            return torch.from_numpy(_compact(labels)), torch.ones(labels.shape, dtype=torch.bool)
        mask = np.ones(labels.shape, bool) if self.pair.mask is None else self.pair.mask.read(box) != 0
        mask &= ~left
        for number in gone:
            mask &= labels != number
        # Masked voxels become background: they must not erode neurons next to them, nor count as labels.
        labels = np.where(mask, labels, labels.dtype.type(0))
        return torch.from_numpy(_compact(labels)), torch.from_numpy(mask)


def _check_kinds(pair: LabelledVolume) -> None:
    """Refuse dtypes and shapes that cannot be an image or labels, and a pair without labels and teacher."""
    if pair.labels is not None and pair.labels.dtype.kind not in "iu":
        raise NeuropilError(f"labels must be integers, {pair.labels.path} holds {pair.labels.dtype}")
    if pair.labels is None and pair.teacher is None:
        raise NeuropilError(f"expected labels or a teacher's affinities with {pair.image.path}, got neither")
    if pair.image.dtype not in (np.uint8, np.uint16) and pair.image.dtype.kind != "f":
        raise NeuropilError(
            f"an image must be uint8, uint16 or float in [0, 1]; {pair.image.path} holds {pair.image.dtype}"
        )
    for volume in (pair.image, pair.labels):
        if volume is not None and len(volume.shape) != 3:
            raise NeuropilError(f"image and labels must be [z, y, x], got {volume.shape}, in {volume.path}")


def _teaching_channels(pair: LabelledVolume, offsets: Offsets, region: Box) -> list[int]:
    """The channels of a teacher's affinities whose edges are learned, possibly after a symmetry.

    Raises:
        NeuropilError: the affinities have another encoding, no offsets, do not cover the region, or have none of the
            edges.
    """
    if pair.teacher is None:
        return []
    teacher, known = pair.teacher, pair.teacher.metadata
    if known.offsets is None or known.encoding != LOGIT8 or not teacher.box.contains(region):
        raise NeuropilError(
            f"expected a teacher's affinities with offsets, encoding logit8 and all voxels {region}, got offsets "
            f"{known.offsets}, encoding {known.encoding} and {teacher.box}, in {teacher.path}; make them with "
            "`neuropil predict MODEL IMAGE --keep all`"
        )
    wanted = {tuple(sorted(map(abs, offset))) for offset in offsets}
    found = [c for c, offset in enumerate(known.offsets) if tuple(sorted(map(abs, offset))) in wanted]
    if not found:
        raise NeuropilError(
            f"expected a teacher that knows some of model.offsets {list(offsets)}, got {list(known.offsets)}, in "
            f"{teacher.path}"
        )
    return found


def _read_grey(image: Volume, box: Box) -> Tensor:
    """Read a box of an image; floats must lie in [0, 1]."""
    array = image.read(box)
    if array.dtype.kind == "f" and array.size and not (array.min() >= 0 and array.max() <= 1):
        raise NeuropilError(
            f"a float image must be finite and lie in [0, 1]; {image.path} holds {array.min():g} to {array.max():g}; "
            "rescale it, or store it as uint8"
        )
    return _tensor(array)


def _tensor(array: npt.NDArray[Any]) -> Tensor:
    """An array as a tensor; read-only arrays, such as pages of a TIFF, are copied, because torch warns about them."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def _lack(box: Box, inside: Box) -> list[int]:
    """Padding of ``inside`` to ``box``, in the order of ``torch.nn.functional.pad``: last axis first."""
    ends = zip(box.start, box.stop, inside.start, inside.stop, strict=True)
    return [n for a, b, c, d in reversed(list(ends)) for n in (c - a, b - d)]


def _compact(labels: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
    """Ids of any size as int32, renumbered if needed; 0 stays 0."""
    if labels.size == 0 or (labels.min() >= 0 and labels.max() < 2**31 - 1):
        return labels.astype(np.int32)
    ids, compact = np.unique(labels, return_inverse=True)
    shift = 0 if ids.size and ids[0] == 0 else 1
    small: npt.NDArray[np.int32] = (compact.reshape(labels.shape) + shift).astype(np.int32)
    return small
