"""Which steps of a run are done, and from what: a step is skipped only while all it was made from is the same."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from neuropil.pipeline.scoring import write_json


class Steps:
    """The record of a run's folder, ``steps.json``: for each step the fingerprint of its inputs, and whether it ended.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     steps = Steps(Path(folder))
    ...     before = steps.done("predict", "abc", [])
    ...     steps.finish("predict", "abc")
    ...     before, Steps(Path(folder)).done("predict", "abc", []), steps.done("predict", "abd", [])
    (False, True, False)
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "steps.json"
        try:
            known = json.loads(self.path.read_text())
        except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
            known = {}
        self.known: dict[str, dict[str, Any]] = known if isinstance(known, dict) else {}

    def done(self, name: str, made_from: str, outputs: Iterable[Path]) -> bool:
        """Whether the step ended, from the same inputs, and its outputs are still there."""
        return self.known.get(name) == {"from": made_from, "done": True} and all(path.exists() for path in outputs)

    def begun(self, name: str, made_from: str) -> bool:
        """Whether the step was begun from the same inputs and did not end."""
        return self.known.get(name) == {"from": made_from, "done": False}

    def begin(self, name: str, made_from: str) -> None:
        """Note that the step begins."""
        self._note(name, made_from, False)

    def finish(self, name: str, made_from: str) -> None:
        """Note that the step ended."""
        self._note(name, made_from, True)

    def _note(self, name: str, made_from: str, done: bool) -> None:
        self.known[name] = {"from": made_from, "done": done}
        write_json(self.path, self.known)


def fingerprint(settings: object, *inputs: str | Path | None) -> str:
    """A name for what a step is made from: settings in JSON types, and volumes or files by size and date.

    Names of files are left to the settings, so that a folder of results may be moved.

    >>> fingerprint({"tta": 8}) == fingerprint({"tta": 8}), fingerprint({"tta": 8}) == fingerprint({"tta": 4})
    (True, False)
    """
    stamps = [_stamp(str(path)) for path in inputs if path is not None]
    text = json.dumps([settings, stamps], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _stamp(path: str) -> list[Any]:
    """Size and date of the files that a volume path names; of a URL only the name."""
    if "://" in path:
        return [path]
    container = Path(path)
    while not container.exists() and container != container.parent and not glob.has_magic(container.name):
        container = container.parent  # the name of an array inside a file
    if glob.has_magic(container.name):
        files = [Path(name) for name in sorted(glob.glob(str(container)))]
    else:
        files = sorted(container.rglob("*")) if container.is_dir() else [container]
    stats = [(os.path.relpath(file, container), file.stat()) for file in files if file.is_file()]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
