"""The functions of zwatershed, with its names, order of arguments and return values.

Fragments, edges, counts and segmentations equal those of zwatershed, id by id: they follow its plateau search
(:func:`neuropil.segmentation.basins`) and its counts of voxels (:func:`neuropil.segmentation.merge_in_order`) in one
thread. :func:`neuropil.watershed` and :func:`neuropil.segmentation.merge_by_size` use all cores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from neuropil.compat.waterz.merging import decoded
from neuropil.compat.waterz.scores import metrics
from neuropil.errors import NeuropilError, tell
from neuropil.segmentation import basin_graph, basins, merge_in_order, spanning_tree
from neuropil.volumes import Volume, write_volume

Float = npt.NDArray[np.float32]
Ids = npt.NDArray[np.uint64]


class Initial(TypedDict):
    """The result of :func:`zw_initial`."""

    rg: Float
    """Edges (id, id, largest affinity), [edges, 3], best first."""
    seg: Ids
    """Fragments [z, y, x], 0 = background."""
    counts: Ids
    """Voxels of each id, [ids + 1]; index 0 is the background."""


def zw_initial(affs: npt.NDArray[Any] | Volume, affs_low: float, affs_high: float) -> Initial:
    """Fragments and their region graph.

    Args:
        affs: [3, z, y, x]; floats in [0, 1], or uint8 that is linear, c / 255. A volume is decoded by its encoding.
        affs_low, affs_high: ``low`` and ``high`` of :func:`neuropil.segmentation.basins`.

    Raises:
        NeuropilError: as :func:`neuropil.segmentation.basins`.

    >>> found = zw_initial(np.full((3, 1, 1, 4), [[[0.9, 0.9, 0.1, 0.9]]], np.float32), 0.2, 0.95)
    >>> found["seg"].tolist(), found["counts"].tolist(), found["rg"].round(1).tolist()
    ([[[1, 1, 2, 2]]], [0, 2, 2], [[1.0, 2.0, 0.10000000149011612]])
    """
    array = decoded(affs)
    fragments = basins(array, low=float(affs_low), high=float(affs_high), scan="xyz")
    counts = np.bincount(fragments.ravel()).astype(np.uint64)
    return {"rg": basin_graph(array, fragments), "seg": fragments, "counts": counts}


def zw_merge_region(
    seg_init: npt.NDArray[Any],
    counts: npt.NDArray[Any],
    rg: npt.NDArray[Any],
    T_threshes: Sequence[int],
    T_aff_merge: float = 0.2,
    T_dust: int = 600,
    T_merge: float = 0.5,
    save_path: str | None = None,
) -> list[Ids] | None:
    """Segmentations [z, y, x], uint64, one for each threshold, in ascending order; each continues the one before.

    zwatershed itself returns after the first threshold; this function computes all of them.

    Args:
        seg_init, counts, rg: as :func:`zw_initial` returns them.
        T_threshes, T_aff_merge, T_dust: ``size``, ``weight`` and ``dust`` of
            :func:`neuropil.segmentation.merge_by_size`.
        T_merge: at the end of each threshold, join all touching regions with at least this affinity; 0: join none.
        save_path: write PATH_THRESHOLD.h5, array ``stack``, instead, and return None.

    Raises:
        NeuropilError: what :func:`neuropil.segmentation.merge_in_order` refuses, or edges that are not [edges, 3].
    """
    steps = _steps(seg_init, counts, rg, T_threshes, (T_aff_merge, T_dust, T_merge))
    if save_path is None:
        return [step.seg for step in steps]
    for threshold, step in zip(sorted(T_threshes), steps, strict=True):
        write_volume(f"{save_path}_{threshold}.h5/stack", step.seg)
    return None


def zwatershed(
    affs: npt.NDArray[Any] | Volume,
    T_threshes: Sequence[int] = (800,),
    T_aff: Sequence[float] = (0.01, 0.8, 0.2),
    T_aff_relative: bool = True,
    T_dust: int = 600,
    T_merge: float = 0.5,
    save_path: str | None = None,
) -> tuple[list[Ids], list[Float], list[Ids]] | None:
    """Segmentations, graphs and counts at each threshold, in ascending order.

    Args:
        affs: [3, z, y, x]; floats in [0, 1], or uint8 that is linear, c / 255. A volume is decoded by its encoding.
        T_threshes: a region with at least this many voxels is large.
        T_aff: low and high of the watershed, and the smallest affinity that may merge.
        T_aff_relative: whether T_aff are quantiles of all affinities, 0.01 the first percentile.
        T_dust: fewest voxels of a region that is kept.
        T_merge: see :func:`zw_merge_region`.
        save_path: write PATH_THRESHOLD.h5, array ``seg``, instead, and return None.

    Returns:
        segmentations, uint64 [z, y, x]; edges (id, id, affinity), float32 [edges, 3]; voxels of each id, uint64. With
        T_merge above 0, counts and edges are those before regions are joined, the edges as a spanning tree.

    Raises:
        NeuropilError: as :func:`neuropil.segmentation.basins` and
            :func:`neuropil.segmentation.merge_in_order`; T_aff that are not three.

    >>> affs = np.full((3, 1, 1, 4), [[[0.9, 0.9, 0.3, 0.9]]], np.float32)
    >>> segs, graphs, counts = zwatershed(affs, [1, 3], [0.4, 0.95, 0.2], T_aff_relative=False, T_dust=0)
    >>> [seg.tolist() for seg in segs]
    [[[[1, 1, 2, 2]]], [[[1, 1, 1, 1]]]]
    """
    array = decoded(affs)
    low, high, weight = _affinities(array, T_aff, T_aff_relative)
    first = zw_initial(array, low, high)
    steps = _steps(first["seg"], first["counts"], first["rg"], T_threshes, (weight, T_dust, T_merge))
    if save_path is None:
        return [step.seg for step in steps], [step.rg for step in steps], [step.counts for step in steps]
    for threshold, step in zip(sorted(T_threshes), steps, strict=True):
        write_volume(f"{save_path}_{threshold}.h5/seg", step.seg)
    return None


def zwatershed_and_stats(
    gt: npt.NDArray[Any],
    affs: npt.NDArray[Any] | Volume,
    threshes: Sequence[int],
    save_threshes: Sequence[int] | None = None,
    T_aff: Sequence[float] = (0.0001, 0.9999, 0.0),
    T_aff_relative: bool = False,
    T_dust: int = 10,
    T_merge: float = 0.0,
) -> tuple[list[Ids], dict[str, Any]]:
    """Segmentations at ``save_threshes`` (all when None), and scores at each of ``threshes``, in ascending order.

    In the first versions of zwatershed, which had this function, the size limit depended on the square of the affinity.
    Here it is the fixed limit of :func:`zwatershed`, and a note says so.

    Args:
        gt: labels [z, y, x], 0 = unlabelled.
        affs, T_aff, T_aff_relative, T_dust, T_merge: as for :func:`zwatershed`, by default as in the first versions.

    Returns:
        segmentations, and ``V_Rand_split``, ``V_Rand_merge``, ``V_Info_split``, ``V_Info_merge`` as lists (VI in bits),
        with ``V_Rand``, the largest harmonic mean of the first two.

    Raises:
        NeuropilError: as :func:`zwatershed`, or labels of another shape.
    """
    tell("zwatershed_and_stats: the size limit is the same at every affinity (in the first versions: size × affinity²)")
    found = zwatershed(affs, threshes, T_aff, T_aff_relative, T_dust, T_merge)
    assert found is not None
    scores = [metrics(seg, gt) for seg in found[0]]
    split, merge = [s["V_Rand_split"] for s in scores], [s["V_Rand_merge"] for s in scores]
    stats: dict[str, Any] = {
        "V_Rand": max((2 * s * m / (s + m) for s, m in zip(split, merge, strict=True) if s + m), default=0.0),
        "V_Rand_split": split,
        "V_Rand_merge": merge,
        "V_Info_split": [s["V_Info_split"] for s in scores],
        "V_Info_merge": [s["V_Info_merge"] for s in scores],
    }
    kept = threshes if save_threshes is None else save_threshes
    return [seg for threshold, seg in zip(sorted(threshes), found[0], strict=True) if threshold in kept], stats


def _affinities(affs: npt.NDArray[Any], wanted: Sequence[float], relative: bool) -> tuple[float, float, float]:
    """Low, high and merge as affinities."""
    if len(wanted) != 3:
        raise NeuropilError(f"expected three T_aff (low, high, merge), got {list(wanted)}")
    if not relative:
        low, high, merge = (float(value) for value in wanted)
        return low, high, merge
    if not all(0 <= share <= 1 for share in wanted):
        raise NeuropilError(f"expected relative T_aff from 0 to 1, got {list(wanted)}; or T_aff_relative=False")
    unit = 255 if affs.dtype == np.uint8 else 1
    low, high, merge = (float(value) / unit for value in np.percentile(affs, [100 * share for share in wanted]))
    return low, high, merge


@dataclass(frozen=True)
class _Step:
    """The state after one threshold."""

    seg: Ids
    rg: Float
    counts: Ids


def _steps(
    seg: npt.NDArray[Any],
    counts: npt.NDArray[Any],
    rg: npt.NDArray[Any],
    sizes: Sequence[int],
    limits: tuple[float, int, float],
) -> list[_Step]:
    step = _Step(np.asarray(seg, np.uint64), np.asarray(rg, np.float32), np.asarray(counts, np.uint64))
    if step.rg.ndim != 2 or step.rg.shape[1] != 3:
        raise NeuropilError(f"expected edges (id, id, affinity) [edges, 3], got shape {step.rg.shape}")
    found = []
    for size in sorted(sizes):
        step = _merged(step, size, *limits) if len(step.rg) else step
        found.append(step)
    return found


def _merged(step: _Step, size: int, weight: float, dust: int, merge: float) -> _Step:
    above = step.rg[step.rg[:, 2] > np.float32(weight)]
    lut, counts = merge_in_order(above[:, :2].astype(np.int64), step.counts, size=size, dust=dust)
    seg, edges = lut.astype(np.uint64)[step.seg], _between(step.rg, lut)
    if merge > 0:
        edges = spanning_tree(edges, len(counts))
        seg = _joined(edges[edges[:, 2] >= np.float32(merge)], len(counts))[seg]
    return _Step(seg, edges, counts)


def _joined(tree: Float, count: int) -> Ids:
    """For each id the root of its tree."""
    name = np.arange(count, dtype=np.uint64)
    parents = dict(zip(tree[:, 0].astype(int).tolist(), tree[:, 1].astype(int).tolist(), strict=True))
    for node in parents:
        top = node
        while top in parents:
            top = parents[top]
        name[node] = top
    return name


def _between(edges: Float, lut: npt.NDArray[Any]) -> Float:
    """The first edge of each pair of remaining regions, in order."""
    ends = np.sort(lut[edges[:, :2].astype(np.int64)], axis=1)
    left = (ends[:, 0] != ends[:, 1]) & (ends[:, 0] > 0)
    pairs, affinity = ends[left], edges[left, 2]
    first = np.sort(np.unique(pairs, axis=0, return_index=True)[1])
    return np.concatenate([pairs[first], affinity[first, None]], axis=1).astype(np.float32)
