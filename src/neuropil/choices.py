"""Which settings each method of segmentation looks at."""

from __future__ import annotations

from collections.abc import Iterable

_USED = {
    "agglomerate": {"score", "threshold", "low", "high"},
    "watershed": {"low", "high"},
    "mutex": {"bias", "strides", "fragments"},
}


def unused_settings(names: Iterable[str], method: str, min_size: int, fragments: bool = False) -> tuple[str, ...]:
    """Settings that a segmentation by this method never looks at; joining small segments looks at the score, and the
    mutex watershed of fragments at what makes these.

    >>> unused_settings(["low", "high", "score", "bias"], "mutex", min_size=0)
    ('low', 'high', 'score')
    >>> unused_settings(["low", "high", "score", "bias"], "mutex", min_size=100, fragments=True)
    ()
    """
    used = {"method", "min_size", "fill"} | _USED[method]
    if min_size > 1:
        used.add("score")
    if method == "mutex" and fragments:
        used |= _USED["watershed"]
    return tuple(name for name in names if name not in used)
