"""Ending a run well: on request with a checkpoint, on a broken loss with the batch that broke it."""

from __future__ import annotations

import math
import signal
import threading
from pathlib import Path
from types import FrameType, TracebackType

import torch
from torch import Tensor

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


class NanCheck:
    """Stops a run whose loss or gradient becomes NaN or infinite: its weights would be worth nothing.

    On a CPU every value is checked at once, before it reaches the weights. Reading a value from a GPU waits for it:
    there the check is made by :meth:`raise_if_bad`, before anything is shown or saved.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.folder, self.at_once = folder, device.type == "cpu"
        self._memory: Tensor | float = 0.0
        """0, or NaN after the first value that was NaN or infinite."""

    def see(self, what: str, value: Tensor, batch: Batch, iteration: int) -> None:
        """Check a loss or the norm of a gradient; on a GPU without waiting for it."""
        if self.at_once:
            check_finite(what, value.item(), batch, iteration, self.folder)
        else:
            self._memory = self._memory + 0 * value.detach().float()

    def raise_if_bad(self, batch: Batch, iteration: int) -> None:
        """Wait for the device, and stop the run if any value since the last call was NaN or infinite.

        Raises:
            NeuropilError: so it was; the batch that is left behind is the present one, not always the one to blame.
        """
        check_finite("loss or its gradient", float(self._memory), batch, iteration, self.folder)


def check_finite(what: str, value: float, batch: Batch, iteration: int, folder: Path) -> None:
    """Stop a run whose loss is NaN or infinite, and leave the batch for inspection.

    Raises:
        NeuropilError: the value is infinite or NaN.
    """
    if math.isfinite(value):
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
        f"the {what} became {value} at iteration {iteration}; the batch is in {path}; lower optimizer.learning_rate or "
        "set training.precision to fp32, and --resume from the last checkpoint"
    )
