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
import traceback
from dataclasses import dataclass
from functools import cache
from pathlib import Path

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
    megabytes: float
    """Of memory beyond what it began with."""


def python(*arguments: object, **limits: int) -> Done:
    """As ``subprocess.run([sys.executable, *arguments])`` here, with ``-c CODE`` or ``-m MODULE``.

    Args:
        limits: by the names of module ``resource``: ``RLIMIT_FSIZE=2000``.
    """
    job = {
        "arguments": [str(word) for word in arguments],
        "limits": limits,
        "folder": os.getcwd(),
        "environ": {**os.environ},
    }
    server = _server()
    print(json.dumps(job), file=server.stdin, flush=True)
    return Done(**json.loads(server.stdout.readline()))


@cache
def _server() -> subprocess.Popen:
    words = [sys.executable, "-c", "import forks; forks.serve()"]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    server = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ)
    atexit.register(server.communicate)
    return server


def serve() -> None:
    """Run one process for each line of stdin. It holds no threads, which a fork would lose."""
    from neuropil.cli import app
    from torture.children import preload

    preload()
    typer.main.get_command = cache(typer.main.get_command)
    typer.main.get_command(app)
    gc.freeze()  # no child looks through these objects, which would copy them
    for line in sys.stdin:
        job = json.loads(line)
        streams = [os.pipe() for _ in range(2)]
        for read, _ in streams:
            fcntl.fcntl(read, fcntl.F_SETPIPE_SZ, 1 << 20)  # which nobody reads before the end
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        pid = os.fork()
        if pid == 0:
            _run(job, [write for _, write in streams])
        _, status, used = os.wait4(pid, 0)
        said = []
        for read, write in streams:
            os.close(write)
            os.set_blocking(read, False)
            with open(read, errors="replace") as file:
                said.append(file.read())
        seconds, megabytes = used.ru_utime + used.ru_stime, (used.ru_maxrss - before) / 1024
        found = Done(os.waitstatus_to_exitcode(status), *said, seconds, megabytes)
        print(json.dumps(vars(found)), flush=True)


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
