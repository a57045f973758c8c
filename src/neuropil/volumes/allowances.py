"""What a user allows for all files that a verb opens: gaps in numbered sections, and links to other folders."""

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


def check_inside(container: str | Path, file: str | Path, told: str) -> Path:
    """The file that something inside a container refers to, relative to the container's folder.

    Args:
        container: the file that was opened.
        file: as it refers to it; relative names count from its folder.
        told: what refers, for the message.

    Raises:
        NeuropilError: it lies outside that folder and ``--allow-outside`` was not given, or it is not there.
    """
    home = Path(container).absolute().parent
    place = home / file
    inside = place.resolve().is_relative_to(home.resolve())
    if not inside and os.environ.get(_OUTSIDE, "") in ("", "0"):
        raise NeuropilError(
            f"{told} in {container} leads to {place}, outside the folder of that file; "
            "give --allow-outside to follow it"
        )
    if not place.exists():
        raise NeuropilError(f"{told} in {container} leads to {place}, which is not there")
    return place
