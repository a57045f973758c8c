"""Scoring functions of waterz: parse their C++ types and short names."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from neuropil.errors import NeuropilError
from neuropil.segmentation.scores import Score

MEAN = "OneMinus<MeanAffinity<RegionGraphType, ScoreValue>>"
"""waterz's own default."""


@dataclass(frozen=True)
class Function:
    """A scoring function of waterz."""

    score: str
    """neuropil's name of the score of a pair of regions."""
    bins: int = 0
    """Bins of its histograms; 0: affinities are not binned."""
    start_max: bool = False
    """Whether a pair of fragments begins with its largest face alone."""
    kind: str = "OneMinus"
    """How the affinity becomes waterz's score: OneMinus, Square (of that), or Invert."""

    def affinity(self, threshold: float) -> float:
        """The affinity above which regions merge at a threshold.

        >>> round(Function("mean", kind="Square").affinity(0.25), 4), Function("mean", kind="Invert").affinity(2.0)
        (0.5, 0.5)
        """
        if self.kind == "Invert":
            return 1 / threshold if threshold > 0 else np.inf
        if self.kind == "Square":
            return 1 - max(threshold, 0) ** 0.5 if threshold > 0 else 1.0
        return 1 - threshold

    def reached(self, threshold: float) -> float:
        """Lowest affinity in a merge tree that merges at a threshold; at the threshold itself waterz does not merge.

        Bin c has the value (c + ½) / bins in waterz, and c / 255 in our merge tree.

        >>> Function("q50", 256).reached(0.5) * 255
        128.0
        """
        least = self.affinity(threshold)
        if not self.bins:
            return float(np.nextafter(np.float32(least), np.float32(2)))  # waterz compares float32
        return float((np.floor(least * self.bins - 0.5) + 1) / 255) if np.isfinite(least) else 2.0


def parse_function(name: str) -> Function:
    """Parse the name of a waterz scoring or merge function.

    Names are waterz's C++ types, and the short names of PyTorch Connectomics (``affmean``, ``aff85``,
    ``aff85_his256``) and LSD (``mean``, ``hist_quant_85``, ``hist_quant_85_initmax``).

    Raises:
        NeuropilError: an unknown function, or one that cannot be computed exactly by blocks.

    >>> parse_function("aff85_his256")
    Function(score='q85', bins=256, start_max=True, kind='OneMinus')
    >>> parse_function("OneMinus<MeanAffinity<RegionGraphType, ScoreValue>>").score
    'mean'
    """
    text = re.sub(r"\s*([<>,])\s*", r"\1", str(name).strip())
    text = re.sub(r"EdgeStatisticValue<RegionGraphType,(\w+)Provider<([^<>]*)>>", _spelt_out, text)
    if text in ("affmean", "mean"):
        return Function("mean")
    kind, inner, forms = "OneMinus", text, _SHORT
    if wrapped := re.fullmatch(r"(OneMinus|Invert|Square<OneMinus)<(.*?>)>>?", text):
        kind, inner, forms = wrapped[1].partition("<")[0], wrapped[2], _TYPES
        if plain := re.fullmatch(r"(Mean|Max|Min)Affinity<RegionGraphType,ScoreValue>", inner):
            return Function(plain[1].lower(), kind=kind)
    for form, default in forms:
        if quantile := re.fullmatch(form, inner, re.ASCII):
            told = quantile.groupdict()
            Score.parse(f"q{told['percent']}")
            bins = int(told.get("bins") or 0)
            if bins > 256:
                raise NeuropilError(f"{name!r}: expected at most 256 bins, got {bins}")
            start = told.get("start") or default
            return Function(f"q{told['percent']}", bins, start in ("true", "_initmax"), kind)
    why = next((why for other, why in _NOT_HERE.items() if re.search(other, text)), "it is unknown")
    raise NeuropilError(
        f"the waterz scoring function {name!r} has no counterpart: {why}; there are OneMinus<…>, Square<OneMinus<…>> "
        "and Invert<…> of MeanAffinity, MaxAffinity, MinAffinity, QuantileAffinity, HistogramQuantileAffinity, and, "
        "short, affmean, affNN, affNN_hisB, mean, hist_quant_NN, hist_quant_NN_initmax"
    )


_SHORT = (
    (r"aff(?P<percent>[0-9]+)(?:_his(?P<bins>[0-9]+))?", "true"),
    (r"hist_quant_(?P<percent>[0-9]+)(?P<start>_initmax)?", "false"),
)
_TYPES = (
    (
        r"HistogramQuantileAffinity<RegionGraphType,(?P<percent>[0-9]+),ScoreValue,(?P<bins>[0-9]+)"
        r"(?:,(?P<start>true|false))?>",
        "true",
    ),
    (r"QuantileAffinity<RegionGraphType,(?P<percent>[0-9]+),ScoreValue(?:,(?P<start>true|false))?>", "true"),
)
"""Patterns of names, and their default for beginning with the largest face."""
_NOT_HERE = {
    r"^max[0-9]+$": "pooling two pairs may raise the mean of the largest faces, so that no merge would be final",
    "MeanMaxK": "pooling two pairs may raise the mean of the largest faces, so that no merge would be final",
    "MinSize": "sizes change with every merge, even far away; merge small segments with min_size",
    "MaxSize": "sizes change with every merge, even far away; merge small segments with min_size",
    "ContactArea": "contact grows with every merge, so that no merge would be final",
    "Multiply": "a product of two scores need not fall when pairs are pooled",
    "Divide": "a quotient of two scores need not fall when pairs are pooled",
    "Random": "a random score differs from run to run",
    "Const": "a constant score merges all or nothing",
}
_PROVIDERS = {"HistogramQuantile": "HistogramQuantileAffinity", "VectorQuantile": "QuantileAffinity"}


def _spelt_out(found: re.Match[str]) -> str:
    """The short type that waterz defines for the statistics of a provider."""
    return f"{_PROVIDERS.get(found[1], found[1])}<{found[2]}>"


def getScoreFunc(name: str) -> str:
    """The C++ type of a short name.

    >>> getScoreFunc("aff50_his256")
    'OneMinus<HistogramQuantileAffinity<RegionGraphType, 50, ScoreValue, 256>>'
    """
    parts = {part[:3]: part[3:] for part in name.split("_")}
    if parts.get("aff") == "mean":
        return MEAN
    if parts.get("his", "0") != "0" and "aff" in parts:
        return f"OneMinus<HistogramQuantileAffinity<RegionGraphType, {parts['aff']}, ScoreValue, {parts['his']}>>"
    if "aff" in parts:
        return f"OneMinus<QuantileAffinity<RegionGraphType, {parts['aff']}, ScoreValue>>"
    if "max" in parts:
        return f"OneMinus<MeanMaxKAffinity<RegionGraphType, {parts['max']}, ScoreValue>>"
    raise NeuropilError(f"expected a short name such as aff50_his256, aff75 or affmean, got {name!r}")
