"""Targets on a CPU by native kernels, several times as fast as the torch code that GPUs use."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from neuropil import _native
from neuropil.geometry import Triple

_PIECE = 1 << 20
"""Voxels for each thread."""


def meetings_inside(labels_ZHW: Tensor, steps: int) -> Tensor:
    """Where a complete window of (2·steps+1)² voxels holds two different positive ids.

    Args:
        labels_ZHW: signed integers, any number of leading axes.
        steps: half-width of the window in voxels, >= 0.

    >>> meetings_inside(torch.tensor([[0, 1, 2, 0], [1, 1, 0, 0], [1, 0, 0, 2]]), 1).tolist()
    [[True, True]]
    """
    labels, meets = _sections(labels_ZHW, steps, torch.bool)
    _native.meetings(labels.numpy(), steps, meets.numpy(), _threads(labels))
    return meets.reshape(*labels_ZHW.shape[:-2], *meets.shape[-2:])


def eroded_inside(labels_ZHW: Tensor, steps: int) -> Tensor:
    """The labels of voxels with a complete window, 0 where it holds two different positive ids.

    >>> eroded_inside(torch.tensor([[0, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 0, 0, 0, 2]]), 1).tolist()
    [[1, 1, 0]]
    """
    labels, eroded = _sections(labels_ZHW, steps, labels_ZHW.dtype)
    _native.erode(labels.numpy(), steps, eroded.numpy(), _threads(labels))
    return eroded.reshape(*labels_ZHW.shape[:-2], *eroded.shape[-2:])


def _sections(labels_ZHW: Tensor, steps: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The labels with all leading axes as one, and an empty array for the results of complete windows."""
    *lead, height, width = labels_ZHW.shape
    count = math.prod(lead)
    room = torch.empty(count, max(0, height - 2 * steps), max(0, width - 2 * steps), dtype=dtype)
    return _in_rows(labels_ZHW.reshape(count, height, width)), room


def joined(labels_ZYX: Tensor, offsets: Sequence[Triple], mask_ZYX: Tensor | None) -> tuple[Tensor, Tensor]:
    """Affinities and validity, bool ``[..., E, Z, Y, X]``, of integers with any number of leading axes.

    Only the bits of labels are compared, and the mask is bool of their shape; :func:`affinity_targets` checks both.

    >>> values, validity = joined(torch.ones(1, 1, 3, dtype=torch.int32), [(0, 0, -1)], None)
    >>> values.flatten().tolist(), validity.flatten().tolist()
    ([False, True, True], [False, True, True])
    """
    *batch, z, y, x = labels_ZYX.shape
    # Without a mask one row of ones is used for all rows.
    known = torch.ones(x, dtype=torch.bool).expand(labels_ZYX.shape) if mask_ZYX is None else mask_ZYX
    labels, known = (_in_rows(part.reshape(math.prod(batch), z, y, x)) for part in (labels_ZYX, known))
    values, validity = (torch.empty(len(labels), len(offsets), z, y, x, dtype=torch.bool) for _ in range(2))
    _native.join(labels.numpy(), known.numpy(), offsets, values.numpy(), validity.numpy(), _threads(labels))
    shape = (*batch, len(offsets), z, y, x)
    return values.reshape(shape), validity.reshape(shape)


def _in_rows(x: Tensor) -> Tensor:
    """The tensor with a contiguous last axis."""
    return x if x.stride(-1) == 1 else x.contiguous()


def _threads(labels: Tensor) -> int:
    return min(torch.get_num_threads(), 1 + labels.numel() // _PIECE)
