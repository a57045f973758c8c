"""Detection scores: truth objects matched with segments by intersection over union."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.errors import NeuropilError
from neuropil.evaluation.table import Contingency, sizes_of_pairs

IOU = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))
"""The usual thresholds, 0.50 … 0.95."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Matching:
    """True positives at each threshold of intersection over union (IoU), and the numbers of objects and segments."""

    iou: tuple[float, ...]
    """Thresholds; a match has a larger IoU."""
    found: tuple[int, ...]
    """Truth objects with a matching segment (true positives), ``[threshold]``."""
    objects: int
    """Truth objects."""
    segments: int
    """Segments that touch them."""

    @property
    def _found(self) -> Floats:
        return np.array(self.found, np.float64)

    @property
    def precision(self) -> Floats:
        """Share of segments that match an object, ``[threshold]``; 1 where there are no segments."""
        return self._found / self.segments if self.segments else np.ones(len(self.iou))

    @property
    def recall(self) -> Floats:
        """Share of objects that match a segment, ``[threshold]``."""
        return self._found / self.objects

    @property
    def average_precision(self) -> Floats:
        """TP / (TP + FP + FN), ``[threshold]``: the "AP" of nucleus segmentation.

        Without confidences there is no precision-recall curve; this score is used in its place (2018 Data Science
        Bowl, doi:10.1038/s41592-019-0612-7).
        """
        return self._found / (self.segments + self.objects - self._found)

    @property
    def mean_average_precision(self) -> float:
        """Mean over the thresholds."""
        return float(self.average_precision.mean())

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and lists."""
        return {
            "iou": list(self.iou),
            "precision": self.precision.tolist(),
            "recall": self.recall.tolist(),
            "average_precision": self.average_precision.tolist(),
            "mean_average_precision": self.mean_average_precision,
        }


def match_objects(table: Contingency, iou: Sequence[float] = IOU) -> Matching:
    """Match truth objects with segments whose IoU with them is above each threshold.

    IoU = n_ij / (t_i + s_j - n_ij) over voxels with truth > 0; voxels of a segment outside the truth do not count.
    Thresholds of at least 0.5 make the match unique, so no assignment is needed.

    Raises:
        NeuropilError: a threshold outside [0.5, 1), or no truth object.

    >>> from neuropil.evaluation import contingency
    >>> table = contingency(np.array([[[5, 5, 5, 6, 6]]]), np.array([[[1, 1, 1, 1, 2]]]))
    >>> match_objects(table, [0.5, 0.75]).found
    (1, 0)
    """
    if not iou or min(iou) < 0.5 or max(iou) >= 1:
        raise NeuropilError(f"expected IoU thresholds from 0.5 to below 1, where a match is unique; got {list(iou)}")
    inside = table.without_truth(0)
    if not len(inside):
        raise NeuropilError(f"nothing to match: none of the {table.voxels} voxels compared has a label above 0")
    t, s = sizes_of_pairs(inside)
    real = inside.segment > 0
    both = inside.count[real].astype(np.float64)
    overlap = both / (t[real].astype(np.float64) + s[real].astype(np.float64) - both)
    return Matching(
        tuple(float(level) for level in iou),
        tuple(int((overlap > level).sum()) for level in iou),
        objects=len(np.unique(inside.truth)),
        segments=len(np.unique(inside.segment[real])),
    )
