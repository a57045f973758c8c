"""Tissue: which voxels of an image are used. A mask and skipped sections exclude the rest, alike for all verbs.

Excluded voxels are background: affinities of edges that touch them are 0, and labels there are 0, which is not scored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError, tell
from neuropil.geometry import Box, Offsets, Triple, default_offsets
from neuropil.volumes.identity import stamp
from neuropil.volumes.kept import is_tissue, open_kept
from neuropil.volumes.metadata import JSON, Metadata
from neuropil.volumes.roles import check_overlay
from neuropil.volumes.volume import Index, ReadOnlyStore, Volume, WrappedStore, find_wrapper, in_memory

KEY = "tissue"
"""The attribute in which outputs store the mask and the skipped sections."""

_SLAB = 1 << 24
"""Voxels of the mask that are read at a time."""

_ALIKE = 0.01
"""Share by which the ratio of voxel sizes may differ from a whole number, because sizes are rounded."""


@dataclass(frozen=True)
class Tissue:
    """Which voxels of an image are used: a setting of plain values, the same for every box, block and worker.

    Args:
        mask: path of a volume that is 0 outside of the tissue; "": all is inside. Its voxels may be as large as the
            image's, or larger or smaller by a whole factor; if smaller, a voxel of the image is inside where all of
            them are.
        skipped: sections (z, of the whole image) that are outside.

    >>> Tissue(skipped=(12,)).to_json()
    {'mask': '', 'skipped': [12]}
    """

    mask: str = ""
    skipped: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.mask or self.skipped)

    def to_json(self) -> dict[str, JSON]:
        """As outputs store it."""
        return {"mask": self.mask, "skipped": list(self.skipped)}

    def identity(self) -> list[Any]:
        """A value that changes with the mask, its file, or the list of sections."""
        return [self.to_json(), stamp(self.mask) if self.mask else None]

    @classmethod
    def stored(cls, volume: Volume) -> Tissue | None:
        """The tissue in the attributes of a volume; None where there is none.

        Raises:
            NeuropilError: the attribute holds something else.
        """
        try:
            return cls.from_json(volume.metadata.extra.get(KEY))
        except NeuropilError as error:
            raise NeuropilError(f"{error}, in the attributes of {volume.path}") from None

    @classmethod
    def from_json(cls, value: object) -> Tissue | None:
        """Read what :meth:`to_json` wrote; None as None."""
        if value is None:
            return None
        mask = value.get("mask") if isinstance(value, Mapping) else None
        skipped = value.get("skipped") if isinstance(value, Mapping) else None
        if not isinstance(mask, str) or not isinstance(skipped, list) or not all(type(z) is int for z in skipped):
            raise NeuropilError(f"expected {KEY} as {{mask, skipped}}, got {value!r}")
        return cls(mask, tuple(skipped))


@dataclass(frozen=True, eq=False)
class TissueMap:
    """Tissue at the voxels of an image.

    Args:
        tissue: the setting.
        mask: the opened mask; None where there is none.
        times: voxels of the image along each side of a voxel of the mask; 1 where the mask's are smaller.
        parts: voxels of the mask along each side of a voxel of the image; 1 where the mask's are larger.
        corner: where the mask's first voxel begins, counted in 1/``parts`` of an image voxel.
    """

    tissue: Tissue
    mask: Volume | None = None
    times: Triple = (1, 1, 1)
    parts: Triple = (1, 1, 1)
    corner: Triple = (0, 0, 0)

    @property
    def covered(self) -> Box | None:
        """The voxels of the image that the mask covers; None where there is no mask."""
        if self.mask is None:
            return None
        lines = list(zip(self.corner, self.mask.shape, self.times, self.parts, strict=True))
        a, b, c = (-(-corner // parts) for corner, _, _, parts in lines)
        d, e, f = ((corner + n * times) // parts for corner, n, times, parts in lines)
        return Box((a, b, c), (max(a, d), max(b, e), max(c, f)))

    def inside(self, box: Box) -> npt.NDArray[np.bool_]:
        """Whether each voxel of a box is used, bool `[z, y, x]`; the box may reach beyond image and mask."""
        found = np.ones(box.shape, np.bool_) if self.mask is None else self._masked(self.mask, box)
        for z in self.tissue.skipped:
            if box.start[0] <= z < box.stop[0]:
                found[z - box.start[0]] = False
        return found

    def _masked(self, mask: Volume, box: Box) -> npt.NDArray[np.bool_]:
        lines, known = [], []
        for axis in range(3):
            at = np.arange(box.start[axis] * self.parts[axis], box.stop[axis] * self.parts[axis])
            line = (at - self.corner[axis]) // self.times[axis]
            within = (line >= 0) & (line < mask.shape[axis])
            if not within.any():
                return np.zeros(box.shape, np.bool_)
            lines.append(np.clip(line, line[within].min(), line[within].max()))
            known.append(within)
        start = [int(line.min()) for line in lines]
        needed = Box.at(start, [int(line.max()) + 1 - a for line, a in zip(lines, start, strict=True)])
        values: Any = is_tissue(mask.read(needed.shift(mask.metadata.start)), mask.path)
        if needed.shape != box.shape or max(self.parts) > 1 or not all(within.all() for within in known):
            z, y, x = (line - a for line, a in zip(lines, start, strict=True))
            values = values[np.ix_(z, y, x)] & known[0][:, None, None] & known[1][:, None] & known[2]
        elif max(self.times) > 1:
            values = values[np.ix_(*(line - a for line, a in zip(lines, start, strict=True)))]
        if max(self.parts) > 1:
            (a, b, c), (d, e, f) = box.shape, self.parts
            values = values.reshape(a, d, b, e, c, f).all(axis=(1, 3, 5))
        return np.ascontiguousarray(values)

    def clear_edges(self, affinities: npt.NDArray[Any], box: Box, offsets: Offsets) -> None:
        """Set the affinities `[edge, z, y, x]` of a box to 0 where an end of the edge is outside, in place.

        >>> edges = np.ones((1, 3, 1, 1))
        >>> TissueMap(Tissue(skipped=(1,))).clear_edges(edges, Box.whole((3, 1, 1)), ((-1, 0, 0),))
        >>> edges.ravel().tolist()
        [1.0, 0.0, 0.0]
        """
        z, y, x = (max(abs(offset[axis]) for offset in offsets) for axis in range(3))
        _, high, wide = box.shape
        deep = max(1, _SLAB // (high * wide))
        for first in range(box.start[0], box.stop[0], deep):
            part = Box((first, *box.start[1:]), (min(first + deep, box.stop[0]), *box.stop[1:]))
            inside = self.inside(part.grow((z, y, x)))
            if inside.all():
                continue
            here = Box.at((z, y, x), part.shape)
            at = part.relative_to(box.start).slices
            for channel, offset in zip(affinities, offsets, strict=True):
                channel[at][~(inside[here.slices] & inside[here.shift(offset).slices])] = 0

    def clear(self, labels: npt.NDArray[Any], box: Box) -> None:
        """Set the labels `[z, y, x]` of a box to 0 outside, in place."""
        _, high, wide = box.shape
        deep = max(1, _SLAB // (high * wide))
        for first in range(0, box.shape[0], deep):
            part = labels[first : first + deep]
            part[~self.inside(Box.at((box.start[0] + first, *box.start[1:]), part.shape))] = 0


@dataclass(frozen=True, eq=False)
class TissueStore(WrappedStore):
    """Affinities or labels that are read as 0 outside of the tissue."""

    map: TissueMap
    start: Triple
    offsets: Offsets | None
    borrowed: bool
    """Whether ``inner`` reads views of the user's array, which must be copied before zeros are written."""

    def read(self, index: Index) -> npt.NDArray[Any]:
        found = np.asarray(self.inner.read(index))
        found = found.copy() if self.borrowed or not found.flags.writeable else found
        spans = [part.indices(n) for part, n in zip(index[-3:], self.shape[-3:], strict=True)]
        box = Box.at([a for a, _, _ in spans], found.shape).shift(self.start)
        if self.offsets is None:
            self.map.clear(found, box)
        else:
            self.map.clear_edges(found, box, self.offsets[index[0]])
        return found

    def write(self, index: Index, array: npt.NDArray[Any]) -> None:
        raise NeuropilError("a volume with a mask is read-only; open it without the mask to write")


@dataclass(frozen=True, eq=False)
class MaskStore(ReadOnlyStore):
    """A mask of any voxel size, resampled to the image's voxels: 1 inside, 0 outside."""

    map: TissueMap
    image: Volume
    """The image whose box the mask gets."""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.image.box.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint8)

    @property
    def chunks(self) -> tuple[int, ...] | None:
        return None

    def read(self, index: Index) -> npt.NDArray[Any]:
        ends = [part.indices(n)[:2] for part, n in zip(index, self.shape, strict=True)]
        (a, d), (b, e), (c, f) = ends
        return self.map.inside(Box((a, b, c), (d, e, f)).shift(self.image.metadata.start)).astype(np.uint8)

    def close(self) -> None:
        if self.map.mask is not None:
            self.map.mask.close()


def open_mask(path: str | Path, image: Volume) -> Volume:
    """A mask, resampled to the voxels of an image: uint8 `[z, y, x]`, 1 where they are used, else 0.

    Raises:
        NeuropilError: as :func:`tissue_map`.
    """
    laid = tissue_map(image, Tissue(str(path)))
    if laid.covered is not None and not laid.covered.contains(image.box):
        tell(f"the mask {path} covers {laid.covered} of {image.path}, beyond which nothing counts")
    where = Metadata(image.metadata.voxel_size, image.metadata.origin, shift=image.metadata.shift)
    return Volume(str(path), MaskStore(laid, image), where)


def in_tissue(volume: Volume, tissue: Tissue | None) -> Volume:
    """Affinities or labels, 0 outside of the tissue; the volume itself where ``tissue`` excludes nothing.

    Args:
        volume: affinities `[edge, z, y, x]`, whose edges are 0 where either end is outside; or labels `[z, y, x]`.
        tissue: which voxels of the image are used.

    Raises:
        NeuropilError: a mask that cannot be opened, or that does not fit; affinities without offsets.

    >>> from neuropil.volumes import array_volume
    >>> in_tissue(array_volume(np.ones((3, 1, 2), int)), Tissue(skipped=(1,))).read().tolist()
    [[[1, 1]], [[0, 0]], [[1, 1]]]
    """
    if not tissue:
        return volume
    offsets = None
    if len(volume.shape) == 4:
        offsets = volume.metadata.offsets or default_offsets(volume.shape[0])
        if offsets is None:
            raise NeuropilError(f"{volume.path} has no offsets, so a mask cannot tell which edges cross it")
    laid = tissue_map(volume, tissue)
    store = TissueStore(volume.store, laid, volume.metadata.start, offsets, in_memory(volume))
    return replace(volume, store=store, mode="r")


def as_segmented(affinities: Volume, segmentation: Volume) -> Volume:
    """Affinities with the mask and the skipped sections that a segmentation of them was made with."""
    return in_tissue(affinities, Tissue.stored(segmentation))


def tissue_of(volume: Volume) -> TissueMap | None:
    """The tissue that :func:`in_tissue` applied to a volume; None if it did not."""
    found = find_wrapper(volume.store, TissueStore)
    return None if found is None else found.map


def tissue_map(volume: Volume, tissue: Tissue) -> TissueMap:
    """Tissue at the voxels of a volume: its mask is opened and aligned by voxel sizes and origins.

    Raises:
        NeuropilError: a mask that is not `[z, y, x]`, whose voxel size has no whole ratio to the volume's, with other
            axis directions, or without a voxel in common.
    """
    if not tissue.mask:
        return TissueMap(tissue)
    mask = open_kept(tissue.mask)
    if len(mask.shape) != 3:
        raise NeuropilError(f"expected a mask [z, y, x], got shape {mask.shape}, in {mask.path}")
    check_overlay(volume, mask)
    times, parts = _ratio(volume, mask)
    laid = TissueMap(tissue, mask, times, parts, _corner(volume, mask, times, parts))
    covered = laid.covered
    if covered is not None and covered.intersect(volume.box).size == 0:
        raise NeuropilError(f"the mask {mask.path} covers {covered} of the image, {volume.path} holds {volume.box}")
    return laid


def _ratio(volume: Volume, mask: Volume) -> tuple[Triple, Triple]:
    """``times`` and ``parts`` of :class:`TissueMap`, by the voxel sizes."""
    own, its = volume.metadata.voxel_size, mask.metadata.voxel_size
    if own is None or its is None:
        return _ratio_by_shape(volume, mask), (1, 1, 1)
    times, parts = [], []
    for a, b in zip(own, its, strict=True):
        large, small = max(a, b), min(a, b)
        ratio = round(large / small)
        if abs(large / small - ratio) > _ALIKE * ratio:
            raise NeuropilError(
                f"the mask {mask.path} has voxels of {its} nm (z, y, x), {volume.path} of {own}: expected a whole "
                "number of times as large, or as small; resample the mask"
            )
        times.append(ratio if b >= a else 1)
        parts.append(1 if b >= a else ratio)
    return (times[0], times[1], times[2]), (parts[0], parts[1], parts[2])


def _ratio_by_shape(volume: Volume, mask: Volume) -> Triple:
    """``times`` where a voxel size is not known: 1 if the mask covers the volume, else by the shapes."""
    if mask.box.contains(volume.box):
        return (1, 1, 1)
    z, y, x = (n // m for n, m in zip(volume.box.shape, mask.box.shape, strict=True))
    exact = all(n % m == 0 for n, m in zip(volume.box.shape, mask.box.shape, strict=True))
    if not exact or volume.metadata.origin is not None or mask.metadata.origin is not None:
        raise NeuropilError(
            f"the mask {mask.path} holds {mask.box}, {volume.path} holds {volume.box}, and a voxel size is missing: "
            "store it in both, `neuropil convert MASK OUT --voxel-size Z,Y,X`"
        )
    tell(f"a voxel of the mask {mask.path} is taken as {z} × {y} × {x} voxels, by the shapes")
    return (z, y, x)


def _corner(volume: Volume, mask: Volume, times: Triple, parts: Triple) -> Triple:
    """``corner`` of :class:`TissueMap`.

    A ``shift`` in nm stored with the origin is that of the first voxel's centre, as in pyramids; without it the mask's
    first voxel begins on the image's grid.
    """
    corner, exact = [], []
    own, shift, its = volume.metadata.voxel_size, volume.metadata.shift, mask.metadata.shift
    for axis in range(3):
        at = float(mask.metadata.start[axis] * times[axis])
        if own is not None:
            unit = own[axis] / parts[axis]
            middle = (its[axis] if its else 0.0) - (shift[axis] if shift else 0.0)
            if middle:  # from the middle of the first voxels to their corners
                at += middle / unit - (times[axis] - parts[axis]) / 2
        corner.append(round(at))
        exact.append(abs(at - round(at)) < 0.1)
    if not all(exact):
        tell(f"the mask {mask.path} begins between voxels of {volume.path}; moved to the nearest")
    return (corner[0], corner[1], corner[2])
