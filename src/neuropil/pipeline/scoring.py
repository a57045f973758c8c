"""Write JSON files, such as scores, with the mark of neuropil."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from neuropil.volumes.atomic import write_text
from neuropil.volumes.marks import KEY, MADE_BY


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write values as JSON, atomically: a reader sees the complete new file or the old one.

    Raises:
        NeuropilError: the folder cannot be written.
    """
    write_text(path, json.dumps({KEY: MADE_BY, **values}, indent=2) + "\n")
