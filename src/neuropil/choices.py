"""Values of options that recipes, the command line and the algorithms share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

Method = Literal["agglomerate", "mutex", "watershed"]
"""Method of segmentation."""

Keep = Literal["nearest", "all", "channels"]
"""Which edges are predicted."""

StoredAs = Literal["logit8", "uint8", "float16", "float32"]
"""How predicted affinities are stored."""

ExportTarget = Literal["neuroglancer", "webknossos", "pychunkedgraph", "swc"]
"""Programs that a segmentation can be exported to."""

Precision = Literal["auto", "int8", "bf16", "fp32"]
"""The numbers in which a network predicts."""

TtaMode = Literal["mean", "min", "max"]
"""How the views of test-time augmentation are combined."""

Metric = Literal["adapted_rand_error", "voi"]
"""The metric that tuning minimises."""

Schedule = Literal["linear", "cosine", "constant", "steps", "plateau"]
"""Schedule of the learning rate."""

Norm = Literal["batch", "sync_batch", "group", "instance", "none"]
"""The normalisation in a network."""

Activation = Literal["elu", "relu", "leaky_relu", "gelu", "silu"]
"""The nonlinearity in a network."""

_USED = {
    "agglomerate": {"score", "threshold", "low", "high"},
    "watershed": {"low", "high"},
    "mutex": {"bias", "strides", "fragments"},
}


def unused_settings(names: Iterable[str], method: str, min_size: int, fragments: bool = False) -> tuple[str, ...]:
    """Settings that a segmentation by this method does not use. Joining small segments uses the score, and the mutex
    watershed of fragments uses the settings of the watershed.

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


Colours = Literal["image", "segmentation"]
"""How colours in TIFF and PNG are read: as brightness, or as ids."""
