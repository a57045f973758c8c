"""Write an HTML report on a segmentation: scores with definitions, sections, worst errors, how it was made."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError, tell
from neuropil.evaluation import Contingency, Scores, ThresholdCurve
from neuropil.evaluation.blame import Cut
from neuropil.evaluation.curve import curve_of
from neuropil.evaluation.objects import ObjectError, WorstErrors, worst_errors_in
from neuropil.evaluation.placing import Placed, Readable, place, read_box, table_of
from neuropil.evaluation.scores import evaluate_placed, scores_of
from neuropil.evaluation.table import from_pairs
from neuropil.evaluation.tuning import draw_curve
from neuropil.geometry import Box, Triple
from neuropil.segmentation import merge_tree
from neuropil.viewing.colours import RGB, affinity_rgb, error_overlay, grey_rgb, matched, overlay
from neuropil.viewing.definitions import DEFINITIONS
from neuropil.viewing.facts import facts_of
from neuropil.viewing.inline import Picture, crosshair, picture, plot
from neuropil.viewing.page import write_html
from neuropil.volumes import Volume, as_volume, open_volume
from neuropil.volumes.tissue import as_segmented

_SECTIONS = 3
_WIDEST = 2048
"""Most voxels on a side of the pictures of sections."""
_CROP = 160
"""Voxels on a side of the pictures of errors."""
_MOST = 1 << 28
"""Most voxels of affinities that are segmented again for the curve."""
_FLAT = 96
"""Grey value in place of an image that is not given."""


@dataclass(frozen=True)
class _Material:
    """The volumes of a report; image and affinities are read only where they are shown."""

    placed: Placed
    table: Contingency
    image: Volume | None
    affinities: Volume | None

    def panels(self, part: Box, across: int = 0) -> list[tuple[str, RGB]]:
        """Pictures, with captions, of a box that is one voxel thick along the axis ``across``."""
        image = np.full(part.shape, _FLAT, np.uint8) if self.image is None else read_box(self.image, part)
        volumes = (self.placed.segmentation, self.placed.labels)
        grey, seg, labels = (array.squeeze(across) for array in (image, *(read_box(v, part) for v in volumes)))
        panels = [("image", grey_rgb(grey))]
        if self.affinities is not None:
            rgb = _affinities(self.affinities, part).squeeze(across)
            panels.append(("affinities (x red, y green, z blue)", rgb))
        return [
            *panels,
            ("segmentation, in the colours of the neurons it matches", overlay(grey, matched(seg, self.table), 0.55)),
            ("truth", overlay(grey, labels, 0.55)),
            ("mistakes: split blue, merge orange, missing grey", error_overlay(grey, seg, labels, self.table)),
        ]

    def view(self, error: ObjectError) -> str:
        """The command that opens the viewer at an error."""
        paths = [volume.path for volume in (self.image, self.placed.segmentation) if volume is not None]
        found = error.pieces if error.kind == "split" else ()
        chosen = ",".join(str(piece.id) for piece in found[:5] if piece.id) or str(error.id)
        at = ",".join(map(str, error.position))
        words = ["neuropil", "view", *paths, "--labels", self.placed.labels.path, "--at", at, "--select", chosen]
        return shlex.join(words)


def _affinities(affinities: Volume, part: Box) -> RGB:
    values, encoding = affinities.read(part), affinities.metadata.encoding
    decoded = encoding.decode(values) if encoding else values
    return affinity_rgb(decoded, None, affinities.metadata.offsets)


def write_report(
    path: str | Path,
    segmentation: Readable,
    labels: Readable,
    *,
    box: Box | None = None,
    image: Readable | None = None,
    affinities: Readable | None = None,
    scores: Scores | None = None,
) -> Scores:
    """Write a self-contained HTML page about a segmentation, and return its scores.

    Files are read a few sections at a time, image and affinities only where they are shown. The curve and the merges
    behind the worst errors need all affinities; with more than 268 million voxels both are left out, and the page says
    so.

    Args:
        path: the file to write.
        segmentation, labels, box: as for ``neuropil.evaluate``.
        affinities: what the segmentation was made from, ``[edge, z, y, x]``; by default those named in its metadata, if
            they still exist. With them the page shows the curve of all thresholds, and the merges behind the worst
            errors.
        image: background of the pictures, ``[z, y, x]``; by default the one named in the metadata of the affinities.
        scores: result of ``evaluate`` on the same box, if known already.

    Raises:
        NeuropilError: as ``evaluate``; image or affinities that do not cover the box; a folder that cannot be written.

    >>> import tempfile
    >>> labels = np.repeat([[[1, 1, 2, 2]]], 4, axis=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_report(f"{folder}/report.html", labels, labels).voi
    0.0
    """
    placed = place(segmentation, labels, box)
    return write_report_of(placed, path, image=image, affinities=affinities, scores=scores)


def write_report_of(
    placed: Placed,
    path: str | Path,
    *,
    image: Readable | None = None,
    affinities: Readable | None = None,
    scores: Scores | None = None,
) -> Scores:
    """:func:`write_report` of volumes that are placed already; their contingency table is counted only once.

    Raises:
        NeuropilError: as :func:`write_report`.
    """
    scores = scores or evaluate_placed(placed)
    material = _material(placed, placed.table, image, affinities)
    made = _made(placed.segmentation)
    merging = _merging(material.affinities, made, placed)
    cut = None if merging is None else merging.cut
    worst = worst_errors_in(placed, cut=cut)
    values = {
        "title": placed.segmentation.path,
        "against": placed.labels.path,
        "box": placed.box,
        "scores": _scores(scores),
        "curve": None if merging is None else _curve(merging, made),
        "too_large": _too_large(material.affinities),
        "sections": _sections(material),
        "errors": _errors(worst, material),
        "facts": facts_of(placed.segmentation, material.affinities),
    }
    write_html(path, "report.html", values)
    return scores


def _material(placed: Placed, table: Contingency, image: Readable | None, affinities: Readable | None) -> _Material:
    """The volumes as given, or else those named in the metadata."""
    if affinities is None:
        affinities = _opened(placed.segmentation.metadata.extra.get("affinities"), placed.box)
    edges = None if affinities is None else _covering(as_volume(affinities), "affinities", 4, placed.box)
    if image is None and edges is not None:
        image = _opened(_image_path(edges), placed.box)
    grey = None if image is None else _covering(as_volume(image), "image", 3, placed.box)
    return _Material(placed, table, grey, edges)


def _covering(volume: Volume, what: str, axes: int, box: Box) -> Volume:
    if not volume.box.contains(box) or len(volume.shape) != axes:
        raise NeuropilError(f"the {what} {volume.path} holds {volume.box}, which does not cover the box {box}")
    return volume


def _opened(path: object, box: Box) -> Volume | None:
    """The volume at a path from metadata; None if it cannot be opened or does not cover the box."""
    try:
        volume = open_volume(path) if isinstance(path, str) else None
    except NeuropilError:
        return None
    return volume if volume is not None and volume.box.contains(box) else None


def _image_path(affinities: Volume) -> object:
    made_by = affinities.metadata.extra.get("made_by")
    return made_by.get("image") if isinstance(made_by, Mapping) else None


_TRIED = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Thresholds scored with the minimum size, besides that of the segmentation; each needs a cut of its own."""


class _Merging(NamedTuple):
    """Scores of other thresholds, from the affinities."""

    curve: ThresholdCurve
    """All thresholds, without a minimum size."""
    sized: list[tuple[float, Scores]]
    """Some thresholds with the minimum size of the segmentation; empty if it has none."""
    cut: Cut | None
    """The tree and the threshold at which it was cut; None if that is not known."""


def _merging(affinities: Volume | None, made: SegmentConfig, placed: Placed) -> _Merging | None:
    if affinities is None or made.method != "agglomerate" or affinities.box.size > _MOST:
        return None
    try:
        seen = as_segmented(affinities, placed.segmentation)
    except NeuropilError as error:
        tell(f"no curve is drawn: {error}")
        return None
    found = merge_tree(seen, made)
    table = table_of(place(found.fragments, placed.labels, placed.box))
    cut = None if made.threshold is None else Cut(found.tree, found.fragments, made.threshold)
    sized = []
    if (size := made.min_size or 0) > 1:
        for threshold in sorted({*_TRIED, *([] if made.threshold is None else [made.threshold])}):
            segment = found.cut(threshold, size)[table.segment]
            sized.append((threshold, scores_of(from_pairs(table.truth, segment, table.count))))
    return _Merging(curve_of(found.tree, table), sized, cut)


def _made(segmentation: Volume) -> SegmentConfig:
    """The settings stored with a segmentation, else the defaults."""
    stored = segmentation.metadata.extra.get("segment")
    return SegmentConfig.model_validate(stored) if isinstance(stored, Mapping) else SegmentConfig()


def _scores(scores: Scores) -> dict[str, Any]:
    """Rows of the tables of scores."""
    values, matching = scores.to_json(), scores.matching
    columns = (matching.iou, matching.precision, matching.recall, matching.average_precision)
    return {
        "about": f"{scores.scored:,} of {scores.voxels:,} voxels have a label above 0 and are scored; "
        f"{scores.objects:,} objects, {scores.segments:,} segments on them.",
        "rows": [(name, f"{values[key]:.4f}", meaning) for key, name, meaning in DEFINITIONS if key in values],
        "variants": [
            (name, *(f"{part[key]:.4f}" for key in ("error", "precision", "recall")))
            for name, part in values["adapted_rand"].items()
        ],
        "matching": [
            (f"{iou:.2f}", *(f"{number:.4f}" for number in numbers)) for iou, *numbers in zip(*columns, strict=True)
        ],
        "mean_ap": f"{matching.mean_average_precision:.4f}",
    }


def _too_large(affinities: Volume | None) -> str | None:
    """Path of the affinities if they are too large for a curve."""
    return affinities.path if affinities is not None and affinities.box.size > _MOST else None


def _curve(merging: _Merging, made: SegmentConfig) -> Picture:
    curve, threshold = merging.curve, made.threshold
    drawn = draw_curve(curve)
    for axes, name in zip(drawn.axes, ("adapted_rand_error", "voi"), strict=True):
        if threshold is not None:
            axes.axvline(threshold, color="tab:gray", linewidth=1)
        if merging.sized:
            values = [getattr(scores, name) for _, scores in merging.sized]
            at = [threshold for threshold, _ in merging.sized]
            axes.plot(at, values, "s", color="tab:blue", label=f"minimum size {made.min_size}")
            axes.legend(frameon=False)
    best = [f"lowest {name} {score:.4f} at {at:.4f}" for name, (at, score) in _optima(curve)]
    here = "" if threshold is None else f" This segmentation was cut at {threshold:.4f} (grey line)."
    sized = " Lines are without a minimum size."
    if merging.sized:
        sized += f" Squares have that of this segmentation, {made.min_size} voxels, as the scores above."
    return plot(drawn, "; ".join(best) + "." + here + sized)


def _optima(curve: ThresholdCurve) -> list[tuple[str, tuple[float, float]]]:
    return [("adapted Rand error", curve.best("adapted_rand_error")), ("VI", curve.best("voi"))]


def _sections(material: _Material) -> list[dict[str, Any]]:
    """Pictures of a few sections."""
    box = material.placed.box
    depth, high, wide = box.shape
    # Of very large sections only the middle: the page would show more at too low a resolution.
    part = (min(high, _WIDEST), min(wide, _WIDEST))
    corner = (box.start[1] + (high - part[0]) // 2, box.start[2] + (wide - part[1]) // 2)
    sections = []
    for z in sorted({box.start[0] + depth * (2 * k + 1) // (2 * _SECTIONS) for k in range(_SECTIONS)}):
        shown = Box.at((z, *corner), (1, *part))
        pictures = [picture(voxels, caption) for caption, voxels in material.panels(shown)]
        sections.append({"z": z, "pictures": pictures})
    return sections


def _errors(worst: WorstErrors, material: _Material) -> list[dict[str, Any]]:
    """The worst splits and merges."""
    groups = {"Most split neurons": worst.splits, "Segments that merge most": worst.merges}
    return [
        {"title": title, "errors": [_one_error(error, material) for error in errors]}
        for title, errors in groups.items()
    ]


def _one_error(error: ObjectError, material: _Material) -> dict[str, Any]:
    whole, part = ("neuron", "segment") if error.kind == "split" else ("segment", "neuron")
    pieces = ", ".join(f"{part} {p.id}: {100 * p.voxels / error.voxels:.1f} %" for p in error.pieces[:5])
    more = error.more + max(0, len(error.pieces) - 5)
    text = f"{error.voxels:,} voxels, {error.bits:.4f} bits: {pieces}" + (f" and {more} more" if more else "")
    if error.score is not None and error.kind == "merge":
        text += f". The merge that joined most of it scored {error.score:.4f}"
    elif error.score is not None:
        text += f". Its two largest pieces would be one from threshold {error.score:.4f} down"
    size = material.placed.voxel_size
    cuts = {0: ""} if size is None or max(size) >= 1.5 * min(size) else {0: "", 1: "z–x cut: ", 2: "z–y cut: "}
    pictures = []
    for across, name in cuts.items():
        window, mark = _window(error.position, material.placed.box, across)
        for caption, voxels in material.panels(window, across):
            pictures.append(picture(crosshair(voxels, mark), name + caption, zoom=2))
    at = " ".join(str(n) for n in error.position)
    head = f"{whole} {error.id}, at z y x = {at}"
    return {"head": head, "text": text, "pictures": pictures, "view": material.view(error)}


def _window(at: Triple, box: Box, across: int = 0) -> tuple[Box, tuple[int, int]]:
    """A square crop across an axis around a voxel, shifted into the box, and the voxel's (row, column) in it."""
    start = [max(a, min(n - _CROP // 2, b - _CROP)) for n, a, b in zip(at, box.start, box.stop, strict=True)]
    shape = [_CROP] * 3
    start[across], shape[across] = at[across], 1
    row, column = (at[axis] - start[axis] for axis in range(3) if axis != across)
    return Box.at(start, shape).intersect(box), (row, column)
