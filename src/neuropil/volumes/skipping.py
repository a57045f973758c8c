"""Turn the options --mask and --skip-sections into a ``Tissue``, the same for every verb."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from neuropil.errors import NeuropilError
from neuropil.geometry import Box
from neuropil.volumes.damage import BadSection, bad_sections
from neuropil.volumes.kept import KeptStore
from neuropil.volumes.location import absolute_path
from neuropil.volumes.opening import open_volume
from neuropil.volumes.tissue import Tissue, TissueMap, tissue_map
from neuropil.volumes.volume import Volume

COUNTED_UP_TO = 1 << 30
"""Voxels up to which the share of tissue is counted, where the mask is kept in memory."""


def choose_tissue(
    volume: Volume, mask: str | None, skip: str | None, area: Box | None = None
) -> tuple[Tissue | None, list[str]]:
    """The tissue of a volume, and lines that say what is left out.

    Args:
        volume: image, affinities, segmentation or labels.
        mask: path of a volume that is 0 outside of the tissue.
        skip: sections to leave out, ``3,17-19``; ``auto``: those that :func:`bad_sections` finds in the image, which
            is the volume itself, or the one that affinities and segmentations name. If these store a list of skipped
            sections, that list is used instead.
        area: the part of the volume that is looked at.

    Raises:
        NeuropilError: a mask that does not fit or leaves no voxel of the area; sections outside the area; ``auto``
            where the image is not known, or more than half of it looks damaged.

    >>> import numpy as np
    >>> from neuropil.volumes import array_volume
    >>> choose_tissue(array_volume(np.zeros((9, 2, 2), np.uint8)), None, "3,5-6")
    (Tissue(mask='', skipped=(3, 5, 6)), ['sections left out: 3, 5, 6 (as asked)'])
    """
    area = area or volume.box
    lines: list[str] = []
    skipped: tuple[int, ...] = ()
    if skip is not None:
        skipped, lines = _auto(volume, area) if skip.strip() == "auto" else _listed(skip, area)
    tissue = Tissue("" if mask is None else absolute_path(mask), skipped)
    if mask is not None:
        lines = [_about(tissue_map(volume, tissue), area), *lines]
    return tissue or None, lines


def _listed(text: str, area: Box) -> tuple[tuple[int, ...], list[str]]:
    """Sections as typed, and a line about them."""
    chosen: set[int] = set()
    for part in text.split(","):
        ends = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if ends is None or int(ends[2] or ends[1]) < int(ends[1]):
            raise NeuropilError(f"--skip-sections: expected auto, or sections as 3,17-19; got {text!r}")
        chosen |= set(range(int(ends[1]), min(int(ends[2] or ends[1]), 1 << 40) + 1))
    inside = tuple(sorted(z for z in chosen if area.start[0] <= z < area.stop[0]))
    if not inside:
        raise NeuropilError(f"--skip-sections {text}: none of these is among the sections of {area}")
    lines = [f"sections left out: {_some(inside)} (as asked)"]
    if len(inside) < len(chosen):
        lines.append(f"{len(chosen) - len(inside)} of the sections named are not among those of {area}")
    return inside, lines


def _auto(volume: Volume, area: Box) -> tuple[tuple[int, ...], list[str]]:
    """The damaged sections of the image, and lines about them."""
    before, image = _origins(volume)
    if before is not None:
        inside = tuple(z for z in before.skipped if area.start[0] <= z < area.stop[0])
        return inside, [f"sections left out: {_some(inside) or 'none'} (as stored with {volume.path})"]
    if image is None:
        raise NeuropilError(
            f"--skip-sections auto looks at the image, and {volume.path} names none that is still there; give their "
            "numbers, as `neuropil check IMAGE` lists them"
        )
    seen = Box((area.start[0], *image.box.start[1:]), (area.stop[0], *image.box.stop[1:])).intersect(image.box)
    found: Sequence[BadSection] = bad_sections(image, seen)
    if len(found) > seen.shape[0] // 2:
        raise NeuropilError(
            f"--skip-sections auto: {len(found)} of {seen.shape[0]} sections of {image.path} look damaged, the first: "
            f"section {found[0].z} is {found[0].why}; is this the image? Give the numbers of the sections instead"
        )
    lines = [f"section {one.z} is left out: {one.why}" for one in found]
    return tuple(one.z for one in found), lines or [f"no section of {image.path} is left out: none looks damaged"]


def _origins(volume: Volume) -> tuple[Tissue | None, Volume | None]:
    """The tissue that a volume, or what it was made from, stores; else the image it was made from."""
    for _ in range(4):  # segmentation, affinities, image
        extra = volume.metadata.extra
        made_by = extra.get("made_by")
        source = extra.get("affinities") or (made_by.get("image") if isinstance(made_by, Mapping) else None)
        stored = Tissue.stored(volume)
        if stored is not None:
            return stored, None
        if not isinstance(source, str):
            return None, None if "offsets" in extra or len(volume.shape) != 3 or "segment" in extra else volume
        try:
            volume = open_volume(source)
        except NeuropilError:
            return None, None
    return None, None


def _about(laid: TissueMap, area: Box) -> str:
    """A line about a mask: the ratio of its voxels to the image's, and the share of tissue."""
    assert laid.mask is not None
    covered = laid.covered
    assert covered is not None
    ratios = zip(laid.times, laid.parts, strict=True)
    size = "×".join(str(times) if parts == 1 else f"1/{parts}" for times, parts in ratios)
    told = f"mask {laid.mask.path}: one of its voxels is {size} (z, y, x) of the image's"
    if area.size <= COUNTED_UP_TO and isinstance(laid.mask.store, KeptStore):
        count = sum(int(laid.inside(part).sum()) for part in _sections(area))
        if count == 0:
            raise NeuropilError(f"the mask {laid.mask.path} leaves no voxel of {area}; 1 must mean tissue")
        told += f", {100 * count / area.size:.1f} % of {area} is tissue"
    if not covered.contains(area):
        told += f"; it covers {covered}, beyond which nothing counts"
    return told


def _sections(area: Box) -> list[Box]:
    """A box cut into slabs of some sections."""
    deep = max(1, (1 << 24) // (area.shape[1] * area.shape[2]))
    return [
        Box((z, *area.start[1:]), (min(z + deep, area.stop[0]), *area.stop[1:]))
        for z in range(area.start[0], area.stop[0], deep)
    ]


def _some(sections: Sequence[int]) -> str:
    return ", ".join(map(str, sections[:20])) + (f", … ({len(sections)})" if len(sections) > 20 else "")
