"""Ending a run well: on request with a checkpoint, on a broken loss with the batch that broke it."""

from __future__ import annotations

import math
import signal
import threading
from pathlib import Path
from types import FrameType, TracebackType

import torch

from neuropil.errors import NeuropilError
from neuropil.training.batches import Batch


class StopRequest:
    """While entered, SIGINT (Ctrl-C) and SIGTERM are noted, not obeyed at once: the step is finished, then saved.

    A second SIGINT ends the run where it stands.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        # Only the main thread may handle signals; a run in another one is stopped by whoever started it.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal == signal.SIGINT == number:
            raise KeyboardInterrupt
        self.signal = number

    def obey(self) -> None:
        """End the program as the signal asks: Ctrl-C as always, SIGTERM with its exit code."""
        if self.signal == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt


def check_finite(loss: float, batch: Batch, iteration: int, folder: Path) -> None:
    """Stop a run whose loss is no longer a number, and leave the batch for inspection: weights are useless from here.

    Raises:
        NeuropilError: the loss is infinite or NaN.
    """
    if math.isfinite(loss):
        return
    path = folder / "broken_batch.pt"
    content = {
        "iteration": iteration,
        "labels": batch.labels_BZYX.cpu(),
        "image": batch.image_BCZYX.detach().cpu(),
        "target": batch.target_BEZYX.cpu(),
        "validity": batch.validity_BEZYX.cpu(),
    }
    torch.save(content, path)
    raise NeuropilError(
        f"the loss became {loss} at iteration {iteration}; the batch is in {path}; lower optimizer.learning_rate or "
        "set training.precision to fp32, and --resume from the last checkpoint"
    )
