"""Python in processes forked from one that has imported neuropil: they start at once, and not after two seconds."""

import atexit
import ctypes
import fcntl
import gc
import json
import os
import resource
import runpy
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typer.main


@dataclass(frozen=True)
class Done:
    """What a process left."""

    returncode: int
    """Negative: the signal that killed it."""
    stdout: str
    stderr: str
    seconds: float
    """Of the processor."""


class Process:
    """A process that runs."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.done: Done | None = None

    def poll(self) -> Done | None:
        """What it left, if it has ended."""
        if self.done is None and (left := _ask("left", self.pid)):
            self.done = Done(**left)
        return self.done

    def wait(self, seconds: float = 300) -> Done:
        """What it left at its end."""
        until = time.monotonic() + seconds
        while (done := self.poll()) is None:
            assert time.monotonic() < until, f"still there after {seconds} s"
            time.sleep(0.005)
        return done

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)


def start(*arguments: object, environ: Mapping[str, str] | None = None, **limits: int) -> Process:
    """As ``subprocess.Popen([sys.executable, *arguments])`` in this folder, with ``-c CODE`` or ``-m MODULE``.

    Args:
        environ: variables in addition to those of this process.
        limits: by the names of module ``resource``: ``RLIMIT_FSIZE=2000``.
    """
    given = {"arguments": [*map(str, arguments)], "environ": {**os.environ, **(environ or {})}}
    return Process(_ask("start", {**given, "folder": os.getcwd(), "limits": limits}))


def python(*arguments: object, **limits: int) -> Done:
    """As ``subprocess.run([sys.executable, *arguments])``."""
    return start(*arguments, **limits).wait()


def _ask(what: str, given: object) -> Any:
    server = _server()
    print(json.dumps([what, given]), file=server.stdin, flush=True)
    return json.loads(server.stdout.readline())


@cache
def _server() -> subprocess.Popen:
    words = [sys.executable, "-c", "import forks; forks.serve()"]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ)
    atexit.register(server.communicate)
    return server


def serve() -> None:
    """Start processes, and tell what they left, as lines of stdin ask; without threads, which a fork would lose."""
    from neuropil.cli import app
    from torture.children import preload

    preload()
    typer.main.get_command = cache(typer.main.get_command)
    typer.main.get_command(app)
    gc.freeze()  # no child looks through these objects, which would copy them
    running: dict[int, list[int]] = {}
    for line in sys.stdin:
        what, given = json.loads(line)
        if what == "start":
            streams = [os.pipe() for _ in range(2)]
            pid = os.fork()
            if pid == 0:
                _run(given, [write for _, write in streams])
            running[pid] = [read for read, _ in streams]
            for read, write in streams:
                os.close(write)
                fcntl.fcntl(read, fcntl.F_SETPIPE_SZ, 1 << 20)  # which nobody reads before the end
            print(pid, flush=True)
        else:
            print(json.dumps(_left(given, running)), flush=True)


def _left(pid: int, running: dict[int, list[int]]) -> dict[str, Any] | None:
    """What a process left, as :class:`Done` has it; None while it runs."""
    ended, status, used = os.wait4(pid, os.WNOHANG)
    if not ended:
        return None
    said = []
    for read in running.pop(pid):
        os.set_blocking(read, False)  # what it has started may hold them open
        with open(read, errors="replace") as file:
            said.append(file.read())
    seconds = used.ru_utime + used.ru_stime
    return vars(Done(os.waitstatus_to_exitcode(status), *said, seconds))


def _run(job: dict, streams: list[int]) -> None:
    code = 1
    try:
        _become(job, streams)
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    # All that an interpreter does at its end, but for clearing every module, which takes seconds after a fork.
    gc.collect()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    ctypes.CDLL(None).exit(code)


def _become(job: dict, streams: list[int]) -> None:
    for at, stream in enumerate([os.open(os.devnull, os.O_RDONLY), *streams]):
        os.dup2(stream, at)
    sys.stdin = os.fdopen(0)
    signal.alarm(300)
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environ"])
    for name, size in job["limits"].items():
        number = getattr(resource, name)
        resource.setrlimit(number, (size, resource.getrlimit(number)[1]))
    kind, what, *words = job["arguments"]
    sys.argv = [kind, *words]
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(what, {"__name__": "__main__"})
