"""The scores of waterz, of a whole volume or of its parts, and its border mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError
from neuropil.evaluation.placing import without_borders
from neuropil.evaluation.scores import Sums, variation_of_information
from neuropil.evaluation.table import Contingency, contingency


def evaluate(segmentation: npt.NDArray[Any], gt: npt.NDArray[Any]) -> dict[str, float]:
    """Scores of a segmentation [z, y, x] against labels: voxels with label 0 are left out, segment 0 is like any other.

    Returns:
        ``voi_split``, ``voi_merge`` in bits; ``rand_split`` (recall) and ``rand_merge`` (precision).

    Raises:
        NeuropilError: shapes that differ, ids that are no whole numbers from 0, or no voxel with a label.

    >>> ids = np.array([[[1, 1, 2, 2]]])
    >>> evaluate(ids, ids)["rand_split"]
    1.0
    """
    return compute_final_metrics(compute_statistics_for_volume_init(segmentation, gt))


def evaluate_total_volume(segmentation: npt.NDArray[Any], gt: npt.NDArray[Any]) -> dict[str, float]:
    """:func:`evaluate` under its name in PyTorch Connectomics' fork of waterz."""
    return evaluate(segmentation, gt)


def compute_statistics_for_volume_init(segmentation: npt.NDArray[Any], gt: npt.NDArray[Any]) -> Contingency:
    """The contingency table of the first part of a volume; :func:`compute_statistics_for_volume` adds more parts.

    >>> stats = compute_statistics_for_volume_init(np.array([[[1, 1]]]), np.array([[[1, 1]]]))
    >>> stats = compute_statistics_for_volume(stats, np.array([[[1, 2]]]), np.array([[[1, 1]]]))
    >>> round(compute_final_metrics(stats)["rand_split"], 3)
    0.625
    """
    return contingency(segmentation, gt)


def compute_statistics_for_volume(
    stats: Contingency, segmentation: npt.NDArray[Any], gt: npt.NDArray[Any]
) -> Contingency:
    """The contingency table with one more part added; equal ids are the same object in all parts."""
    return stats + contingency(segmentation, gt)


def compute_final_metrics(stats: Contingency) -> dict[str, float]:
    """The scores of a contingency table, as :func:`evaluate` returns them.

    Raises:
        NeuropilError: no voxel with a label.
    """
    sums = Sums.of(stats)
    if not sums.scored:
        raise NeuropilError(f"nothing to score: none of the {sums.voxels} voxels compared has a label above 0")
    split, merge = variation_of_information(stats)
    both = sums.pairs + sums.pairs_0
    return {
        "voi_split": split,
        "voi_merge": merge,
        "rand_split": both / sums.truths,
        "rand_merge": both / (sums.segments + sums.missed**2),
    }


def metrics(segmentation: npt.NDArray[Any], gt: npt.NDArray[Any]) -> dict[str, float]:
    """The scores of :func:`evaluate` under the names that ``agglomerate`` yields, such as ``V_Rand_split``."""
    told = evaluate(segmentation, gt)
    return {name.replace("voi", "V_Info").replace("rand", "V_Rand"): value for name, value in told.items()}


def create_border_mask(
    input_data: npt.NDArray[Any], max_dist: float, background_label: int, axis: int = 0
) -> npt.NDArray[Any]:
    """A copy of labels with ``background_label`` near borders, section by section.

    Args:
        input_data: labels with three axes.
        max_dist: largest distance in voxels from a voxel that differs from one of its four neighbours; below 0 is 0.
        background_label: the value near borders.
        axis: the axis perpendicular to sections.

    Raises:
        NeuropilError: labels without three axes.

    >>> create_border_mask(np.array([[[1, 1, 1, 2, 2, 2]]]), 1, 9).tolist()
    [[[1, 9, 9, 9, 9, 2]]]
    """
    if np.ndim(input_data) != 3:
        raise NeuropilError(f"expected labels of three axes, got shape {np.shape(input_data)}")
    sections = np.moveaxis(np.asarray(input_data), axis, 0)
    places = np.unique(sections, return_inverse=True)[1].reshape(sections.shape) + 1
    near = without_borders(places, max(max_dist, 0), (1, 1, 1)) == 0
    return np.moveaxis(np.where(near, background_label, sections).astype(sections.dtype), 0, axis)
