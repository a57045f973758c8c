"""One HTML page about a segmentation: scores and what they mean, sections, its worst objects, how it was made."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError
from neuropil.evaluation import Contingency, Scores, ThresholdCurve, contingency, evaluate, threshold_curve
from neuropil.evaluation.blame import Cut
from neuropil.evaluation.objects import ObjectError, WorstErrors, worst_errors
from neuropil.evaluation.placing import Placed, Source, place, read_box
from neuropil.evaluation.tuning import draw_curve, merging
from neuropil.geometry import Box
from neuropil.viewing.colours import RGB, affinity_rgb, error_overlay, grey_rgb, matched, overlay
from neuropil.viewing.definitions import DEFINITIONS
from neuropil.viewing.inline import STYLE, crosshair, figure_tag, picture_tag, table_tag
from neuropil.volumes import Volume, as_volume, open_volume
from neuropil.volumes.atomic import replacing

_SECTIONS = 3
_CROP = 160
"""Voxels on a side of the pictures of errors."""


@dataclass(frozen=True)
class _Material:
    """Everything in the box that is compared, as arrays."""

    box: Box
    segmentation: NDArray[Any]
    labels: NDArray[Any]
    table: Contingency
    image: NDArray[Any]
    """``[z, y, x]``; flat grey where none was given."""
    affinities: Volume | None

    def panels(self, z: int, window: tuple[slice, slice] = (slice(None), slice(None))) -> list[tuple[str, RGB]]:
        """Pictures of a part of one section, with captions; z counts from the start of the box."""
        at = (z, *window)
        image, seg, labels = self.image[at], self.segmentation[at], self.labels[at]
        panels = [("image", grey_rgb(image))]
        if self.affinities is not None:
            panels.append(("affinities (x red, y green, z blue)", self._affinities(z, image.shape, window)))
        return [
            *panels,
            ("segmentation, in the colours of the neurons it matches", overlay(image, matched(seg, self.table), 0.55)),
            ("truth", overlay(image, labels, 0.55)),
            ("mistakes: split blue, merge orange, missing grey", error_overlay(image, seg, labels, self.table)),
        ]

    def _affinities(self, z: int, shape: tuple[int, int], window: tuple[slice, slice]) -> RGB:
        assert self.affinities is not None
        corner = (z, window[0].start or 0, window[1].start or 0)
        values = self.affinities.read(Box.at(corner, (1, *shape)).shift(self.box.start))
        encoding = self.affinities.metadata.encoding
        decoded = encoding.decode(values) if encoding else values
        return affinity_rgb(decoded, 0, self.affinities.metadata.offsets)


def write_report(
    path: str | Path,
    segmentation: Source,
    labels: Source,
    *,
    box: Box | None = None,
    image: Source | None = None,
    affinities: Source | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Scores:
    """Write a self-contained HTML page about a segmentation, and return its scores.

    Args:
        path: the file to write.
        segmentation, labels, box: as for ``neuropil.evaluate``.
        affinities: what the segmentation was made from, ``[edge, z, y, x]``; by default the ones that it names, if
            they are still there. With them the page shows the curve of all thresholds, and the merges that made the
            worst mistakes.
        image: to lay the pictures over, ``[z, y, x]``; by default the one that the affinities name.
        facts: further lines for "how it was made": files, settings, commands.

    Raises:
        NeuropilError: as ``evaluate``; image or affinities that do not cover the box; a folder that cannot be written.

    >>> import tempfile
    >>> labels = np.repeat([[[1, 1, 2, 2]]], 4, axis=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_report(f"{folder}/report.html", labels, labels).voi
    0.0
    """
    placed = place(segmentation, labels, box)
    scores = evaluate(placed.segmentation, placed.labels, box=placed.box)
    made = _made(placed.segmentation)
    if affinities is None:
        affinities = _opened(placed.segmentation.metadata.extra.get("affinities"), placed.box)
    if image is None and affinities is not None:
        image = _opened(_image_path(as_volume(affinities)), placed.box)
    curve, cut = _merging(affinities, made, placed)
    worst = worst_errors(placed.segmentation, placed.labels, box=placed.box, cut=cut)
    material = _material(placed, image, affinities)
    body = [
        f"<h1>{escape(placed.segmentation.path)}</h1>",
        f"<p>against {escape(placed.labels.path)}, voxels {placed.box}</p>",
        *_score_part(scores),
        *_curve_part(curve, made.threshold),
        *_section_part(material),
        *_error_part(worst, material),
        *_facts_part(placed.segmentation, facts or {}),
    ]
    head = f'<meta charset="utf-8"><title>neuropil report</title><style>{STYLE}</style>'
    page = "\n".join(['<!doctype html>\n<html lang="en">', f"<head>{head}</head><body>", *body, "</body></html>\n"])
    with replacing(Path(path)) as file:
        file.write_text(page, encoding="utf-8")
    return scores


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
    affinities: Source | None, made: SegmentConfig, placed: Placed
) -> tuple[ThresholdCurve | None, Cut | None]:
    """The curve over all thresholds, and the tree with the threshold at which it was cut, where they are known."""
    if affinities is None or made.method != "agglomerate":
        return None, None
    found = merging(affinities, made)
    curve = threshold_curve(found.tree, found.fragments, placed.labels, box=placed.box)
    return curve, None if made.threshold is None else Cut(found.tree, found.fragments, made.threshold)


def _material(placed: Placed, image: Source | None, affinities: Source | None) -> _Material:
    box = placed.box
    seg, labels = read_box(placed.segmentation, box), read_box(placed.labels, box)
    volume = None if affinities is None else as_volume(affinities)
    if volume is not None and not volume.box.contains(box):
        raise NeuropilError(f"the affinities {volume.path} hold {volume.box}, which does not cover the box {box}")
    return _Material(box, seg, labels, contingency(seg, labels), _image(image, box), volume)


def _made(segmentation: Volume) -> SegmentConfig:
    """The settings stored with a segmentation; the defaults where there are none."""
    stored = segmentation.metadata.extra.get("segment")
    return SegmentConfig.model_validate(stored) if isinstance(stored, Mapping) else SegmentConfig()


def _image(image: Source | None, box: Box) -> NDArray[Any]:
    if image is None:
        return np.full(box.shape, 96, np.uint8)
    volume = as_volume(image)
    if not volume.box.contains(box) or len(volume.shape) != 3:
        raise NeuropilError(f"the image {volume.path} holds {volume.box}, which does not cover the box {box}")
    return read_box(volume, box)


def _score_part(scores: Scores) -> list[str]:
    values = scores.to_json()
    rows = [(name, f"{values[key]:.4f}", meaning) for key, name, meaning in DEFINITIONS]
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


def _curve_part(curve: ThresholdCurve | None, threshold: float | None) -> list[str]:
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
    depth = material.box.shape[0]
    shown = sorted({depth * (2 * k + 1) // (2 * _SECTIONS) for k in range(_SECTIONS)})
    parts = ["<h2>Sections</h2>"]
    for z in shown:
        pictures = "".join(picture_tag(picture, caption) for caption, picture in material.panels(z))
        parts.append(f"<h3>section {material.box.start[0] + z}</h3><div class='row'>{pictures}</div>")
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
    z, y, x = (p - a for p, a in zip(error.position, material.box.start, strict=True))
    window, mark = _window((y, x), material.labels.shape[1:])
    pictures = "".join(
        picture_tag(crosshair(picture, mark), caption, zoom=2) for caption, picture in material.panels(z, window)
    )
    place = " ".join(str(n) for n in error.position)
    return f"<h3>{whole} {error.id}, at z y x = {place}</h3><p>{text}.</p><div class='row'>{pictures}</div>"


def _window(at: tuple[int, int], shape: Sequence[int]) -> tuple[tuple[slice, slice], tuple[int, int]]:
    """A square around a place, moved inside the section, and the place within it."""
    starts = [max(0, min(n - _CROP // 2, size - _CROP)) for n, size in zip(at, shape, strict=True)]
    window = (slice(starts[0], starts[0] + _CROP), slice(starts[1], starts[1] + _CROP))
    return window, (at[0] - starts[0], at[1] - starts[1])


def _facts_part(segmentation: Volume, facts: Mapping[str, Any]) -> list[str]:
    stored = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in segmentation.metadata.extra.items()
    }
    if segmentation.metadata.voxel_size:
        stored["voxel size"] = " × ".join(f"{n:g}" for n in segmentation.metadata.voxel_size) + " nm (z y x)"
    versions = {name: version(name) for name in ("neuropil", "numpy", "torch")} | {"Python": platform.python_version()}
    rows = {**stored, **facts, "versions": ", ".join(f"{name} {number}" for name, number in versions.items())}
    return ["<h2>How it was made</h2>", table_tag((), [(str(key), str(value)) for key, value in rows.items()])]
