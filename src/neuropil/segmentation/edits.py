"""The log of a proofreader's decisions: one JSON line each, appended and flushed to disk."""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import json
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError, tell
from neuropil.geometry import NEAREST, Box, Triple
from neuropil.inputs import expect_file
from neuropil.volumes import Volume

VERSION = 1
EditKind = Literal["join", "separate", "keep", "unsure", "undo"]


@dataclass(frozen=True)
class Edit:
    """One decision. Points are voxels (z, y, x) of the whole volume."""

    id: int
    """Counts from 1 in the order of the log."""
    time: str
    """UTC, ISO 8601."""
    by: str
    """Who decided."""
    kind: EditKind
    a: Triple | None = None
    b: Triple | None = None
    undoes: int | None = None
    """Of an undo: the id of the decision that it takes back."""

    def __str__(self) -> str:
        what = f"decision {self.undoes}" if self.kind == "undo" else f"{self.a} and {self.b}"
        return f"line {self.id + 1}: {self.kind} {what} (id {self.id}, {self.by}, {self.time})"


@dataclass(frozen=True)
class LogHeader:
    """What the decisions are about. Other affinities, ``low`` or ``high`` would make other fragments."""

    affinities_digest: str
    low: float
    high: float
    score: str
    threshold: float
    min_size: int
    version: int = VERSION

    def check(self, other: LogHeader, path: Path) -> None:
        """Refuse a log of other fragments; score, threshold and minimum size may differ.

        Raises:
            NeuropilError: another digest, ``low`` or ``high``.
        """
        for name in ("affinities_digest", "low", "high"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise NeuropilError(
                    f"{path}: expected {name} {theirs}, the log has {mine}: its points name other fragments; "
                    "give the affinities, low and high that the log was begun with, or begin a new log"
                )


def log_header(affinities: Volume, settings: SegmentConfig) -> LogHeader:
    """The first line of a log about this segmentation of these affinities; ``settings.threshold`` must be set."""
    assert settings.threshold is not None
    return LogHeader(
        affinities_digest(affinities),
        settings.low,
        settings.high,
        settings.score,
        settings.threshold,
        settings.min_size or 0,
    )


def affinities_digest(affinities: Volume) -> str:
    """A checksum of affinities: shape, dtype, encoding, offsets and voxels; the file format does not matter.

    >>> import numpy as np
    >>> from neuropil.volumes import array_volume
    >>> affinities_digest(array_volume(np.zeros((3, 2, 4, 4), np.uint8)))[:8]
    'b2b:2eba'
    """
    metadata = affinities.metadata
    described = {
        "shape": list(affinities.shape),
        "dtype": affinities.dtype.str.lstrip("<>|="),
        "encoding": metadata.encoding.to_json() if metadata.encoding else None,
        "offsets": [list(offset) for offset in metadata.offsets or NEAREST],
    }
    digest = hashlib.blake2b(json.dumps(described, sort_keys=True).encode(), digest_size=16)
    for z in range(affinities.box.start[0], affinities.box.stop[0]):
        digest.update(affinities.read(section(affinities.box, z)).tobytes())
    return f"b2b:{digest.hexdigest()}"


def section(box: Box, z: int) -> Box:
    """The section z of a box."""
    return Box((z, *box.start[1:]), (z + 1, *box.stop[1:]))


@dataclass
class EditLog:
    """A log on disk: the first line is its :class:`LogHeader`, each further line one decision.

    Lines are only ever appended, each written and flushed to disk before :meth:`append` returns. A line that a crash
    left unfinished is dropped, with a message, when the log is next written.
    """

    path: Path
    header: LogHeader
    edits: list[Edit] = field(default_factory=list)
    unfinished: bool = False
    """Whether the last line was cut off by a crash."""

    @classmethod
    def read(cls, path: Path | str) -> EditLog:
        """Read and check a log.

        Raises:
            NeuropilError: it cannot be read, a line is no decision, or an undo names no earlier decision.
        """
        path = Path(path)
        expect_file(path)
        try:
            text = path.read_bytes()
        except OSError as error:
            raise NeuropilError(f"expected a log of decisions, got {error.strerror}, in {path}") from None
        lines = text.split(b"\n")
        last = lines.pop()
        if not lines:
            raise NeuropilError(f"expected a log that begins with one line about its affinities, got none, in {path}")
        log = cls(path, _header(lines[0], path), unfinished=bool(last))
        if last:
            tell(f"{path}: its last line has no end, as a crash leaves it, and does not count; end it, or decide again")
        for number, line in enumerate(lines[1:], 2):
            log._add(_edit(line, path, number))
        return log

    @classmethod
    def begin(cls, path: Path | str, header: LogHeader) -> EditLog:
        """Open the log at ``path``, or make it; an existing one must be about the same fragments.

        Raises:
            NeuropilError: as :meth:`read`, a log about other fragments, or a folder that cannot be written.
        """
        path = Path(path)
        if path.exists():
            log = cls.read(path)
            log.header.check(header, path)
            return log
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        except OSError as error:
            raise NeuropilError(f"expected to begin a log, got {error.strerror}, at {path}") from None
        with os.fdopen(handle, "wb", 0) as file:
            file.write(_line(asdict(header)))
            os.fsync(file.fileno())
        _sync_folder(path.parent)
        return cls(path, header)

    def append(self, kind: EditKind, a: Triple | None = None, b: Triple | None = None, *, by: str | None = None,
               undoes: int | None = None) -> Edit:  # fmt: skip
        """Write one decision; it is on disk when this returns.

        Several processes may append to one log: each locks the file while it reads the others' lines and writes its
        own.

        Raises:
            NeuropilError: an undo of no earlier decision or of an undone one, missing points, or a full disk.
        """
        try:
            with open(self.path, "r+b", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                now = EditLog.read(self.path)
                if now.unfinished:
                    text = self.path.read_bytes()
                    file.truncate(text.rfind(b"\n") + 1)
                time = datetime.now(UTC).isoformat(timespec="seconds")
                edit = Edit(len(now.edits) + 1, time, by or user(), kind, _point(a), _point(b), undoes)
                now._add(edit)
                file.seek(0, os.SEEK_END)
                before = file.tell()
                line = _line({key: value for key, value in asdict(edit).items() if value is not None})
                try:
                    file.write(line)
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(before)
                    raise
        except OSError as error:
            raise NeuropilError(f"the decision was not saved: {error.strerror}, in {self.path}") from None
        self.edits, self.unfinished = now.edits, False
        return edit

    def active(self) -> list[Edit]:
        """Decisions that change the segmentation or forbid a change, without those that were undone."""
        undone = {edit.undoes for edit in self.edits if edit.kind == "undo"}
        return [edit for edit in self.edits if edit.kind != "undo" and edit.id not in undone]

    @property
    def summary(self) -> dict[str, Any]:
        """What the metadata of a segmentation say of the decisions that were applied to it."""
        return {"log": self.path.name, "applied": len(self.active())}

    def _add(self, edit: Edit) -> None:
        """Check a decision against those before it, and add it."""
        where = f"{self.path} line {edit.id + 1}"
        if edit.id != len(self.edits) + 1:
            raise NeuropilError(f"expected the id {len(self.edits) + 1}, got {edit.id}, in {self.path}")
        if edit.kind == "undo":
            if not 1 <= (edit.undoes or 0) < edit.id or self.edits[edit.undoes - 1].kind == "undo":  # type: ignore[operator]
                raise NeuropilError(f"expected an undo of a decision before it, got undoes {edit.undoes}, in {where}")
            if any(other.undoes == edit.undoes for other in self.edits):
                raise NeuropilError(f"decision {edit.undoes} is undone already, in {where}")
        elif edit.a is None or edit.b is None:
            raise NeuropilError(f"expected two points a and b of {edit.kind}, got {edit.a} and {edit.b}, in {where}")
        self.edits.append(edit)


@contextmanager
def session(path: Path) -> Iterator[None]:
    """Lock a log for one proofreading session; a second session is refused.

    Raises:
        NeuropilError: another process holds the lock; user, process, host and time are named.
    """
    lock = path.with_name(f"{path.name}.lock")
    file = open(lock, "a+", encoding="utf-8")  # noqa: SIM115  # opened again below, until it is the file of that name
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            who = file.read().strip() or "another process"
            file.close()
            raise NeuropilError(f"{path} is in use by {who}; close that one first") from None
        if lock.exists() and os.path.samestat(os.fstat(file.fileno()), os.stat(lock)):
            break  # else its last holder removed it before we had it
        file.close()
        file = open(lock, "a+", encoding="utf-8")  # noqa: SIM115
    try:
        file.truncate(0)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        file.write(f"{user()}, process {os.getpid()} on {socket.gethostname()} since {now}")
        file.flush()
        yield
    finally:
        lock.unlink(missing_ok=True)
        file.close()


def user() -> str:
    """The user name of this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def merged(logs: Sequence[EditLog], path: Path) -> EditLog:
    """One new log with the active decisions of several, in the order of their time.

    Raises:
        NeuropilError: logs about different fragments, or a log at ``path`` already.
    """
    if path.exists():
        raise NeuropilError(f"expected a new log to merge into, got {path}, which exists")
    for log in logs[1:]:
        log.header.check(logs[0].header, log.path)
    found = EditLog.begin(path, logs[0].header)
    decisions: Iterable[Edit] = sorted((e for log in logs for e in log.active()), key=lambda e: e.time)
    for edit in decisions:
        found.append(edit.kind, edit.a, edit.b, by=edit.by)
    return found


def _line(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, ensure_ascii=False) + "\n").encode()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _point(point: Triple | None) -> Triple | None:
    return None if point is None else (int(point[0]), int(point[1]), int(point[2]))


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        raise NeuropilError(f"expected a line of JSON, got {line[:60]!r}, in {where}") from None
    if not isinstance(values, dict):
        raise NeuropilError(f"expected a JSON object, got {line[:60]!r}, in {where}")
    return values


def _header(line: bytes, path: Path) -> LogHeader:
    values = _object(line, f"{path} line 1")
    kinds: dict[str, tuple[type, ...]] = {
        "version": (int,), "affinities_digest": (str,), "low": (int, float), "high": (int, float), "score": (str,),
        "threshold": (int, float), "min_size": (int,),
    }  # fmt: skip
    for name, kind in kinds.items():
        if not isinstance(values.get(name), kind) or isinstance(values.get(name), bool):
            raise NeuropilError(f"expected {name} in the first line of a log, got {values.get(name)!r}, in {path}")
    if values["version"] != VERSION:
        raise NeuropilError(f"expected a log of version {VERSION}, got {values['version']}, in {path}")
    return LogHeader(**{name: values[name] for name in kinds})


def _edit(line: bytes, path: Path, number: int) -> Edit:
    where = f"{path} line {number}"
    values = _object(line, where)
    if values.get("kind") not in get_args(EditKind):
        raise NeuropilError(f"expected kind {', '.join(get_args(EditKind))}, got {values.get('kind')!r}, in {where}")
    points = {}
    for name in ("a", "b"):
        point = values.get(name)
        whole = isinstance(point, list) and len(point) == 3 and all(type(c) is int for c in point)
        if point is not None and not whole:
            raise NeuropilError(f"expected {name} as [z, y, x], got {point!r}, in {where}")
        points[name] = _point(point)
    number_of = {name: values.get(name) for name in ("id", "undoes")}
    if type(number_of["id"]) is not int or not isinstance(number_of["undoes"], int | None):
        raise NeuropilError(f"expected whole numbers id and undoes, got {number_of}, in {where}")
    return Edit(number_of["id"], str(values.get("time")), str(values.get("by")), values["kind"], **points,
                undoes=number_of["undoes"])  # fmt: skip
