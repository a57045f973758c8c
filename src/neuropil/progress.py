"""The progress display of every long step: a bar with rate and time left in a terminal, plain lines in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

ProgressCallback = Callable[[str, float, float], None]
"""Called with the name of a step, the amount done, and the total amount."""

Unit = Literal["voxels", "blocks", "bytes"]
"""Unit of the amounts of a step."""


class ProgressDisplay:
    """Shows progress on stderr; it is a :data:`ProgressCallback`. Use it in a ``with`` block, or finish each step.

    The rate is that of this run: the amount in the first call of a step counts as done before.

    Args:
        unit: of the amounts.
        every: seconds between the lines of one step if stderr is no terminal; the last line is always printed.

    >>> import contextlib
    >>> with contextlib.redirect_stderr(sys.stdout), ProgressDisplay("blocks") as progress:
    ...     for done in range(4):
    ...         progress("faces", done, 3)
    faces  3 of 3 blocks  0:00
    """

    def __init__(self, unit: Unit = "voxels", every: float = 20.0) -> None:
        self.unit, self.every = unit, every
        self._step, self._since, self._before, self._last = "", 0.0, 0.0, -1e9
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __call__(self, step: str, done: float, total: float) -> None:
        now = time.monotonic()
        if step != self._step:
            self.close()
            self._step, self._since, self._before, self._last = step, now, done, now
        finished = done >= total
        text = state(self.unit, done, total, done - self._before, now - self._since)
        if sys.stderr.isatty():
            self.show(step, done, total, text)
        elif finished or (done > self._before and now - self._last >= self.every):
            self._last = now
            print(f"{step}  {text}", file=sys.stderr, flush=True)
        if finished:
            self.close()
            self._step = ""

    def close(self) -> None:
        """Stop the bar without finishing it."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __enter__(self) -> ProgressDisplay:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def show(self, step: str, done: float, total: float, text: str) -> None:
        """Draw the bar of a step, with a text, in a terminal."""
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"))
            self._bar = Progress(*columns, console=Console(stderr=True), refresh_per_second=5)
            self._bar.start()
            self._task = self._bar.add_task(step, total=total, state=text)
        assert self._task is not None
        self._bar.update(self._task, completed=done, total=total, state=text)


def shown(progress: ProgressCallback | bool | None) -> AbstractContextManager[ProgressCallback | None]:
    """The progress callback for a call from Python.

    Args:
        progress: a callback; True: a display; False: none; None: a display in a terminal or a notebook, else none.

    >>> with shown(False) as progress:
    ...     progress is None
    True
    """
    if callable(progress):
        return nullcontext(progress)
    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    return ProgressDisplay() if progress or (progress is None and watched) else nullcontext(None)


def state(unit: Unit, done: float, total: float, fresh: float, seconds: float) -> str:
    """The state of a step as text: amount, rate and time left.

    Args:
        unit: of the amounts.
        done, total: amount done, and total amount.
        fresh: amount done in ``seconds``.
        seconds: time that this run has taken.

    >>> state("voxels", 2e6, 8e6, fresh=2e6, seconds=4.0), state("blocks", 3, 8, fresh=3, seconds=6.0)
    ('25 %  0.50 Mvoxel/s  0:12 left', '3 of 8 blocks  0:10 left')
    >>> state("bytes", 5e6, 20e6, fresh=5e6, seconds=1.0)
    '5 of 20 MB  5.0 MB/s  0:03 left'
    """
    rate = fresh / max(seconds, 1e-9)
    amount = {
        "voxels": f"{int(100 * done / total)} %",  # 100 only when all is done
        "blocks": f"{done:.0f} of {total:.0f} blocks",
        "bytes": f"{done / 1e6:.0f} of {total / 1e6:.0f} MB",
    }[unit]
    if not fresh:
        return amount
    speed = {"voxels": f"  {rate / 1e6:.2f} Mvoxel/s", "blocks": "", "bytes": f"  {rate / 1e6:.1f} MB/s"}[unit]
    left = "" if done >= total else f"  {clock((total - done) / max(rate, 1e-9))} left"
    return amount + speed + (left or f"  {clock(seconds)}")


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss.

    >>> clock(125), clock(36_000)
    ('2:05', '10:00:00')
    """
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class ProgressCounter:
    """Adds up the amounts done in a step and reports the sum; the end is reported once.

    >>> counter = ProgressCounter("predict", 1000, 600, lambda step, done, total: print(step, done, total))
    predict 600 1000
    >>> counter.add(200)
    predict 800.0 1000
    >>> counter.add(200)
    >>> counter.finish()
    predict 1000 1000
    """

    def __init__(self, step: str, total: int, done: float, progress: ProgressCallback | None) -> None:
        self.step, self.total, self.before, self.fresh, self.progress = step, total, done, 0.0, progress
        if done < total:
            self._report(done)

    def add(self, amount: float) -> None:
        """Add an amount that was done."""
        self.fresh += amount
        if self.before + self.fresh < self.total * (1 - 1e-6):  # else all is done, which finish reports
            self._report(self.before + self.fresh)

    def finish(self) -> None:
        """Report the end of the step."""
        self._report(self.total)

    def _report(self, done: float) -> None:
        if self.progress is not None:
            self.progress(self.step, done, self.total)
