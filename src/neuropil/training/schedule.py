"""The learning rate schedule of a run: warm-up and decay."""

from __future__ import annotations

import math

from neuropil.choices import Schedule
from neuropil.config import OptimizerConfig

WARM = 0.05
"""Share of a run after which the warm-up ends at the latest, also if that is fewer iterations."""


def is_warm(settings: OptimizerConfig, iteration: int, done: float) -> bool:
    """Whether the warm-up is over.

    >>> is_warm(OptimizerConfig(warmup=50), 20, 0.01), is_warm(OptimizerConfig(warmup=50), 20, 1.0)
    (False, True)
    """
    return iteration >= settings.warmup or (settings.warmup_factor is None and done >= WARM)


def learning_rate(settings: OptimizerConfig, iteration: int, done: float, drop: float = 1.0) -> float:
    """The learning rate of the next step.

    Args:
        settings: the recipe's section ``optimizer``.
        iteration: iterations already made.
        done: share of the run that is over, in [0, 1].
        drop: factor of the plateau schedule so far.

    >>> learning_rate(OptimizerConfig(schedule="steps", learning_rate=1.0, warmup=0), 10, done=0.8)
    0.25
    """
    if settings.warmup_factor is None:
        factor = rate(settings.schedule, iteration, settings.warmup, done) * drop
    else:
        start = settings.warmup_factor
        risen = 0.0 if settings.warmup_hold else iteration / max(settings.warmup, 1)
        factor = rate(settings.schedule, iteration, 0, done) * drop
        factor *= 1.0 if iteration >= settings.warmup else start + (1 - start) * risen
    if settings.schedule == "steps":
        factor *= settings.decay ** sum(done >= milestone for milestone in settings.milestones)
    return settings.learning_rate * factor


def rate(schedule: Schedule, iteration: int, warmup: int, done: float) -> float:
    """Factor on the learning rate.

    Args:
        schedule: ``linear`` and ``cosine`` go to zero; ``constant``, ``steps`` and ``plateau`` stay at 1 here.
        iteration: iterations already made.
        warmup: iterations over which the factor rises linearly from 1/warmup to that of the schedule; fewer if 5 % of
            the run are over before.
        done: share of the run that is over, in [0, 1]; by iterations or by the clock.

    >>> rate("linear", 100, 10, 0.25), round(rate("cosine", 100, 10, 0.5), 3), rate("constant", 4, 10, 0.0)
    (0.75, 0.5, 0.5)
    """
    done = min(max(done, 0.0), 1.0)
    factor = {"linear": 1.0 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}.get(schedule, 1.0)
    return factor * min(1.0, max((iteration + 1) / max(warmup, 1), done / WARM))
