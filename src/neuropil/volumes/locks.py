"""One process at a time: a lock on a file, which goes when the process ends, however it ends."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from neuropil.errors import NeuropilError
from neuropil.volumes.atomic import prepare


@contextmanager
def locked(file: Path, busy: str) -> Iterator[None]:
    """Hold a lock on a file, made where it is not there, until the block is left.

    A file system without locks holds none: then nothing is refused.

    Args:
        file: what to lock.
        busy: what to say where another process holds it.

    Raises:
        NeuropilError: another process holds it, or the folder cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, locked(Path(folder, "lock"), "another process is at work"):
    ...     with locked(Path(folder, "lock"), "another process is at work"):
    ...         pass
    Traceback (most recent call last):
    neuropil.errors.NeuropilError: another process is at work
    """
    prepare(file)
    with file.open("w") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NeuropilError(busy) from None
        except OSError:
            pass
        yield
