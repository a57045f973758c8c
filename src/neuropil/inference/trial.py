"""Decide whether ``torch.compile`` is faster, by timing both ways on one tile."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from neuropil.inference.engine import Engine

WORTH = 0.95
"""A compiled network is used if it takes less than this share of the time; smaller gains are within timing noise."""


def compiled_if_faster(
    engine: Engine, window_BZYX: Tensor, repeats: int = 3, clock: Callable[[], float] = time.perf_counter
) -> bool:
    """Time a network on a tile with and without ``torch.compile``; True if compiling makes it faster.

    If the compiler fails or is missing, the result is False, with a warning.

    Args:
        engine: the engine; one view is timed.
        window_BZYX: a batch of tiles, float.
        repeats: number of timed calls after a first one; the fastest counts.
        clock: returns seconds.
    """
    single = replace(engine, tta=1)
    try:
        compiled = replace(single, network=torch.compile(engine.network, dynamic=False))
        times = [_seconds(one, window_BZYX, repeats, clock) for one in (compiled, single)]
        return times[0] < WORTH * times[1]
    except Exception as error:  # compilers raise many kinds of errors, and prediction works without them
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        warnings.warn(f"torch.compile failed ({said}); the network is run as it is", stacklevel=2)
        return False


def _seconds(engine: Engine, window_BZYX: Tensor, repeats: int, clock: Callable[[], float]) -> float:
    best = float("inf")
    for number in range(repeats + 1):
        start = clock()
        engine.affinities(window_BZYX)[..., -1].cpu()  # the copy waits until the GPU has finished
        if number:
            best = min(best, clock() - start)
    return best
