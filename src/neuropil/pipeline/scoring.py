"""Scores as a JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from neuropil.volumes.atomic import replacing
from neuropil.volumes.volume import writable


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write values as JSON; a reader sees all of them or what was there before.

    Raises:
        NeuropilError: the folder cannot be written.
    """
    with replacing(path) as temporary, writable(str(path)):
        temporary.write_text(json.dumps(values, indent=2) + "\n")
