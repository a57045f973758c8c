"""Scores at every threshold of a merge tree, from one contingency table and one pass over the merges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from neuropil import _native
from neuropil.choices import Metric
from neuropil.errors import NeuropilError, in_file
from neuropil.evaluation.placing import Readable, place, table_of
from neuropil.evaluation.scores import Sums
from neuropil.evaluation.table import Contingency, Ids
from neuropil.geometry import Box

Curve = NDArray[np.float64]

AVERAGED = ("adapted_rand_error", "adapted_rand_precision", "adapted_rand_recall", "voi_split", "voi_merge")
"""The scores along a curve."""


class Tree(Protocol):
    """The attributes of ``segmentation.MergeTree`` that are used: merges of fragments or regions, best first."""

    @property
    def a(self) -> NDArray[Any]: ...
    @property
    def b(self) -> NDArray[Any]: ...
    @property
    def score(self) -> NDArray[np.float64]: ...
    @property
    def fragments(self) -> int: ...
    @property
    def ids(self) -> NDArray[np.uint64]: ...


@dataclass(frozen=True, eq=False)
class ThresholdCurve:
    """Scores as a function of the threshold. It is a step function: they change only at scores of merges.

    Step k is for thresholds in ``(thresholds[k + 1], thresholds[k]]``, the last step down to 0. At step 0 no fragments
    are merged, at the last step all that touch.
    """

    thresholds: Curve
    """The highest threshold of each step, descending, ``[step]``."""
    merges: Ids
    """Number of merges made down to each step (summed over the volumes of an average), ``[step]``."""
    adapted_rand_error: Curve
    """SNEMI3D variant, ``[step]``."""
    adapted_rand_precision: Curve
    adapted_rand_recall: Curve
    voi_split: Curve
    """Bits, ``[step]``."""
    voi_merge: Curve
    sums: ExactSums | None = None
    """The integers behind the adapted Rand error; None for an average of several volumes."""

    def __len__(self) -> int:
        """Number of steps."""
        return len(self.thresholds)

    @property
    def voi(self) -> Curve:
        """VI split + merge in bits, ``[step]``."""
        return self.voi_split + self.voi_merge

    def step(self, threshold: float | Curve) -> Any:
        """The step of a threshold, or of each of an array of thresholds."""
        return np.searchsorted(-self.thresholds[1:], -np.asarray(threshold, np.float64), side="right")

    def interval(self, step: int) -> tuple[float, float]:
        """(low, high): the thresholds above low, up to high, are on this step."""
        high = float(self.thresholds[step])
        low = float(self.thresholds[step + 1]) if step + 1 < len(self) else min(0.0, high)
        return low, high

    def plateau(self, metric: Metric, tolerance: float = 0.0) -> tuple[float, float]:
        """(low, high): the thresholds around the optimum whose score is worse by at most the tolerance.

        If several such intervals hold an optimum, the widest. Steps above 1 are ignored.

        Raises:
            NeuropilError: an unknown metric or a negative tolerance.

        >>> ones = np.ones(3)
        >>> steps = ThresholdCurve(np.array([1, 0.6, 0.2]), np.arange(3), ones, ones, ones, np.array([1, 0.1, 2]), ones)
        >>> steps.plateau("voi"), steps.plateau("voi", 0.9)
        ((0.2, 0.6), (0.2, 1.0))
        """
        if metric not in ("adapted_rand_error", "voi") or tolerance < 0:
            raise NeuropilError(
                f'expected "adapted_rand_error" or "voi" and a tolerance >= 0, got {metric!r} and {tolerance}'
            )
        values: Curve = getattr(self, metric)
        if self.thresholds[0] > 1 and len(self) > 1:
            values = np.concatenate([[np.inf], values[1:]])
        near = np.concatenate([[False], values <= values.min() + tolerance, [False]])
        edges = np.flatnonzero(near[1:] != near[:-1])  # starts and ends of runs of good steps, alternating
        runs = [(first, last) for first, last in edges.reshape(-1, 2) if values[first:last].min() == values.min()]
        return max(
            ((self.interval(last - 1)[0], self.interval(first)[1]) for first, last in runs),
            key=lambda interval: interval[1] - interval[0],
        )

    def best(self, metric: Metric = "adapted_rand_error", tolerance: float = 0.0) -> tuple[float, float]:
        """(threshold, score) where the metric is lowest.

        All thresholds of a step score the same. The result is the middle of the widest interval with the lowest score,
        since there small changes of the affinities matter least. A positive ``tolerance`` widens the interval to
        neighbouring steps that are worse by no more than that; the score is that at the threshold returned. Steps above
        1 are ignored, since thresholds are affinities.

        Raises:
            NeuropilError: an unknown metric or a negative tolerance.
        """
        low, high = self.plateau(metric, tolerance)
        middle = (low + high) / 2
        threshold = middle if low < middle <= high else high
        return threshold, float(getattr(self, metric)[self.step(threshold)])


@dataclass(frozen=True, eq=False)
class ExactSums:
    """The sums that change along a curve, as 128-bit integers in two columns ``[step, (high, low)]``."""

    pairs: Ids
    segments: Ids
    constant: Sums
    """The sums at step 0; those other than pairs and segments are the same at all steps."""

    def at(self, step: int) -> Sums:
        """The sums of ``Sums.of(contingency(tree.segment(fragments, threshold), labels))`` on a step, exactly."""
        pairs, segments = ((int(high) << 64) + int(low) for high, low in (self.pairs[step], self.segments[step]))
        return replace(self.constant, pairs=pairs, segments=segments)


def threshold_curve(
    tree: Tree, fragments: Readable, labels: Readable, *, box: Box | None = None, threads: int | None = None
) -> ThresholdCurve:
    """Score every threshold of a merge tree against labels.

    Args:
        tree: the merge tree that ``agglomerate`` returns.
        fragments: the fragments it was made from, ``[z, y, x]``, integers; 0 = background, which never merges. An
            array, a volume or a path.
        labels: truth ids ``[z, y, x]``, integers; voxels with 0 are not scored.
        box: which voxels of the image to compare, as for ``evaluate``.
        threads: how many to use for counting; all available cores by default.

    Raises:
        NeuropilError: as ``evaluate``.

    >>> from neuropil.segmentation import MergeTree
    >>> tree = MergeTree(np.array([1, 1]), np.array([2, 3]), np.array([0.9, 0.3]), fragments=3)
    >>> curve = threshold_curve(tree, np.array([[[1, 2, 3]]]), np.array([[[1, 1, 2]]]))
    >>> curve.best("adapted_rand_error"), curve.best("voi")
    ((0.6, 0.0), (0.6, 0.0))
    """
    placed = place(fragments, labels, box)
    with in_file(placed.labels.path):
        return curve_of(tree, table_of(placed, threads))


def curve_of(tree: Tree, table: Contingency) -> ThresholdCurve:
    """The curve from the contingency table of fragments and labels; the table may be a sum of tables of blocks.

    Raises:
        NeuropilError: no voxel with truth > 0, scores out of order, or fragments that the tree does not have.
    """
    constant = Sums.of(table)
    if constant.scored == 0:
        raise NeuropilError(f"nothing to score: none of the {table.voxels} voxels compared has a label above 0")
    score = np.ascontiguousarray(tree.score, np.float64)
    if np.any(score[1:] > score[:-1]):
        raise NeuropilError("expected the merges of a tree in descending order of score")
    inside = table.without_truth(0)
    merges, *columns = _walk(tree, inside, score)
    sums = ExactSums(np.stack(columns[0:2], axis=1), np.stack(columns[2:4], axis=1), constant)
    levels = score[merges[1:].astype(np.int64) - 1]
    return curve_of_sums(levels, merges, sums, (columns[4], columns[5]), inside.truth_sizes()[1])


def curve_of_sums(
    levels: Curve, merges: Ids, sums: ExactSums, logs: tuple[Curve, Curve], truth_sizes: Ids
) -> ThresholdCurve:
    """The curve from the sums on each of its steps.

    Args:
        levels: the scores at which steps begin, descending, ``[step - 1]``.
        merges: performed at each step, ``[step]``.
        sums: Σ n_ij² and Σ s_j² over segments j >= 1 at each step.
        logs: Σ n_ij log2 n_ij and Σ s_j log2 s_j over segments j >= 0 at each step.
        truth_sizes: voxels of each truth object.
    """
    top = max(1.0, float(np.nextafter(levels[0], np.inf))) if len(levels) else 1.0
    truth_log = fsum(_x_log_x(size) for size in truth_sizes.tolist())
    scored = sums.constant.scored
    return ThresholdCurve(
        np.concatenate([[top], levels]),
        merges,
        *_adapted_rand(sums),
        voi_split=np.maximum((truth_log - logs[0]) / scored, 0),
        voi_merge=np.maximum((logs[1] - logs[0]) / scored, 0),
        sums=sums,
    )


def merge_effects(tree: Tree, table: Contingency) -> tuple[Ids, Ids]:
    """(right, wrong) for each merge of a tree: voxel pairs it joins of the same neuron, and of different neurons.

    Args:
        tree: the merge tree that ``agglomerate`` returns.
        table: the contingency table of its fragments and labels; voxels with truth 0 are left out.

    >>> from neuropil.evaluation import contingency
    >>> from neuropil.segmentation import MergeTree
    >>> tree = MergeTree(np.array([1, 1]), np.array([2, 3]), np.array([0.9, 0.3]), fragments=3)
    >>> right, wrong = merge_effects(tree, contingency(np.array([[[1, 2, 3]]]), np.array([[[1, 1, 2]]])))
    >>> right.tolist(), wrong.tolist()
    ([1, 0], [0, 2])
    """
    # With a different score for each, every merge becomes a step of its own.
    alone = -np.arange(len(tree.a), dtype=np.float64)
    _, _, pairs, _, segments, _, _ = _walk(tree, table.without_truth(0), alone)
    # Each sum grows by twice the pairs joined. The low 64 bits are enough: no single merge joins 2^63 pairs.
    right, joined = np.diff(pairs) // np.uint64(2), np.diff(segments) // np.uint64(2)
    return right, joined - right


def _walk(tree: Tree, inside: Contingency, score: Curve) -> tuple[Any, ...]:
    """The columns that the kernel returns: merges, pairs (high, low), segments (high, low), pairs_log, segments_log."""
    a, b = (np.ascontiguousarray(ids, np.uint64) for ids in (tree.a, tree.b))
    truth = np.unique(inside.truth, return_inverse=True)[1]
    cells = (truth.astype(np.uint32), _nodes(tree, inside.segment), inside.count)
    return _native.threshold_curve(tree.fragments, cells, (a, b, score))


def average(curves: Sequence[ThresholdCurve]) -> ThresholdCurve:
    """The mean of the scores of several volumes at each threshold; all volumes have equal weight.

    The mean is a step function with the steps of all curves, so its optimum is exact.

    Raises:
        NeuropilError: no curves.
    """
    if not curves:
        raise NeuropilError("expected at least one curve to average")
    if len(curves) == 1:
        return curves[0]
    thresholds = np.unique(np.concatenate([curve.thresholds for curve in curves]))[::-1]
    steps = [curve.step(thresholds) for curve in curves]
    means = {
        name: np.mean([getattr(curve, name)[step] for curve, step in zip(curves, steps, strict=True)], axis=0)
        for name in AVERAGED
    }
    merges = np.stack([curve.merges[step] for curve, step in zip(curves, steps, strict=True)]).sum(axis=0)
    return ThresholdCurve(thresholds, merges, **means)


def _adapted_rand(sums: ExactSums) -> tuple[Curve, Curve, Curve]:
    """(error, precision, recall) of every step, as ``adapted_rand_snemi3d``."""
    pairs, segments = (column @ np.array([2.0**64, 1.0]) for column in (sums.pairs, sums.segments))
    trifle = sums.constant.missed / sums.constant.voxels
    truths = float(sums.constant.truths)
    error = (segments + truths - 2 * pairs - trifle) / (segments + trifle + truths)
    return error, (pairs + trifle) / (segments + trifle), (pairs + trifle) / truths


def _nodes(tree: Tree, fragments: Ids) -> Ids:
    """Fragments as the tree counts them: 0 = background, 1 … ``tree.fragments``."""
    if len(tree.ids):
        known = np.concatenate([np.zeros(1, np.uint64), tree.ids])
        nodes = np.searchsorted(known, fragments).astype(np.uint64)
        strange = known[np.minimum(nodes, np.uint64(len(known) - 1))] != fragments
    else:
        nodes, strange = fragments, fragments > tree.fragments
    if strange.any():
        raise NeuropilError(
            f"expected the {tree.fragments} fragments that the tree was made from, got an unknown one: "
            f"{fragments[strange][0]}"
        )
    return nodes


def _x_log_x(x: int) -> float:
    return x * float(np.log2(x))
