"""For people who come from waterz: its main call, with its names and its sense of thresholds.

waterz counts down: its score is 1 − affinity, and it merges while the score is below the threshold. Two things differ
on purpose. Fragments follow neuropil's rule for ties; and a histogram quantile is the exact quantile of all faces,
where waterz begins with the maximum (its ``InitWithMax``) and bins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.config import SegmentConfig
from neuropil.config.mistakes import changed
from neuropil.errors import NeuropilError
from neuropil.segmentation import merge_tree
from neuropil.segmentation.scores import Score

MEAN = "OneMinus<MeanAffinity<RegionGraphType, ScoreValue>>"
"""waterz's own default."""


def agglomerate(
    affs: npt.NDArray[Any],
    thresholds: Sequence[float],
    gt: None = None,
    fragments: npt.NDArray[Any] | None = None,
    aff_threshold_low: float = 0.0001,
    aff_threshold_high: float = 0.9999,
    return_merge_history: bool = False,
    return_region_graph: bool = False,
    scoring_function: str = MEAN,
    discretize_queue: int = 0,
    force_rebuild: bool = False,
) -> Iterator[Any]:
    """Segmentations at each threshold, as ``waterz.agglomerate`` yields them.

    Args:
        affs: [3, z, y, x] of the default neighbourhood; floats in [0, 1] or uint8.
        thresholds: merge while 1 − affinity is below; taken in ascending order, as waterz does.
        fragments: [z, y, x], instead of a watershed.
        aff_threshold_low, aff_threshold_high: ``low`` and ``high`` of :func:`neuropil.watershed`.
        return_merge_history: yield ``(segmentation, merges)``, merges as waterz's list of dicts ``a, b, c, score`` made
            since the threshold before.
        scoring_function: ``OneMinus<MeanAffinity<…>>``, ``MaxAffinity``, ``MinAffinity``, ``QuantileAffinity`` and
            ``HistogramQuantileAffinity`` with a percentage, or a short name: see :func:`score_of`.
        discretize_queue, force_rebuild: there is nothing to approximate or to build; accepted and without effect.

    Yields:
        uint64 [z, y, x], a new array each time (waterz changes one array in place).

    Raises:
        NeuropilError: ``gt`` or ``return_region_graph`` (use :func:`neuropil.evaluate` and
            :func:`neuropil.region_graph`), an unknown scoring function, or what :func:`neuropil.agglomerate` refuses.

    >>> affs = np.full((3, 1, 1, 3), 0.9, np.float32)
    >>> affs[2, 0, 0, 2] = 0.2
    >>> ids = np.array([[[1, 2, 3]]], np.uint64)
    >>> [segmentation.tolist() for segmentation in agglomerate(affs, [0.5, 0.9], fragments=ids)]
    [[[[1, 1, 2]]], [[[1, 1, 1]]]]
    """
    if gt is not None:
        raise NeuropilError("gt is not taken here: score segmentations with neuropil.evaluate(segmentation, labels)")
    if return_region_graph:
        raise NeuropilError("return_region_graph is not taken here: use neuropil.region_graph(affinities, fragments)")
    return _segmentations(
        affs, sorted(thresholds), fragments, (aff_threshold_low, aff_threshold_high), score_of(scoring_function),
        return_merge_history,
    )  # fmt: skip


def score_of(scoring_function: str) -> str:
    """neuropil's name of a waterz scoring or merge function.

    These are waterz's own types of C++, and the short names that people give them: PyTorch Connectomics' ``affmean``,
    ``aff85``, ``aff85_his256``; LSD's ``mean``, ``hist_quant_85``, ``hist_quant_85_initmax``.

    Raises:
        NeuropilError: one that there is not.

    >>> score_of("aff85_his256"), score_of("OneMinus<HistogramQuantileAffinity<RegionGraphType, 50, ScoreValue, 256>>")
    ('q85', 'q50')
    """
    text = re.sub(r"\s*([<>,])\s*", r"\1", str(scoring_function).strip())
    text = re.sub(r"EdgeStatisticValue<RegionGraphType,(\w+)Provider<([^<>]*)>>", _spelt_out, text)
    if text in ("affmean", "mean"):
        return "mean"
    if plain := re.fullmatch(r"OneMinus<(Mean|Max|Min)Affinity<RegionGraphType,ScoreValue>>", text):
        return plain[1].lower()
    for form in _QUANTILES:
        if quantile := re.fullmatch(form, text):
            Score.parse(f"q{quantile[1]}")
            return f"q{quantile[1]}"
    raise NeuropilError(
        f"the waterz scoring function {scoring_function!r} has no counterpart; there are OneMinus<…> of MeanAffinity, "
        "MaxAffinity, MinAffinity, QuantileAffinity, HistogramQuantileAffinity, and, short, affmean, affNN, "
        "affNN_hisB, mean, hist_quant_NN, hist_quant_NN_initmax"
    )


_QUANTILES = (
    r"aff([0-9]+)(?:_his[0-9]+)?",
    r"hist_quant_([0-9]+)(?:_initmax)?",
    r"OneMinus<HistogramQuantileAffinity<RegionGraphType,([0-9]+),ScoreValue,[0-9]+(?:,true|,false)?>>",
    r"OneMinus<QuantileAffinity<RegionGraphType,([0-9]+),ScoreValue(?:,true|,false)?>>",
)
_PROVIDERS = {"HistogramQuantile": "HistogramQuantileAffinity", "VectorQuantile": "QuantileAffinity"}


def _spelt_out(found: re.Match[str]) -> str:
    """The short type that waterz defines for the statistics of a provider."""
    return f"{_PROVIDERS.get(found[1], found[1])}<{found[2]}>"


def _segmentations(
    affs: npt.NDArray[Any],
    thresholds: list[float],
    fragments: npt.NDArray[Any] | None,
    low_high: tuple[float, float],
    score: str,
    history: bool,
) -> Iterator[Any]:
    low, high = low_high
    settings = changed(SegmentConfig(), {"low": low, "high": high, "score": score}, "waterz.agglomerate")
    found = merge_tree(affs, settings, fragments=fragments)
    tree, done = found.tree, 0
    for threshold in thresholds:
        reached = float(np.nextafter(1 - threshold, 2))  # waterz stops at its threshold, neuropil merges at its own
        segmentation = found.segment(reached).astype(np.uint64)
        if not history:
            yield segmentation
            continue
        count = int((tree.score >= reached).sum())
        made = slice(done, count)
        names = tree.ids if len(tree.ids) else np.arange(1, tree.fragments + 1)
        merges = [
            {"a": int(names[a - 1]), "b": int(names[b - 1]), "c": int(names[a - 1]), "score": 1 - float(s)}
            for a, b, s in zip(tree.a[made], tree.b[made], tree.score[made], strict=True)
        ]
        done = max(done, count)
        yield segmentation, merges
