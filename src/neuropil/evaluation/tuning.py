"""Choose the threshold with the best score on one or several labelled volumes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml
from numpy.typing import NDArray

from neuropil.choices import Metric
from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError
from neuropil.evaluation.curve import AVERAGED, ThresholdCurve, average, threshold_curve
from neuropil.evaluation.placing import Readable
from neuropil.geometry import Box
from neuropil.segmentation import merge_tree
from neuropil.volumes.atomic import expect_output, replacing, write_text
from neuropil.volumes.marks import FIRST_LINE, PICTURE, anything, begins_with

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Pair = tuple[Readable, Readable]
"""Affinities ``[edge, z, y, x]`` and the labels ``[z, y, x]`` to score them against."""

PLATEAU = 0.02
"""How much worse than the best (bits of VI, or adapted Rand error) a threshold may score; see :func:`tune`."""

ENOUGH = 10
"""Number of equal-sized neurons below which a single one dominates the score."""

_TITLES: dict[Metric, str] = {"voi": "VI in bits", "adapted_rand_error": "adapted Rand error"}

_ROWS = 1000
"""Approximate rows of ``curve.csv``; the curve itself has up to one step per merge."""


@dataclass(frozen=True)
class Tuning:
    """The result of tuning: the curve, its score, and the settings to segment with."""

    settings: SegmentConfig
    """For ``segment``, with the chosen threshold."""
    metric: Metric
    """The metric that was minimised."""
    score: float
    """The metric at the chosen threshold, mean over the volumes."""
    curve: ThresholdCurve
    volumes: int
    """Number of volumes that the scores are averaged over."""
    neurons: float = float("inf")
    """Effective number of equal-sized neurons: (sum of sizes)² / sum of squared sizes, added over the volumes."""

    def lines(self) -> list[str]:
        """Lines to print: the optimum and plateau of each metric, and a warning if there are too few neurons."""
        found = []
        for metric, title in _TITLES.items():
            threshold, score = self.curve.best(metric)
            low, high = self.curve.plateau(metric, PLATEAU)
            chosen = "; chosen by this" if metric == self.metric else ""
            found.append(
                f"lowest {title:<18}  {score:.4f} at threshold {threshold:.4f}; at most {PLATEAU} worse from {low:.4f} "
                f"to {high:.4f}{chosen}"
            )
        if self.neurons < ENOUGH:
            found.append(
                f"warning: these labels are worth {self.neurons:.1f} neurons of equal size, fewer than {ENOUGH}: one "
                "decides, and the threshold may not hold elsewhere; label a larger box"
            )
        return found

    def save(self, folder: str | Path) -> None:
        """Write ``curve.csv``, ``curve.png`` and ``segment.yaml`` (for ``neuropil segment --config``).

        Raises:
            NeuropilError: the folder cannot be written.
        """
        folder = Path(folder)
        self.expect(folder)
        with replacing(folder / "curve.csv", anything) as path:
            self._write_csv(path)
        with replacing(folder / "curve.png") as path:
            draw_curve(self.curve).savefig(path, format="png", dpi=150, metadata=PICTURE)
        write_text(folder / "segment.yaml", FIRST_LINE + self.to_yaml())

    @staticmethod
    def expect(folder: Path) -> None:
        """Refuse a folder that cannot be written, or in which files not made by neuropil would be replaced.

        Raises:
            NeuropilError: such a folder.
        """
        expect_output(folder / "curve.csv", begins_with("threshold,merges,adapted_rand_error,"))
        for name in ("curve.png", "segment.yaml"):
            expect_output(folder / name)

    def line(self) -> str:
        """Settings and score on one line."""
        s = self.settings
        return (
            f"high {s.high:<7g} low {s.low:<7g} min_size {s.min_size:<5} threshold {s.threshold:.4f}: "
            f"{self.metric} {self.score:.4f}"
        )

    def to_yaml(self) -> str:
        """A recipe of one section, ``segment``, with a header that says how it was chosen."""
        body = yaml.safe_dump({"segment": self.settings.model_dump()}, sort_keys=False)
        rand, voi = self.curve.best("adapted_rand_error"), self.curve.best("voi")
        header = [
            f"# Chosen by `neuropil tune` on {self.volumes} volume{'s'[: self.volumes > 1]}, in the middle of the best "
            f"thresholds: {self.metric} {self.score:.4f}.",
            f"# Lowest adapted Rand error {rand[1]:.4f} at threshold {rand[0]:.4f}; "
            f"lowest VI {voi[1]:.4f} bits at {voi[0]:.4f}.",
        ]
        return "\n".join([*header, body])

    def _write_csv(self, path: Path) -> None:
        curve = self.curve
        columns = (*AVERAGED, "voi")
        used = [] if self.settings.threshold is None else [self.settings.threshold]
        chosen = [curve.step(n) for n in (curve.best("adapted_rand_error")[0], curve.best("voi")[0], *used)]
        steps = np.unique([*curve.step(np.linspace(0, 1, _ROWS)).tolist(), *chosen])
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["threshold", "merges", *columns])
            for step in steps:
                scores = [f"{getattr(curve, name)[step]:.9g}" for name in columns]
                rows.writerow([repr(float(curve.thresholds[step])), int(curve.merges[step]), *scores])


def tune(
    affinities: Readable,
    labels: Readable,
    settings: SegmentConfig | None = None,
    *,
    metric: Metric = "voi",
    tolerance: float = PLATEAU,
    box: Box | None = None,
    threads: int | None = None,
) -> Tuning:
    """Segment affinities once, score every threshold against labels, and choose the best.

    The affinities are segmented whole, as ``segment`` does, and scored in ``box``, or where they overlap the labels.
    So segmenting the same affinities with the settings found gives the scores found.

    Args:
        affinities: ``[edge, z, y, x]`` as for :func:`neuropil.watershed`.
        labels: the truth, ``[z, y, x]``.
        settings: ``low``, ``high`` and ``score`` to use; the defaults if not given. ``min_size`` and ``fill``, which
            come after the threshold, are not used.
        metric: what to minimise: ``voi``, or ``adapted_rand_error``, which in small boxes may depend on one merge.
        tolerance: take the middle of all neighbouring thresholds that score at most this much worse than the best,
            since the threshold is for other data, and scores may rise steeply next to the optimum. 0: the optimum.
        box: which voxels of the image to compare.
        threads: how many to use; all available cores by default.

    Raises:
        NeuropilError: a method without a merge tree, or as ``watershed`` and ``evaluate``.

    >>> labels = np.repeat([[[1, 1, 2, 2]]], 4, axis=1)
    >>> affinities = np.where(np.arange(4) == 2, 0.1, 0.8) * np.ones((3, 1, 4, 4))
    >>> tuning = tune(affinities, labels)
    >>> round(tuning.settings.threshold, 3), tuning.score
    (0.275, 0.0)
    """
    return tune_pairs([(affinities, labels)], settings, metric=metric, tolerance=tolerance, box=box, threads=threads)


def tune_pairs(
    pairs: Sequence[Pair],
    settings: SegmentConfig | None = None,
    *,
    metric: Metric = "voi",
    tolerance: float = PLATEAU,
    box: Box | None = None,
    threads: int | None = None,
) -> Tuning:
    """:func:`tune` over several volumes: the threshold with the best mean score.

    Args:
        pairs: affinities and labels of each volume.
        settings, metric, tolerance, box, threads: as for :func:`tune`, for all volumes.

    Raises:
        NeuropilError: no pairs, or as :func:`tune`.
    """
    settings = settings or SegmentConfig()
    if settings.method != "agglomerate":
        raise NeuropilError(f'only the method "agglomerate" has a threshold to tune, got {settings.method!r}')
    return chosen([_curve(pair, settings, box, threads) for pair in pairs], settings, metric, tolerance)


def chosen(curves: Sequence[ThresholdCurve], settings: SegmentConfig, metric: Metric, tolerance: float) -> Tuning:
    """The best threshold on the average of some curves.

    Raises:
        NeuropilError: no curves.
    """
    curve = average(curves)
    threshold, score = curve.best(metric, tolerance)
    settled = settings.model_copy(update={"threshold": threshold, "min_size": settings.min_size or 0})
    return Tuning(settled, metric, score, curve, len(curves), sum(map(_neurons, curves)))


def _neurons(curve: ThresholdCurve) -> float:
    """Effective number of equal-sized neurons of a curve's truth; infinite if its sums are not known."""
    if curve.sums is None:
        return float("inf")
    sums = curve.sums.constant
    return sums.scored**2 / sums.truths if sums.truths else 0.0


def _curve(pair: Pair, settings: SegmentConfig, box: Box | None, threads: int | None) -> ThresholdCurve:
    found = merge_tree(pair[0], settings, threads=threads)
    return threshold_curve(found.tree, found.fragments, pair[1], box=box, threads=threads)


def draw_curve(curve: ThresholdCurve) -> Figure:
    """Adapted Rand error and VI against the threshold, with their optima.

    >>> ones = np.ones(2)
    >>> curve = ThresholdCurve(np.array([1.0, 0.5]), np.arange(2, dtype=np.uint64), ones, ones, ones, ones, ones)
    >>> len(draw_curve(curve).axes)
    2
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    rand = {
        "adapted Rand error": curve.adapted_rand_error,
        "1 − precision (merges)": 1 - curve.adapted_rand_precision,
        "1 − recall (splits)": 1 - curve.adapted_rand_recall,
    }
    voi = {"VI": curve.voi, "merge": curve.voi_merge, "split": curve.voi_split}
    _panel(left, curve, rand, curve.best("adapted_rand_error"))
    _panel(right, curve, voi, curve.best("voi"))
    left.set_title("adapted Rand (SNEMI3D)")
    right.set_title("variation of information, bits")
    return figure


def _panel(axes: Axes, curve: ThresholdCurve, lines: dict[str, NDArray[np.float64]], best: tuple[float, float]) -> None:
    thresholds = np.linspace(0, 1, 2001)
    steps = curve.step(thresholds)
    for (name, values), style in zip(lines.items(), ("-", "--", ":"), strict=True):
        axes.plot(thresholds, values[steps], style, label=name, color="black" if style == "-" else None)
    axes.plot(*best, "o", color="tab:red", label=f"best: {best[1]:.4f} at {best[0]:.4f}")
    axes.set(xlabel="threshold (merge while the affinity is at least this)", xlim=(0, 1), ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
