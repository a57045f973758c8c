"""Scores as a JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from neuropil.volumes.atomic import write_text
from neuropil.volumes.marks import KEY, MADE_BY


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write values as JSON; a reader sees all of them or what was there before.

    Raises:
        NeuropilError: the folder cannot be written.
    """
    write_text(path, json.dumps({KEY: MADE_BY, **values}, indent=2) + "\n")
