"""``connectomics.utils.evaluate``: scores under their classic names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError
from neuropil.evaluation import evaluate
from neuropil.evaluation.scores import variation_of_information
from neuropil.evaluation.table import Contingency, contingency, sizes_of_pairs

Array = npt.NDArray[Any]


def adapted_rand(seg: Array, gt: Array, all_stats: bool = False) -> Any:
    """Adapted Rand error of a segmentation against labels, 0 = unlabelled, as in SNEMI3D's script.

    Returns:
        The error; with ``all_stats`` also precision and recall.

    >>> ids = np.array([[[1, 1, 2, 2]]])
    >>> round(adapted_rand(ids, ids), 6)
    0.0
    """
    found = evaluate(seg, gt).snemi3d
    return (found.error, found.precision, found.recall) if all_stats else found.error


def voi(
    reconstruction: Array,
    groundtruth: Array,
    ignore_reconstruction: Sequence[int] = (),
    ignore_groundtruth: Sequence[int] = (0,),
) -> tuple[float, float]:
    """Variation of information in bits: split and merge part.

    Args:
        reconstruction, groundtruth: ids of the same shape.
        ignore_reconstruction, ignore_groundtruth: ids that are left out; 0 of the truth always is.

    Raises:
        NeuropilError: ``ignore_groundtruth`` without 0.
    """
    if 0 not in ignore_groundtruth:
        raise NeuropilError(f"voi: expected 0 in ignore_groundtruth, got {list(ignore_groundtruth)}")
    table = contingency(reconstruction, groundtruth).without_truth(*map(int, ignore_groundtruth))
    keep = ~np.isin(table.segment, np.array(ignore_reconstruction, np.uint64))
    return variation_of_information(Contingency(table.truth[keep], table.segment[keep], table.count[keep]))


class Matched(NamedTuple):
    """How objects match at one threshold."""

    criterion: str
    thresh: float
    fp: int
    tp: int
    fn: int
    precision: float
    recall: float
    accuracy: float
    f1: float
    n_true: int
    n_pred: int
    mean_true_score: float
    mean_matched_score: float
    panoptic_quality: float


def instance_matching(
    y_true: Array, y_pred: Array, thresh: Any = 0.5, criterion: str = "iou", report_matches: bool = False
) -> Any:
    """Objects of the truth and of a prediction matched by intersection over union, over all voxels, 0 = background.

    Args:
        y_true, y_pred: ids of the same shape.
        thresh: least intersection over union of a match, at least 0.5; several give a tuple of results.
        criterion: ``iou``.
        report_matches: False.

    Raises:
        NeuropilError: a threshold below 0.5, where matches are not unique; another criterion; ``report_matches``.

    >>> one, other = np.array([[1, 1, 2, 0]]), np.array([[1, 1, 0, 3]])
    >>> found = instance_matching(one, other)
    >>> found.tp, found.fp, found.fn, found.f1
    (1, 1, 1, 0.5)
    """
    if criterion != "iou" or report_matches:
        raise NeuropilError("instance_matching: expected criterion 'iou' and report_matches=False")
    table = contingency(y_pred, y_true)
    if not np.isscalar(thresh):
        return tuple(_matched(table, float(one)) for one in thresh)
    return _matched(table, float(thresh))  # type: ignore[arg-type]


def _matched(table: Contingency, thresh: float) -> Matched:
    if not 0.5 <= thresh <= 1:
        raise NeuropilError(f"instance_matching: expected thresh from 0.5 to 1, got {thresh}")
    truths, preds = int((np.unique(table.truth) > 0).sum()), int((np.unique(table.segment) > 0).sum())
    t, s = sizes_of_pairs(table)
    objects = (table.truth > 0) & (table.segment > 0)
    both = table.count.astype(np.float64)
    iou = (both / (t.astype(np.float64) + s - both))[objects]
    scores = iou[iou >= thresh]
    tp = len(scores)
    fp, fn = preds - tp, truths - tp
    return Matched(
        *("iou", thresh, fp, tp, fn),
        precision=_share(tp, tp + fp),
        recall=_share(tp, tp + fn),
        accuracy=_share(tp, tp + fp + fn),
        f1=_share(2 * tp, 2 * tp + fp + fn),
        n_true=truths,
        n_pred=preds,
        mean_true_score=_share(float(scores.sum()), truths),
        mean_matched_score=_share(float(scores.sum()), tp),
        panoptic_quality=_share(float(scores.sum()), tp + fp / 2 + fn / 2),
    )


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
