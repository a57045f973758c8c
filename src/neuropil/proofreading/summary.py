"""A summary of a segmentation that needs no labels."""

from __future__ import annotations

import numpy as np

from neuropil.proofreading.candidates import Proofreading
from neuropil.proofreading.ranking import Ranking

CONFIDENT = (0.01, 0.05, 0.2)
"""Probabilities of being wrong that divide contacts into classes."""
ORPHAN = 1000
"""Voxels from which a segment that touches no face of the volume is worth naming."""


def summary_of(state: Proofreading, ranking: Ranking) -> list[str]:
    """Lines about sizes, orphans, uncertain contacts and what proofreading could gain; nothing is compared with labels.

    >>> from neuropil.proofreading import load_calibration, proofreading_of, rank
    >>> state = proofreading_of(np.full((3, 2, 4, 4), 0.9))
    >>> summary_of(state, rank(state, load_calibration()))[0]
    'segments                 1, background 0.0 % of the voxels'
    """
    lut, sizes = state.cut.lut, state.cut.sizes
    ids, segment = np.unique(lut, return_inverse=True)
    voxels = np.bincount(segment, weights=sizes).astype(np.int64)
    border = np.bincount(segment, weights=state.border)
    real = ids > 0
    background = int(voxels[~real].sum())
    share = 100 * background / max(int(voxels.sum()), 1)
    large = np.sort(voxels[real])[::-1]
    orphan = real & (border == 0) & (voxels >= ORPHAN)
    half = int(np.searchsorted(np.cumsum(large), large.sum() / 2)) + 1 if len(large) else 0
    lines = [
        f"segments                 {int(real.sum())}, background {share:.1f} % of the voxels",
        f"sizes in voxels          largest {large[:1].sum()}, median {int(np.median(large)) if len(large) else 0}; "
        f"{half} segments hold half of the volume",
        f"orphans                  {int(orphan.sum())} segments of {ORPHAN} voxels or more touch no face of the volume"
        + (f", largest {voxels[orphan].max()}" if orphan.any() else ""),
    ]
    found = ranking.found
    for name, kind in (("contacts", found.join), ("merges", ~found.join)):
        bounds = [0.0, *CONFIDENT, 1.0]
        counts = np.histogram(ranking.probability[kind], bounds)[0]
        classes = ", ".join(
            f"{count} from {100 * low:g} to {100 * high:g} %"
            for low, high, count in zip(bounds, bounds[1:], counts, strict=False)
        )
        lines.append(f"{name + ' that may be wrong':<25}{classes}")
    lines.append(f"expected gain            {ranking.gain.sum():.4f} bits of VI if all {len(found)} were decided")
    return lines
