"""How far a prediction is: voxels done, their speed, the time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """A state of a run.

    >>> str(Progress(done=2_000_000, total=8_000_000, seconds=4.0, fresh=2_000_000))
    '25 %  0.50 Mvoxel/s  0:12 left'
    """

    done: float
    """Voxels of the image that are predicted, those of an earlier run included."""
    total: int
    seconds: float
    """Time spent in this run."""
    fresh: float
    """Voxels predicted in this run."""

    @property
    def speed(self) -> float:
        """Voxels of the image per second, all views of them."""
        return self.fresh / max(self.seconds, 1e-9)

    @property
    def left(self) -> float:
        """Seconds left at this speed."""
        return (self.total - self.done) / max(self.speed, 1e-9) if self.fresh else float("inf")

    def __str__(self) -> str:
        text = f"{int(100 * self.done / self.total)} %"  # 100 only when all is done
        if not self.fresh:
            return text
        minutes, seconds = divmod(round(self.left), 60)
        hours, minutes = divmod(minutes, 60)
        clock = f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
        return f"{text}  {self.speed / 1e6:.2f} Mvoxel/s  {clock} left"


Watch = Callable[[Progress], None]
"""Called after each batch of tiles."""


@dataclass
class ProgressLine:
    """Print progress: one line kept up to date in a terminal, a line every ``every`` seconds in a log file."""

    title: str = "predict"
    every: float = 20.0
    _last: float = field(default=-1e9, repr=False)

    def __call__(self, progress: Progress) -> None:
        terminal = sys.stderr.isatty()
        now, finished = time.monotonic(), progress.done >= progress.total
        if not finished and now - self._last < (0.2 if terminal else self.every):
            return
        self._last = now
        end = "\n" if finished or not terminal else ""
        print(f"{chr(13) if terminal else ''}{self.title}  {progress}   ", end=end, file=sys.stderr, flush=True)


class Clock:
    """Counts the voxels of a run and tells a watcher."""

    def __init__(self, total: int, done: float, watch: Watch | None) -> None:
        self.total, self.before, self.fresh, self.watch = total, done, 0.0, watch
        self.start = time.monotonic()

    def add(self, voxels: float) -> None:
        """So many more are done."""
        self.fresh += voxels
        if self.before + self.fresh < self.total * (1 - 1e-6):  # else all are, and finish tells
            self._tell(self.before + self.fresh)

    def finish(self) -> None:
        """All are done."""
        self._tell(self.total)

    def _tell(self, done: float) -> None:
        if self.watch is not None:
            self.watch(Progress(done, self.total, time.monotonic() - self.start, self.fresh))
