"""Commands run in forked children: cheap, and a crash of one is an answer."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any


@dataclass
class Outcome:
    """How many cases were tried, and what was wrong."""

    name: str
    cases: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, cases: int, failures: list[str]) -> None:
        self.cases += cases
        self.failures += failures

    def __str__(self) -> str:
        return f"{self.name}: {self.cases} cases, {len(self.failures)} failures"


@dataclass
class Child:
    """What a child process returned; None with what is told of its end where it returned nothing."""

    value: Any
    told: str


def in_child(work: Callable[[], Any], seconds: float, before: Callable[[int], None] | None = None) -> Child:
    """Do something in a forked process, killed after so many seconds; ``before`` gets its number at once.

    The parent must hold no threads: it imports, and computes nothing.
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(read)
            value = work()
            with os.fdopen(write, "wb") as file:
                pickle.dump(value, file)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(write)
    if before is not None:
        before(pid)
    with _alarm(pid, seconds), os.fdopen(read, "rb") as file:
        text = file.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return Child(pickle.loads(text) if status == 0 else None, f"exit {status}")


@contextlib.contextmanager
def _alarm(pid: int, seconds: float) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class TooLong(BaseException):
    """A command took longer than it may."""


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def command(words: list[str]) -> tuple[int, str, str]:
    """Run a command of neuropil in this process: exit code, what it printed, what it complained of."""
    from neuropil.cli import app

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        try:
            app(words)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return code, out.getvalue(), err.getvalue()


def run(words: str, seconds: float, megabytes: float) -> str:
    """What is wrong with a command on a hostile file; "" where it reads it, or refuses it with one message."""
    before = _peak()
    start = monotonic()
    slow = 6 if os.environ.get("TORTURE_PATIENT") else 1  # beside other programs
    try:
        with _limited(seconds * slow * 4):
            code, _, err = command(words.split(" "))
    except TooLong:
        return f"more than {seconds * slow * 4:.0f} s"
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error} ({where.filename.rpartition('/')[2]}:{where.lineno})"[:300]
    lines = [line for line in err.splitlines() if line]
    if code not in (0, 2):
        return f"exit {code}: {err[:200]}"
    if code == 2 and not any(line.startswith("neuropil: ") for line in lines):
        return f"no message: {err[:200]}"
    if "Traceback" in err or "weights_only" in err:
        return f"not in plain words: {err[:200]}"
    if any(c in err.replace("\n", "") for c in "\x1b\x07\0\r"):
        return f"control characters in the message: {err!r:.200}"
    if monotonic() - start > seconds * slow:
        return f"{monotonic() - start:.1f} s"
    if _peak() - before > megabytes:
        return f"{_peak() - before:.0f} MB"
    return ""


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def preload() -> None:
    """Import what commands import, once for all children; nothing computes yet."""
    import h5py  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import PIL.PngImagePlugin  # noqa: F401
    import tensorstore  # noqa: F401
    import tifffile  # noqa: F401
    import torch  # noqa: F401

    import neuropil.blockwise
    import neuropil.cli
    import neuropil.compat.pytc.checkpoint
    import neuropil.inference.resumable
    import neuropil.pipeline.inspecting
    import neuropil.proofreading.export
    import neuropil.training
    import neuropil.viewing.report  # noqa: F401

    sys.setswitchinterval(0.001)
