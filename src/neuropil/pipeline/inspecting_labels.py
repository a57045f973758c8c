"""Find problems in labels that harm training or scores: tiny ids, empty sections, ids in several parts, shifts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuropil.evaluation.components import connected_parts
from neuropil.geometry import Box
from neuropil.volumes import Volume
from neuropil.volumes.counting import LabelCount, count_labels
from neuropil.volumes.scored import scored_labels, tell_unlabelled

TINY = 100
"""Voxels below which an id is tiny."""
PARTS_UP_TO = 1 << 28
"""Voxels up to which connected components of ids are counted, because that needs the labels in memory."""

_REACH = 12
"""Largest shift in voxels, along y and x, at which the fit of labels to the image is tested."""
_LOOKED_AT = 512
"""Voxels of a section along y and x that are used for this test."""


@dataclass(frozen=True)
class Fit:
    """How well borders of labels fit dark (or bright) membranes of the image."""

    contrast: float
    """How much darker (below 0: brighter) borders are than interiors, in standard deviations of the image."""
    shift: tuple[int, int]
    """Shift of the labels (y, x) in voxels with the best fit."""
    best: float
    """Contrast at that shift."""

    @property
    def moved(self) -> bool:
        """Whether the fit is clearly better at a shift of more than 2 voxels."""
        return max(map(abs, self.shift)) > 2 and abs(self.best) > 0.3 and abs(self.best) > 1.5 * abs(self.contrast)

    def told(self) -> str:
        """In words."""
        kind = "darker" if self.contrast >= 0 else "brighter"
        here = f"{abs(self.contrast):.2f} standard deviations {kind} than interiors"
        return here + (f"; {abs(self.best):.2f} when shifted by {self.shift} (y, x)" if any(self.shift) else "")


@dataclass(frozen=True)
class LabelFacts:
    """Counts and problems of labels."""

    path: str
    box: Box
    described: str
    count: LabelCount
    ids: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    """Voxels of each id."""
    empty: tuple[int, ...]
    """Sections without any label, between the first and the last of the volume."""
    gaps: dict[int, int]
    """Ids that are missing in a section between two sections with them, and the first such section."""
    scattered: tuple[int, ...] | None
    """Ids with several connected components; None if the volume is too large to count them."""

    def facts(self) -> list[tuple[str, str]]:
        """Names and values to print."""
        found = [
            ("labels", self.described),
            ("labelled", f"{100 * self.count.share:.1f} % of the voxels, all inside {self.count.box}"),
        ]
        if len(self.ids):
            median, most = int(np.median(self.sizes)), int(self.sizes.max())
            share = 100 * most / max(self.count.voxels, 1)
            largest = self.ids[self.sizes.argmax()]
            told = (
                f"{len(self.ids)}, median {median} voxels, largest {largest} with {share:.1f} % of the labelled voxels"
            )
            found.append(("ids", told))
        return found

    def problems(self) -> list[str]:
        """The problems, one line each."""
        if not len(self.ids):
            return ["no voxel has a label"]
        told = []
        if self.empty:
            told.append(f"{len(self.empty)} sections have no label: {some(self.empty)}")
        tiny = self.ids[self.sizes < TINY]
        if tiny.size:
            told.append(f"{len(tiny)} ids have fewer than {TINY} voxels: {some(tiny.tolist())}")
        if self.gaps:
            pairs = [f"{n} (section {z})" for n, z in list(self.gaps.items())[:10]]
            told.append(f"{len(self.gaps)} ids are split in z, missing in sections between: {', '.join(pairs)}")
        if self.scattered is None:
            told.append(f"connected parts of ids were not counted: the volume has more than {PARTS_UP_TO} voxels")
        elif self.scattered:
            few = some(self.scattered)
            told.append(f"{len(self.scattered)} ids have several parts (they may be connected outside): {few}")
        return told

    def fit(self, image: Volume, labels: Volume) -> Fit | None:
        """The fit of labels and image in the section with most labels; None without labels."""
        if not len(self.ids):
            return None
        z = self.count.box.start[0] + int(self.count.along[0].argmax())
        box = Box((z, *self.count.box.start[1:]), (z + 1, *self.count.box.stop[1:]))
        (_, high, wide), most = box.shape, _LOOKED_AT
        y, x = (box.start[1] + max(high - most, 0) // 2, box.start[2] + max(wide - most, 0) // 2)
        box = Box((z, y, x), (z + 1, min(y + most, box.stop[1]), min(x + most, box.stop[2])))
        return fit_of(image.read(box)[0], scored_labels(labels).read(box)[0])


def label_facts(labels: Volume) -> LabelFacts:
    """Count ids and their voxels, section by section, and connected components if the labels fit into memory.

    >>> from neuropil.volumes import array_volume
    >>> label_facts(array_volume(np.array([[[3, 3, 0]], [[8, 0, 0]], [[3, 9, 9]]]))).gaps
    {3: 1}
    """
    labels = scored_labels(labels)
    count = count_labels(labels, labels.box)
    total: dict[int, int] = {}
    last: dict[int, int] = {}
    gaps: dict[int, int] = {}
    empty = []
    for z in range(labels.box.start[0], labels.box.stop[0]):
        section = labels.read(Box((z, *labels.box.start[1:]), (z + 1, *labels.box.stop[1:])))
        ids, sizes = np.unique(section[section != 0], return_counts=True)
        if not len(ids):
            empty.append(z)
        for number, size in zip(ids.tolist(), sizes.tolist(), strict=True):
            total[number] = total.get(number, 0) + size
            if last.get(number, z) < z - 1:
                gaps.setdefault(number, last[number] + 1)
            last[number] = z
    order = sorted(total)
    tell_unlabelled(np.array(order, np.uint64), labels.path, "evaluate and tune --ignore")
    by = "×".join(map(str, labels.shape))
    return LabelFacts(
        labels.path,
        labels.box,
        f"{labels.path}: {by} {labels.dtype}, {labels.box}",
        count,
        np.array(order, np.uint64),
        np.array([total[number] for number in order], np.int64),
        tuple(empty),
        {number: z for number, z in gaps.items() if z not in empty},
        _scattered(labels),
    )


def _scattered(labels: Volume) -> tuple[int, ...] | None:
    if labels.box.size > PARTS_UP_TO:
        return None
    array = labels.read()
    parts = connected_parts(array)
    owner = np.zeros(int(parts.max(initial=0)) + 1, np.uint64)
    owner[parts.reshape(-1)] = array.reshape(-1)
    ids, counts = np.unique(owner[1:], return_counts=True)
    return tuple(int(n) for n in ids[counts > 1])


def fit_of(image: NDArray[np.generic], labels: NDArray[np.generic]) -> Fit | None:
    """The fit of a section's labels to its image, both `[y, x]`; None if one of them is constant.

    >>> labels = np.repeat(np.repeat(np.arange(1, 17).reshape(4, 4), 16, 0), 16, 1)
    >>> thin = (np.arange(64) % 16 < 1) | (np.arange(64) % 16 > 14)
    >>> image = np.where(thin | thin[:, None], 0, 200)
    >>> fit_of(image, np.roll(labels, (4, 5), (0, 1))).shift
    (-4, -5)
    """
    grey = image.astype(np.float64)
    spread = grey.std()
    border = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        differs = np.diff(labels, axis=axis) != 0
        border[tuple(slice(1 if a == axis else 0, None) for a in (0, 1))] |= differs
        border[tuple(slice(None, -1 if a == axis else None) for a in (0, 1))] |= differs
    known = labels != 0
    if not spread or not border.any() or border.all():
        return None
    grey = (grey - grey.mean()) / spread

    def contrast(dy: int, dx: int) -> float:
        moved = np.roll(border, (dy, dx), (0, 1))
        inside = np.roll(known, (dy, dx), (0, 1)) & ~moved
        return float(grey[inside].mean() - grey[moved].mean()) if inside.any() else 0.0

    steps = range(-_REACH, _REACH + 1)
    found = {(dy, dx): contrast(dy, dx) for dy in steps for dx in steps}
    best = max(found, key=lambda at: (abs(found[at]), -abs(at[0]) - abs(at[1])))
    return Fit(found[0, 0], best, found[best])


def some(values: Sequence[int], count: int = 10) -> str:
    """The first ``count`` numbers as text."""
    return ", ".join(map(str, values[:count])) + (", …" if len(values) > count else "")
