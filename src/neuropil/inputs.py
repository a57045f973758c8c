"""Protect files during a command: its inputs, files that neuropil did not make, and devices."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from neuropil.errors import NeuropilError

_OPENED: ContextVar[dict[tuple[int, int], str] | None] = ContextVar("opened", default=None)
"""Device and inode of each input, with its name; None outside of a command: in Python the caller decides."""


_MADE: ContextVar[list[Path] | None] = ContextVar("made", default=None)
"""Folders that the command has made."""

_FORCED: ContextVar[bool] = ContextVar("forced", default=False)


@contextmanager
def guarding_inputs() -> Iterator[None]:
    """Inside the block, outputs must not replace files noted by :func:`note_input`, nor, unless
    :func:`replace_anything` was called, files that neuropil did not make. New folders that are empty at the end are
    removed."""
    made: list[Path] = []
    opened, forced, folders = _OPENED.set({}), _FORCED.set(False), _MADE.set(made)
    try:
        yield
    finally:
        for folder in reversed(made):
            with suppress(OSError):  # it holds something
                folder.rmdir()
        _OPENED.reset(opened)
        _FORCED.reset(forced)
        _MADE.reset(folders)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents if they do not exist.

    Raises:
        OSError: the folder cannot be made.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    made = _MADE.get()
    if made is not None:
        made += [one for one in reversed(missing) if one not in made]


def replace_anything() -> None:
    """Let this command replace files that neuropil did not make: ``--force``."""
    _FORCED.set(True)


def forced() -> bool:
    """Whether ``--force`` was given."""
    return _FORCED.get()


def checks_outputs() -> bool:
    """Whether only earlier outputs of neuropil may be replaced: in a command, without ``--force``."""
    return _OPENED.get() is not None and not _FORCED.get()


def note_input(path: str | Path) -> None:
    """Remember a file or folder that is read, or all files of a pattern; URLs and missing files are ignored."""
    opened = _OPENED.get()
    if opened is None or "://" in str(path):
        return
    file = Path(path)
    for one in [file.parent, *file.parent.glob(file.name)] if any(c in file.name for c in "*?[") else [file]:
        with_id = _identity(one)
        if with_id is not None:
            opened[with_id] = str(path)


def expect_file(path: str | Path) -> None:
    """Refuse devices and pipes, which could be read for ever, and impossible names. A missing file is no error here.

    Raises:
        NeuropilError: a pipe, a socket or a device; circular links; a name that is too long or holds a zero byte.

    >>> expect_file("/dev/zero")
    Traceback (most recent call last):
    neuropil.errors.NeuropilError: expected a file, got a device or pipe: /dev/zero
    """
    try:
        mode = os.stat(path).st_mode
    except ValueError as error:
        raise NeuropilError(f"{str(path)!r:.200} is not a valid file name: {error}") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG):
            raise NeuropilError(f"cannot open {path!s:.300}: {error.strerror}") from None
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise NeuropilError(f"expected a file, got a device or pipe: {path}")


def check_output(path: Path, keeps_inside: bool = False) -> None:
    """Refuse to replace a file that this command reads, also through a link, or a folder that holds such a file.

    Args:
        path: the file or folder to be replaced.
        keeps_inside: whether the other arrays of the file are kept, as in HDF5; then inputs are not protected.

    Raises:
        NeuropilError: ``path`` is, or holds, an input of this command; it is a device, a pipe or a circular link.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise NeuropilError(f"expected a file or a new name to write to, got a device or pipe: {path}")
    if path.is_symlink() and not path.exists() and _loops(path):
        raise NeuropilError(f"cannot write {path}: its links are circular")
    opened = _OPENED.get()
    if not opened or keeps_inside:
        return
    mine = _identity(path)
    if mine in opened:
        raise NeuropilError(f"{path} would replace {opened[mine]}, which this command reads; choose another name")
    if path.is_dir() and not path.is_symlink():
        for name in opened.values():
            if Path(name).absolute().resolve().is_relative_to(path.resolve()):
                raise NeuropilError(f"{path} would replace the folder of {name}, which this command reads")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _loops(path: Path) -> bool:
    try:
        os.stat(path)
    except OSError as error:
        return error.errno == errno.ELOOP
    return False
