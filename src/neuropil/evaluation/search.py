"""Search for watershed levels, threshold and minimum size with the best score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from neuropil.choices import Metric
from neuropil.config import SegmentConfig
from neuropil.evaluation.placing import Readable
from neuropil.evaluation.scores import evaluate
from neuropil.evaluation.tuning import PLATEAU, Pair, Tuning, tune_pairs
from neuropil.geometry import Box
from neuropil.segmentation import Agglomeration, merge_tree

SEARCHED: Mapping[str, Sequence[float]] = {
    "high": (0.9999, 0.999, 0.99, 0.95),
    "low": (1e-4, 0.01, 0.05, 0.1),
    "min_size": (25, 100, 400, 1600),
}
"""Values that :func:`search` tries."""


def search(
    pairs: Sequence[Pair],
    settings: SegmentConfig | None = None,
    *,
    metric: Metric = "voi",
    tolerance: float = PLATEAU,
    box: Box | None = None,
    threads: int | None = None,
    values: Mapping[str, Sequence[float]] = SEARCHED,
) -> tuple[Tuning, list[Tuning]]:
    """Tune ``high``, ``low``, the threshold and ``min_size``, one after the other.

    For each value of ``high``, then of ``low``, every threshold is scored, and the best is kept; then each ``min_size``
    is tried at the threshold found. Of equal scores the earlier one is kept.

    Args:
        pairs, settings, metric, tolerance, box, threads: as for :func:`tune_pairs`.
        values: what to try for each of the three.

    Returns:
        The best, and everything that was tried, in order.

    Raises:
        NeuropilError: as :func:`tune_pairs`.

    >>> labels = np.repeat([[[1, 1, 2, 2]]], 4, axis=1)
    >>> affinities = np.where(np.arange(4) == 2, 0.1, 0.8) * np.ones((3, 1, 4, 4))
    >>> best, tried = search([(affinities, labels)], values={"high": [0.9, 0.99], "min_size": [10]})
    >>> len(tried), best.settings.min_size
    (4, 0)
    """
    best = tune_pairs(pairs, settings, metric=metric, tolerance=tolerance, box=box, threads=threads)
    tried = [best]
    for name in ("high", "low"):
        start = best.settings
        for value in values.get(name, ()):
            if value == getattr(start, name) or not _is_sound(start, name, value):
                continue
            other = start.model_copy(update={name: value})
            tried.append(tune_pairs(pairs, other, metric=metric, tolerance=tolerance, box=box, threads=threads))
        best = min(tried, key=lambda tuning: tuning.score)
    found = [(merge_tree(pair[0], best.settings, threads=threads), pair[1]) for pair in pairs]
    for size in values.get("min_size", ()):
        tried.append(_with_min_size(best, found, int(size), box))
    return min(tried, key=lambda tuning: tuning.score), tried


def _is_sound(settings: SegmentConfig, name: str, value: float) -> bool:
    return settings.low < value if name == "high" else value < settings.high


def _with_min_size(best: Tuning, found: Sequence[tuple[Agglomeration, Readable]], size: int, box: Box | None) -> Tuning:
    threshold = best.settings.threshold
    assert threshold is not None
    scores = [evaluate(one.placed(one.segment(threshold, size)), labels, box=box) for one, labels in found]
    score = float(np.mean([getattr(one, best.metric) for one in scores]))
    return replace(best, settings=best.settings.model_copy(update={"min_size": size}), score=score)
