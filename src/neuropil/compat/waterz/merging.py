"""The main functions of waterz: fragments, and segmentations at thresholds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.compat.waterz.functions import MEAN, Function, parse_function
from neuropil.compat.waterz.scores import metrics
from neuropil.errors import NeuropilError
from neuropil.geometry import NEAREST
from neuropil.segmentation import agglomerate as merge_all
from neuropil.segmentation import agglomerate_in_queue_order, basins, flood_sections, region_graph, start_with_largest
from neuropil.segmentation.fragments import Seeds
from neuropil.segmentation.merge_tree import MergeTree
from neuropil.volumes import LINEAR8, Volume, write_volume


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
        aff_threshold_low, aff_threshold_high: ``low`` and ``high`` of :func:`neuropil.segmentation.basins`.
        gt: labels [z, y, x], 0 = unlabelled: yield after each segmentation its scores, a dict of ``V_Rand_split``,
            ``V_Rand_merge``, ``V_Info_split`` and ``V_Info_merge``.
        return_merge_history: yield the merges since the previous threshold, too, a list of dicts ``a, b, c, score``.
        scoring_function: ``OneMinus<MeanAffinity<…>>``, ``MaxAffinity``, ``MinAffinity``, ``QuantileAffinity`` and
            ``HistogramQuantileAffinity`` with a percentage, or a short name: see ``parse_function``.
        discretize_queue: for a histogram quantile of at most this many bins, equal scores merge first in, first out, as
            in waterz's queue of bins. Otherwise without effect: scores are never rounded to the bins of a queue.
        force_rebuild: without effect: nothing is compiled.

    Yields:
        uint64 [z, y, x], a new array each time (waterz changes one array in place).

    Raises:
        NeuropilError: ``return_region_graph`` (use :func:`neuropil.region_graph`), an unknown scoring function, or as
            :func:`neuropil.agglomerate` and :func:`neuropil.segmentation.basins`.

    >>> affs = np.full((3, 1, 1, 3), 0.9, np.float32)
    >>> affs[2, 0, 0, 2] = 0.2
    >>> ids = np.array([[[1, 2, 3]]], np.uint64)
    >>> [segmentation.tolist() for segmentation in agglomerate(affs, [0.5, 0.9], fragments=ids)]
    [[[[1, 1, 2]]], [[[1, 1, 1]]]]
    """
    if return_region_graph:
        raise NeuropilError("return_region_graph is not supported: use neuropil.region_graph(affinities, fragments)")
    function, array = parse_function(scoring_function), decoded(affs)
    if fragments is None:
        fragments = basins(array, low=aff_threshold_low, high=aff_threshold_high)
    tree = _merged(array, fragments, function, discretize_queue)
    return _segmentations(tree, function, sorted(thresholds), gt, return_merge_history, fragments)


def watershed(
    affs: npt.NDArray[Any] | Volume, seed_method: Seeds = "maxima_distance", use_mahotas_watershed: bool = True
) -> npt.NDArray[np.uint64]:
    """Fragments [z, y, x], by a seeded watershed of each section on 1 − the mean of the y and x affinities.

    Args:
        affs: [3, z, y, x], as for :func:`agglomerate`.
        seed_method: ``maxima_distance``, ``minima`` or ``grid``; see :func:`neuropil.segmentation.flood_sections`.
        use_mahotas_watershed: True; the other watershed of waterz rounds affinities to 8 bits.

    Returns:
        ids as waterz numbers them: from 2, on a grid from 1.

    Raises:
        NeuropilError: as :func:`neuropil.segmentation.flood_sections`, or ``use_mahotas_watershed=False``.

    >>> affs = np.array([0.9, 0.9, 0.1, 0.9], np.float32) * np.ones((3, 1, 1, 1), np.float32)
    >>> watershed(affs, "minima").tolist()
    [[[2, 2, 2, 3]]]
    """
    if not use_mahotas_watershed:
        raise NeuropilError("use_mahotas_watershed=False is not supported: leave it at True")
    array = decoded(affs)
    values = array if array.dtype.kind == "f" else array / np.float32(255)
    boundary = 1 - 0.5 * (values[1] + values[2])
    return flood_sections(boundary, seed_method).astype(np.uint64) + np.uint64(seed_method != "grid")


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
        affs, thresholds, gt, fragments: as for :func:`agglomerate`.
        output_prefix: files are PREFIX + FUNCTION_0.30.hdf, and with ``gt`` a .json with the scores next to each.
        merge_function: a short name; see :func:`parse_function`.
        fragments_mask: [z, y, x], False for background.
        aff_threshold: low and high of the watershed.
        return_seg: whether to return the segmentations.
        custom_fragments: without fragments, take those of :func:`watershed` with ``maxima_distance``; when False,
            those of :func:`neuropil.segmentation.basins`.
        discretize_queue, force_rebuild: as for :func:`agglomerate`.

    Raises:
        NeuropilError: as :func:`agglomerate`.
    """
    array = decoded(affs)
    if fragments is None and custom_fragments:
        fragments = watershed(array, "maxima_distance")
    elif fragments is None:
        fragments = basins(array, low=aff_threshold[0], high=aff_threshold[1])
    if fragments_mask is not None:
        fragments = np.where(fragments_mask, fragments, 0)
    found = []
    results = agglomerate(
        *(array, thresholds, gt, fragments), scoring_function=merge_function, discretize_queue=discretize_queue
    )
    for threshold, result in zip(sorted(thresholds), results, strict=True):
        segmentation, scores = result if gt is not None else (result, None)
        if output_prefix is not None:
            _write(f"{output_prefix}{merge_function}_{threshold:.2f}", segmentation, scores)
        found.append(segmentation)
    return found if return_seg else None


def decoded(affs: npt.NDArray[Any] | Volume) -> npt.NDArray[Any]:
    """Affinities as a plain array [3, z, y, x]: a volume is decoded, and reduced to the default neighbourhood.

    Raises:
        NeuropilError: a volume whose offsets lack one of the default ones, or neither array nor volume.
    """
    if isinstance(affs, np.ndarray):
        return affs
    if not isinstance(affs, Volume):
        raise NeuropilError(f"expected affinities as an array or an opened volume, got {affs!r}; neuropil.open_volume")
    offsets, encoding = affs.metadata.offsets or NEAREST, affs.metadata.encoding
    if not set(NEAREST) <= set(offsets):
        raise NeuropilError(
            f"expected affinities to the voxels before, offsets {list(NEAREST)}, got {list(offsets)}, in {affs.path}; "
            "neuropil.segment takes others"
        )
    array = affs.read()
    array = array if offsets == NEAREST else array[[offsets.index(offset) for offset in NEAREST]]
    return array if encoding is None else encoding.decode(array)


def _merged(
    affs: npt.NDArray[Any], fragments: npt.NDArray[Any], function: Function, discretize_queue: int
) -> MergeTree:
    if function.score == "mean":
        return merge_all(_as_bytes(affs), fragments, "mean")
    if function.bins:
        affs = _bins(affs, function.bins)
    histograms = function.score.startswith("q") and not function.start_max
    graph = region_graph(affs, fragments, histograms=histograms, encoding=LINEAR8 if affs.dtype == np.uint8 else None)
    if function.start_max:
        graph = start_with_largest(graph)
    fifo = 0 < function.bins <= discretize_queue
    return agglomerate_in_queue_order(graph, function.score, "bins" if fifo else "heap")


def _as_bytes(affs: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """uint8, if floats are bytes / 255: then their means are exact, and the comparison with the threshold, too."""
    if affs.dtype.kind != "f" or not (affs.min(initial=0) >= 0 and affs.max(initial=0) <= 1):
        return affs
    codes = np.rint(affs * 255).astype(np.uint8)
    return codes if np.array_equal(codes / np.float32(255), affs.astype(np.float32)) else affs


def _bins(affs: npt.NDArray[Any], bins: int) -> npt.NDArray[np.uint8]:
    """The bin of each affinity, as waterz finds it."""
    values = np.asarray(affs, np.float32)
    if affs.dtype == np.uint8:
        values = values / np.float32(255)
    if not (values.min(initial=0) >= 0 and values.max(initial=0) <= 1):  # NaN is neither
        raise NeuropilError("expected affinities from 0 to 1 without NaN")
    return np.asarray(np.minimum(values * np.float32(bins), bins - 1), np.uint8)


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
            found.append(metrics(segmentation, gt))
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


def _write(name: str, segmentation: npt.NDArray[Any], scores: dict[str, float] | None) -> None:
    write_volume(f"{name}.hdf/main", segmentation)
    if scores is not None:
        Path(f"{name}.json").write_text(json.dumps(scores), encoding="utf-8")
