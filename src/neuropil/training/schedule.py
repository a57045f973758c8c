"""The learning rate over a run, by how much of the run is done."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["constant", "linear", "cosine"]


def rate(schedule: Schedule, iteration: int, warmup: int, done: float) -> float:
    """Factor on the learning rate.

    Args:
        schedule: ``constant``, ``linear`` (to zero) or ``cosine`` (to zero).
        iteration: iterations already made.
        warmup: iterations over which the factor rises linearly from 1/warmup to what the schedule says.
        done: share of the run that is over, in [0, 1]; by iterations or by the clock.

    >>> rate("linear", 100, 10, 0.25), round(rate("cosine", 100, 10, 0.5), 3), rate("constant", 4, 10, 0.0)
    (0.75, 0.5, 0.5)
    """
    done = min(max(done, 0.0), 1.0)
    factor = {"constant": 1.0, "linear": 1.0 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[schedule]
    return factor * min(1.0, (iteration + 1) / max(warmup, 1))
