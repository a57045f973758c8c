"""The options --allow-gaps and --allow-outside, which hold for every file that a command opens."""

from __future__ import annotations

import os
from pathlib import Path

from neuropil.errors import NeuropilError

_GAPS, _OUTSIDE = "NEUROPIL_ALLOW_GAPS", "NEUROPIL_ALLOW_OUTSIDE"


def allow_gaps() -> None:
    """Read stacks of numbered sections of which some are missing, here and in workers started from here."""
    os.environ[_GAPS] = "1"


def allow_outside() -> None:
    """Follow links out of the folder of the opened file, here and in workers started from here."""
    os.environ[_OUTSIDE] = "1"


def gaps_allowed() -> bool:
    """Whether sections may be missing: by ``--allow-gaps``, or ``NEUROPIL_ALLOW_GAPS=1``."""
    return os.environ.get(_GAPS, "") not in ("", "0")


def check_inside(
    container: str | Path, file: str | Path, told: str, referrer: str | Path | None = None, there: bool = True
) -> Path:
    """The file that something inside a container refers to, which must lie in the container's folder.

    Args:
        container: the file that was opened.
        file: as it is referred to; relative names count from the folder of ``referrer``.
        told: what refers, for the message.
        referrer: the file that refers, where that is another one than the container.
        there: whether it must be there.

    Raises:
        NeuropilError: it lies outside that folder and ``--allow-outside`` was not given, or it is not there.
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
        raise NeuropilError(f"{told} in {container} leads to {place}, which is not there")
    return place


def check_link(folder: str | Path, place: str | Path) -> Path:
    """A file or folder inside a folder that is one container; links of the file system may lie on the way to it.

    Raises:
        NeuropilError: one of these leads out of the container, and ``--allow-outside`` was not given.
    """
    if not outside_allowed() and not is_inside(Path(place), Path(folder)):
        raise NeuropilError(
            f"{place} is a link, or lies behind one, that leads to {Path(place).resolve()}, outside of {folder}; "
            "give --allow-outside to follow it"
        )
    return Path(place)


def is_inside(place: Path, folder: Path) -> bool:
    """Whether a file or folder lies in a folder, whatever links of the file system lie on the way."""
    return place.resolve().is_relative_to(folder.resolve())


def outside_allowed() -> bool:
    """Whether links may lead out of the opened folder: by ``--allow-outside``, or ``NEUROPIL_ALLOW_OUTSIDE=1``."""
    return os.environ.get(_OUTSIDE, "") not in ("", "0")
