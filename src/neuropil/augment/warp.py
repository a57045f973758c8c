"""Geometric augmentation: rotation, scale, elastic deformation and misaligned sections, in one resampling.

Shape suffixes: Z Y X space, H W space in the frame of the output, S T space in the frame of the source.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from neuropil.config import AugmentConfig
from neuropil.geometry import Triple

OVERSHOOT = 1.3
"""A cubic surface through control points exceeds the largest of them by less than this factor."""


class Warp(NamedTuple):
    """The source position of each voxel p of a sample: ``matrix · (p - centre) + bend(p) + shift of its section``."""

    matrix: npt.NDArray[np.float64]
    """2×2, from (y, x) of the output to (y, x) of the source, both counted from the centre."""
    bend: npt.NDArray[np.float32] | None
    """``[2, h, w]``, displacements (y, x) in voxels at control points spread over the output; cubic between them."""
    steps: npt.NDArray[np.int64]
    """``[Z, 2]``, voxels (y, x) by which image and labels of a section are displaced."""
    slips: npt.NDArray[np.int64]
    """``[Z, 2]``, voxels (y, x) by which the image alone is displaced besides."""
    reach: tuple[int, int]
    """Voxels of the source needed around the patch on each side, in y and x."""

    @property
    def resamples(self) -> bool:
        """Whether voxels must be interpolated; else sections are only shifted by whole voxels."""
        return self.bend is not None or not np.array_equal(self.matrix, np.eye(2))

    @property
    def moves_labels(self) -> bool:
        """Whether labels are moved, too; a slip moves the image alone."""
        return self.resamples or bool(self.steps.any())


def draw_warp(rng: np.random.Generator, augment: AugmentConfig, patch: Triple, margin: int = 0) -> Warp | None:
    """Draw the geometric augmentation of one sample; None where nothing changes.

    A *step* displaces all sections from one on, image and labels alike; a *slip* displaces the image of one section
    only (K. Lee et al. 2017, arXiv:1706.00120, section 3.3).

    Args:
        rng: the sample's random generator.
        augment: how much and how often.
        patch: voxels (z, y, x) of the sample.
        margin: voxels of labels that are wanted around the patch in y and x.

    >>> draw_warp(np.random.default_rng(0), AugmentConfig(), (4, 16, 16)) is None
    True
    >>> draw_warp(np.random.default_rng(0), AugmentConfig(rotate=45.0), (4, 16, 16), margin=1).reach
    (5, 5)
    """
    bends = augment.rotate > 0 or augment.scale > 0 or augment.elastic > 0
    if not bends and not augment.step and not augment.slip:
        return None
    size = np.array([patch[1], patch[2]]) + 2 * margin
    resample = rng.random() < augment.warp_probability and bends
    stretched = bool(resample and augment.scale and _drawn(rng, augment.scale_probability))
    bent = bool(resample and augment.elastic and _drawn(rng, augment.elastic_probability))
    resample = bool(resample and (augment.rotate or stretched or bent))
    matrix = _draw_matrix(rng, augment, stretched) if resample else np.eye(2)
    bend = None
    if bent:
        points = (2, *(int(n) // augment.elastic_spacing + 2 for n in size))
        bend = rng.uniform(-augment.elastic, augment.elastic, points).astype(np.float32)
    steps, slips = np.zeros((2, patch[0], 2), np.int64)
    kind, section = rng.random(), int(rng.integers(0, patch[0]))
    shift = rng.integers(-augment.displacement, augment.displacement + 1, 2)
    if kind < augment.step and section > 0:
        steps[section:] = shift
    elif augment.step <= kind < augment.step + augment.slip:
        slips[section] = shift
    if not resample and not steps.any() and not slips.any():
        return None
    extent = np.abs(matrix) @ (size / 2) - np.array(patch[1:]) / 2 + np.abs(steps + slips).max(0)
    extent += 0 if bend is None else OVERSHOOT * np.abs(bend).max()
    extent += 1 if resample else 0
    y, x = (max(margin, math.ceil(n)) for n in extent)
    return Warp(matrix, bend, steps, slips, (y, x))


def longest_reach(augment: AugmentConfig, patch: Triple, margin: int) -> int:
    """A number of voxels that :attr:`Warp.reach` never exceeds, whatever is drawn.

    >>> longest_reach(AugmentConfig(slip=0.5, displacement=3), (4, 16, 16), 1)
    4
    """
    size = [n + 2 * margin for n in patch[1:]]
    turned = math.hypot(*size) if augment.rotate else max(size)
    spread = max(0.0, (1 + augment.scale) * turned / 2 - min(patch[1:]) / 2)
    shift = augment.displacement if augment.step or augment.slip else 0
    return max(
        margin,
        math.ceil(
            spread
            + shift
            + OVERSHOOT * augment.elastic
            + (augment.rotate > 0 or augment.scale > 0 or augment.elastic > 0)
        ),
    )


def _drawn(rng: np.random.Generator, share: float) -> bool:
    """Whether an event of this probability is drawn; probability 1 draws no random number."""
    return share >= 1 or float(rng.random()) < share


def _draw_matrix(rng: np.random.Generator, augment: AugmentConfig, stretched: bool) -> npt.NDArray[np.float64]:
    angle = math.radians(rng.uniform(-augment.rotate, augment.rotate))
    sizes = np.exp(rng.uniform(-1, 1, 2) * math.log1p(augment.scale if stretched else 0.0))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix: npt.NDArray[np.float64] = turn * sizes
    return matrix


class Warped(NamedTuple):
    """A sample after its warp."""

    image_ZYX: Tensor
    """float32, the patch, bilinear."""
    labels_ZHW: Tensor
    """int32, ``margin`` voxels wider than the patch in y and x, nearest."""
    mask_ZHW: Tensor
    """bool, as wide as the labels: False also where image or labels are padding."""


def apply_warp(
    image_ZST: Tensor,
    labels_ZST: Tensor,
    mask_ZST: Tensor,
    warp: Warp,
    patch: Triple,
    margin: int,
    real: Tensor | None = None,
) -> Warped:
    """Resample image (bilinear), labels and mask (nearest) of one sample, each voxel once.

    Args:
        image_ZST: float, ``warp.reach`` voxels wider than the patch in y and x.
        labels_ZST: int32 ids >= 0, of the same shape.
        mask_ZST: bool, of the same shape.
        warp: what :func:`draw_warp` drew for this patch and margin.
        patch: voxels (z, y, x) of the result.
        margin: voxels of labels around the patch.
        real: bool ``[S, T]``, False where the image is padding around the border of a volume; None: no padding.

    >>> warp = Warp(np.eye(2), None, np.array([[0, 0], [0, 3]]), np.zeros((2, 2), np.int64), (3, 3))
    >>> ids = torch.arange(2 * 10 * 10, dtype=torch.int32).reshape(2, 10, 10)
    >>> seen = torch.ones(2, 10, 10, dtype=torch.bool)
    >>> apply_warp(ids.float(), ids, seen, warp, (2, 4, 4), 0).labels_ZHW[:, 0, 0].tolist()
    [33, 136]
    """
    (height, width), moved = patch[1:], warp.steps + warp.slips
    pad_y, pad_x = warp.reach[0] - margin, warp.reach[1] - margin
    # Masked voxels become -1, so that one gather moves labels and mask.
    ids = torch.where(mask_ZST, labels_ZST, -1)
    if not warp.resamples:
        ids = _slide(ids, warp.steps, pad_y, pad_x)
        image = _slide(image_ZST, moved, *warp.reach)
        seen = None if real is None else _slide(real.expand_as(mask_ZST), moved, pad_y, pad_x)
    else:
        size = (height + 2 * margin, width + 2 * margin)
        rows, columns = (
            torch.from_numpy(part).to(image_ZST.device)[:, None]
            for part in straight(warp, size, (image_ZST.shape[1], image_ZST.shape[2]))
        )
        bend = None if warp.bend is None else torch.from_numpy(warp.bend).to(image_ZST.device)[None]
        source_2HW = positions(rows, columns, bend)[:, 0]
        free_y, free_x = free(warp, (image_ZST.shape[1], image_ZST.shape[2]))
        nearest = source_2HW.round().long()
        nearest[0] -= free_y
        nearest[1] -= free_x
        ids = _take(_slide(ids, warp.steps, free_y, free_x), nearest)
        inner = source_2HW[:, margin : margin + height, margin : margin + width]
        image = _bilinear(_slide(image_ZST, moved, free_y, free_x), inner, free_y, free_x)
        seen = None
        if real is not None:
            seen = _take(_slide(shrink(real).expand_as(mask_ZST), moved, free_y, free_x), nearest)
    mask = ids >= 0
    return Warped(image, ids.clamp(min=0), mask if seen is None else mask & seen)


def free(warp: Warp, source: tuple[int, int]) -> tuple[int, int]:
    """Voxels (y, x) by which sections can be shifted within the source."""
    y, x = (int(n) for n in np.abs(np.concatenate([warp.steps, warp.slips + warp.steps])).max(0))
    return min(y, (source[0] - 1) // 2), min(x, (source[1] - 1) // 2)


def _slide(x_ZST: Tensor, shift_Z2: npt.NDArray[np.int64], pad_y: int, pad_x: int) -> Tensor:
    """Crop ``pad`` voxels from each side, in each section displaced by its shift of whole voxels."""
    height, width = x_ZST.shape[-2] - 2 * pad_y, x_ZST.shape[-1] - 2 * pad_x
    if not shift_Z2.any():
        return x_ZST[:, pad_y : pad_y + height, pad_x : pad_x + width]
    corners = [(pad_y + int(y), pad_x + int(x)) for y, x in shift_Z2]
    return torch.stack([s[y : y + height, x : x + width] for s, (y, x) in zip(x_ZST, corners, strict=True)])


class Lines(NamedTuple):
    """The affine part of source positions, as the sum of a term per row and a term per column."""

    rows: npt.NDArray[np.float32]
    """``[2, H]``, for y and x of the source."""
    columns: npt.NDArray[np.float32]
    """``[2, W]``."""


def straight(warp: Warp | None, size: tuple[int, int], source: tuple[int, int]) -> Lines:
    """Source positions by rotation and scale, of a section of ``size`` voxels in the middle of ``source`` voxels.

    >>> straight(None, (2, 2), (4, 4)).columns.tolist()
    [[1.5, 1.5], [1.0, 2.0]]
    """
    # float32 under any training precision: half precision would be off by half a pixel.
    y, x = (np.arange(n, dtype=np.float32) - np.float32((n - 1) / 2) for n in size)
    (a, b), (c, d) = (np.eye(2) if warp is None else warp.matrix).astype(np.float32)
    middle_y, middle_x = (np.float32((n - 1) / 2) for n in source)
    return Lines(np.stack([a * y, c * y]), np.stack([b * x + middle_y, d * x + middle_x]))


def positions(rows_2BH: Tensor, columns_2BW: Tensor, bend_B2HW: Tensor | None) -> Tensor:
    """Source positions of the voxels of sections, before their shifts: ``[2, B, H, W]``, y and x in source voxels.

    Args:
        rows_2BH: ``rows`` of :class:`Lines`, of several samples.
        columns_2BW: ``columns``, as well.
        bend_B2HW: displacements at control points; None: no elastic deformation.
    """
    source = rows_2BH[..., None] + columns_2BW[..., None, :]
    if bend_B2HW is None:
        return source
    bent = F.interpolate(bend_B2HW, size=source.shape[2:], mode="bicubic", align_corners=True)
    return source.add_(bent.transpose(0, 1))


def _take(x_ZST: Tensor, at_2HW: Tensor) -> Tensor:
    """The voxels at integer positions, the same in every section; positions beyond the border are clamped."""
    sections, height, width = x_ZST.shape
    index = at_2HW[0].clamp(0, height - 1) * width + at_2HW[1].clamp(0, width - 1)
    taken = x_ZST.reshape(sections, -1).index_select(1, index.flatten())
    return taken.reshape(sections, *index.shape)


def _bilinear(image_ZST: Tensor, at_2HW: Tensor, free_y: int, free_x: int) -> Tensor:
    """The image at positions between voxels, the same in every section; sections are the channels of one sampling."""
    height, width = image_ZST.shape[-2:]
    y = (at_2HW[0] - free_y) * (2 / max(height - 1, 1)) - 1
    x = (at_2HW[1] - free_x) * (2 / max(width - 1, 1)) - 1
    grid = torch.stack([x, y], dim=-1)[None]
    sampled = F.grid_sample(image_ZST[None], grid, mode="bilinear", padding_mode="border", align_corners=True)
    return sampled[0]


def shrink(known_ST: Tensor) -> Tensor:
    """Where a voxel and all its neighbours are real (no padding): interpolation uses the neighbours."""
    return -F.max_pool2d(-known_ST[None, None].float(), 3, stride=1, padding=1)[0, 0] > 0.5
