"""``connectomics.utils.evaluate``: scores under their classic names."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from neuropil.evaluation import evaluate

Array = npt.NDArray[Any]


def adapted_rand(seg: Array, gt: Array, all_stats: bool = False) -> Any:
    """Adapted Rand error of a segmentation against labels, 0 = unlabelled, as SNEMI3D's script has it.

    Returns:
        The error; with ``all_stats`` also precision and recall.

    >>> import numpy as np
    >>> ids = np.array([[[1, 1, 2, 2]]])
    >>> round(adapted_rand(ids, ids), 6)
    0.0
    """
    found = evaluate(seg, gt).snemi3d
    return (found.error, found.precision, found.recall) if all_stats else found.error


def voi(reconstruction: Array, groundtruth: Array) -> tuple[float, float]:
    """Variation of information in bits: what is split, and what is merged; truth 0 is left out."""
    found = evaluate(reconstruction, groundtruth)
    return found.voi_split, found.voi_merge
