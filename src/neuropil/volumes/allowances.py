"""The options --allow-gaps and --allow-outside, which hold for every file that a command opens."""

from __future__ import annotations

import os
from pathlib import Path

from neuropil.errors import NeuropilError

_GAPS, _OUTSIDE = "NEUROPIL_ALLOW_GAPS", "NEUROPIL_ALLOW_OUTSIDE"


def allow_gaps() -> None:
    """Allow missing sections of stacks, parts of virtual datasets and chunks, in this process and its workers."""
    os.environ[_GAPS] = "1"


def allow_outside() -> None:
    """Follow links out of the folder of the opened file, in this process and its workers."""
    os.environ[_OUTSIDE] = "1"


def gaps_allowed() -> bool:
    """Whether sections, parts or chunks may be missing: by ``--allow-gaps``, or ``NEUROPIL_ALLOW_GAPS=1``."""
    return os.environ.get(_GAPS, "") not in ("", "0")


def check_inside(
    container: str | Path, file: str | Path, told: str, referrer: str | Path | None = None, there: bool = True
) -> Path:
    """The path of a file that a container refers to; it must lie in the container's folder.

    Args:
        container: the file that was opened.
        file: the path in the reference; a relative one counts from the folder of ``referrer``.
        told: names the reference in messages.
        referrer: the file that holds the reference, if it is not the container itself.
        there: whether the file must exist.

    Raises:
        NeuropilError: the file lies outside and ``--allow-outside`` was not given, or it does not exist.
    """
    home = Path(container).absolute().parent
    place = Path(referrer or container).absolute().parent / file
    if not place.exists() and Path(file).is_absolute() and (moved := home / Path(file).name).exists():
        place = moved  # as HDF5 finds files that were moved together
    if not is_inside(place, home) and not outside_allowed():
        raise NeuropilError(
            f"{told} in {container} leads to {place}, outside the folder of that file; "
            "give --allow-outside to follow it"
        )
    if there and not place.exists():
        raise NeuropilError(f"{told} in {container} leads to {place}, which does not exist")
    return place


def check_link(folder: str | Path, place: str | Path) -> Path:
    """The path itself, if symbolic links on the way to it stay inside the container ``folder``.

    Raises:
        NeuropilError: a link leads out of the container, and ``--allow-outside`` was not given.
    """
    if not outside_allowed() and not is_inside(Path(place), Path(folder)):
        raise NeuropilError(
            f"{place} is, or lies behind, a symbolic link that leads to {Path(place).resolve()}, outside of {folder}; "
            "give --allow-outside to follow it"
        )
    return Path(place)


def is_inside(place: Path, folder: Path) -> bool:
    """Whether a file or folder lies in a folder, after symbolic links are resolved."""
    return place.resolve().is_relative_to(folder.resolve())


def outside_allowed() -> bool:
    """Whether links may lead out of the opened folder: by ``--allow-outside``, or ``NEUROPIL_ALLOW_OUTSIDE=1``."""
    return os.environ.get(_OUTSIDE, "") not in ("", "0")
