"""Scores of a segmentation against labels: adapted Rand, variation of information, Rand index, CREMI score.

All are computed from one contingency table, with sums in exact integers. Notation: n_ij voxels with truth i and segment
j, t_i = Σ_j n_ij, s_j = Σ_i n_ij; truth 0 is left out everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.errors import NeuropilError, in_file
from neuropil.evaluation.components import with_connected_parts
from neuropil.evaluation.matching import Matching, match_objects
from neuropil.evaluation.placing import Placed, Readable, place, table_of, without_borders
from neuropil.evaluation.run_length import RunLength
from neuropil.evaluation.table import Contingency, sizes_of_pairs
from neuropil.geometry import Box, VoxelSize


@dataclass(frozen=True)
class AdaptedRand:
    """One variant of the adapted Rand error: 1 - 2·precision·recall / (precision + recall)."""

    error: float
    """0 is perfect, 1 the worst."""
    precision: float
    """Low when segments join truth objects (merges)."""
    recall: float
    """Low when truth objects are divided (splits)."""


@dataclass(frozen=True)
class Scores:
    """All scores of one segmentation. ``to_json()`` gives them under the names used in files."""

    snemi3d: AdaptedRand
    """Adapted Rand as in the script of the SNEMI3D challenge, the main score. See ``adapted_rand_snemi3d``."""
    cremi: AdaptedRand
    """The same formula without voxels near truth borders, as CREMI does; equals ``snemi3d`` if no border is given."""
    scikit_image: AdaptedRand
    """As ``skimage.metrics.adapted_rand_error``, with precision and recall not swapped."""
    rand_index: float
    """Share of voxel pairs on which segmentation and truth agree (together or apart)."""
    voi_split: float
    """H(segments | truth) in bits: 0 when no object is split."""
    voi_merge: float
    """H(truth | segments) in bits: 0 when no segment joins objects."""
    cremi_score: float
    """sqrt(VI · adapted Rand error), both in the CREMI variant."""
    matching: Matching
    """Detection scores at IoU 0.5 … 0.95."""
    voxels: int
    """Voxels compared."""
    scored: int
    """Voxels with truth > 0; only these are scored."""
    objects: int
    """Truth objects."""
    segments: int
    """Segments (> 0) that overlap truth objects."""
    box: str = ""
    """Box of the image that was compared, ``Z0:Z1,Y0:Y1,X0:X1``; empty for scores of a table."""
    border: float = 0.0
    """Width in nm of the truth borders left out of ``cremi`` and ``cremi_score``."""
    run_length: RunLength | None = None
    """Expected run length if it was measured, see ``evaluation.run_length``."""

    @property
    def adapted_rand_error(self) -> float:
        return self.snemi3d.error

    @property
    def adapted_rand_precision(self) -> float:
        return self.snemi3d.precision

    @property
    def adapted_rand_recall(self) -> float:
        return self.snemi3d.recall

    @property
    def voi(self) -> float:
        """Variation of information, split + merge, in bits."""
        return self.voi_split + self.voi_merge

    def __str__(self) -> str:
        """The table that ``neuropil evaluate`` prints.

        >>> print(evaluate(np.array([[[1, 2]]]), np.array([[[1, 1]]])))
        scored              2 of 2 voxels, 0:1,0:1,0:2
        adapted Rand error  0.3333   precision 1.0000  recall 0.5000
          CREMI variant     0.3333   scikit-image variant 1.0000
        VI in bits          1.0000   split 1.0000  merge 0.0000
        Rand index          0.000000   CREMI score 0.5774
        objects             1 in the truth, 2 segments on them
        """
        run = self.run_length
        length = "" if run is None else f"{run.erl:.0f} nm of {run.truth:.0f} expected (NERL {run.nerl:.4f})"
        lines = [
            f"scored              {self.scored:,} of {self.voxels:,} voxels{f', {self.box}' if self.box else ''}",
            f"adapted Rand error  {self.adapted_rand_error:.4f}   precision {self.adapted_rand_precision:.4f}  "
            f"recall {self.adapted_rand_recall:.4f}",
            f"  CREMI variant     {self.cremi.error:.4f}   scikit-image variant {self.scikit_image.error:.4f}",
            f"VI in bits          {self.voi:.4f}   split {self.voi_split:.4f}  merge {self.voi_merge:.4f}",
            f"Rand index          {self.rand_index:.6f}   CREMI score {self.cremi_score:.4f}",
            f"objects             {self.objects:,} in the truth, {self.segments:,} segments on them",
            *([f"run length          {length}"] if length else []),
        ]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers under the names of ``neuropil evaluate --json``."""
        run = {} if self.run_length is None else self.run_length.to_json()
        lengths = {"erl": run["erl"], "nerl": run["nerl"], "run_length": run} if run else {}
        variants = {"snemi3d": self.snemi3d, "cremi": self.cremi, "scikit_image": self.scikit_image}
        return {
            "adapted_rand_error": self.adapted_rand_error,
            "adapted_rand_precision": self.adapted_rand_precision,
            "adapted_rand_recall": self.adapted_rand_recall,
            "rand_index": self.rand_index,
            "voi_split": self.voi_split,
            "voi_merge": self.voi_merge,
            "voi": self.voi,
            "cremi_score": self.cremi_score,
            "adapted_rand": {
                name: {"error": v.error, "precision": v.precision, "recall": v.recall} for name, v in variants.items()
            },
            "matching": self.matching.to_json(),
            **lengths,
            "voxels": self.voxels,
            "scored": self.scored,
            "objects": self.objects,
            "segments": self.segments,
            "box": self.box,
            "border": self.border,
        }


@dataclass(frozen=True)
class Sums:
    """The exact integers from which adapted Rand and the Rand index are computed; sums over truth i >= 1."""

    voxels: int
    """n: voxels compared, truth 0 included."""
    scored: int
    """Σ t_i: voxels with truth > 0."""
    missed: int
    """c = Σ n_i0: of these, voxels with segment 0."""
    pairs: int
    """Σ n_ij² over j >= 1."""
    segments: int
    """Σ s_j² over j >= 1."""
    truths: int
    """Σ t_i²."""
    pairs_0: int
    """Σ n_i0²."""

    @classmethod
    def of(cls, table: Contingency) -> Sums:
        inside = table.without_truth(0)
        zero = inside.segment == 0
        ids, sizes = inside.segment_sizes()
        return cls(
            voxels=table.voxels,
            scored=inside.voxels,
            missed=int(inside.count[zero].sum()),
            pairs=sum_of_squares(inside.count[~zero]),
            segments=sum_of_squares(sizes[ids > 0]),
            truths=sum_of_squares(inside.truth_sizes()[1]),
            pairs_0=sum_of_squares(inside.count[zero]),
        )


def evaluate(
    segmentation: Readable,
    labels: Readable,
    *,
    box: Box | None = None,
    border: float = 0.0,
    voxel_size: VoxelSize | None = None,
    components: bool = False,
    threads: int | None = None,
) -> Scores:
    """Score a segmentation against labels.

    Args:
        segmentation: ids ``[z, y, x]``, integers of any kind; 0 = no segment. An array, a volume or a path.
        labels: truth ids ``[z, y, x]``, integers of any kind; voxels with 0 are not scored.
        box: which voxels of the image to compare. By default, where the two overlap by their origins; where neither
            has one, their shapes must be equal.
        border: for the CREMI variant: leave out truth within this many nm of a border in the same section.
        voxel_size: in nm (z, y, x), for ``border``; by default what the volumes say.
        components: score against the connected components of each object in the box, since the box alone does not show
            that they belong together. Reads the labels of the whole box into memory.
        threads: how many to use; all available cores by default.

    Raises:
        NeuropilError: shapes that differ or do not overlap, floating-point or negative ids, no voxel with truth > 0,
            or a border without a voxel size.

    >>> labels = np.array([[[1, 1, 2, 2]]])
    >>> evaluate(labels + 4, labels).adapted_rand_error
    0.0
    >>> round(evaluate(np.ones_like(labels), labels).adapted_rand_error, 3)
    0.333
    """
    placed = place(segmentation, labels, box)
    return evaluate_placed(placed, border=border, voxel_size=voxel_size, components=components, threads=threads)


def evaluate_placed(
    placed: Placed,
    *,
    border: float = 0.0,
    voxel_size: VoxelSize | None = None,
    components: bool = False,
    threads: int | None = None,
) -> Scores:
    """:func:`evaluate` of volumes that are placed already; other scores can reuse ``placed.table``.

    >>> placed = place(np.array([[[5, 5, 6, 6]]]), np.array([[[1, 1, 2, 2]]]))
    >>> evaluate_placed(placed).voi, len(placed.table)
    (0.0, 2)
    """
    if components:
        placed = with_connected_parts(placed)
    table, bordered = placed.table if threads is None else table_of(placed, threads), None
    if border:
        size = voxel_size or placed.voxel_size
        if size is None or border < 0:
            raise NeuropilError(f"a border must be positive and needs a voxel size; got {border} nm and {size}")
        bordered = table_of(placed, threads, lambda part: without_borders(part, border, size))
    with in_file(placed.labels.path):
        scores = scores_of(table, bordered)
    return replace(scores, box=str(placed.box), border=border)


def scores_of(table: Contingency, bordered: Contingency | None = None) -> Scores:
    """All scores of a contingency table; ``bordered`` is the table without truth borders, for the CREMI variant.

    Raises:
        NeuropilError: the table holds no voxel with truth > 0.
    """
    sums = Sums.of(table)
    if sums.scored == 0:
        raise NeuropilError(f"nothing to score: none of the {sums.voxels} voxels compared has a label above 0")
    split, merge = variation_of_information(table)
    snemi3d = cremi = adapted_rand_snemi3d(sums)
    cremi_voi = split + merge
    if bordered is not None:
        inner = Sums.of(bordered)
        if inner.scored == 0:
            raise NeuropilError("nothing to score in the CREMI variant: every label lies within the border; narrow it")
        cremi, cremi_voi = adapted_rand_snemi3d(inner), sum(variation_of_information(bordered))
    matching = match_objects(table)
    return Scores(
        snemi3d=snemi3d,
        cremi=cremi,
        scikit_image=adapted_rand_scikit_image(sums),
        rand_index=rand_index(sums),
        voi_split=split,
        voi_merge=merge,
        cremi_score=sqrt(cremi_voi * cremi.error),
        matching=matching,
        voxels=sums.voxels,
        scored=sums.scored,
        objects=matching.objects,
        segments=matching.segments,
    )


def adapted_rand_snemi3d(sums: Sums) -> AdaptedRand:
    """P = (Σ n_ij² + c/n) / (Σ_j s_j² + c/n), R = (Σ n_ij² + c/n) / Σ_i t_i², over i, j >= 1.

    The small term c/n is how the challenge's script treats the c voxels with segment 0 (n = all voxels). They count in
    t_i but not in s_j, so that they lower the recall. Arganda-Carreras et al. 2015, doi:10.3389/fnana.2015.00142.
    """
    # Multiplied by n, everything is an integer; Python divides integers of any size with one rounding.
    n, c = sums.voxels, sums.missed
    both, segments, truths = n * sums.pairs + c, n * sums.segments + c, n * sums.truths
    return AdaptedRand(
        error=(segments + truths - 2 * both) / (segments + truths), precision=both / segments, recall=both / truths
    )


def adapted_rand_scikit_image(sums: Sums) -> AdaptedRand:
    """Adapted Rand over pairs of different voxels: P = Σ n(n-1) / Σ s(s-1), R = Σ n(n-1) / Σ t(t-1).

    Segment 0 counts as an ordinary segment. ``skimage.metrics.adapted_rand_error`` returns recall before precision, not
    as its documentation says. A ratio 0/0, with no two voxels together, is 1.
    """
    both = sums.pairs + sums.pairs_0 - sums.scored
    segments = sums.segments + sums.missed**2 - sums.scored
    truths = sums.truths - sums.scored
    return AdaptedRand(
        error=_ratio(segments + truths - 2 * both, segments + truths, empty=0.0),
        precision=_ratio(both, segments),
        recall=_ratio(both, truths),
    )


def rand_index(sums: Sums) -> float:
    """Share of voxel pairs that are together in both or apart in both; segment 0 counts as an ordinary segment.

    Rand 1971, doi:10.1080/01621459.1971.10482356.
    """
    pairs = sums.scored * (sums.scored - 1)
    disagree = sums.truths + sums.segments + sums.missed**2 - 2 * (sums.pairs + sums.pairs_0)
    return _ratio(pairs - disagree, pairs)


def variation_of_information(table: Contingency) -> tuple[float, float]:
    """(split, merge) = (H(segments | truth), H(truth | segments)) in bits; segment 0 counts as an ordinary segment.

    Meilă 2007, doi:10.1016/j.jmva.2006.11.013; the same as in CREMI, waterz, and scikit-image with ignore_labels=[0].
    """
    inside = table.without_truth(0)
    n = inside.count.astype(np.float64)
    t, s = sizes_of_pairs(inside)
    total = n.sum()
    return float(n @ np.log2(t / n) / total), float(n @ np.log2(s / n) / total)


def sum_of_squares(counts: NDArray[np.uint64]) -> int:
    """Σ counts², exactly, whatever its size."""
    if not len(counts):
        return 0
    if int(counts.max()) ** 2 * len(counts) < 1 << 64:
        return int(counts @ counts)
    return sum(count * count for count in counts.tolist())


def _ratio(part: int, whole: int, empty: float = 1.0) -> float:
    return part / whole if whole else empty
