"""The contingency table of truth and segment ids, from which every score is computed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil import _native
from neuropil.errors import NeuropilError

Ids = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Contingency:
    """Voxel counts of all pairs (truth id, segment id) that occur, in ascending order of the pair.

    The sum of the tables of two blocks is the table of both: ``contingency(a, b) + contingency(c, d)``.
    """

    truth: Ids
    """Truth id of each pair, ``[pair]``."""
    segment: Ids
    """Segment id of each pair, ``[pair]``."""
    count: Ids
    """Voxels of each pair, ``[pair]``, at least 1."""

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.count)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Contingency) and all(
            np.array_equal(a, b)
            for a, b in zip(
                (self.truth, self.segment, self.count), (other.truth, other.segment, other.count), strict=True
            )
        )

    __hash__ = None  # type: ignore[assignment]  # it holds arrays

    def __add__(self, other: Contingency) -> Contingency:
        return total([self, other])

    @property
    def voxels(self) -> int:
        """Number of voxels counted."""
        return int(self.count.sum())

    def without_truth(self, *ids: int) -> Contingency:
        """The table without the voxels of these truth ids."""
        keep = ~np.isin(self.truth, np.array(ids, np.uint64))
        return Contingency(self.truth[keep], self.segment[keep], self.count[keep])

    def truth_sizes(self) -> tuple[Ids, Ids]:
        """Truth ids in ascending order and their numbers of voxels."""
        return sum_by(self.truth, self.count)

    def segment_sizes(self) -> tuple[Ids, Ids]:
        """Segment ids in ascending order and their numbers of voxels."""
        order = np.argsort(self.segment, kind="stable")
        return sum_by(self.segment[order], self.count[order])


EMPTY = Contingency(*(np.zeros(0, np.uint64) for _ in range(3)))


def contingency(segmentation: NDArray[Any], labels: NDArray[Any], threads: int | None = None) -> Contingency:
    """Count the voxels of every pair (truth id, segment id) in one parallel pass.

    Args:
        segmentation: integers of any width, byte order and memory layout, up to three axes; nothing is copied.
        labels: the same shape, integers of any kind.
        threads: how many to use; all available cores by default. The result does not depend on it.

    Raises:
        NeuropilError: shapes differ, more than three axes, floating-point or negative ids.

    >>> table = contingency(np.array([[1, 1, 2]]), np.array([[7, 7, 0]]))
    >>> table.truth.tolist(), table.segment.tolist(), table.count.tolist()
    ([0, 7], [2, 1], [1, 2])
    """
    segment, truth = np.asarray(segmentation), np.asarray(labels)
    if segment.shape != truth.shape:
        raise NeuropilError(
            f"segmentation and labels must have the same shape, got {segment.shape} and {truth.shape}; "
            "choose the part to compare with a box"
        )
    s, t = _raw(segment, "the segmentation"), _raw(truth, "the labels")
    # The order of the voxels does not matter, so walk along the axis that is closest together in memory.
    axes = sorted(range(3), key=lambda axis: abs(s.strides[axis]) + abs(t.strides[axis]), reverse=True)
    ids_t, ids_s, count = _native.contingency(t.transpose(axes), s.transpose(axes), threads or available_cores())
    native = segment.dtype.isnative and truth.dtype.isnative
    ids_t, ids_s = _cooked(ids_t, truth.dtype, "the labels"), _cooked(ids_s, segment.dtype, "the segmentation")
    return Contingency(ids_t, ids_s, count) if native else from_pairs(ids_t, ids_s, count)


def from_pairs(truth: Ids, segment: Ids, count: Ids) -> Contingency:
    """A table from pairs in any order; counts of equal pairs are added."""
    if not len(count):
        return EMPTY
    order = np.lexsort((segment, truth))
    truth, segment, count = truth[order], segment[order], count[order]
    first = np.flatnonzero(np.r_[True, (truth[1:] != truth[:-1]) | (segment[1:] != segment[:-1])])
    return Contingency(truth[first], segment[first], np.add.reduceat(count, first))


def total(tables: Iterable[Contingency]) -> Contingency:
    """The sum of tables: the contingency table of all their voxels."""
    parts = list(tables)
    if len(parts) == 1:
        return parts[0]
    columns = zip(*((part.truth, part.segment, part.count) for part in (EMPTY, *parts)), strict=True)
    return from_pairs(*(np.concatenate(column) for column in columns))


def sum_by(ids: Ids, count: Ids) -> tuple[Ids, Ids]:
    """Distinct ids of an ascending list, and the sum of the counts of each."""
    if not len(ids):
        return ids, count
    first = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])
    return ids[first], np.add.reduceat(count, first)


def sizes_of_pairs(table: Contingency) -> tuple[Ids, Ids]:
    """For each pair of a table, the voxels of its truth object and of its segment."""
    ids_t, t = table.truth_sizes()
    ids_s, s = table.segment_sizes()
    return t[np.searchsorted(ids_t, table.truth)], s[np.searchsorted(ids_s, table.segment)]


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _raw(array: NDArray[Any], what: str) -> NDArray[Any]:
    """The bits of an integer array as native unsigned integers ``[z, y, x]``, not copied.

    Equal ids have equal bits, so counting needs neither sign nor byte order; ``_cooked`` restores them pair by pair.
    """
    if array.dtype.kind not in "uib":
        raise NeuropilError(f"{what} must hold integer ids, got {array.dtype}; convert them, for example to uint32")
    if not 1 <= array.ndim <= 3:
        raise NeuropilError(f"{what} must have the axes [z, y, x], got the shape {array.shape}")
    if not array.flags.aligned or any(stride % array.itemsize for stride in array.strides):
        array = np.ascontiguousarray(array)  # fields of records
    view = array.view(f"=u{array.itemsize}")
    return view.reshape((1,) * (3 - view.ndim) + view.shape)


def _cooked(ids: Ids, dtype: np.dtype[Any], what: str) -> Ids:
    """Ids from their unsigned bits (see :func:`_raw`); refuses negative ones."""
    if not dtype.isnative:
        ids = ids.astype(f"=u{dtype.itemsize}").byteswap().astype(np.uint64)
    if dtype.kind == "i":
        bits = 8 * dtype.itemsize
        negative = ids[ids >= np.uint64(1 << (bits - 1))]
        if len(negative):
            lowest = int(negative.min()) - (1 << bits)
            raise NeuropilError(f"{what} must not be negative, got {lowest}; set what is to be ignored to 0")
    return ids
