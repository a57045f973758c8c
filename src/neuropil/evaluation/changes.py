"""How each merge changes the sums of a threshold curve, so that parts of a merge tree can be scored one by one.

What a merge adds to each sum depends only on the two regions that it joins. So the merges of a volume may be scored in
parts and in any order in which a region's own merges come before it merges with others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from neuropil import _native
from neuropil.errors import NeuropilError
from neuropil.evaluation.curve import Curve, ExactSums, ThresholdCurve, curve_of_sums
from neuropil.evaluation.scores import Sums
from neuropil.evaluation.table import Contingency, Ids

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


@dataclass(frozen=True, eq=False)
class Changes:
    """How the sums change at each score, best first. Score infinity has the sums before any merge."""

    score: Curve
    """Scores of merges, each once, descending, ``[step]``."""
    merges: Ids
    """Merges of that score, ``[step]``."""
    pairs: Ids
    """By how much Σ n_ij² grows, 128 bits as ``[step, (high, low)]``; over segments j >= 1."""
    segments: Ids
    """By how much Σ s_j² grows, likewise."""
    pairs_log: Curve
    """By how much Σ n_ij log2 n_ij grows, ``[step]``."""
    segments_log: Curve

    def __len__(self) -> int:
        return len(self.score)

    @classmethod
    def of(cls, table: Contingency, a: Ids, b: Ids, score: Curve, *, first: bool) -> Changes:
        """The changes by merges of segments; each merge comes after those that made its two segments.

        Args:
            table: voxels of truth and segment, all ids above 0, before the merges. Segments not in it have no scored
                voxels.
            a, b: segments of each merge; the result may have either name later.
            score: affinity of each merge, in any order; infinity: a and b are pieces of one segment.
            first: include the sums before any merge.

        >>> two = np.array([1, 2], np.uint64)
        >>> found = Changes.of(Contingency(two, two, two), two[:1], two[1:], np.array([0.5]), first=True)
        >>> found.score.tolist(), found.pairs[:, 1].tolist(), found.segments[:, 1].tolist()
        ([inf, 0.5], [5, 0], [5, 4])
        """
        names, at = np.unique(np.concatenate([table.segment, a, b]), return_inverse=True)
        nodes = at.astype(np.uint64) + np.uint64(1)
        of_cells, of_a, of_b = np.split(nodes, [len(table), len(table) + len(a)])
        truth = np.unique(table.truth, return_inverse=True)[1]
        cells = (truth.astype(np.uint32), of_cells, table.count)
        # With a different score for each, every merge becomes a step of its own.
        alone = -np.arange(len(a), dtype=np.float64)
        _, *columns = _native.threshold_curve(len(names), cells, (of_a, of_b, alone))
        begin = 0 if first else 1
        pairs, segments = (_differences(np.stack(columns[i : i + 2], axis=1))[begin:] for i in (0, 2))
        every = cls(
            np.concatenate([[np.inf], score])[begin:],
            np.concatenate([[False], np.isfinite(score)])[begin:].astype(np.uint64),
            pairs,
            segments,
            np.diff(columns[4], prepend=0.0)[begin:],
            np.diff(columns[5], prepend=0.0)[begin:],
        )
        return cls.total([every])

    @classmethod
    def total(cls, parts: Iterable[Changes]) -> Changes:
        """The sum of the changes of several parts."""
        lists = list(parts)
        columns = [np.concatenate([getattr(part, field.name) for part in lists]) for field in fields(cls)]
        order = np.argsort(-columns[0], kind="stable")
        score, merges, pairs, segments, *logs = (column[order] for column in columns)
        first = np.flatnonzero(np.concatenate([[True], score[1:] != score[:-1]])[: len(score)])
        if not len(first):
            return lists[0]
        merges, pairs_log, segments_log = (np.add.reduceat(column, first) for column in (merges, *logs))
        return cls(score[first], merges, _sums(pairs, first), _sums(segments, first), pairs_log, segments_log)

    def curve(self, background: Ids, truth_sizes: Ids, voxels: int) -> ThresholdCurve:
        """The threshold curve; ``self`` must be the changes of the whole volume.

        Args:
            background: voxels of each truth object outside all segments; objects without such voxels may be left out.
            truth_sizes: voxels of each truth object.
            voxels: number of voxels compared, including those with truth 0.

        Raises:
            NeuropilError: nothing to score.
        """
        if not len(truth_sizes):
            raise NeuropilError(f"nothing to score: none of the {voxels} voxels compared has a label above 0")
        pairs, segments = _running(self.pairs), _running(self.segments)
        missed, alone = background.tolist(), truth_sizes.tolist()
        constant = Sums(
            voxels=voxels, scored=sum(alone), missed=sum(missed), pairs=_integer(pairs[0]),
            segments=_integer(segments[0]), truths=sum(t * t for t in alone), pairs_0=sum(m * m for m in missed),
        )  # fmt: skip
        logs = (
            self._log(self.pairs_log, background.astype(np.float64)),
            self._log(self.segments_log, np.array([float(sum(missed))])),
        )
        merges = np.cumsum(self.merges, dtype=np.uint64)
        return curve_of_sums(self.score[1:], merges, ExactSums(pairs, segments, constant), logs, truth_sizes)

    @staticmethod
    def _log(column: Curve, background: Curve) -> Curve:
        """A sum of logarithms at each step; added as long double, so that rounding does not grow with the steps."""
        above = background[background > 0]
        start = np.sum((above * np.log2(above)).astype(np.longdouble))
        found: Curve = (np.cumsum(column, dtype=np.longdouble) + start).astype(np.float64)
        return found


def _differences(running: Ids) -> Ids:
    """Differences of ascending 128-bit numbers, the first from 0."""
    before = np.concatenate([np.zeros((1, 2), np.uint64), running[:-1]])
    low = running[:, 1] - before[:, 1]
    high = running[:, 0] - before[:, 0] - (running[:, 1] < before[:, 1]).astype(np.uint64)
    return np.stack([high, low], axis=1)


def _sums(column: Ids, first: NDArray[np.intp]) -> Ids:
    """128-bit sums of the groups that begin at ``first``."""
    low = column[:, 1]
    return _carried(*(np.add.reduceat(part, first) for part in (column[:, 0], low >> _HALF, low & _LOW)))


def _running(column: Ids) -> Ids:
    """128-bit cumulative sums."""
    low = column[:, 1]
    return _carried(*(np.cumsum(part, dtype=np.uint64) for part in (column[:, 0], low >> _HALF, low & _LOW)))


def _carried(high: Ids, middle: Ids, low: Ids) -> Ids:
    """(high, low) of numbers in parts of 64, 32 and 32 bits; carries what the lower two have beyond 32 bits."""
    middle = middle + (low >> _HALF)
    return np.stack([high + (middle >> _HALF), (middle << _HALF) | (low & _LOW)], axis=1)


def _integer(number: Ids) -> int:
    return (int(number[0]) << 64) + int(number[1])
