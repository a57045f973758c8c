"""Work for the tests of executors, where worker processes can import it."""

import os
import signal
import time
from pathlib import Path

from neuropil import NeuropilError


def count(folder, number):
    """Leaves a mark for every call; what is divisible by 3 fails for good, what by 5 the first time."""
    mark = Path(folder) / f"{number}.{time.monotonic_ns()}"
    mark.touch()
    tried = len(list(Path(folder).glob(f"{number}.*")))
    if number % 3 == 0:
        raise NeuropilError(f"{number} is no block")
    if number % 5 == 0 and tried == 1:
        raise OSError("the network is away")
    return {"number": number}


def die_once(folder, number):
    """Kills the process that works on 2, the first time."""
    mark = Path(folder) / "dead"
    if number == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"number": number}


def resources_here():
    """Whether the worker that does this was tagged with a GPU."""
    from distributed import get_worker

    time.sleep(0.02)
    return {"GPU": int(get_worker().state.total_resources.get("GPU", 0))}
