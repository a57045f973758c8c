"""Folders of intermediate files: where they are, who made them, and what is left in them at the end."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from warnings import warn

from neuropil.volumes.atomic import GONE, prepare, remove_folder
from neuropil.volumes.location import parse_location
from neuropil.volumes.locks import locked

MADE_HERE = ".made-by-neuropil"
"""A file in a folder that was asked for by name and was not there before: that one may go when it is empty."""


@dataclass(frozen=True)
class WorkFolder:
    """The folder in which jobs have folders of their own.

    Args:
        path: where it is.
        given: whether the user named it; it may then hold other jobs, at work, and things of the user's.
    """

    path: Path
    given: bool

    def begin(self) -> None:
        """Make the folder, unless it is there.

        Raises:
            NeuropilError: it cannot be written.
        """
        mark = self.path / MADE_HERE
        there = self.path.exists()
        prepare(mark)
        if self.given and not there:
            mark.touch()

    def end(self, job: Path | str) -> None:
        """Remove a job's folder, when all is done, and the one around it if it is empty and nobody else made it.

        What is left of others in a folder that nobody named is told: it lies where nobody looks for it.
        """
        remove_folder(Path(job))
        for half in self.path.glob(f"*{GONE}"):  # of runs that were stopped here
            shutil.rmtree(half, ignore_errors=True)
        mark = self.path / MADE_HERE
        with suppress(OSError):  # gone already, not empty after all, or not ours to remove
            empty = all(inside.name == MADE_HERE for inside in self.path.iterdir())
            if empty and (not self.given or mark.exists()):
                mark.unlink(missing_ok=True)
                self.path.rmdir()
        if not self.given and self.path.exists():
            left = f"{self.path} holds what runs with other options left"
            warn(f"{left}; give their options again, or delete it if none is at work", stacklevel=3)


def holding(job: Path | str) -> AbstractContextManager[None]:
    """Hold a job's folder, making it where it is not there, against other processes.

    Raises:
        NeuropilError: another one holds it, when entered.
    """
    return locked(Path(job) / "lock", f"another process is at work on the same in {job}; wait for it or stop it")


def work_folder(work: Path | str | None, path: Path | str, kind: str) -> WorkFolder:
    """The folder that the user named, else one next to an array.

    >>> work_folder(None, "data/s.zarr", "blocks")
    WorkFolder(path=PosixPath('data/s.zarr.blocks'), given=False)
    """
    return WorkFolder(folder_beside(path, kind), given=False) if work is None else WorkFolder(Path(work), given=True)


def folder_beside(path: Path | str, kind: str = "blocks") -> Path:
    """The folder of intermediate files: next to a local array, in the current folder for a bucket.

    >>> folder_beside("data/s.h5/main").as_posix(), folder_beside("s3://bucket/s.zarr").as_posix()
    ('data/s.h5.main.blocks', 's3_bucket_s.zarr.blocks')
    >>> folder_beside("data/*.png", "scores.blocks").as_posix()
    'data/_.png.scores.blocks'
    """
    location = parse_location(path)
    name = location.container.rstrip("/").replace("://", "_")
    place = Path(name.replace("/", "_") if location.remote else name.replace("*", "_"))
    return place.with_name(f"{place.name}{'.' + location.array.replace('/', '_') if location.array else ''}.{kind}")
