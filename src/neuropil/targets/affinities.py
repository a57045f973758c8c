"""Affinities from labels: 1 where two voxels lie in the same neuron, and the validity of each edge."""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neuropil.errors import NeuropilError
from neuropil.geometry import NEAREST, Triple, parse_offsets
from neuropil.targets.kernels import joined


class AffinityTargets(NamedTuple):
    """Affinities made from labels."""

    values: npt.NDArray[np.float32]
    """``[E, z, y, x]``, 1 where both voxels have the same id and it is not 0, else 0."""
    validity: npt.NDArray[np.bool_]
    """``[E, z, y, x]``, whether both voxels lie inside the volume and neither is masked out."""


def affinities_from_labels(
    labels: npt.NDArray[np.integer],
    offsets: str | Sequence[Sequence[int]] | None = None,
    mask: npt.ArrayLike | None = None,
) -> AffinityTargets:
    """The affinities that a perfect network would predict for these labels.

    Args:
        labels: ``[z, y, x]``, integers, 0 = background; ``[y, x]`` is one section.
        offsets: edges as (dz, dy, dx); edge e of voxel v joins it to ``v + offsets[e]``. None: the three nearest, of
            ``[y, x]`` the two of the plane.
        mask: of the labels' shape, 1 where they may be used; None uses all.

    Returns:
        values (float32) and validity (bool), both ``[E, z, y, x]``, z = 1 for one section. Edges that leave the
        volume are 0 and invalid.

    Raises:
        NeuropilError: labels not integers, not two or three axes, or a mask of another shape.

    >>> values, validity = affinities_from_labels(np.array([[[7, 7, 9, 0, 0]]]), "0,0,-1")
    >>> values[0, 0, 0].tolist(), validity[0, 0, 0].tolist()
    ([0.0, 1.0, 0.0, 0.0, 0.0], [False, True, True, True, True])
    """
    labels = np.asarray(labels)
    if labels.ndim not in (2, 3) or labels.dtype.kind not in "iu":
        raise NeuropilError(f"labels must be integers [z, y, x] or [y, x], got {labels.dtype} of shape {labels.shape}")
    if mask is not None and np.shape(mask) != labels.shape:
        raise NeuropilError(f"the mask must have the labels' shape {labels.shape}, got {np.shape(mask)}")
    if offsets is None:
        offsets = NEAREST if labels.ndim == 3 else "plane"
    parsed = parse_offsets(offsets)
    if labels.ndim == 2:
        labels, mask = labels[None], None if mask is None else np.asarray(mask)[None]
    # Ids are only compared with each other and with 0, so unsigned ids may be viewed as signed.
    wide = np.ascontiguousarray(labels.astype(labels.dtype.newbyteorder("=")).astype(np.uint64)).view(np.int64)
    use = None if mask is None else torch.from_numpy(np.array(mask, dtype=bool))
    values, validity = affinity_targets(torch.from_numpy(wide), parsed, use)
    return AffinityTargets(values.numpy().astype(np.float32), validity.numpy())


def affinity_targets(
    labels_ZYX: Tensor, offsets: Sequence[Triple], mask_ZYX: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Affinities and validity as bool tensors ``[..., E, Z, Y, X]``, on the device of the labels.

    Args:
        labels_ZYX: integers (or bool), any number of leading axes, 0 = background.
        offsets: edges as (dz, dy, dx); edge e of voxel v joins it to ``v + offsets[e]``.
        mask_ZYX: bool, of the same shape, where the labels may be used; None uses all.

    Raises:
        NeuropilError: labels or a mask of another kind or shape.

    >>> values, validity = affinity_targets(torch.ones(2, 4, 5, 6, dtype=torch.int32), [(-1, 0, 0), (0, 0, 2)])
    >>> tuple(values.shape), validity.sum().item()
    ((2, 2, 4, 5, 6), 340)
    """
    _check(labels_ZYX, mask_ZYX)
    if labels_ZYX.device.type == "cpu":
        return joined(labels_ZYX, offsets, mask_ZYX)
    return _by_torch(labels_ZYX, offsets, mask_ZYX)


def _check(labels_ZYX: Tensor, mask_ZYX: Tensor | None) -> None:
    """Refuse labels and masks of a dtype or shape for which the kernels, which compare bits, would be wrong."""
    if labels_ZYX.is_floating_point() or labels_ZYX.is_complex() or labels_ZYX.ndim < 3:
        kind = f"{labels_ZYX.dtype} of shape {list(labels_ZYX.shape)}"
        raise NeuropilError(f"labels must be integers [..., z, y, x], got {kind}; use labels.long()")
    if mask_ZYX is not None and (mask_ZYX.dtype != torch.bool or mask_ZYX.shape != labels_ZYX.shape):
        raise NeuropilError(
            f"the mask must be torch.bool of the labels' shape {list(labels_ZYX.shape)}, got {mask_ZYX.dtype} of shape "
            f"{list(mask_ZYX.shape)}; use mask != 0"
        )


def _by_torch(labels_ZYX: Tensor, offsets: Sequence[Triple], mask_ZYX: Tensor | None) -> tuple[Tensor, Tensor]:
    *batch, z, y, x = labels_ZYX.shape
    values = torch.zeros(*batch, len(offsets), z, y, x, dtype=torch.bool, device=labels_ZYX.device)
    validity = torch.zeros_like(values)
    # Masked voxels become background, so that their edges are 0 without another pass over the mask.
    ids = labels_ZYX if mask_ZYX is None else labels_ZYX.masked_fill(~mask_ZYX, 0)
    positive = ids != 0
    for e, offset in enumerate(offsets):
        here, there = _pair(offset, (z, y, x))
        at = (..., e, *here[1:])
        torch.eq(ids[here], ids[there], out=values[at]).bitwise_and_(positive[here])
        if mask_ZYX is None:
            validity[at] = True
        else:
            torch.bitwise_and(mask_ZYX[here], mask_ZYX[there], out=validity[at])
    return values, validity


def _pair(offset: Triple, shape: Triple) -> tuple[tuple[slice | EllipsisType, ...], tuple[slice | EllipsisType, ...]]:
    """Index of the voxels v for which ``v + offset`` lies inside, and of these ``v + offset``."""
    here = tuple(slice(max(0, -d), max(0, n - max(0, d))) for d, n in zip(offset, shape, strict=True))
    there = tuple(slice(max(0, d), max(0, n - max(0, -d))) for d, n in zip(offset, shape, strict=True))
    return (..., *here), (..., *there)
