"""The record of finished parts of a prediction, stored next to the output, so that a stopped run can continue.

Next to ``affinities.zarr`` lies, until all is done, ``affinities.zarr.unfinished/`` with

    affinities.zarr    the output so far, chunk by chunk
    request.json       what was asked for, by content: model, image, box, options, and the tiles chosen
    done.txt           a line for every cell whose chunks are all on disk; written after them, never before

A chunk that was half written when the run died has no line; it is removed and made again. A request that differs is
refused.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from neuropil.errors import NeuropilError
from neuropil.geometry import Triple
from neuropil.volumes.atomic import replacing, set_aside
from neuropil.volumes.formats.zarr import chunk_files
from neuropil.volumes.locks import locked
from neuropil.volumes.marks import anything
from neuropil.volumes.volume import writable

ARRAY = "affinities.zarr"


class Journal:
    """The folder of an unfinished prediction, held by one process at a time. A context manager."""

    def __init__(self, folder: Path) -> None:
        """Take hold of a folder, making it where it is not there.

        Raises:
            NeuropilError: another process holds it, or it cannot be written.
        """
        self.folder = folder
        busy = f"another process is predicting into {folder}; wait for it or stop it"
        with ExitStack() as held:
            held.enter_context(locked(folder / "lock", busy))
            with writable(str(folder)):
                self._done = held.enter_context((folder / "done.txt").open("a+"))
            self._held = held.pop_all()

    @property
    def array(self) -> Path:
        """Path of the output so far."""
        return self.folder / ARRAY

    def begun(self) -> Mapping[str, Any] | None:
        """The request that was begun here and the choices made for it, or None where nothing was."""
        try:
            begun = json.loads((self.folder / "request.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return begun if isinstance(begun, dict) and {"asked", "chosen"} <= begun.keys() else None

    def begin(self, asked: Mapping[str, Any], chosen: Mapping[str, Any]) -> None:
        """Record a request; from here on it can be continued."""
        with replacing(self.folder / "request.json", anything) as temporary:
            temporary.write_text(json.dumps({"asked": asked, "chosen": chosen}, indent=1))

    def forget(self) -> None:
        """Nothing is done, whatever an earlier request left."""
        self._done.truncate(0)

    def check(self, asked: Mapping[str, Any]) -> None:
        """Refuse to continue another request than the one that was begun.

        Raises:
            NeuropilError: something differs; it says what, and what to do.
        """
        begun = self.begun()
        before = {} if begun is None else begun["asked"]
        now = json.loads(json.dumps(asked))
        changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        if changed:
            lines = "; ".join(f"{key} was {_short(before.get(key))}, is {_short(now.get(key))}" for key in changed)
            raise NeuropilError(
                f"{self.folder} holds an unfinished prediction of another request: {lines}. "
                "Ask for the same again to continue it, or delete that folder to begin anew"
            )

    def done(self) -> set[Triple]:
        """The cells that are done; a line that was cut short does not count."""
        self._done.seek(0)
        cells = set()
        for line in self._done.read().splitlines(keepends=True):
            parts = line.split()
            if line.endswith("\n") and len(parts) == 3 and all(part.isdigit() for part in parts):
                cells.add((int(parts[0]), int(parts[1]), int(parts[2])))
        return cells

    def drop_halves(self) -> None:
        """Remove the chunks that no line stands for: half of one can neither be read nor be written over in part."""
        done = self.done()
        for file, chunk in chunk_files(self.array):
            if chunk is None or chunk[1:] not in done:
                file.unlink()

    def mark(self, cell: Triple) -> None:
        """Record that a cell is on disk."""
        self._done.write("\n{} {} {}\n".format(*cell))
        self._done.flush()

    def remove(self) -> None:
        """Delete the folder and release its lock: not before the name is free, or another process would begin in it.

        Its files are closed before they are deleted: NFS keeps open ones.
        """
        gone = set_aside(self.folder)
        self.close()
        shutil.rmtree(gone, ignore_errors=True)

    def close(self) -> None:
        """Release the lock on the folder."""
        self._held.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
