"""Atomic output: a file is written under a temporary name and renamed when it is complete."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import glob
import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from neuropil.errors import NeuropilError
from neuropil.inputs import check_output, make_folder
from neuropil.volumes.marks import Ours, check_mark, has_mark


@contextmanager
def replacing(path: Path, ours: Ours = has_mark, *, keeps_inside: bool = False, durable: bool = True) -> Iterator[Path]:
    """A temporary name next to ``path`` to write a file or folder at. It takes the place of ``path`` when the block is
    left; after any exception it is removed, and what was at ``path`` is still there.

    Args:
        path: a file or folder that need not be there yet.
        ours: whether what is there was made by neuropil; else a command replaces it only with ``--force``.
        keeps_inside: whether the other arrays of the old file are copied into the new one.
        durable: wait until the new file is on disk before the old one is removed; False for what can be made again.

    Raises:
        NeuropilError: the folder cannot be written, or a command would replace a file that it reads or that neuropil
            did not make.
    """
    expect_output(path, ours, keeps_inside)
    temporary = temporary_name(path)
    remove_leftovers(path)
    try:
        if keeps_inside:  # of two processes that copy the old file, the first one's array would be lost
            temporary.touch()
            _check_alone(path, temporary)
        yield temporary
        move_into_place(temporary, path, durable)
    finally:
        remove(temporary)


def expect_output(path: Path, ours: Ours = has_mark, keeps_inside: bool = False) -> None:
    """Refuse now, before any work, what :func:`replacing` would refuse.

    Raises:
        NeuropilError: as :func:`replacing`.
    """
    check_output(path, keeps_inside)
    check_mark(path, ours)
    prepare(path)


def write_text(path: Path, text: str, ours: Ours = has_mark) -> None:
    """Write a text file; it must begin with a mark that ``ours`` recognises.

    Raises:
        NeuropilError: as :func:`replacing`, or a full disk.
    """
    try:
        with replacing(path, ours) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise NeuropilError(f"cannot write {path}: {error.strerror or error}") from error


def move_into_place(complete: Path, path: Path, durable: bool = True) -> None:
    """Rename a complete file or folder to ``path``; what was there is put aside first and removed last.

    Args:
        complete: on the same disk. The old content never gets this name: a run that is killed then and resumed would
            take it for its own.
        path: the new name.
        durable: wait until it is on disk first.

    Raises:
        NeuropilError: it cannot be renamed; then ``path`` holds the old content again.
    """
    try:
        if durable:
            sync(complete)
        if not path.exists() or (complete.is_file() and path.is_file()):
            os.replace(complete, path)
            old = complete
        else:
            old = _exchanged(complete, path)
        if durable:
            _sync_one(path.parent)
        remove(old)
    except OSError as error:
        raise NeuropilError(f"cannot write {path}: {error.strerror or error}") from error


def sync(path: Path) -> None:
    """Wait until a file, or a folder with all that is in it, is on disk (fsync), where the file system can.

    TensorStore is told not to do so at each chunk, which takes ten times as long.
    """
    if path.is_dir() and not path.is_symlink():
        for folder, _, files in os.walk(path):
            for name in files:
                _sync_one(Path(folder, name))
            _sync_one(Path(folder))
    else:
        _sync_one(path)


def _sync_one(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, is on disk."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
                raise NeuropilError(f"cannot write {path}: {error.strerror}") from error
        finally:
            os.close(handle)


def _exchanged(complete: Path, path: Path) -> Path:
    """Rename ``complete`` to ``path``; returns the hidden name of the old content."""
    new = temporary_name(path)
    complete.rename(new)
    try:
        if _exchange(new, path):
            return new
        old = temporary_name(path)
        path.rename(old)
        try:
            new.rename(path)
        except OSError:
            old.rename(path)
            raise
    except OSError:
        new.rename(complete)
        raise
    return old


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names atomically, so that a kill never leaves ``path`` missing; False where the system or the file
    system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return rename is not None and rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0


_HERE, _EXCHANGE = -100, 2
"""AT_FDCWD and RENAME_EXCHANGE of Linux."""


def _check_alone(path: Path, mine: Path) -> None:
    for other in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        made = _MADE_BY.fullmatch(other.name)
        if made and other.name != mine.name:
            who = f"process {made['pid']}" + ("" if made["host"] == _host() else f" of {made['host']}")
            gone = "" if made["host"] == _host() else f"; if that one is gone, delete {other}"
            raise NeuropilError(f"{path} is being written by {who}; wait for it, or write another file{gone}")


def temporary_name(path: Path) -> Path:
    """A hidden name in the same folder that nothing else uses; it tells which process made it."""
    return path.with_name(f".{path.name}.{_this_process(os.getpid())}.{uuid.uuid4().hex[:8]}.partial")


def remove_leftovers(path: Path) -> None:
    """Remove unfinished files of this name that ended processes of this machine left next to ``path``.

    Those of running processes, of other machines and of other names stay.
    """
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        made = _MADE_BY.fullmatch(leftover.name)
        if made and made["host"] == _host() and made[0] != _still(made, leftover.name):
            remove(leftover)


_MADE_BY = re.compile(r"\..*\.(?P<host>[\w-]*)-(?P<pid>\d+)-(?P<start>\d+)\.[0-9a-f]{8}\.partial")


def _still(made: re.Match[str], name: str) -> str:
    """The name again, if its process still runs; else ""."""
    return name if _process(int(made["pid"])) == f"{made['host']}-{made['pid']}-{made['start']}" else ""


def _host() -> str:
    return re.sub(r"[^\w-]", "-", socket.gethostname())


@lru_cache(maxsize=1)
def _this_process(pid: int) -> str:
    """Identifier of this process; kept, because every file needs it, for one pid, because a fork changes that."""
    return _process(pid)


def _process(pid: int) -> str:
    """Host, pid and start time of a process; start 0 if it does not run or the system does not tell."""
    start = "0"
    with contextlib.suppress(OSError, IndexError):
        start = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    if start == "0" and pid != os.getpid() and not Path("/proc/self/stat").exists():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, 0)  # no /proc, as on macOS: a pid that is in use counts as the same process
            return f"{_host()}-{pid}-0"
        return f"{_host()}-{pid}-gone"
    return f"{_host()}-{pid}-{start}"


def prepare(path: Path) -> None:
    """Make the folder of ``path``, and check before any work that it can be written.

    Raises:
        NeuropilError: the folder cannot be made or written.
    """
    probe = temporary_name(path)
    try:
        make_folder(path.parent)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise NeuropilError(f"cannot write in {path.parent}: {error.strerror or error}") from error


GONE = ".gone"
"""Suffix of a folder that is being deleted."""


def remove_folder(path: Path) -> None:
    """Delete a folder if it exists. It is renamed first, so that no run resumes from a half-deleted one."""
    shutil.rmtree(set_aside(path), ignore_errors=True)


def set_aside(path: Path) -> Path:
    """Rename a folder before it is deleted, if it exists; returns its new path."""
    half = path.with_name(path.name + GONE)
    shutil.rmtree(half, ignore_errors=True)  # of a process that was stopped here
    with contextlib.suppress(OSError):
        return path.rename(half)
    return path


def remove(path: Path) -> None:
    """Delete a file or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
