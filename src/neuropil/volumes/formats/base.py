"""What a file format offers, and a place for an array in one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from neuropil.errors import NeuropilError
from neuropil.volumes.arrays import Listed
from neuropil.volumes.metadata import Metadata
from neuropil.volumes.volume import Mode, Volume

Stamp = list[list[Any]]
"""What changes when an array is written anew: size in bytes and time in ns of each file that tells, with its name where
there are several; or the generation that a bucket gives. Plain JSON values."""


Colour = Literal["", "image", "segmentation"]
"""What colours mean where they are asked for: brightness, or ids as VAST exports them (65536·R + 256·G + B)."""


@dataclass(frozen=True)
class Location:
    """A place for an array.

    Args:
        format: how it is stored.
        container: a local path, a pattern of files or a URL.
        array: the array inside; "" where none is named.
        scheme: what stood before ``://`` to name the format; "" where the path itself tells it.
        colour: what colours mean; "": they are refused.
        axes: names of the axes as stored, in place of what the file says; empty: as it says.
        sharded: whether a new array packs many chunks into one file.
    """

    format: Format
    container: str
    array: str = ""
    scheme: str = ""
    colour: Colour = ""
    axes: tuple[str, ...] = ()
    sharded: bool = False

    @property
    def remote(self) -> bool:
        """In a bucket or on a web server rather than in the local file system."""
        return "://" in self.container

    @property
    def path(self) -> str:
        """As a user would type it, to be opened again."""
        inside = "/".join(part for part in (self.container.rstrip("/"), self.array) if part)
        return f"{self.scheme}://{inside}" if self.scheme else inside

    def at(self, array: str) -> Location:
        """Another array of the same container."""
        return replace(self, array=array)

    def names(self, shape: Sequence[int], found: Sequence[str | None] | None) -> Sequence[str | None] | None:
        """The names of the axes of a stored array: those that were asked for, else those that were found.

        Raises:
            NeuropilError: more or fewer were asked for than there are.
        """
        if self.axes and len(self.axes) != len(shape):
            raise NeuropilError(
                f"--axes {''.join(self.axes)} names {len(self.axes)} axes, but {self.path} has {len(shape)}, of length "
                f"{', '.join(map(str, shape))}"
            )
        return self.axes or found

    def whole_file(self) -> str:
        """The container of a format that holds one array.

        Raises:
            NeuropilError: an array inside it is named.
        """
        if self.array:
            raise NeuropilError(f"{self.format.title} holds one array; expected {self.container}, got {self.path}")
        return self.container


class Creator(Protocol):
    """Makes a new array to fill; it takes its name when the block is left, after an exception nothing of it remains."""

    def __call__(
        self,
        location: Location,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        metadata: Metadata,
        chunks: Sequence[int] | None,
    ) -> AbstractContextManager[Volume]: ...


def _as_named(location: Location) -> Location:
    return location


@dataclass(frozen=True, repr=False)
class Format:
    """A file format. Each module of this folder exports one as ``FORMAT``; :mod:`neuropil.volumes.formats` lists them.

    Args:
        name: one word.
        title: its name in messages.
        suffixes: endings of names, lower case, with the dot. The first is the usual one.
        open: opens an array that is there.
        list: shape and dtype of every array in a container, by name; "" for a file that is one array.
        stamp: what changes when the array is written anew.
        create: makes a new array; None where the format is only read.
        signatures: first bytes of files, by which one without a known suffix is recognised.
        markers: files in a folder, by which one without a known suffix is recognised.
        schemes: what may stand before ``://`` to name the format; it can then be read from a URL.
        several: whether a container holds arrays by name.
        axes: whether the axes of a stored array may be named by the user.
        sharded: whether many chunks can be packed into one file.
        folder: whether an array is a folder of chunks, which many processes may write at once and which can be renamed.
        settle: gives an output the name of the array inside that it gets where none was named.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    open: Callable[[Location, Mode], Volume]
    list: Callable[[Location], dict[str, Listed]]
    stamp: Callable[[Location], Stamp]
    create: Creator | None = None
    signatures: tuple[bytes, ...] = ()
    markers: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ()
    several: bool = False
    folder: bool = False
    axes: bool = False
    sharded: bool = False
    settle: Callable[[Location], Location] = _as_named

    def __repr__(self) -> str:
        return self.name


def list_one(location: Location) -> dict[str, Listed]:
    """The list of a format whose files are one array."""
    with location.format.open(location, "r") as volume:
        return {"": Listed(volume.shape, volume.dtype)}


def stamp_file(location: Location) -> Stamp:
    """The stamp of a container that is one file, whatever it is called."""
    return stamp_first([Path(location.container)])


def stamp_first(files: Sequence[Path]) -> Stamp:
    """Size and time of the first file that is there."""
    return [stamp[1:] for stamp in stamp_files(files)[:1]]


def stamp_files(files: Iterable[Path]) -> Stamp:
    """Name, size and time of files; those that are not there are left out."""
    stats = [(file.name, file.stat()) for file in files if file.is_file()]
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]
