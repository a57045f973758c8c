"""The record of finished parts of a prediction, stored next to the output, so that a stopped run can continue.

Until the run is complete, ``affinities.zarr.unfinished/`` next to ``affinities.zarr`` has

    affinities.zarr    the output so far, chunk by chunk
    request.json       the request (digests of model and image, box, options) and the tiles chosen
    done.txt           a line for every finished cell; written after its chunks

A chunk that was half written when the run died has no line; it is removed and predicted again. Another request is
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
from neuropil.volumes.atomic import replacing, set_aside, sync
from neuropil.volumes.formats.zarr import chunk_files
from neuropil.volumes.locks import locked
from neuropil.volumes.marks import anything
from neuropil.volumes.volume import writable

ARRAY = "affinities.zarr"


class Journal:
    """The folder of an unfinished prediction, locked by one process at a time. A context manager."""

    def __init__(self, folder: Path) -> None:
        """Lock a folder; makes it if it does not exist.

        Raises:
            NeuropilError: another process has the lock, or the folder cannot be written.
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
        """The stored request and the tiles chosen for it; None if there is none."""
        try:
            begun = json.loads((self.folder / "request.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return begun if isinstance(begun, dict) and {"asked", "chosen"} <= begun.keys() else None

    def begin(self, asked: Mapping[str, Any], chosen: Mapping[str, Any]) -> None:
        """Store a request, which can be continued from then on."""
        with replacing(self.folder / "request.json", anything) as temporary:
            temporary.write_text(json.dumps({"asked": asked, "chosen": chosen}, indent=1))

    def forget(self) -> None:
        """Clear the list of finished cells."""
        self._done.truncate(0)

    def check(self, asked: Mapping[str, Any]) -> None:
        """Refuse to continue with another request than the stored one.

        Raises:
            NeuropilError: the differences, and what to do.
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
        """The finished cells; an incomplete line does not count."""
        self._done.seek(0)
        cells = set()
        for line in self._done.read().splitlines(keepends=True):
            parts = line.split()
            if line.endswith("\n") and len(parts) == 3 and all(part.isdigit() for part in parts):
                cells.add((int(parts[0]), int(parts[1]), int(parts[2])))
        return cells

    def drop_halves(self) -> None:
        """Remove chunks without a line: a half-written chunk can neither be read nor be partly overwritten."""
        done = self.done()
        for file, chunk in chunk_files(self.array):
            if chunk is None or chunk[1:] not in done:
                file.unlink()

    def mark(self, cell: Triple) -> None:
        """Record that a cell is on disk; its chunks are flushed first."""
        for chunk in (self.array / "c").glob("*/{}/{}/{}".format(*cell)):
            sync(chunk)
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
