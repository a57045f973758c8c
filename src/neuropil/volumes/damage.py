"""Sections of an image that are damaged: black, saturated, without contrast, repeated, or unlike both neighbours."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.geometry import Box
from neuropil.volumes.volume import Volume

LARGEST = 512
"""Pixels along y and x that are looked at; larger sections are subsampled."""
READ_WHOLE = 1 << 26
"""Pixels up to which a section is read whole."""
_PATCH = 64
_NEAR = 5
"""Sections on both sides that tell what is usual."""
_KEPT = 16
"""Earlier sections that a section is compared with, so that up to this many damaged ones may follow each other."""
BLACK = 0.5
"""Share of pixels at the darkest value from which a section is black, where its neighbours are not."""


@dataclass(frozen=True)
class BadSection:
    """One damaged section."""

    z: int
    """Of the whole volume."""
    why: str


@dataclass(frozen=True)
class _Seen:
    """Statistics of one section, kept when its voxels are not.

    Args:
        low, high: its darkest and brightest value.
        at_low, at_high: shares of its pixels that have these.
        repeated: whether it equals the section before.
        like: its correlation with each of the sections before, the nearest first.
    """

    low: float
    high: float
    at_low: float
    at_high: float
    repeated: bool
    like: tuple[float, ...]


def bad_sections(image: Volume, box: Box | None = None) -> list[BadSection]:
    """Find damaged sections, each judged by itself and against its neighbours. Memory: about ``_KEPT`` subsampled
    sections.

    A section is named when it has one grey value; when more than half of it is at the darkest or brightest value of
    its type and its neighbours are not; when it equals the section before; or when it is like neither neighbour while
    these are like each other (a tear, a fold, noise, another place).

    >>> from neuropil.volumes import array_volume
    >>> stack = np.random.default_rng(0).integers(50, 200, (1, 32, 32)).repeat(5, 0).astype(np.uint8)
    >>> stack += np.arange(5, dtype=np.uint8)[:, None, None]
    >>> stack[2] = 0
    >>> bad_sections(array_volume(stack))
    [BadSection(z=2, why='black: one grey value, 0')]
    """
    box = image.box if box is None else box
    sections = _look(image, box)
    found = _by_themselves(sections, *_ends(image.dtype, sections))
    found |= _unlike(sections, [i for i in range(len(sections)) if i not in found])
    return [BadSection(box.start[0] + i, found[i]) for i in sorted(found)]


def _look(image: Volume, box: Box) -> list[_Seen]:
    """Statistics of each section; only the last few sections are in memory."""
    seen: list[_Seen] = []
    before: NDArray[Any] | None = None
    last: deque[NDArray[np.float32]] = deque(maxlen=_KEPT)  # the nearest first
    for z in range(box.start[0], box.stop[0]):
        section = _thin(image, box, z)
        low, high = section.min(), section.max()
        unit = _unit(section)
        like = tuple(float(unit @ other) for other in last)
        repeated = before is not None and np.array_equal(section, before)
        shares = (float(np.mean(section == low)), float(np.mean(section == high)))
        seen.append(_Seen(float(low), float(high), *shares, repeated, like))
        last.appendleft(unit)
        before = section
    return seen


def _by_themselves(sections: list[_Seen], low: float, high: float) -> dict[int, str]:
    """Sections of one value, at an end of the values where their neighbours are not, or that repeat the one before."""
    found: dict[int, str] = {}
    at_ends = [(s.at_low * (s.low <= low), s.at_high * (s.high >= high)) for s in sections]
    for i, section in enumerate(sections):
        if section.low == section.high:
            kind = "black" if section.low <= low else "white" if section.low >= high else "empty"
            found[i] = f"{kind}: one grey value, {section.low:g}"
            continue
        near = [j for j in range(max(i - _NEAR, 0), min(i + _NEAR + 1, len(sections))) if j != i]
        for end, name in enumerate(("black", "saturated")):
            usual = float(np.median([at_ends[j][end] for j in near])) if near else 0.0
            if at_ends[i][end] > BLACK and usual < BLACK / 2:
                found[i] = f"{name}: {100 * at_ends[i][end]:.0f} % of it at {(low, high)[end]:g}"
        if section.repeated and i - 1 not in found:
            found[i] = "repeated: the same as the section before"
    return found


def _unlike(sections: list[_Seen], good: list[int]) -> dict[int, str]:
    """Of the good sections those that are like neither neighbour, while these are like each other."""

    def correlation(a: int, b: int) -> float | None:
        """None where too many damaged sections lie between."""
        return sections[b].like[b - a - 1] if b - a <= len(sections[b].like) else None

    like = [correlation(a, b) for a, b in pairwise(good)]
    known = [one for one in like if one is not None]
    usual = float(np.median(known)) if known else 0.0
    found: dict[int, str] = {}
    for k in range(1, len(good) - 1):
        before, after, across = like[k - 1], like[k], correlation(good[k - 1], good[k + 1])
        if before is None or after is None or across is None:
            continue
        if max(before, after) < usual / 3 and across > usual / 2:
            found[good[k]] = f"unlike both neighbours: correlation {max(before, after):.2f}, usual {usual:.2f}"
    return found


def _thin(image: Volume, box: Box, z: int) -> NDArray[Any]:
    """Every n-th pixel of a section; of a very large one patches at equal distances, side by side."""
    _, high, wide = box.shape
    if high * wide > READ_WHOLE:
        rows = []
        for y in _starts(box.start[1], high):
            shape = (1, min(_PATCH, high), min(_PATCH, wide))
            patches = [image.read(Box.at((z, y, x), shape))[0] for x in _starts(box.start[2], wide)]
            rows.append(np.concatenate(patches, axis=1))
        return np.concatenate(rows)
    section = image.read(Box((z, *box.start[1:]), (z + 1, *box.stop[1:])))[0]
    step = max(1, -(-max(section.shape) // LARGEST))
    return np.asarray(section[::step, ::step])


def _starts(first: int, length: int) -> list[int]:
    """Where the patches of a very large section begin along an axis."""
    count = max(1, min(LARGEST // _PATCH, length // _PATCH))
    return [first + i * (length - _PATCH) // max(count - 1, 1) for i in range(count)]


def _ends(dtype: np.dtype[Any], sections: list[_Seen]) -> tuple[float, float]:
    """The darkest and brightest value: of bytes those of the type, else those that occur."""
    if dtype == np.uint8:
        return 0.0, 255.0
    return min(s.low for s in sections), max(s.high for s in sections)


def _unit(section: NDArray[Any]) -> NDArray[np.float32]:
    """A section normalised so that the dot product of two is their correlation; 0 for one of a single value."""
    values = section.astype(np.float64).ravel()
    values -= values.mean()
    size = float(np.linalg.norm(values))
    return (values / size if size > 0 else values * 0).astype(np.float32)
