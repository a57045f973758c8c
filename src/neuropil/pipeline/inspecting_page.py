"""The HTML page of ``check``: facts, problems, histogram, damaged sections next to their neighbours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.geometry import Box
from neuropil.pipeline.inspecting import Findings
from neuropil.viewing.colours import grey_rgb, overlay
from neuropil.viewing.inline import Picture, picture, plot
from neuropil.viewing.page import write_html
from neuropil.volumes import Volume

SHOWN = 12
"""Most damaged sections that are shown."""
_WIDE = 1120
"""Approximate pixels of a picture on its longer side."""


def write_check(path: Path, found: Findings, image: Volume, labels: Volume | None = None) -> Path:
    """Write the findings of :func:`inspect_volumes` as one HTML page with pictures.

    Raises:
        NeuropilError: the folder cannot be written.

    >>> import tempfile
    >>> from neuropil.pipeline.inspecting import inspect_volumes
    >>> from neuropil.volumes import array_volume
    >>> image = array_volume(np.arange(256, dtype=np.uint8).reshape(1, 16, 16))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_check(Path(folder, "a.html"), inspect_volumes(image), image).name
    'a.html'
    """
    rows = [_beside(image, found, one.z, f"section {one.z}: {one.why}") for one in found.bad[:SHOWN]]
    left = len(found.bad) - len(rows)
    values: dict[str, Any] = {
        "title": f"Check of {image.path}",
        "facts": found.facts,
        "problems": found.problems,
        "histogram": _histogram(found),
        "bad": rows,
        "more": f"{left} more are listed above." if left > 0 else "",
        "sections": _middle(image, labels),
    }
    return write_html(path, "check.html", values)


def _beside(image: Volume, found: Findings, z: int, head: str) -> tuple[str, list[Picture]]:
    """A damaged section between its neighbours."""
    first, last = image.box.start[0], image.box.stop[0]
    near = [n for n in (z - 1, z, z + 1) if first <= n < last]
    bad = {one.z for one in found.bad}
    return head, [picture(grey_rgb(_section(image, n)), f"section {n}{', damaged' if n in bad else ''}") for n in near]


def _middle(image: Volume, labels: Volume | None) -> list[Picture]:
    """The middle section, and the labels over it if there are any."""
    box = image.box if labels is None else image.box.intersect(labels.box)
    if box.size == 0:
        return []
    z = (box.start[0] + box.stop[0]) // 2
    grey = _section(image, z, box)
    shown = [picture(grey_rgb(grey), f"section {z}")]
    if labels is not None:
        shown.append(picture(overlay(grey, _section(labels, z, box), 0.5), f"labels of section {z}"))
    return shown


def _section(volume: Volume, z: int, box: Box | None = None) -> NDArray[Any]:
    """A section, subsampled if it is large."""
    box = box or volume.box
    section = volume.read(Box((z, *box.start[1:]), (z + 1, *box.stop[1:])))[0]
    step = max(1, max(section.shape) // _WIDE)
    return np.asarray(section[::step, ::step])


def _histogram(found: Findings) -> Picture | None:
    """The histograms of the image and of the model's training images."""
    from matplotlib.figure import Figure

    if found.grey is None:
        return None
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    edges = np.linspace(0, 1, len(found.grey.histogram) + 1)
    axes.stairs(found.grey.histogram, edges, fill=True, alpha=0.5, label="this image")
    model = found.model
    if model is not None and model.grey is not None and model.grey.histogram:
        axes.stairs(model.grey.histogram, edges, color="black", label=f"trained on: {model.name}")
    axes.set(xlabel="grey value, share of the range", ylabel="share of the voxels", xlim=(0, 1))
    axes.legend(frameon=False)
    return plot(figure, "Grey values of a fixed sample of the image, as the network would see them")
