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
    """Hold a lock on a file until the block is left; the file is made if needed, and removed at the end.

    On a file system without locks nothing is refused.

    Args:
        file: the lock file.
        busy: the error message where another process holds the lock.

    Raises:
        NeuropilError: another process holds the lock, or the folder cannot be written.

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
    """Whether the path is still the opened file: another process may have removed it meanwhile."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(file))
    except FileNotFoundError:
        return False


_HELD: set[Path] = set()
"""Folders of results that this process has locked."""


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Make a folder of results and lock it against other processes; nested calls share the lock. Of the ranks of one
    training, rank 0 holds the lock for all.

    Raises:
        NeuropilError: another process holds the lock, or the folder cannot be written.

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
