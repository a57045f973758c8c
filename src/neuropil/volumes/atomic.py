"""Outputs appear whole or not at all: written under another name, then renamed."""

from __future__ import annotations

import contextlib
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
from neuropil.inputs import check_output


@contextmanager
def replacing(path: Path, keeps_inside: bool = False) -> Iterator[Path]:
    """A temporary name beside ``path`` to write a file or folder at. It takes the place of ``path`` when the block is
    left; after any exception it is removed, and what was at ``path`` is still there.

    Args:
        path: a file or folder that need not be there yet.
        keeps_inside: the new file holds what is in the old one and not written anew.

    Raises:
        NeuropilError: the folder cannot be written, or a command would replace a file that it reads.
    """
    check_output(path, keeps_inside)
    temporary = beside(path)
    prepare(path)
    remove_leftovers(path)
    try:
        yield temporary
        move_into_place(temporary, path)
    finally:
        remove(temporary)


def move_into_place(complete: Path, path: Path) -> None:
    """Rename a complete file or folder to ``path``; what was there is put aside first and removed last.

    Raises:
        NeuropilError: it cannot be renamed; then what was at ``path`` is there again.
    """
    try:
        if path.is_file() and complete.is_file():
            os.replace(complete, path)
            return
        aside = beside(path)
        existed = path.exists()
        if existed:
            path.rename(aside)
        try:
            complete.rename(path)
        except OSError:
            if existed:
                aside.rename(path)
            raise
        remove(aside)
    except OSError as error:
        raise NeuropilError(f"cannot write {path}: {error.strerror or error}") from error


def beside(path: Path) -> Path:
    """A hidden name in the same folder that nothing else uses; it tells which process made it."""
    return path.with_name(f".{path.name}.{_this_process(os.getpid())}.{uuid.uuid4().hex[:8]}.partial")


def remove_leftovers(path: Path) -> None:
    """Remove what processes of this machine that are gone have left beside ``path``: unfinished files of its name.

    Those of processes that run, of other machines and of other names stay.
    """
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        made = _MADE_BY.fullmatch(leftover.name)
        if made and made["host"] == _host() and made[0] != _still(made, leftover.name):
            remove(leftover)


_MADE_BY = re.compile(r"\..*\.(?P<host>[\w-]*)-(?P<pid>\d+)-(?P<start>\d+)\.[0-9a-f]{8}\.partial")


def _still(made: re.Match[str], name: str) -> str:
    """The name again, if the process that it names still runs; else nothing."""
    return name if _process(int(made["pid"])) == f"{made['host']}-{made['pid']}-{made['start']}" else ""


def _host() -> str:
    return re.sub(r"[^\w-]", "-", socket.gethostname())


@lru_cache(maxsize=1)
def _this_process(pid: int) -> str:
    """The name of this process, which has another number after a fork; asked for at every file."""
    return _process(pid)


def _process(pid: int) -> str:
    """Host, number and start time of a process; start 0 where the system does not tell, or it does not run."""
    start = "0"
    with contextlib.suppress(OSError, IndexError):
        start = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    if start == "0" and pid != os.getpid() and not Path("/proc/self/stat").exists():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, 0)  # no /proc, as on macOS: a number that is in use counts as the same process
            return f"{_host()}-{pid}-0"
        return f"{_host()}-{pid}-gone"
    return f"{_host()}-{pid}-{start}"


def prepare(path: Path) -> None:
    """Make the folder that ``path`` goes into, and make sure now, before any work, that it can be written.

    Raises:
        NeuropilError: it cannot.
    """
    probe = beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise NeuropilError(f"cannot write in {path.parent}: {error.strerror or error}") from error


def remove(path: Path) -> None:
    """Delete a file or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
