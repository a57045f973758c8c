"""Write the middle section of a result as a figure and a page, at most 1024 pixels on a side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neuropil.evaluation import Scores
from neuropil.geometry import NEAREST, Box
from neuropil.viewing.figures import demo_figure
from neuropil.viewing.page import write_page
from neuropil.volumes import Volume

WIDEST = 1024


def write_results(
    folder: Path,
    *,
    image: Volume,
    affinities: Volume,
    segmentation: Volume,
    labels: Volume,
    scores: Scores,
    facts: Mapping[str, Any],
) -> Path:
    """Write ``figure.png`` and ``index.html`` into a folder; only the section shown is read.

    Args:
        folder: where to write.
        image, affinities, segmentation, labels: volumes placed by their origins.
        scores: of the whole segmentation.
        facts: rows below the scores; ``seconds`` among them becomes a table of its own.

    Returns:
        Path of the page.
    """
    show = middle_section(segmentation.box)
    edges = affinities.metadata.offsets or NEAREST
    nearest = [edges.index(o) if o in edges else edges.index((-o[0], -o[1], -o[2])) for o in NEAREST]
    shown, encoding = affinities.read(show)[nearest], affinities.metadata.encoding
    values = encoding.decode(shown) if encoding else shown.astype(np.float32, copy=False)
    parts = (image.read(show), values, segmentation.read(show), labels.read(show))
    figure = demo_figure(*parts, scores, folder / "figure.png", title=f"section {show.start[0]}")
    seconds = facts.get("seconds")
    rest = {name: value for name, value in facts.items() if name != "seconds"}
    caption = [(f"Section {show.start[0]}, {show}.", figure)]
    columns = {"trained": scores.to_json()}
    return write_page(
        folder / "index.html", "neuropil run", scores=columns, figures=caption, facts=rest, seconds=seconds
    )


def middle_section(box: Box) -> Box:
    """The centre of the middle section of a box, at most 1024 voxels on y and x.

    >>> str(middle_section(Box((70, 0, 0), (80, 2048, 512))))
    '75:76,512:1536,0:512'
    """
    z, y, x = box.shape
    high, wide = min(y, WIDEST), min(x, WIDEST)
    start = (box.start[0] + z // 2, box.start[1] + (y - high) // 2, box.start[2] + (x - wide) // 2)
    return Box.at(start, (1, high, wide))
