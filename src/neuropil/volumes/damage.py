"""Sections of an image that are damaged: black, saturated, without contrast, repeated, or unlike both neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.geometry import Box
from neuropil.volumes.volume import Volume

LARGEST = 512
"""Pixels along y and x that are looked at; larger sections are thinned out."""
READ_WHOLE = 1 << 26
"""Pixels up to which a section is read whole."""
_PATCH = 64
_NEAR = 5
"""Sections on both sides that tell what is usual."""
BLACK = 0.5
"""Share of pixels at the darkest value from which a section is black, where its neighbours are not."""


@dataclass(frozen=True)
class BadSection:
    """One damaged section."""

    z: int
    """Of the whole volume."""
    why: str


def bad_sections(image: Volume, box: Box | None = None) -> list[BadSection]:
    """Find damaged sections, each judged by itself and beside its neighbours; read one section at a time.

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
    sections = [_thin(image, box, z) for z in range(box.start[0], box.stop[0])]
    low, high = _ends(image.dtype, sections)
    at_ends = np.array([[np.mean(s <= low), np.mean(s >= high)] for s in sections])
    found: dict[int, str] = {}
    for i, section in enumerate(sections):
        if section.min() == section.max():
            value = section.flat[0]
            kind = "black" if value <= low else "white" if value >= high else "empty"
            found[i] = f"{kind}: one grey value, {value:g}"
            continue
        near = [j for j in range(max(i - _NEAR, 0), min(i + _NEAR + 1, len(sections))) if j != i]
        for end, name in enumerate(("black", "saturated")):
            usual = float(np.median([at_ends[j, end] for j in near])) if near else 0.0
            if at_ends[i, end] > BLACK and usual < BLACK / 2:
                found[i] = f"{name}: {100 * at_ends[i, end]:.0f} % of it at {(low, high)[end]:g}"
        if i and i - 1 not in found and np.array_equal(section, sections[i - 1]):
            found[i] = "repeated: the same as the section before"
    good = [i for i in range(len(sections)) if i not in found]
    like = [_correlation(sections[a], sections[b]) for a, b in pairwise(good)]
    usual = float(np.median(like)) if like else 0.0
    for k in range(1, len(good) - 1):
        across = _correlation(sections[good[k - 1]], sections[good[k + 1]])
        if max(like[k - 1], like[k]) < usual / 3 and across > usual / 2:
            found[good[k]] = f"unlike both neighbours: correlation {max(like[k - 1], like[k]):.2f}, usual {usual:.2f}"
    return [BadSection(box.start[0] + i, found[i]) for i in sorted(found)]


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


def _ends(dtype: np.dtype[Any], sections: list[NDArray[Any]]) -> tuple[float, float]:
    """The darkest and brightest value: of bytes those of the type, else those that occur."""
    if dtype == np.uint8:
        return 0.0, 255.0
    return float(min(s.min() for s in sections)), float(max(s.max() for s in sections))


def _correlation(one: NDArray[Any], other: NDArray[Any]) -> float:
    a, b = (s.astype(np.float64) - s.mean() for s in (one, other))
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum() / size) if size > 0 else 0.0
