"""Draw scores against thresholds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neuropil.evaluation import ThresholdCurve


def draw_curve(curve: ThresholdCurve, path: Path, threshold: float | None = None) -> None:
    """Write a picture of a threshold curve: adapted Rand on the left, variation of information on the right.

    Args:
        curve: what ``threshold_curve`` returns.
        path: the picture, .png, .svg or .pdf.
        threshold: one to mark.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    rand, information = figure.subplots(1, 2)
    at = np.linspace(0, 1, 501)
    step = curve.step(at)
    rand.plot(at, curve.adapted_rand_error[step], label="adapted Rand error", color="black")
    rand.plot(at, 1 - curve.adapted_rand_precision[step], label="1 − precision (merges)", color="tab:red", lw=1)
    rand.plot(at, 1 - curve.adapted_rand_recall[step], label="1 − recall (splits)", color="tab:blue", lw=1)
    information.plot(at, curve.voi[step], label="VI", color="black")
    information.plot(at, curve.voi_merge[step], label="VI merge", color="tab:red", lw=1)
    information.plot(at, curve.voi_split[step], label="VI split", color="tab:blue", lw=1)
    for axes, name in ((rand, "adapted Rand"), (information, "bits")):
        axes.set(xlabel="threshold (affinity down to which segments merge)", ylabel=name, xlim=(0, 1))
        axes.set_ylim(bottom=0)
        if threshold is not None:
            axes.axvline(threshold, color="grey", ls=":", label=f"threshold {threshold:.3f}")
        axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
