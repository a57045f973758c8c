"""Stop a run: on a signal, after a checkpoint is saved; or at a NaN loss, saving the batch."""

from __future__ import annotations

import math
import os
import signal
import threading
from pathlib import Path
from types import FrameType, TracebackType

import torch
from torch import Tensor

from neuropil.errors import NeuropilError
from neuropil.training.batches import Batch

LONGEST_STEP = 30.0
"""Seconds that a step may take after SIGTERM or SIGHUP, before the run is ended without its checkpoint."""


class StopRequest:
    """A context in which Ctrl-C, SIGTERM and SIGHUP do not end the run at once: the step is finished and saved first.

    A second signal ends the run at once, and so does a step that takes longer than ``LONGEST_STEP`` seconds after the
    first SIGTERM or SIGHUP, even if it hangs in native code. A SIGHUP that was ignored at the start stays ignored.
    """

    def __init__(self, longest_step: float = LONGEST_STEP) -> None:
        self._longest, self._signal = longest_step, 0
        self._noticed = threading.Event()
        self._before: dict[int, object] = {}
        self._pipe: tuple[int, int] | None = None

    @property
    def signal(self) -> int | None:
        """The signal that asked to stop, if any; reading it also tells the watcher that a step was finished."""
        if not self._signal:
            return None
        self._noticed.set()
        return self._signal

    def __enter__(self) -> StopRequest:
        # Python handles signals in the main thread only; a run in another thread cannot be stopped this way.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
            self._pipe = os.pipe()
            os.set_blocking(self._pipe[1], False)
            # Python's handlers wait until native code returns; this pipe gets the signal at once.
            signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
            self._watcher = threading.Thread(target=self._watch, args=(self._pipe[0],), daemon=True)
            self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        if self._pipe is not None:
            signal.set_wakeup_fd(-1)
            self._noticed.set()
            os.close(self._pipe[1])  # ends the watcher thread, which must end before the interpreter
            self._watcher.join(5)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._signal == signal.SIGINT == number:
            raise KeyboardInterrupt
        self._signal = number

    def _watch(self, pipe: int) -> None:
        """In a thread: end the process at the second SIGTERM or SIGHUP, or if no step finishes after the first."""
        first = 0
        while content := os.read(pipe, 1):
            number = content[0]
            if number not in (signal.SIGTERM, signal.SIGHUP):
                continue
            if first:
                os._exit(128 + number)
            first = number
            threading.Thread(target=self._wait, args=(number,), daemon=True).start()
        os.close(pipe)

    def _wait(self, number: int) -> None:
        if not self._noticed.wait(self._longest):
            print(f"stopped by {signal.Signals(number).name}: no step finished in time, last.pt is older", flush=True)
            os._exit(128 + number)

    def obey(self) -> None:
        """End the program: KeyboardInterrupt after Ctrl-C, else SystemExit with 128 + signal."""
        if self._signal in (signal.SIGTERM, signal.SIGHUP):
            raise SystemExit(128 + self._signal)
        raise KeyboardInterrupt


class NanCheck:
    """Stops a run whose loss or gradient becomes NaN or infinite: its weights can no longer be used.

    On a CPU every value is checked at once, before it reaches the weights. Reading a value from a GPU would wait for
    it, so there :meth:`raise_if_bad` makes the check, before anything is logged or saved.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.folder, self.at_once = folder, device.type == "cpu"
        self._memory: Tensor | float = 0.0
        """0, or NaN after the first value that was NaN or infinite."""

    def see(self, what: str, value: Tensor, batch: Batch, iteration: int) -> None:
        """Check a loss or the norm of a gradient; on a GPU only remember it."""
        if self.at_once:
            check_finite(what, value.item(), batch, iteration, self.folder)
        else:
            self._memory = self._memory + 0 * value.detach().float()

    def raise_if_bad(self, batch: Batch, iteration: int) -> None:
        """Wait for the device, and stop the run if any value since the last call was NaN or infinite.

        Raises:
            NeuropilError: one was; the saved batch is the present one, which is not always the cause.
        """
        check_finite("loss or its gradient", float(self._memory), batch, iteration, self.folder)


def check_finite(what: str, value: float, batch: Batch, iteration: int, folder: Path) -> None:
    """Stop a run whose loss is NaN or infinite, and save the batch for inspection.

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
