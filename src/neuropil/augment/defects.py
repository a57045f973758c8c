"""Simulated section defects (missing, blurred, noisy …): at most one kind per sample unless a recipe allows several.

The random numbers of a sample are drawn on the CPU (:func:`draw_defects`). The functions that apply them take any
sections: those of one sample (:func:`apply_defects`), or of a whole batch on a GPU (:mod:`neuropil.augment.together`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from neuropil.augment.intensity import to_unit
from neuropil.config import AugmentConfig
from neuropil.geometry import Triple

PerSection = npt.NDArray[np.floating]


class Missing(NamedTuple):
    """Sections that were lost: one grey value, black in half of them."""

    sections: npt.NDArray[np.int64]
    grey: PerSection
    """``[n]``, in [0, 1]."""


class Torn(NamedTuple):
    """Sections torn or folded along a line at any angle: on one side of it they have one grey value."""

    sections: npt.NDArray[np.int64]
    line: PerSection
    """``[n, 3]``, sine, cosine, cut: torn where sine · y + cosine · x > cut, with y and x from the centre."""
    grey: PerSection
    """``[n]``."""


class Blurred(NamedTuple):
    """Sections out of focus: a Gaussian with a standard deviation of up to ``blur`` voxels."""

    sections: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    """``[k]``, applied along y and along x."""


class Smeared(NamedTuple):
    """Sections smeared along a line of up to ``motion_length`` voxels at any angle: the stage moved."""

    sections: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    """``[k, k]``."""


class Noisy(NamedTuple):
    """Shot noise: Gaussian noise with a standard deviation of up to ``noise``, in sections or in a box."""

    sections: npt.NDArray[np.int64]
    box: tuple[slice, slice]
    seed: int
    deviation: float

    def noise(self) -> npt.NDArray[np.float32]:
        """The noise, float32 ``[n, y, x]`` of the box."""
        shape = (len(self.sections), *(part.stop - part.start for part in self.box))
        drawn = np.random.Generator(np.random.SFC64(self.seed)).standard_normal(shape, np.float32)
        return np.multiply(drawn, np.float32(self.deviation), out=drawn)


class Coarse(NamedTuple):
    """A box at 1/2 to 1/8 of the resolution in y and x (CutBlur: J. Yoo et al. 2020, arXiv:2004.00448)."""

    sections: npt.NDArray[np.int64]
    box: tuple[slice, slice]
    factor: int


Defect = Missing | Torn | Blurred | Smeared | Noisy | Coarse

SHARES = ("missing", "partly_missing", "blurred", "noisy", "motion", "cut_noise", "cut_blur")
"""The shares of samples in the config, in the order in which one of them is drawn."""


def draw_defects(rng: np.random.Generator, augment: AugmentConfig, patch: Triple) -> tuple[Defect, ...]:
    """Draw the defects of one sample, in the order in which they are applied.

    With them the network learns to trace neurons across damaged sections. One kind per sample, because all kinds
    together are far worse than real stacks; with ``augment.several`` each kind is drawn independently, boxes first.

    Args:
        rng: the sample's random generator.
        augment: the share of samples with each kind of defect, and how strong it may be.
        patch: voxels (z, y, x) of the sample.

    >>> (lost,) = draw_defects(np.random.default_rng(1), AugmentConfig(missing=1.0), (6, 8, 8))
    >>> 1 <= len(lost.sections) <= 5
    True
    """
    if augment.several:
        shares = reversed(SHARES)
        return tuple(
            _draw(kind, rng, augment, patch) for kind in shares if float(rng.random()) < getattr(augment, kind)
        )
    drawn = float(rng.random())
    for kind in SHARES:
        probability = getattr(augment, kind)
        if drawn < probability:
            return (_draw(kind, rng, augment, patch),)
        drawn -= probability
    return ()


def _draw(kind: str, rng: np.random.Generator, augment: AugmentConfig, patch: Triple) -> Defect:
    """Draw one defect: in a few different sections, or in a box."""
    if kind in ("cut_noise", "cut_blur"):
        z, y, x = _draw_box(rng, augment, patch)
        inside = np.arange(z.start, z.stop)
        if kind == "cut_noise":
            return _draw_noise(inside, (y, x), rng, augment)
        return Coarse(inside, (y, x), int(rng.integers(2, 9)))
    most = min(augment.defect_sections, patch[0])
    count = most if augment.exact else int(rng.integers(1, most + 1))
    chosen = rng.choice(patch[0], count, replace=False)
    if kind == "missing":
        return Missing(chosen, _draw_grey(count, rng))
    if kind == "partly_missing":
        angle = rng.uniform(0, 2 * math.pi, count)
        sine, cosine = np.sin(angle), np.cos(angle)
        cut = rng.uniform(-0.3, 0.3, count) * (np.abs(sine) * patch[1] + np.abs(cosine) * patch[2])
        return Torn(chosen, np.stack([sine, cosine, cut], 1), _draw_grey(count, rng))
    if kind == "blurred":
        return Blurred(chosen, _gaussian(float(rng.uniform(min(1.0, augment.blur), augment.blur))))
    if kind == "noisy":
        return _draw_noise(chosen, (slice(0, patch[1]), slice(0, patch[2])), rng, augment)
    return Smeared(chosen, _line(augment.motion_length // 2, rng.uniform(0, math.pi)))


def _draw_grey(count: int, rng: np.random.Generator) -> PerSection:
    return np.asarray(rng.random(count) * rng.integers(0, 2, count))


def _draw_noise(
    sections: npt.NDArray[np.int64], box: tuple[slice, slice], rng: np.random.Generator, augment: AugmentConfig
) -> Noisy:
    seed = int(rng.integers(2**62))
    return Noisy(sections, box, seed, augment.noise if augment.exact else float(rng.uniform(0.3, 1) * augment.noise))


def _draw_box(rng: np.random.Generator, augment: AugmentConfig, patch: Triple) -> tuple[slice, slice, slice]:
    """Draw a box: per axis half of ``cut_size`` to all of it, as a share of the patch; with ``exact`` all of it."""
    if augment.exact:
        sizes = [max(1, int(n * augment.cut_size)) for n in patch]
    else:
        sizes = [max(1, round(n * augment.cut_size * rng.uniform(0.5, 1))) for n in patch]
    starts = [int(rng.integers(0, n - size + 1)) for n, size in zip(patch, sizes, strict=True)]
    z, y, x = (slice(a, a + size) for a, size in zip(starts, sizes, strict=True))
    return z, y, x


def _gaussian(sigma: float) -> npt.NDArray[np.float32]:
    radius = max(1, math.ceil(2.5 * sigma))
    at = torch.arange(-radius, radius + 1, dtype=torch.float32)
    weights = torch.exp(-(at**2) / (2 * sigma**2))
    return np.asarray((weights / weights.sum()).numpy())


def _line(radius: int, angle: float) -> npt.NDArray[np.float32]:
    """The kernel of motion blur: a line through the centre of a square, with sum 1."""
    line = np.linspace(-radius, radius, 4 * radius + 1)
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1), np.float32)
    at = (np.rint(radius + line * np.sin(angle)).astype(int), np.rint(radius + line * np.cos(angle)).astype(int))
    np.add.at(kernel, at, 1)
    return np.asarray(kernel / kernel.sum())


def apply_defects(image_ZYX: Tensor, defects: tuple[Defect, ...]) -> Tensor:
    """Damage the sections of one sample; the labels stay what they are.

    Args:
        image_ZYX: float in [0, 1], or bytes; not changed; returned itself where there are no defects.
        defects: what :func:`draw_defects` drew for a sample of this shape.

    >>> lost = Missing(np.array([1]), np.array([0.5]))
    >>> apply_defects(torch.ones(3, 8, 8), (lost,)).mean((1, 2)).tolist()
    [1.0, 0.5, 1.0]
    """
    for defect in defects:
        image_ZYX = image_ZYX.clone() if image_ZYX.dtype != torch.uint8 else to_unit(image_ZYX)
        chosen = torch.from_numpy(defect.sections).to(image_ZYX.device)
        image_ZYX[chosen] = _damaged(image_ZYX[chosen], defect)
    return image_ZYX


def _damaged(sections_NYX: Tensor, defect: Defect) -> Tensor:
    """The damaged sections of one defect."""
    if isinstance(defect, Missing | Torn):
        return covered(sections_NYX, *(_like(part, sections_NYX) for part in cover(defect, *sections_NYX.shape[1:])))
    if isinstance(defect, Blurred | Smeared):
        weights = _like(defect.weights, sections_NYX)
        return filtered(sections_NYX, weights.expand(len(sections_NYX), *weights.shape))
    y, x = defect.box
    if isinstance(defect, Noisy):
        sections_NYX[:, y, x] += _like(defect.noise(), sections_NYX)
        return sections_NYX.clamp_(0, 1)
    inner = sections_NYX[:, y, x]
    rows, columns = (_like(cells(n, defect.factor), inner).expand(len(inner), -1, -1) for n in inner.shape[1:])
    sections_NYX[:, y, x] = coarsened(inner, rows, columns)
    return sections_NYX


def _like(values: npt.ArrayLike, like: Tensor) -> Tensor:
    return torch.from_numpy(np.asarray(values)).to(like)


class Cover(NamedTuple):
    """Lost voxels in separable form: those where ``rows[n, y] > columns[n, x]`` get the value ``grey[n]``."""

    rows: npt.NDArray[np.float32]
    """``[n, y]``."""
    columns: npt.NDArray[np.float32]
    """``[n, x]``."""
    grey: npt.NDArray[np.float32]
    """``[n]``."""


def cover(defect: Missing | Torn, height: int, width: int) -> Cover:
    """The lost voxels of sections of ``height`` by ``width`` voxels.

    >>> torn = Torn(np.array([0]), np.array([[0.0, 1.0, 0.0]]), np.array([0.5]))  # right of the centre
    >>> (cover(torn, 1, 4).rows.T > cover(torn, 1, 4).columns).tolist()
    [[False, False, True, True]]
    """
    grey = defect.grey.astype(np.float32)
    if isinstance(defect, Missing):
        return Cover(np.ones((len(grey), height), np.float32), np.zeros((len(grey), width), np.float32), grey)
    sine, cosine, cut = defect.line.T[..., None]
    y, x = (np.arange(n) - (n - 1) / 2 for n in (height, width))
    return Cover((sine * y - cut).astype(np.float32), (-cosine * x).astype(np.float32), grey)


def covered(sections_NYX: Tensor, rows_NY: Tensor, columns_NX: Tensor, grey_N: Tensor) -> Tensor:
    """The sections with the grey values of a :class:`Cover`."""
    return torch.where(rows_NY[:, :, None] > columns_NX[:, None], grey_N[:, None, None], sections_NYX)


def filtered(sections_NYX: Tensor, weights_NK: Tensor) -> Tensor:
    """Each section convolved with its own kernel, ``[n, k]`` along y and x or ``[n, k, k]``; the border is repeated."""
    radius = weights_NK.shape[1] // 2
    padded = F.pad(sections_NYX[None], (radius,) * 4, mode="replicate")
    count = len(sections_NYX)
    if weights_NK.ndim == 3:
        return F.conv2d(padded, weights_NK[:, None], groups=count)[0]
    along_y = F.conv2d(padded, weights_NK[:, None, :, None], groups=count)
    return F.conv2d(along_y, weights_NK[:, None, None, :], groups=count)[0]


def coarsened(sections_NYX: Tensor, rows_NYY: Tensor, columns_NXX: Tensor) -> Tensor:
    """Means over cells along y and x, by the matrices of :func:`cells`."""
    return torch.bmm(torch.bmm(rows_NYY, sections_NYX), columns_NXX.mT)


def cells(size: int, factor: int) -> npt.NDArray[np.float32]:
    """The matrix ``[size, size]`` that replaces each voxel of a line by the mean of its cell of ``factor`` voxels.

    >>> cells(4, 2).tolist()
    [[0.5, 0.5, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.5, 0.5]]
    """
    count = max(1, size // factor)
    cell = np.arange(size) * count // size
    first, last = cell * size // count, -(-(cell + 1) * size // count)
    at = np.arange(size)
    inside = (at >= first[:, None]) & (at < last[:, None])
    return np.asarray((inside / (last - first)[:, None]).astype(np.float32))
