"""The interface of a file format (``Format``), and the location of an array in one (``Location``)."""

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
"""A value that changes when an array is rewritten: size in bytes and modification time in ns of its files, with their
names where there are several; or the generation that a bucket gives. Plain JSON values."""


Colour = Literal["", "image", "segmentation"]
"""How colours are read: "image" as brightness, "segmentation" as ids that VAST exports (65536·R + 256·G + B)."""


@dataclass(frozen=True)
class Location:
    """Where an array is, or will be, and how to read it.

    Args:
        format: its file format.
        container: a local path, a pattern of files or a URL.
        array: the array inside; "" where none is named.
        scheme: the name of the format before ``://`` in the path; "" where there is none.
        colour: how colours are read; "": they are refused.
        axes: names of the axes as stored, instead of those in the file; empty: those in the file.
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
        """The names of the axes of a stored array: those that the user gave, else those that were found.

        Raises:
            NeuropilError: the user gave more or fewer names than there are axes.
        """
        if self.axes and len(self.axes) != len(shape):
            raise NeuropilError(
                f"--axes {''.join(self.axes)} names {len(self.axes)} axes, but {self.path} has {len(shape)}, of length "
                f"{', '.join(map(str, shape))}"
            )
        return self.axes or found

    def whole_file(self) -> str:
        """The path of the container, in a format that holds one array.

        Raises:
            NeuropilError: the location names an array inside the container.
        """
        if self.array:
            raise NeuropilError(f"{self.format.title} holds one array; expected {self.container}, got {self.path}")
        return self.container


class Creator(Protocol):
    """Creates an array to fill; it gets its name when the block is left, and is removed after an exception."""

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
        open: opens an existing array.
        list: shape and dtype of every array in a container, by name; "" for a file that is one array.
        stamp: a value that changes when the array is rewritten.
        create: creates an array; None where the format is read-only.
        signatures: first bytes of files, by which one without a known suffix is recognised.
        markers: files in a folder, by which one without a known suffix is recognised.
        schemes: names of the format before ``://`` in a path; formats with one can be read from a URL.
        several: whether a container holds arrays by name.
        axes: whether the axes of a stored array may be named by the user.
        sharded: whether many chunks can be packed into one file.
        folder: whether an array is a folder of chunks, which many processes may write at once and which can be renamed.
        settle: adds the default array name to an output location that names no array.
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
    """``list`` of formats whose files hold one array."""
    with location.format.open(location, "r") as volume:
        return {"": Listed(volume.shape, volume.dtype)}


def stamp_file(location: Location) -> Stamp:
    """``stamp`` of formats whose container is one file; its name does not count."""
    return stamp_first([Path(location.container)])


def stamp_first(files: Sequence[Path]) -> Stamp:
    """Size and modification time of the first file that exists."""
    return [stamp[1:] for stamp in stamp_files(files)[:1]]


def stamp_files(files: Iterable[Path]) -> Stamp:
    """Name, size and modification time of files; those that do not exist are left out."""
    stats = [(file.name, file.stat()) for file in files if file.is_file()]
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]
