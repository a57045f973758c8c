"""Passes over the labels of all voxels, on all threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil import _native
from neuropil.segmentation.codes import thread_count


def largest_label(labels: npt.NDArray[Any], threads: int | None = None) -> int:
    """The largest of some unsigned labels, any shape; 0 of none.

    >>> largest_label(np.array([[3, 9, 0]], np.uint32))
    9
    """
    if labels.dtype not in (np.uint32, np.uint64):
        return int(labels.max(initial=0))
    return int(_native.largest_label(_flat(labels), thread_count(threads)))


def count_labels(labels: npt.NDArray[Any], names: int, threads: int | None = None) -> npt.NDArray[np.uint64]:
    """How many voxels have each of the labels 0 … names - 1, uint64 [names]; there are no others.

    >>> count_labels(np.array([[1, 1, 3]], np.uint32), 4).tolist()
    [0, 2, 0, 1]
    """
    if labels.dtype not in (np.uint32, np.uint64):
        labels = labels.astype(np.uint32 if labels.dtype.itemsize < 4 else np.uint64)
    return np.asarray(_native.count_labels(_flat(labels), names, thread_count(threads)))


def relabelled(labels: npt.NDArray[Any], lut: npt.NDArray[Any], threads: int | None = None) -> npt.NDArray[Any]:
    """``lut[labels]``: the label of every label, of lut's dtype and labels' shape. No label is beyond the lut.

    >>> relabelled(np.array([[2, 0]], np.uint32), np.array([0, 5, 7], np.uint32)).tolist()
    [[7, 0]]
    """
    if labels.dtype not in (np.uint32, np.uint64) or lut.dtype not in (np.uint32, np.uint64):
        return np.asarray(lut[labels])
    out = np.empty(labels.shape, lut.dtype)
    _native.relabel(_flat(labels), np.ascontiguousarray(lut), out.reshape(-1), thread_count(threads))
    return out


def _flat(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.ascontiguousarray(labels).reshape(-1)
