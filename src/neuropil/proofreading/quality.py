"""Quality of a segmentation without labels: sizes, orphans, suspicious shapes, uncertain contacts and merges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuropil.errors import NeuropilError
from neuropil.geometry import Triple
from neuropil.proofreading.candidates import Integers, Proofreading
from neuropil.proofreading.ranking import Ranking
from neuropil.proofreading.shapes import FACTOR, SOMA, STRETCH, calibre_changes, soma_sized
from neuropil.volumes import Volume

CONFIDENT = (0.01, 0.05, 0.2)
"""Class limits of the probability of being wrong."""
ORPHAN = 1000
"""Fewest voxels of a segment that counts as an orphan if it touches no face of the volume."""
_NAMED = 3
"""Most segments of a kind that a line names."""


class Suspect(NamedTuple):
    """A segment to look at, and where."""

    kind: str
    """``orphan``, ``somata`` or ``calibre``."""
    id: int
    at: Triple
    """Voxel of the whole volume."""
    why: str


@dataclass(frozen=True, eq=False)
class Quality:
    """What can be said of a segmentation without labels."""

    background: float
    """Share of the voxels in no segment, 0 to 1."""
    sizes: Integers
    """Voxels of the segments, largest first."""
    orphans: list[Suspect]
    """Segments of ``ORPHAN`` voxels or more that touch no face of the volume, largest first."""
    somata: list[Suspect] | str
    """A suspect for each soma-sized part of a segment with several; a string if not known: why."""
    calibre: list[Suspect] | str
    """A suspect for each sudden change of calibre, largest first; a string if not known: why."""
    join: NDArray[np.bool_]
    """Of each question, whether it is a join question, ``[question]``."""
    probability: NDArray[np.float64]
    """Of each question, the probability that the present state is wrong."""
    gain: float
    """Expected gain in bits of VI if all questions were decided."""

    @property
    def suspects(self) -> list[Suspect]:
        """All segments to look at."""
        return [one for part in (self.somata, self.calibre, self.orphans) if not isinstance(part, str) for one in part]

    def rows(self) -> list[tuple[str, str]]:
        """Names and values to print."""
        large, half = self.sizes, 0
        if len(large):
            half = int(np.searchsorted(np.cumsum(large), large.sum() / 2)) + 1
        rows = [
            ("segments", f"{len(large)}, background {100 * self.background:.1f} % of the voxels"),
            ("sizes in voxels", f"largest {large[:1].sum()}, median {int(np.median(large)) if len(large) else 0}; "
             f"{half} segments hold half of the volume"),
            ("orphans", f"{len(self.orphans)} segments of {ORPHAN} voxels or more touch no face of the volume"
             + _named(self.orphans)),
            ("several somata", _text(self.somata, f"segments with several parts of a radius of {SOMA:g} nm")),
            ("sudden calibre changes", _text(self.calibre, f"segments with a radius that changes "
             f"{FACTOR:g}-fold along {STRETCH:g} nm")),
        ]  # fmt: skip
        bounds = [0.0, *CONFIDENT, 1.0]
        for name, kind in (("uncertain contacts", self.join), ("uncertain merges", ~self.join)):
            counts = np.histogram(self.probability[kind], bounds)[0]
            classes = ", ".join(
                f"{count} with {100 * low:g} to {100 * high:g} %"
                for low, high, count in zip(bounds, bounds[1:], counts, strict=False)
            )
            rows.append((name, f"{classes} probability of being wrong"))
        said = f"{self.gain:.4f} bits of VI if all {len(self.probability)} were decided"
        return [*rows, ("expected gain", said)]

    def lines(self) -> list[str]:
        """The same as lines of text."""
        return [f"{name:<25}{value}" for name, value in self.rows()]


def quality_of(state: Proofreading, ranking: Ranking, segmentation: Volume) -> Quality:
    """Sizes, orphans, suspicious shapes, and questions by confidence.

    Args:
        state: the segmentation under proofreading.
        ranking: its questions.
        segmentation: the same segments, as a volume ``[z, y, x]``.

    >>> from neuropil.proofreading import load_calibration, proofreading_of, rank
    >>> from neuropil.volumes import array_volume
    >>> state = proofreading_of(np.full((3, 2, 4, 4), 0.9))
    >>> found = quality_of(state, rank(state, load_calibration()), array_volume(np.ones((2, 4, 4), int)))
    >>> found.lines()[0], found.somata
    ('segments                 1, background 0.0 % of the voxels', 'no voxel size is stored')
    """
    ids, segment = np.unique(state.cut.lut, return_inverse=True)
    voxels = np.bincount(segment, weights=state.cut.sizes).astype(np.int64)
    border = np.bincount(segment, weights=state.outer.sum(axis=0))
    real = ids > 0
    orphan = np.flatnonzero(real & (border == 0) & (voxels >= ORPHAN))
    orphan = orphan[np.argsort(-voxels[orphan], kind="stable")]
    places = _places(state, segment, orphan)
    sized = segmentation.metadata.voxel_size is not None
    return Quality(
        float(voxels[~real].sum() / max(int(voxels.sum()), 1)),
        np.sort(voxels[real])[::-1],
        [Suspect("orphan", int(ids[i]), at, f"{voxels[i]} voxels") for i, at in zip(orphan, places, strict=True)],
        _somata(segmentation) if sized else _NO_SIZE,
        _calibre(segmentation) if sized else _NO_SIZE,
        ranking.found.join,
        ranking.probability,
        float(ranking.gain.sum()),
    )


_NO_SIZE = "no voxel size is stored"


def _somata(segmentation: Volume) -> list[Suspect]:
    return [
        Suspect("somata", number, at, f"one of {len(places)} soma-sized parts")
        for number, places in soma_sized(segmentation).items()
        for at in places
    ]


def _calibre(segmentation: Volume) -> list[Suspect] | str:
    try:
        changes = calibre_changes(segmentation)
    except NeuropilError as error:
        return str(error)
    return [
        Suspect("calibre", change.id, change.at, f"radius {change.thin:.0f} nm beside {change.thick:.0f} nm")
        for change in changes
    ]


def _places(state: Proofreading, segment: Integers, chosen: Integers) -> list[Triple]:
    """A voxel of each of some segments: one of its largest fragment."""
    order = np.lexsort((state.cut.sizes, segment))
    largest = order[np.searchsorted(segment[order], chosen, side="right") - 1]
    nodes = state.cut.tree.nodes(state.fragments.read()).reshape(-1)
    inside = np.flatnonzero(np.isin(nodes, largest))
    inside = inside[np.argsort(nodes[inside], kind="stable")]
    ends = [np.searchsorted(nodes[inside], largest, side=side) for side in ("left", "right")]
    middle = inside[(ends[0] + ends[1]) // 2]
    at = np.stack(np.unravel_index(middle, state.fragments.shape), axis=1) + np.array(state.fragments.box.start)
    return [(int(z), int(y), int(x)) for z, y, x in at]


def _named(found: list[Suspect]) -> str:
    """The first segments and where they are, for the end of a line."""
    first: dict[int, Any] = {}
    for one in found:
        first.setdefault(one.id, one)
    shown = [f"{one.id} ({one.why}, at {','.join(map(str, one.at))})" for one in list(first.values())[:_NAMED]]
    more = len(first) - len(shown)
    return (": " + "; ".join(shown) + (f"; and {more} more" if more else "")) if shown else ""


def _text(found: list[Suspect] | str, what: str) -> str:
    if isinstance(found, str):
        return f"not known: {found}"
    return f"{len({one.id for one in found})} {what}{_named(found)}"
