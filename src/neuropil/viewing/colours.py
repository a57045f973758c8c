"""RGB images of labels, affinities and segmentation errors: NumPy in, uint8 ``[…, 3]`` out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.errors import NeuropilError
from neuropil.evaluation import Contingency, contingency
from neuropil.geometry import NEAREST, parse_offsets

RGB = NDArray[np.uint8]

SPLIT, MERGE, MISSING = (38, 139, 255), (255, 120, 20), (150, 150, 150)
"""Blue, orange and grey: the colours of ``error_overlay``."""


def label_colours(labels: NDArray[Any]) -> RGB:
    """A colour for every id, the same in every array and every run; 0 is black.

    Hues follow the golden ratio, so that consecutive ids look different; lightness and chroma vary as well. Ids up to
    2⁶⁴-1.

    Args:
        labels: integers of any shape.

    Returns:
        uint8 ``[…, 3]``.

    Raises:
        NeuropilError: not integers.

    >>> label_colours(np.array([[0, 1, 2**64 - 1]], np.uint64)).shape
    (1, 3, 3)
    """
    ids = np.asarray(labels)
    if ids.dtype.kind not in "iub":
        raise NeuropilError(f"colours of labels need integers, got {ids.dtype}")
    shape, ids = ids.shape, ids.astype(np.uint64).reshape(-1)
    # Multiplying by 2⁶⁴/φ and letting it overflow leaves the fraction of id/φ in the highest bits.
    hue = (ids * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(56)
    mixed = (ids ^ (ids >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    shade = ((mixed ^ (mixed >> np.uint64(29))) * np.uint64(0x94D049BB133111EB)) >> np.uint64(61)
    colours: RGB = np.take(_palette(), (hue << np.uint64(3) | shade).astype(np.intp), axis=0)
    colours[ids == 0] = 0
    return colours.reshape(*shape, 3)


@cache
def _palette() -> RGB:
    """256 hues × 8 shades in OKLCH, a perceptually uniform colour space (https://bottosson.github.io/posts/oklab)."""
    hue = np.repeat(np.arange(256), 8) * (2.0 * np.pi / 256)
    lightness = np.tile([0.55, 0.62, 0.68, 0.72, 0.76, 0.80, 0.84, 0.88], 256)
    chroma = np.tile([0.15, 0.11, 0.16, 0.10, 0.14, 0.08, 0.13, 0.10], 256)
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)])
    to_lms = [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
    to_rgb = [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
    linear = np.clip(np.array(to_rgb) @ (np.array(to_lms) @ lab) ** 3, 0.0, 1.0)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    palette: RGB = np.round(255.0 * srgb.T).astype(np.uint8)
    return palette


def affinity_rgb(
    affinities: NDArray[Any], z: int | None = None, offsets: str | Sequence[Sequence[int]] | None = None
) -> RGB:
    """The three nearest affinities as one colour: x is red, y green, z blue.

    The inside of a neuron is white; a membrane across x is cyan, one across y magenta, one between two sections yellow,
    and one in all directions black.

    Args:
        affinities: ``[edge, z, y, x]``: float in [0, 1], or uint8 as c/255. Decode other encodings first.
        z: the section; None for all of them.
        offsets: E×3, z y x; with three channels the nearest neighbourhood by default.

    Returns:
        uint8 ``[y, x, 3]``, or ``[z, y, x, 3]`` for all sections.

    Raises:
        NeuropilError: not four axes, or the three nearest offsets are not among those given.

    >>> affinity_rgb(np.ones((3, 2, 8, 9), np.float32), z=1).shape
    (8, 9, 3)
    """
    if affinities.ndim != 4:
        raise NeuropilError(f"affinities have four axes [edge, z, y, x], got shape {affinities.shape}")
    if offsets is None and len(affinities) != len(NEAREST):
        raise NeuropilError(f"{len(affinities)} channels need their offsets, only three have a default")
    known = NEAREST if offsets is None else parse_offsets(offsets)
    if len(known) != len(affinities):
        raise NeuropilError(f"expected one offset for each of the {len(affinities)} channels, got {len(known)}")
    channels = []
    for axis in (2, 1, 0):
        unit = tuple(int(a == axis) for a in range(3))
        found = [e for e, offset in enumerate(known) if tuple(abs(d) for d in offset) == unit]
        if not found:
            raise NeuropilError(f"no nearest neighbour along {'zyx'[axis]} among the offsets {known}")
        channel = affinities[found[0]] if z is None else affinities[found[0], z]
        channels.append(channel if channel.dtype == np.uint8 else _to_byte(channel))
    return np.stack(channels, axis=-1)


def _to_byte(values: NDArray[Any]) -> NDArray[np.uint8]:
    if values.dtype.kind != "f":
        raise NeuropilError(f"affinities to be shown are float or uint8, got {values.dtype}; decode them first")
    byte: NDArray[np.uint8] = np.round(np.clip(np.nan_to_num(values), 0.0, 1.0) * 255.0).astype(np.uint8)
    return byte


def grey_rgb(image: NDArray[Any]) -> RGB:
    """An image in grey: uint8 as it is, other types scaled from the 0.5th to the 99.5th percentile.

    >>> grey_rgb(np.zeros((4, 5), np.uint8)).shape
    (4, 5, 3)
    """
    if image.dtype != np.uint8:
        low, high = np.percentile(image, [0.5, 99.5])
        image = _to_byte((image.astype(np.float32) - low) / max(high - low, 1e-9))
    return np.repeat(image[..., None], 3, axis=-1)


def overlay(image: NDArray[Any], labels: NDArray[Any], alpha: float = 0.45) -> RGB:
    """Labels as colours over the image; where they are 0 only the image is seen.

    Args:
        image: any shape.
        labels: integers, the same shape.
        alpha: share of the colour, 0 to 1.

    >>> overlay(np.zeros((4, 5), np.uint8), np.ones((4, 5), int)).shape
    (4, 5, 3)
    """
    _same_shape(image, labels, "image", "labels")
    return _paint(grey_rgb(image), label_colours(labels), np.where(labels > 0, alpha, 0.0))


def _paint(under: RGB, over: RGB, alpha: NDArray[np.floating[Any]]) -> RGB:
    share = alpha[..., None]
    return np.round((1.0 - share) * under + share * over).astype(np.uint8)


def mistakes(segmentation: NDArray[Any], labels: NDArray[Any], table: Contingency | None = None) -> NDArray[np.uint8]:
    """Label errors voxel by voxel: 0 none, 1 split, 2 merge, 3 missing.

    Each neuron is matched with the segment that holds most of it, and each segment with the neuron that fills most of
    it. A voxel with truth > 0 is *missing* if its segment is 0, *merged* if its segment is matched with another neuron
    (a shifted border is a thin merge, too), and *split* if its segment is a smaller piece of its own neuron.

    Args:
        segmentation: integers, any shape of up to three axes.
        labels: integers, the same shape; 0 is never an error.
        table: the contingency table of the whole volume if the arrays are a part of it, since the largest piece of a
            neuron may lie elsewhere. By default that of the arrays.

    Returns:
        uint8 of the same shape.

    Raises:
        NeuropilError: shapes differ.

    >>> mistakes(np.array([5, 5, 5, 6, 5, 0]), np.array([1, 1, 1, 1, 2, 2])).tolist()
    [0, 0, 0, 1, 2, 3]
    """
    _same_shape(segmentation, labels, "segmentation", "labels")
    match = _Match.of(contingency(segmentation, labels) if table is None else table)
    if not len(match.pair_t):
        return np.zeros(labels.shape, np.uint8)
    t, s = match.pair_t, match.pair_s
    kind = np.select([match.segments[s] == 0, match.truth_of[s] != t, match.segment_of[t] != s], [3, 2, 1], 0)
    # Pairs are in ascending order, so bisection finds that of each voxel.
    at_t, at_s = _places(match.truths, labels), _places(match.segments, segmentation)
    width = len(match.segments)
    found = kind[np.searchsorted(t * width + s, at_t * width + at_s).clip(max=len(kind) - 1)]
    return np.where(labels > 0, found, 0).astype(np.uint8)


def matched(segmentation: NDArray[Any], table: Contingency) -> NDArray[np.uint64]:
    """The segmentation with the ids of the truth: the largest piece of a neuron takes the neuron's id.

    All other segments get ids from 2⁶³ on, so that their colours belong to no neuron.

    >>> matched(np.array([5, 6, 0]), Contingency(*np.array([[1, 1], [5, 6], [9, 2]], np.uint64))).tolist()[0]
    1
    """
    match = _Match.of(table)
    if not len(match.segments):
        return segmentation.astype(np.uint64)
    of = match.truth_of
    own = (of >= 0) & (match.segment_of[of] == np.arange(len(of)))
    at = _places(match.segments, segmentation)
    known = match.segments[at] == segmentation.astype(np.uint64)
    ids = np.where(known & own[at], match.truths[of[at]], segmentation.astype(np.uint64) | np.uint64(2**63))
    return np.where(segmentation > 0, ids, np.uint64(0))


@dataclass(frozen=True)
class _Match:
    """Best matches of truth objects and segments, as indices into ascending lists of ids; truth 0 is left out."""

    truths: NDArray[np.uint64]
    segments: NDArray[np.uint64]
    pair_t: NDArray[np.intp]
    pair_s: NDArray[np.intp]
    segment_of: NDArray[np.intp]  # [truths], -1 = none
    truth_of: NDArray[np.intp]  # [segments], -1 = none

    @classmethod
    def of(cls, table: Contingency) -> _Match:
        table = table.without_truth(0)
        truths, t = np.unique(table.truth, return_inverse=True)
        segments, s = np.unique(table.segment, return_inverse=True)
        ascending = np.argsort(table.count, kind="stable")
        ascending = ascending[table.segment[ascending] > 0]
        segment_of, truth_of = np.full(len(truths), -1), np.full(len(segments), -1)
        segment_of[t[ascending]] = s[ascending]  # the last one written, with the largest count, stays
        truth_of[s[ascending]] = t[ascending]
        return cls(truths, segments, t, s, segment_of, truth_of)


def _places(ids: NDArray[np.uint64], array: NDArray[Any]) -> NDArray[np.intp]:
    """Index of each value in the ascending ids; an arbitrary one for values that are not there."""
    return np.searchsorted(ids, array.astype(np.uint64)).clip(max=len(ids) - 1)


def error_overlay(
    image: NDArray[Any], segmentation: NDArray[Any], labels: NDArray[Any], table: Contingency | None = None
) -> RGB:
    """Splits in blue, merges in orange, missing voxels in grey, over the image; see ``mistakes``.

    >>> error_overlay(np.zeros((4, 5), np.uint8), np.ones((4, 5), int), np.ones((4, 5), int)).shape
    (4, 5, 3)
    """
    _same_shape(image, labels, "image", "labels")
    kind = mistakes(segmentation, labels, table)
    colours = np.array([(0, 0, 0), SPLIT, MERGE, MISSING], np.uint8)
    return _paint(grey_rgb(image), colours[kind], np.where(kind > 0, 0.65, 0.0))


def _same_shape(one: NDArray[Any], other: NDArray[Any], name: str, other_name: str) -> None:
    if one.shape != other.shape:
        raise NeuropilError(f"{name} and {other_name} must have the same shape, got {one.shape} and {other.shape}")
