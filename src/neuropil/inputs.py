"""Files that a command has opened to read: no output of the same command takes their place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from neuropil.errors import NeuropilError

_OPENED: ContextVar[dict[tuple[int, int], str] | None] = ContextVar("opened", default=None)
"""Device and number of each file, and its name; None outside of a command: in Python, the caller decides."""


@contextmanager
def guarding_inputs() -> Iterator[None]:
    """While this lasts, outputs that would replace what :func:`note_input` was told of are refused."""
    token = _OPENED.set({})
    try:
        yield
    finally:
        _OPENED.reset(token)


def note_input(path: str | Path) -> None:
    """Remember a file or folder that is read; URLs and what is not there are not files."""
    opened = _OPENED.get()
    if opened is None or "://" in str(path):
        return
    file = Path(path)
    for one in [file.parent, *file.parent.glob(file.name)] if any(c in file.name for c in "*?[") else [file]:
        with_id = _identity(one)
        if with_id is not None:
            opened[with_id] = str(path)


def check_output(path: Path, keeps_inside: bool = False) -> None:
    """Refuse to replace a file that this command reads, under whatever name, or a folder that holds one.

    Args:
        path: about to be replaced.
        keeps_inside: what is inside the file and not written anew stays, as other arrays of an HDF5 file do.

    Raises:
        NeuropilError: it is an input of this command, or an input lies in it.
    """
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
