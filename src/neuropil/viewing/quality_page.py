"""Write an HTML page on a segmentation without labels: what can be said of it, and where to look."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuropil.geometry import Triple
from neuropil.proofreading.candidates import Proofreading
from neuropil.proofreading.quality import Quality
from neuropil.proofreading.ranking import Ranking, positions
from neuropil.viewing.facts import facts_of
from neuropil.viewing.inline import Picture, plot
from neuropil.viewing.page import write_html
from neuropil.volumes import Volume

_MOST = 50
"""Most rows of each table."""


def write_quality(
    path: Path | str, quality: Quality, state: Proofreading, ranking: Ranking, segmentation: Volume, affinities: Volume
) -> Path:
    """Write the summary, histograms, and lists of segments and questions to look at as one page.

    Args:
        path: the file to write.
        quality: of :func:`neuropil.proofreading.quality.quality_of`.
        state, ranking: the segmentation and its questions.
        segmentation, affinities: named in the commands that open the viewer, and asked how they were made.

    Raises:
        NeuropilError: the folder cannot be written.
    """
    found, shown = ranking.found, min(len(ranking.found), _MOST)
    places = positions(state, found.take(np.arange(shown)))
    questions = [
        ("join" if found.join[i] else "separate", f"{ranking.probability[i]:.3f}", f"{ranking.gain[i]:.6f}",
         _command(affinities, segmentation, places[i], {int(found.id_a[i]), int(found.id_b[i])}))
        for i in range(shown)
    ]  # fmt: skip
    suspects = [
        (one.kind, one.id, one.why, _command(affinities, segmentation, one.at, [one.id])) for one in quality.suspects
    ]
    values: dict[str, Any] = {
        "title": segmentation.path,
        "rows": quality.rows(),
        "pictures": [_sizes(quality), _confidence(quality)],
        "suspects": suspects[:_MOST],
        "more_suspects": max(0, len(suspects) - _MOST),
        "questions": questions,
        "more_questions": len(found) - shown,
        "facts": facts_of(segmentation, affinities),
    }
    return write_html(path, "quality.html", values)


def _command(
    affinities: Volume, segmentation: Volume, at: Triple | Sequence[int], ids: Sequence[int] | set[int]
) -> str:
    """The command that opens the viewer at a place, with some segments chosen."""
    words = ["neuropil", "view", affinities.path, segmentation.path, "--at", ",".join(str(int(c)) for c in at)]
    return shlex.join([*words, "--select", ",".join(map(str, sorted(ids)))])


def _sizes(quality: Quality) -> Picture:
    """A histogram of the sizes of segments."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    largest = float(quality.sizes.max(initial=1))
    axes.hist(quality.sizes, bins=np.geomspace(1, largest + 1, 40).tolist())
    axes.set(xscale="log", yscale="symlog", xlabel="voxels", ylabel="segments")
    return plot(figure, "Sizes of the segments")


def _confidence(quality: Quality) -> Picture:
    """Histograms of the probabilities of both kinds of question."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    parts = [quality.probability[quality.join], quality.probability[~quality.join]]
    axes.hist(parts, bins=np.linspace(0, 1, 21).tolist(), label=["contacts (join?)", "merges (separate?)"])
    axes.set(yscale="symlog", xlabel="probability that the present state is wrong", ylabel="questions")
    axes.legend(frameon=False)
    return plot(figure, "Contacts and merges by confidence")
