"""File locks: one process at a time; a lock is released when its process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from neuropil.errors import NeuropilError
from neuropil.volumes.atomic import prepare


@contextmanager
def locked(file: Path, busy: str) -> Iterator[None]:
    """Hold a lock on a file, made where it is not there and removed at the end, until the block is left.

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
    with ExitStack() as stack:
        while True:
            prepare(file)
            opened = stack.enter_context(file.open("a"))
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise NeuropilError(busy) from None
            except OSError:
                pass
            if _same(opened.fileno(), file):
                break
        try:
            yield
        finally:
            if _same(opened.fileno(), file):
                file.unlink(missing_ok=True)


def _same(handle: int, file: Path) -> bool:
    """Whether a name still belongs to the file that was opened: another process may have removed it meanwhile."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(file))
    except FileNotFoundError:
        return False


_HELD: set[Path] = set()
"""Folders that this process works in."""


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Make a folder of results and hold it against other processes; steps within a step hold it with it. Of the ranks
    that train together the first one holds it for all.

    Raises:
        NeuropilError: another process works in it, or it cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, working_in(Path(folder)), working_in(Path(folder)):
    ...     pass
    """
    place = folder.absolute()
    if place in _HELD or int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0):
        yield
        return
    with locked(folder / ".lock", f"another process is at work in {folder}; wait for it, or choose another --out"):
        _HELD.add(place)
        try:
            yield
        finally:
            _HELD.discard(place)
