"""For people who come from waterz: its calls, with its names and its sense of thresholds.

waterz counts down: its score is 1 − affinity, and it merges while the score is below the threshold. Fragments follow
neuropil's rule for ties. A histogram quantile is computed as waterz does: faces fall into its bins, and each pair of
fragments begins with its largest face alone (``InitWithMax``, its default) and pools those. Between equal scores waterz
goes by the order of its heap and neuropil by the smaller key, so that a few merges may differ.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError
from neuropil.evaluation import evaluate as score_segmentation
from neuropil.evaluation.placing import without_borders
from neuropil.segmentation import agglomerate as merge_all
from neuropil.segmentation import region_graph, start_with_largest
from neuropil.segmentation import watershed as find_fragments
from neuropil.segmentation.agglomeration import agglomerate_graph
from neuropil.segmentation.merge_tree import MergeTree
from neuropil.segmentation.scores import Score
from neuropil.volumes import LINEAR8, Volume

MEAN = "OneMinus<MeanAffinity<RegionGraphType, ScoreValue>>"
"""waterz's own default."""


def agglomerate(
    affs: npt.NDArray[Any] | Volume,
    thresholds: Sequence[float],
    gt: npt.NDArray[Any] | None = None,
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
        affs: [3, z, y, x] of the default neighbourhood; floats in [0, 1], or uint8 that is linear, c / 255. A volume
            is read, and decoded by its ``encoding``.
        thresholds: merge while 1 − affinity is below; taken in ascending order, as waterz does.
        fragments: [z, y, x], instead of a watershed.
        aff_threshold_low, aff_threshold_high: ``low`` and ``high`` of :func:`neuropil.watershed`.
        gt: labels [z, y, x], 0 = unlabelled: yield the scores of each segmentation behind it, a dict of
            ``V_Rand_split``, ``V_Rand_merge``, ``V_Info_split`` and ``V_Info_merge``.
        return_merge_history: yield the merges, too, waterz's list of dicts ``a, b, c, score`` made since the threshold
            before.
        scoring_function: ``OneMinus<MeanAffinity<…>>``, ``MaxAffinity``, ``MinAffinity``, ``QuantileAffinity`` and
            ``HistogramQuantileAffinity`` with a percentage, or a short name: see :func:`parse_function`.
        discretize_queue, force_rebuild: there is nothing to approximate or to build; accepted and without effect.

    Yields:
        uint64 [z, y, x], a new array each time (waterz changes one array in place).

    Raises:
        NeuropilError: ``return_region_graph`` (use :func:`neuropil.region_graph`), a scoring function that is not here,
            or what :func:`neuropil.agglomerate` refuses.

    >>> affs = np.full((3, 1, 1, 3), 0.9, np.float32)
    >>> affs[2, 0, 0, 2] = 0.2
    >>> ids = np.array([[[1, 2, 3]]], np.uint64)
    >>> [segmentation.tolist() for segmentation in agglomerate(affs, [0.5, 0.9], fragments=ids)]
    [[[[1, 1, 2]]], [[[1, 1, 1]]]]
    """
    if return_region_graph:
        raise NeuropilError("return_region_graph is not taken here: use neuropil.region_graph(affinities, fragments)")
    function, array = parse_function(scoring_function), _decoded(affs)
    if fragments is None:
        fragments = find_fragments(array, low=aff_threshold_low, high=aff_threshold_high)
    tree = _merged(array, fragments, function)
    return _segmentations(tree, function, sorted(thresholds), gt, return_merge_history, fragments)


@dataclass(frozen=True)
class Function:
    """A scoring function of waterz."""

    score: str
    """neuropil's name of the score of a pair of regions."""
    bins: int = 0
    """Bins of its histograms; 0: faces count as they are."""
    start_max: bool = False
    """Whether a pair of fragments begins with its largest face alone."""
    kind: str = "OneMinus"
    """What is made of the affinity: OneMinus, Square (of that), or Invert."""

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
        """Lowest affinity of a merge tree that merges at a threshold; waterz stops at it, neuropil merges at its own.

        A bin counts as its middle there, (c + ½) / bins, and as c / 255 here.

        >>> Function("q50", 256).reached(0.5) * 255
        128.0
        """
        least = self.affinity(threshold)
        if not self.bins:
            return float(np.nextafter(least, 2))
        return float((np.floor(least * self.bins - 0.5) + 1) / 255) if np.isfinite(least) else 2.0


def parse_function(name: str) -> Function:
    """What a waterz scoring or merge function asks for.

    These are waterz's own types of C++, and the short names that people give them: PyTorch Connectomics' ``affmean``,
    ``aff85``, ``aff85_his256``; LSD's ``mean``, ``hist_quant_85``, ``hist_quant_85_initmax``.

    Raises:
        NeuropilError: one that there is not, or that blocks could not follow exactly.

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
"""Forms of names, and whether they begin with the largest face where they do not say."""
_NOT_HERE = {
    r"^max[0-9]+$": "pooling two pairs may raise the mean of the largest faces, so that no merge would be final",
    "MeanMaxK": "pooling two pairs may raise the mean of the largest faces, so that no merge would be final",
    "MinSize": "sizes change with every merge, far away, too; merge small segments with min_size",
    "MaxSize": "sizes change with every merge, far away, too; merge small segments with min_size",
    "ContactArea": "contact grows with every merge, so that no merge would be final",
    "Multiply": "a product of two scores need not fall when pairs are pooled",
    "Divide": "a quotient of two scores need not fall when pairs are pooled",
    "Random": "a random score is another one at every run",
    "Const": "a constant score merges all or nothing",
}
_PROVIDERS = {"HistogramQuantile": "HistogramQuantileAffinity", "VectorQuantile": "QuantileAffinity"}


def _spelt_out(found: re.Match[str]) -> str:
    """The short type that waterz defines for the statistics of a provider."""
    return f"{_PROVIDERS.get(found[1], found[1])}<{found[2]}>"


def _decoded(affs: npt.NDArray[Any] | Volume) -> npt.NDArray[Any]:
    """Affinities as an array that needs no encoding to be understood."""
    if not isinstance(affs, Volume):
        return affs
    array, encoding = affs.read(), affs.metadata.encoding
    return array if encoding is None else encoding.decode(array)


def _merged(affs: npt.NDArray[Any], fragments: npt.NDArray[Any], function: Function) -> MergeTree:
    if function.bins and affs.dtype != np.uint8:  # the bin of an affinity, as waterz finds it
        affs = (np.asarray(affs, np.float32) * np.float32(function.bins - 1)).astype(np.uint8)
    if not function.start_max:
        return merge_all(affs, fragments, function.score)
    graph = region_graph(affs, fragments, encoding=LINEAR8 if affs.dtype == np.uint8 else None)
    return agglomerate_graph(start_with_largest(graph), function.score)


def _segmentations(
    tree: MergeTree,
    function: Function,
    thresholds: list[float],
    gt: npt.NDArray[Any] | None,
    history: bool,
    labels: npt.NDArray[Any],
) -> Iterator[Any]:
    done = 0
    for threshold in thresholds:
        reached = function.reached(threshold)
        segmentation = tree.segment(labels, reached).astype(np.uint64)
        found: list[Any] = [segmentation]
        if gt is not None:
            found.append(_metrics(segmentation, gt))
        if history:
            count = int((tree.score >= reached).sum())
            found.append(_merges(tree, slice(done, count)))
            done = max(done, count)
        yield tuple(found) if len(found) > 1 else segmentation


def _merges(tree: MergeTree, made: slice) -> list[dict[str, float]]:
    names = tree.ids if len(tree.ids) else np.arange(1, tree.fragments + 1)
    return [
        {"a": int(names[a - 1]), "b": int(names[b - 1]), "c": int(names[a - 1]), "score": 1 - float(s)}
        for a, b, s in zip(tree.a[made], tree.b[made], tree.score[made], strict=True)
    ]


def _metrics(segmentation: npt.NDArray[Any], gt: npt.NDArray[Any]) -> dict[str, float]:
    scores = score_segmentation(segmentation, gt)
    return {
        "V_Rand_split": scores.snemi3d.recall,
        "V_Rand_merge": scores.snemi3d.precision,
        "V_Info_split": scores.voi_split,
        "V_Info_merge": scores.voi_merge,
    }


def evaluate(segmentation: npt.NDArray[Any], gt: npt.NDArray[Any]) -> dict[str, float]:
    """Scores of a segmentation [z, y, x] against labels, 0 = unlabelled: waterz's ``V_Rand_split`` and the like.

    >>> ids = np.array([[[1, 1, 2, 2]]])
    >>> evaluate(ids, ids)["V_Rand_split"]
    1.0
    """
    return _metrics(segmentation, gt)


def evaluate_total_volume(segmentation: npt.NDArray[Any], gt: npt.NDArray[Any]) -> dict[str, float]:
    """The same under the names ``voi_split``, ``voi_merge``, ``rand_split`` and ``rand_merge``."""
    told = _metrics(segmentation, gt)
    return {name.lower().replace("v_info", "voi").replace("v_rand", "rand"): value for name, value in told.items()}


def create_border_mask(
    input_data: npt.NDArray[Any], max_dist: float, background_label: int, axis: int = 0
) -> npt.NDArray[Any]:
    """Labels with ``background_label`` near borders, section by section; a copy.

    Args:
        input_data: labels, three axes.
        max_dist: largest distance in voxels from a voxel that differs from one of its four neighbours; below 0 is 0.
        background_label: what goes there.
        axis: sections lie across it.

    Raises:
        NeuropilError: labels that have not three axes.

    >>> create_border_mask(np.array([[[1, 1, 1, 2, 2, 2]]]), 1, 9).tolist()
    [[[1, 9, 9, 9, 9, 2]]]
    """
    if np.ndim(input_data) != 3:
        raise NeuropilError(f"expected labels of three axes, got shape {np.shape(input_data)}")
    sections = np.moveaxis(np.asarray(input_data), axis, 0)
    places = np.unique(sections, return_inverse=True)[1].reshape(sections.shape) + 1
    near = without_borders(places, max(max_dist, 0), (1, 1, 1)) == 0
    return np.moveaxis(np.where(near, background_label, sections).astype(sections.dtype), 0, axis)


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


def waterz(
    affs: npt.NDArray[Any] | Volume,
    thresholds: Sequence[float],
    output_prefix: str | None = None,
    merge_function: str = "aff50_his256",
    gt: npt.NDArray[Any] | None = None,
    fragments: npt.NDArray[Any] | None = None,
    fragments_mask: npt.NDArray[Any] | None = None,
    aff_threshold: Sequence[float] = (0.0001, 0.9999),
    return_seg: bool = True,
    custom_fragments: bool = True,
    discretize_queue: int = 256,
    force_rebuild: bool = False,
) -> list[npt.NDArray[np.uint64]] | None:
    """Segmentations at each threshold; with ``output_prefix`` also written, one HDF5 file each, array ``main``.

    Args:
        affs, thresholds, gt, fragments: as for :func:`agglomerate`. Without fragments, those of
            :func:`neuropil.watershed` are taken, where waterz finds seeds section by section.
        output_prefix: files are PREFIX + FUNCTION_0.30.hdf, and with ``gt`` a .json with the scores beside each.
        merge_function: a short name; see :func:`parse_function`.
        fragments_mask: [z, y, x], False where there is nothing.
        aff_threshold: low and high of the watershed.
        return_seg: whether the segmentations come back.
        custom_fragments, discretize_queue, force_rebuild: without effect; see ``fragments``.

    Raises:
        NeuropilError: as :func:`agglomerate`.
    """
    array = _decoded(affs)
    if fragments is None:
        fragments = find_fragments(array, low=aff_threshold[0], high=aff_threshold[1])
    if fragments_mask is not None:
        fragments = np.where(fragments_mask, fragments, 0)
    found = []
    results = agglomerate(array, thresholds, gt, fragments, scoring_function=merge_function)
    for threshold, result in zip(sorted(thresholds), results, strict=True):
        segmentation, scores = result if gt is not None else (result, None)
        if output_prefix is not None:
            _write(f"{output_prefix}{merge_function}_{threshold:.2f}", segmentation, scores)
        found.append(segmentation)
    return found if return_seg else None


def _write(name: str, segmentation: npt.NDArray[Any], scores: dict[str, float] | None) -> None:
    from neuropil.volumes import write_volume

    write_volume(f"{name}.hdf/main", segmentation)
    if scores is not None:
        Path(f"{name}.json").write_text(json.dumps(scores), encoding="utf-8")
