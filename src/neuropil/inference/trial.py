"""Whether ``torch.compile`` is faster here: both ways timed on one tile."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from neuropil.inference.engine import Engine

WORTH = 0.95
"""Share of the time that a compiled network may take at most: below that the clock does not tell them apart."""


def compiled_if_faster(
    engine: Engine, window_BZYX: Tensor, repeats: int = 3, clock: Callable[[], float] = time.perf_counter
) -> bool:
    """Time a network on a tile as it is and compiled; True where compiling makes it faster.

    A compiler that fails, or that is not there, is told in a warning, and the answer is False.

    Args:
        engine: how the network is asked; one view of it is timed.
        window_BZYX: a batch of tiles as they will come, float.
        repeats: the best of so many calls counts, after one that does not.
        clock: tells the time, in seconds.
    """
    single = replace(engine, tta=1)
    try:
        compiled = replace(single, network=torch.compile(engine.network, dynamic=False))
        times = [_seconds(one, window_BZYX, repeats, clock) for one in (compiled, single)]
        return times[0] < WORTH * times[1]
    except Exception as error:  # compilers fail in ways of their own; prediction does not need one
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        warnings.warn(f"torch.compile failed ({said}); the network is run as it is", stacklevel=2)
        return False


def _seconds(engine: Engine, window_BZYX: Tensor, repeats: int, clock: Callable[[], float]) -> float:
    best = float("inf")
    for number in range(repeats + 1):
        start = clock()
        engine.affinities(window_BZYX)[..., -1].cpu()  # ends on the processor: nothing is left running
        if number:
            best = min(best, clock() - start)
    return best
