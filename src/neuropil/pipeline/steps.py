"""The record of a run's steps and their inputs: a step is skipped only if its inputs have not changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from neuropil.pipeline.scoring import write_json
from neuropil.volumes import stamp
from neuropil.volumes.marks import KEY


class Steps:
    """The record of a run's folder, ``steps.json``: for each step a digest of its inputs, and whether it ended.

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
        self.known.pop(KEY, None)

    def done(self, name: str, made_from: str, outputs: Iterable[Path]) -> bool:
        """Whether the step ended, from the same inputs, and its outputs are still there."""
        return self.known.get(name) == {"from": made_from, "done": True} and all(path.exists() for path in outputs)

    def begun(self, name: str, made_from: str) -> bool:
        """Whether the step was begun from the same inputs and did not end."""
        return self.known.get(name) == {"from": made_from, "done": False}

    def begin(self, name: str, made_from: str) -> None:
        """Record that the step begins."""
        self._note(name, made_from, False)

    def finish(self, name: str, made_from: str) -> None:
        """Record that the step ended."""
        self._note(name, made_from, True)

    def _note(self, name: str, made_from: str, done: bool) -> None:
        self.known[name] = {"from": made_from, "done": done}
        write_json(self.path, self.known)


def digest_of(settings: object, *inputs: str | Path | None) -> str:
    """A digest of the inputs of a step: settings in JSON types, and the stamps (size and time) of volumes or files.

    File names do not count, so that a folder of results can be moved; they belong into ``settings`` where they matter.

    >>> digest_of({"tta": 8}) == digest_of({"tta": 8}), digest_of({"tta": 8}) == digest_of({"tta": 4})
    (True, False)
    """
    stamps = [stamp(path) for path in inputs if path is not None]
    text = json.dumps([settings, stamps], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
