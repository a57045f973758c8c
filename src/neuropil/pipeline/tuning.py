"""Choose the threshold: every threshold of the merge tree is scored against labels, and the best one is taken."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import yaml

from neuropil.config import SegmentConfig
from neuropil.evaluation import ThresholdCurve, threshold_curve
from neuropil.evaluation.placing import common_box
from neuropil.geometry import Box, Offsets
from neuropil.pipeline.segmenting import agglomerated
from neuropil.volumes import Volume, require_labels

COLUMNS = (
    *("thresholds", "merges", "adapted_rand_error", "adapted_rand_precision", "adapted_rand_recall"),
    *("voi_split", "voi_merge", "voi"),
)


@dataclass(frozen=True, eq=False)
class Tuning:
    """Scores at every threshold, and the settings with the best one."""

    curve: ThresholdCurve
    box: Box
    settings: SegmentConfig
    """The settings that were asked for, with the threshold that has the lowest adapted Rand error."""

    @property
    def threshold(self) -> float:
        """Where the adapted Rand error is lowest."""
        assert self.settings.threshold is not None
        return self.settings.threshold

    def report(self) -> list[str]:
        """The best thresholds and their scores, in lines to read."""
        lines = []
        for metric, name in (("adapted_rand_error", "adapted Rand error"), ("voi", "VI (bits)")):
            threshold, score = self.curve.best(metric)  # type: ignore[arg-type]
            lines.append(f"lowest {name:<18}  {score:.4f} at threshold {threshold:.4f}")
        return lines

    def save(self, folder: Path) -> None:
        """Leave ``curve.csv``, ``curve.png`` and ``segment.yaml`` in a folder.

        Raises:
            OSError: the folder cannot be written.
        """
        from neuropil.viewing.curves import draw_curve

        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "curve.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["threshold", *COLUMNS[1:]])
            rows.writerows(zip(*(getattr(self.curve, name).tolist() for name in COLUMNS), strict=True))
        draw_curve(self.curve, folder / "curve.png", self.threshold)
        (folder / "segment.yaml").write_text(self.to_yaml())

    def to_yaml(self) -> str:
        """A snippet for ``neuropil segment --config``."""
        scores = "".join(f"# {line}\n" for line in self.report())
        section = {"segment": self.settings.model_dump(mode="json")}
        return f"# chosen on {self.box}\n{scores}{yaml.safe_dump(section, sort_keys=False)}"


def tune(
    affinities: Volume,
    labels: Volume,
    settings: SegmentConfig,
    *,
    box: Box | None = None,
    offsets: Offsets | None = None,
) -> Tuning:
    """Score every threshold of affinities against labels. All of the affinities are merged, the box is scored.

    Args:
        affinities: ``[edge, z, y, x]``.
        labels: truth ``[z, y, x]``; 0 is not scored.
        settings: watershed levels and score; its threshold, minimum size and filling play no part.
        box: what to score, in voxels of the image; by default where the two overlap.
        offsets: instead of those stored with the affinities.

    Raises:
        NeuropilError: as ``agglomerated`` and ``threshold_curve``; shapes that differ with neither box nor origin.

    >>> import numpy as np
    >>> from neuropil.volumes import array_volume
    >>> affinities = np.full((3, 1, 1, 4), 0.9)
    >>> affinities[2, 0, 0, 2] = 0.2
    >>> labels = array_volume(np.array([[[1, 1, 2, 2]]]))
    >>> tune(array_volume(affinities), labels, SegmentConfig()).threshold > 0.2
    True
    """
    box = common_box(affinities, require_labels(labels), box)
    parts = agglomerated(affinities, settings, offsets)
    fragments = parts.fragments[box.relative_to(affinities.metadata.origin).slices]
    curve = threshold_curve(parts.tree, fragments, labels.read(box))
    return Tuning(curve, box, settings.model_copy(update={"threshold": round(curve.best()[0], 6)}))
