"""Outputs appear whole or not at all: written under another name, then renamed."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from neuropil.errors import NeuropilError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` to write a file or folder at. It takes the place of ``path`` when the block is
    left; after any exception it is removed, and what was at ``path`` is still there.

    Raises:
        NeuropilError: the folder cannot be written.
    """
    temporary = beside(path)
    prepare(path)
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
    """A hidden name in the same folder that nothing else uses."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")


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
