"""Figures for notebooks, the demo and the README. Matplotlib is imported when one is drawn; no window is opened.

``panel_figure``, ``result_figure`` and ``draw_curve`` return a figure, which a notebook shows; ``demo_figure`` and
``loss_figure`` write one to a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuropil.errors import NeuropilError
from neuropil.evaluation import Scores, contingency
from neuropil.evaluation.tuning import draw_curve as draw_curve
from neuropil.geometry import Box
from neuropil.viewing.colours import MERGE, MISSING, SPLIT
from neuropil.viewing.colours import affinity_rgb as affinity_rgb
from neuropil.viewing.colours import error_overlay as error_overlay
from neuropil.viewing.colours import grey_rgb as grey_rgb
from neuropil.viewing.colours import label_colours as label_colours
from neuropil.viewing.colours import matched as matched
from neuropil.viewing.colours import mistakes as mistakes
from neuropil.viewing.colours import overlay as overlay
from neuropil.volumes.atomic import replacing
from neuropil.volumes.marks import PICTURE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL = 4.2  # inches
_DPI = 150


def demo_figure(
    image: NDArray[Any],
    affinities: NDArray[Any],
    segmentation: NDArray[Any],
    labels: NDArray[Any],
    scores: Scores,
    path: str | Path,
    *,
    title: str = "",
    show: Box | None = None,
) -> Path:
    """Write ``result_figure`` to a PNG (or anything that Matplotlib writes, by its suffix), and return the path."""
    return _save(result_figure(image, affinities, segmentation, labels, scores, title=title, show=show), path)


def result_figure(
    image: NDArray[Any],
    affinities: NDArray[Any],
    segmentation: NDArray[Any],
    labels: NDArray[Any],
    scores: Scores,
    *,
    title: str = "",
    show: Box | None = None,
) -> Figure:
    """One section in five panels: image, affinities, segmentation, truth, and where the last two differ.

    Args:
        image: ``[z, y, x]``.
        affinities: ``[edge, z, y, x]``, the three nearest offsets, float in [0, 1] or uint8.
        segmentation: ``[z, y, x]``, integers; segments have the colours of the neurons that they match.
        labels: ``[z, y, x]``, integers.
        scores: of the whole volume, for the heading.
        title: name of the volume, for the heading.
        show: the part of one section to draw, counted from the first voxel of the arrays; by default the middle
            section, all of it.

    Raises:
        NeuropilError: shapes differ, or ``show`` lies outside or spans several sections.
    """
    if not image.shape == affinities.shape[1:] == segmentation.shape == labels.shape:
        raise NeuropilError(
            "image, affinities, segmentation and labels must cover the same voxels, got shapes "
            f"{image.shape}, {affinities.shape}, {segmentation.shape}, {labels.shape}"
        )
    z, y, x = _section(image.shape, show).slices
    table = contingency(segmentation, labels)
    here_image, here_segments, here_labels = image[z, y, x][0], segmentation[z, y, x][0], labels[z, y, x][0]
    panels = {
        "image": grey_rgb(here_image),
        "affinities (x red, y green, z blue)": affinity_rgb(affinities[:, z, y, x], 0),
        "segmentation": overlay(here_image, matched(here_segments, table), 0.6),
        "truth": overlay(here_image, here_labels, 0.6),
        "where they differ": error_overlay(here_image, here_segments, here_labels, table),
    }
    figure = panel_figure(panels, _heading(title, scores))
    for right, name, colour in ((0.66, "split", SPLIT), (0.83, "merge", MERGE), (1.0, "missing", MISSING)):
        last, shade = figure.axes[-1], tuple(part / 255 for part in colour)
        last.text(right, 1.012, f"■ {name}", transform=last.transAxes, ha="right", fontsize=9, color=shade)
    return figure


def panel_figure(panels: Mapping[str, NDArray[Any]], heading: str = "") -> Figure:
    """Pictures of equal shape side by side, each with its name above it.

    Args:
        panels: by name; RGB ``[y, x, 3]`` uint8, as from ``overlay`` or ``affinity_rgb``, or numbers ``[y, x]``, shown
            in grey from minimum to maximum.
        heading: above all of them.

    Raises:
        NeuropilError: no panels, or sections of different shape.

    >>> figure = panel_figure({"dark": np.zeros((8, 9, 3), np.uint8), "ramp": np.arange(72).reshape(8, 9)})
    >>> [axes.get_title(loc="left") for axes in figure.axes]
    ['dark', 'ramp']
    """
    shapes = {picture.shape[:2] for picture in panels.values()}
    if len(shapes) != 1 or any(picture.ndim not in (2, 3) for picture in panels.values()):
        raise NeuropilError(f"expected pictures of one shape, got {[picture.shape for picture in panels.values()]}")
    height, width = shapes.pop()
    tall = _PANEL * min(max(height / width, 0.3), 1.5)
    figure, axes = _figure(len(panels), (_PANEL * len(panels), tall + (0.65 if heading else 0.35)))
    for ax, (name, picture) in zip(axes, panels.items(), strict=True):
        ax.imshow(picture, cmap="gray", interpolation="nearest" if width < 400 else "antialiased")
        ax.set_title(name, fontsize=11, loc="left", pad=4)
        ax.set_axis_off()
    if heading:
        figure.suptitle(heading, x=0.005, ha="left", fontsize=12.5, fontweight="bold")
    return figure


def _section(shape: Sequence[int], show: Box | None) -> Box:
    """``show`` checked, or the whole middle section."""
    whole = Box.whole(shape)
    if show is None:
        z = shape[0] // 2
        return whole.intersect(Box((z, 0, 0), (z + 1, shape[1], shape[2])))
    if not whole.contains(show) or show.shape[0] != 1 or not show.size:
        raise NeuropilError(f"expected a box of one section inside {whole} to show, got {show}")
    return show


def _heading(title: str, scores: Scores) -> str:
    judged = (
        f"adapted Rand error {scores.adapted_rand_error:.4f}"
        f"   (precision {scores.adapted_rand_precision:.3f}, recall {scores.adapted_rand_recall:.3f})"
        f"   ·   VI split {scores.voi_split:.3f}, merge {scores.voi_merge:.3f} bit"
    )
    return f"{title}   ·   {judged}" if title else judged


def loss_figure(iterations: Sequence[float], losses: Sequence[float], path: str | Path, *, title: str = "") -> Path:
    """Write a figure of the training loss and its running mean, and return the path.

    Args:
        iterations: iteration of each value.
        losses: as many values.
        path: the PNG file.

    Raises:
        NeuropilError: lengths differ, or there is nothing to draw.
    """
    if len(iterations) != len(losses) or not len(losses):
        raise NeuropilError(f"expected as many losses as iterations, got {len(losses)} and {len(iterations)}")
    values = np.asarray(losses, np.float64)
    span = min(len(values), max(1, len(values) // 20))
    total = np.cumsum(np.insert(values, 0, 0.0))
    mean = (total[span:] - total[:-span]) / span
    figure, (ax,) = _figure(1, (7.0, 3.6))
    ax.plot(iterations, values, color="#9db8d2", linewidth=0.8, label="loss")
    middle = np.asarray(iterations)[(span - 1) // 2 :][: len(mean)]
    ax.plot(middle, mean, color="#1f4e79", linewidth=1.8, label=f"mean of {span}")
    ax.set_xlabel("iteration")
    ax.set_ylabel("loss")
    ax.set_ylim(bottom=0.0)
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    if title:
        ax.set_title(title, loc="left", fontsize=11)
    return _save(figure, path)


def _figure(panels: int, inches: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """A figure with its axes in one row; without pyplot, which keeps global state and may need a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    return figure, list(axes)


def _save(figure: Figure, path: str | Path) -> Path:
    """Write under a temporary name, then rename, so that a figure file is always complete."""
    path = Path(path)
    kind = path.suffix[1:] or "png"
    with replacing(path) as file:
        figure.savefig(file, format=kind, metadata=PICTURE if kind == "png" else None)
    return path
