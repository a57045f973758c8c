"""One HTML page about a segmentation: scores and what they mean, sections, its worst objects, how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError
from neuropil.evaluation import Contingency, Scores, ThresholdCurve, threshold_curve
from neuropil.evaluation.blame import Cut
from neuropil.evaluation.objects import ObjectError, WorstErrors, worst_errors_in
from neuropil.evaluation.placing import Placed, Source, place, read_box
from neuropil.evaluation.scores import evaluate_placed
from neuropil.evaluation.tuning import draw_curve
from neuropil.geometry import Box, Triple
from neuropil.segmentation import merge_tree
from neuropil.viewing.colours import RGB, affinity_rgb, error_overlay, grey_rgb, matched, overlay
from neuropil.viewing.definitions import DEFINITIONS
from neuropil.viewing.facts import facts_part
from neuropil.viewing.inline import STYLE, crosshair, figure_tag, picture_tag, table_tag
from neuropil.volumes import Volume, as_volume, open_volume
from neuropil.volumes.atomic import replacing

_SECTIONS = 3
_WIDEST = 2048
"""Voxels on a side of the pictures of sections, at most."""
_CROP = 160
"""Voxels on a side of the pictures of errors."""
_MOST = 1 << 28
"""Voxels of affinities that are segmented again, for the curve."""
_FLAT = 96
"""The grey of an image that is not there."""


@dataclass(frozen=True)
class _Material:
    """What is compared, and what it was made from: volumes of which only the places shown are read."""

    placed: Placed
    table: Contingency
    image: Volume | None
    affinities: Volume | None

    def panels(self, part: Box) -> list[tuple[str, RGB]]:
        """Pictures of a part of one section, with captions."""
        image = np.full(part.shape, _FLAT, np.uint8) if self.image is None else read_box(self.image, part)
        seg, labels = read_box(self.placed.segmentation, part)[0], read_box(self.placed.labels, part)[0]
        panels = [("image", grey_rgb(image[0]))]
        if self.affinities is not None:
            panels.append(("affinities (x red, y green, z blue)", _affinities(self.affinities, part)))
        return [
            *panels,
            (
                "segmentation, in the colours of the neurons it matches",
                overlay(image[0], matched(seg, self.table), 0.55),
            ),
            ("truth", overlay(image[0], labels, 0.55)),
            ("mistakes: split blue, merge orange, missing grey", error_overlay(image[0], seg, labels, self.table)),
        ]


def _affinities(affinities: Volume, part: Box) -> RGB:
    values, encoding = affinities.read(part), affinities.metadata.encoding
    decoded = encoding.decode(values) if encoding else values
    return affinity_rgb(decoded, 0, affinities.metadata.offsets)


def write_report(
    path: str | Path,
    segmentation: Source,
    labels: Source,
    *,
    box: Box | None = None,
    image: Source | None = None,
    affinities: Source | None = None,
    scores: Scores | None = None,
) -> Scores:
    """Write a self-contained HTML page about a segmentation, and return its scores.

    Files are read a few sections at a time, and of image and affinities only the places shown. Only the curve and the
    merges behind the worst mistakes need the affinities as a whole; they are left out, and the page says so, where the
    affinities have more than 268 million voxels.

    Args:
        path: the file to write.
        segmentation, labels, box: as for ``neuropil.evaluate``.
        affinities: what the segmentation was made from, ``[edge, z, y, x]``; by default the ones that it names, if
            they are still there. With them the page shows the curve of all thresholds, and the merges that made the
            worst mistakes.
        image: to lay the pictures over, ``[z, y, x]``; by default the one that the affinities name.
        scores: what ``evaluate`` said of the same box, if it was asked before.

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
    image: Source | None = None,
    affinities: Source | None = None,
    scores: Scores | None = None,
) -> Scores:
    """:func:`write_report` of volumes that are placed already: their contingency table is counted once for all of it.

    Raises:
        NeuropilError: as :func:`write_report`.
    """
    scores = scores or evaluate_placed(placed)
    material = _material(placed, placed.table, image, affinities)
    made = _made(placed.segmentation)
    curve, cut = _merging(material.affinities, made, placed)
    worst = worst_errors_in(placed, cut=cut)
    body = [
        f"<h1>{escape(placed.segmentation.path)}</h1>",
        f"<p>against {escape(placed.labels.path)}, voxels {placed.box}</p>",
        *_score_part(scores),
        *_curve_part(curve, made.threshold, material.affinities),
        *_section_part(material),
        *_error_part(worst, material),
        *facts_part(placed.segmentation, material.affinities),
    ]
    head = f'<meta charset="utf-8"><title>neuropil report</title><style>{STYLE}</style>'
    page = "\n".join(['<!doctype html>\n<html lang="en">', f"<head>{head}</head><body>", *body, "</body></html>\n"])
    with replacing(Path(path)) as file:
        file.write_text(page, encoding="utf-8")
    return scores


def _material(placed: Placed, table: Contingency, image: Source | None, affinities: Source | None) -> _Material:
    """Volumes as given, or as the files name what they were made from."""
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
    """The volume at a path that another one names, where it can still be opened and covers the box."""
    try:
        volume = open_volume(path) if isinstance(path, str) else None
    except NeuropilError:
        return None
    return volume if volume is not None and volume.box.contains(box) else None


def _image_path(affinities: Volume) -> object:
    made_by = affinities.metadata.extra.get("made_by")
    return made_by.get("image") if isinstance(made_by, Mapping) else None


def _merging(
    affinities: Volume | None, made: SegmentConfig, placed: Placed
) -> tuple[ThresholdCurve | None, Cut | None]:
    """The curve over all thresholds, and the tree with the threshold at which it was cut, where they are known."""
    if affinities is None or made.method != "agglomerate" or affinities.box.size > _MOST:
        return None, None
    found = merge_tree(affinities, made)
    curve = threshold_curve(found.tree, found.fragments, placed.labels, box=placed.box)
    return curve, None if made.threshold is None else Cut(found.tree, found.fragments, made.threshold)


def _made(segmentation: Volume) -> SegmentConfig:
    """The settings stored with a segmentation; the defaults where there are none."""
    stored = segmentation.metadata.extra.get("segment")
    return SegmentConfig.model_validate(stored) if isinstance(stored, Mapping) else SegmentConfig()


def _score_part(scores: Scores) -> list[str]:
    values = scores.to_json()
    rows = [(name, f"{values[key]:.4f}", meaning) for key, name, meaning in DEFINITIONS if key in values]
    variants = [
        (name, *(f"{part[key]:.4f}" for key in ("error", "precision", "recall")))
        for name, part in values["adapted_rand"].items()
    ]
    matching = scores.matching
    found = [
        (f"{iou:.2f}", f"{precision:.4f}", f"{recall:.4f}", f"{average:.4f}")
        for iou, precision, recall, average in zip(
            matching.iou, matching.precision, matching.recall, matching.average_precision, strict=True
        )
    ]
    about = (
        f"{scores.scored:,} of {scores.voxels:,} voxels have a label above 0 and are scored; "
        f"{scores.objects:,} objects, {scores.segments:,} segments on them."
    )
    return [
        "<h2>Scores</h2>",
        f"<p>{about}</p>",
        table_tag(("score", "", "what it says"), rows),
        "<details><summary>Variants of adapted Rand, and objects matched one by one</summary>",
        table_tag(("adapted Rand as in", "error", "precision", "recall"), variants),
        table_tag(("IoU above", "precision", "recall", "AP = found / (found + invented + missed)"), found),
        f"<p>mean AP {matching.mean_average_precision:.4f}</p></details>",
    ]


def _curve_part(curve: ThresholdCurve | None, threshold: float | None, affinities: Volume | None) -> list[str]:
    if curve is None and affinities is not None and affinities.box.size > _MOST:
        return [
            f"<p>No curve of thresholds here: {escape(affinities.path)} is large; see <code>neuropil tune</code>.</p>"
        ]
    if curve is None:
        return []
    drawn = draw_curve(curve)
    if threshold is not None:
        for axes in drawn.axes:
            axes.axvline(threshold, color="tab:gray", linewidth=1)
    best = [f"lowest {name} {score:.4f} at {at:.4f}" for name, (at, score) in _optima(curve)]
    here = "" if threshold is None else f" This segmentation was cut at {threshold:.4f} (grey line)."
    return ["<h2>Every threshold</h2>", figure_tag(drawn, "; ".join(best) + "." + here)]


def _optima(curve: ThresholdCurve) -> list[tuple[str, tuple[float, float]]]:
    return [("adapted Rand error", curve.best("adapted_rand_error")), ("VI", curve.best("voi"))]


def _section_part(material: _Material) -> list[str]:
    box = material.placed.box
    depth, high, wide = box.shape
    # Of huge sections the middle: more would not be seen at the size of the page anyway.
    part = (min(high, _WIDEST), min(wide, _WIDEST))
    corner = (box.start[1] + (high - part[0]) // 2, box.start[2] + (wide - part[1]) // 2)
    parts = ["<h2>Sections</h2>"]
    for z in sorted({box.start[0] + depth * (2 * k + 1) // (2 * _SECTIONS) for k in range(_SECTIONS)}):
        shown = Box.at((z, *corner), (1, *part))
        pictures = "".join(picture_tag(picture, caption) for caption, picture in material.panels(shown))
        parts.append(f"<h3>section {z}</h3><div class='row'>{pictures}</div>")
    return parts


def _error_part(worst: WorstErrors, material: _Material) -> list[str]:
    parts = []
    for title, errors in (("Most split neurons", worst.splits), ("Segments that merge most", worst.merges)):
        parts.append(f"<h2>{title}</h2>" + ("" if errors else "<p>None.</p>"))
        parts += [_one_error(error, material) for error in errors]
    return parts


def _one_error(error: ObjectError, material: _Material) -> str:
    whole, part = ("neuron", "segment") if error.kind == "split" else ("segment", "neuron")
    pieces = ", ".join(f"{part} {p.id}: {100 * p.voxels / error.voxels:.1f} %" for p in error.pieces[:5])
    more = error.more + max(0, len(error.pieces) - 5)
    text = f"{error.voxels:,} voxels, {error.bits:.4f} bits: {pieces}" + (f" and {more} more" if more else "")
    if error.score is not None and error.kind == "merge":
        text += f". The merge that joined most of it scored {error.score:.4f}"
    elif error.score is not None:
        text += f". Its two largest pieces would be one from threshold {error.score:.4f} down"
    window, mark = _window(error.position, material.placed.box)
    pictures = "".join(
        picture_tag(crosshair(picture, mark), caption, zoom=2) for caption, picture in material.panels(window)
    )
    at = " ".join(str(n) for n in error.position)
    return f"<h3>{whole} {error.id}, at z y x = {at}</h3><p>{text}.</p><div class='row'>{pictures}</div>"


def _window(at: Triple, box: Box) -> tuple[Box, tuple[int, int]]:
    """A square of one section around a voxel, moved inside the box, and the voxel's place (y, x) within it."""
    start = [max(a, min(n - _CROP // 2, b - _CROP)) for n, a, b in zip(at, box.start, box.stop, strict=True)]
    window = Box.at((at[0], start[1], start[2]), (1, _CROP, _CROP)).intersect(box)
    return window, (at[1] - start[1], at[2] - start[2])
