"""Folders of intermediate files: where they are, who made them, and when they are removed."""

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
"""A file that marks a folder named by the user and made by neuropil: such a folder is removed when it is empty."""


@dataclass(frozen=True)
class WorkFolder:
    """The folder in which jobs have folders of their own.

    Args:
        path: where it is.
        given: whether the user named it; it may then hold other running jobs and files of the user.
    """

    path: Path
    given: bool

    def begin(self) -> None:
        """Make the folder if it does not exist.

        Raises:
            NeuropilError: the folder cannot be written.
        """
        mark = self.path / MADE_HERE
        there = self.path.exists()
        prepare(mark)
        if self.given and not there:
            mark.touch()

    def end(self, job: Path | str) -> None:
        """Remove the folder of a finished job, and the work folder if it is empty and neuropil made it.

        If the user did not name the work folder, what other jobs left there is reported: nobody would look for it.
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
            left = f"{self.path} holds intermediate files of runs with other options"
            warn(f"{left}; repeat their commands to go on, or delete it if none is running", stacklevel=3)


def holding(job: Path | str) -> AbstractContextManager[None]:
    """Lock a job's folder, which is made if needed, against other processes.

    Raises:
        NeuropilError: another process holds the lock, when entered.
    """
    return locked(Path(job) / "lock", f"another process is running this job in {job}; wait for it or stop it")


def work_folder(work: Path | str | None, path: Path | str, kind: str) -> WorkFolder:
    """The folder of intermediate files: the one that the user named, else one next to an array.

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
