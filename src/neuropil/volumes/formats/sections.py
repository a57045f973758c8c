"""Stacks of PNG, JPEG or TIFF files, one section each, named by a pattern and ordered by their numbers."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError, Note, tell
from neuropil.volumes.atomic import expect_output, replacing
from neuropil.volumes.formats import tiff
from neuropil.volumes.formats.base import Colour, Format, Location, Stamp, list_one, stamp_files
from neuropil.volumes.formats.chunked import identity
from neuropil.volumes.formats.colours import dtype_of, read_colours, refuse_colours, tell_alpha
from neuropil.volumes.formats.numbering import check_names, is_pattern, section_files
from neuropil.volumes.formats.pages import PagedStore, Pages
from neuropil.volumes.formats.pictures import look, read_picture
from neuropil.volumes.formats.tiff_metadata import description, made_here, tell_pixel
from neuropil.volumes.marks import MADE_BY, has_mark
from neuropil.volumes.metadata import Metadata
from neuropil.volumes.volume import ArrayStore, Index, Mode, Volume, readable, writable

_ALIKE = 0.01
"""Share by which voxel sizes of sections may differ, as rounded ones do."""


def open_sections(location: Location, mode: Mode = "r") -> Volume:
    """Open the files that match a pattern, as `[z, y, x]`, in the order of their numbers. Headers are read now, voxels
    when they are needed.

    Raises:
        NeuropilError: no file, missing numbers (without ``--allow-gaps``), or different sizes, types, origins, formats.
    """
    pattern = location.container
    if mode != "r":
        raise NeuropilError(f"sections are opened to read only, or written as a whole: {pattern}")
    files = section_files(pattern)
    if not files:
        raise NeuropilError(f"no such file: {pattern}" if not is_pattern(pattern) else f"no file matches {pattern}")
    check_names(files, pattern)
    headers = [_header(file, location.colour) for file in files]
    first = headers[0]
    for note in first.notes:
        tell(note)
    if not _is_tiff(files[0]):
        tell_pixel(first.pixel, pattern)
    if any(header.transparent for header in headers):
        tell_alpha(pattern)
    for file, header in zip(files, headers, strict=True):
        _check_alike(first, header, files[0], file)
    _check_order(files, [header.number for header in headers], pattern)
    lossy = any(header.lossy for header in headers)
    known = [identity(Path(file)) for file in files]

    def load(number: int) -> npt.NDArray[Any]:
        with readable(files[number]):
            section = _load(files[number], location.colour)
        if identity(Path(files[number])) != known[number]:
            raise NeuropilError(f"{files[number]} was replaced while {pattern} was read; start again")
        return section

    store = PagedStore((len(files),), Pages(first.shape, first.dtype, load), lossy)
    return Volume(pattern, store, first.metadata, mode)


@contextmanager
def create_sections(
    location: Location, shape: tuple[int, ...], dtype: np.dtype[Any], metadata: Metadata, chunks: Sequence[int] | None
) -> Iterator[Volume]:
    """Create a folder of sections, each written when all its voxels are known; booleans become uint8.

    ``dir/s*.png`` makes ``dir/s0000.png`` and so on. The folder appears when it is complete, and replaces only one that
    holds nothing but such sections. A name without ``*`` makes one file, of one section.
    """
    pattern = Path(location.container)
    dtype = np.dtype(np.uint8) if dtype.kind == "b" else dtype
    _check_target(pattern, shape, dtype, metadata)
    if not is_pattern(pattern.name):
        expect_output(pattern, _made_here)
        volume = Volume(str(pattern), ArrayStore(np.zeros(tuple(shape), dtype)), metadata, "r+")
        yield volume
        with replacing(pattern, _made_here) as temporary, writable(str(pattern)):
            _save(temporary, pattern.suffix.lower(), volume.read()[0], metadata)
        return
    if pattern.parent.is_file():
        raise NeuropilError(f"expected a folder for the sections {pattern.name}, got the file {pattern.parent}")
    with replacing(pattern.parent, _all_made_here) as folder:
        with writable(str(pattern)):
            folder.mkdir()
        store = SectionWriter(folder, pattern.name, tuple(shape), dtype, metadata)
        yield Volume(str(pattern), store, metadata, "r+")
        with writable(str(pattern)):
            store.finish()


@dataclass(frozen=True, eq=False)
class SectionWriter:
    """Store of a new stack. A section is in memory from its first written voxel to its last; to change one after that,
    it is read back from its file."""

    folder: Path
    pattern: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    metadata: Metadata
    begun: dict[int, npt.NDArray[Any]] = field(default_factory=dict)
    missing: dict[int, int] = field(default_factory=dict)

    @property
    def chunks(self) -> tuple[int, ...]:
        return (1, *self.shape[1:])

    def read(self, index: Index) -> npt.NDArray[Any]:
        numbers = np.arange(self.shape[0])[index[0]].tolist()
        return np.stack([self._section(z)[index[1:]] for z in numbers])

    def write(self, index: Index, array: npt.NDArray[Any]) -> None:
        for z, part in zip(np.arange(self.shape[0])[index[0]].tolist(), array, strict=True):
            section = self._section(z)
            section[index[1:]] = part
            left = self.missing.get(z, self.shape[1] * self.shape[2]) - part.size
            if left > 0:
                self.begun[z], self.missing[z] = section, left
                continue
            _save(self._file(z), Path(self.pattern).suffix.lower(), section, self.metadata)
            self.begun.pop(z, None)
            self.missing[z] = 0

    def finish(self) -> None:
        """Write the incomplete sections; voxels that were never written are 0."""
        for z in range(self.shape[0]):
            if self.missing.get(z) != 0:
                _save(self._file(z), Path(self.pattern).suffix.lower(), self._section(z), self.metadata)

    def close(self) -> None:
        pass

    def _section(self, z: int) -> npt.NDArray[Any]:
        if self.missing.get(z) == 0:
            return _load(str(self._file(z)), "").copy()
        return self.begun.get(z, np.zeros(self.shape[1:], self.dtype))

    def _file(self, z: int) -> Path:
        digits = max(4, len(str(self.shape[0] - 1)))
        return self.folder / self.pattern.replace("*", f"{z:0{digits}d}")


def stamp_sections(location: Location) -> Stamp:
    """Name, size and modification time of every section."""
    return stamp_files([Path(file) for file in section_files(location.container)])


def _check_target(pattern: Path, shape: Sequence[int], dtype: np.dtype[Any], metadata: Metadata) -> None:
    is_png = pattern.suffix.lower() == ".png"
    if pattern.suffix.lower() in (".jpg", ".jpeg"):
        raise NeuropilError(f"JPEG changes voxels, so sections are only read from it; write .png instead of {pattern}")
    if len(shape) != 3:
        raise NeuropilError(f"sections hold [z, y, x]; got shape {tuple(shape)} for {pattern}; write .h5 or .zarr")
    if is_png and dtype not in (np.uint8, np.uint16):
        raise NeuropilError(f"PNG holds uint8 and uint16; got {dtype} for {pattern}; write .tif, .h5 or .zarr")
    if is_png and metadata.to_attributes():
        lost = ", ".join(metadata.to_attributes())
        warnings.warn(f"PNG holds no metadata: {pattern} is written without {lost}", stacklevel=2)
    if not is_pattern(pattern.name):
        if shape[0] != 1:
            raise NeuropilError(f"one {pattern.suffix} holds one section, got {shape[0]}; write dir/*{pattern.suffix}")
        return
    if is_pattern(str(pattern.parent)) or pattern.name.count("*") != 1 or re.search(r"[?\[]", pattern.name):
        raise NeuropilError(f"expected one * in the file name to write sections, as dir/*.png; got {pattern}")
    if pattern.parent.is_dir():
        others = [file.name for file in pattern.parent.iterdir() if not fnmatch(file.name, pattern.name)]
        if others:
            raise NeuropilError(
                f"{pattern.parent} holds other files ({others[0]}); choose a new folder for the sections"
            )


@dataclass(frozen=True)
class Header:
    """The header of one section.

    Args:
        shape: `[y, x]`.
        dtype: of its values.
        metadata: its own.
        pixel: nm along y and x; None where that is not known.
        number: its section number in OME-XML; None without one.
        notes: messages about it, to print once for the stack.
        packed: the file format as Pillow names it, for PNG with the bits per value; "" for TIFF.
        lossy: whether compression may have changed values.
        transparent: whether it has transparency.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    metadata: Metadata
    pixel: tuple[float, float] | None = None
    number: int | None = None
    notes: tuple[str, ...] = ()
    packed: str = ""
    lossy: bool = False
    transparent: bool = False


def _header(file: str, colour: Colour) -> Header:
    """The header of a section, without its pixels; cached while the file does not change."""
    found = Path(file).stat()
    return _read_header(file, colour, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=100_000)
def _read_header(file: str, colour: Colour, size: int, changed: int) -> Header:
    if _is_tiff(file):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", Note)
            found = tiff.read_section(file, colour)
        notes = tuple(str(one.message) for one in told)
        page = found.page
        known = (found.metadata, found.pixel, found.number, notes, "", found.lossy, found.transparent)
        return Header(page.shape, page.dtype, *known)
    picture = look(file)
    if picture.colours and not colour:
        raise refuse_colours(file, f"the mode {picture.mode}")
    gray = not picture.colours or picture.mode == "LA"
    dtype = picture.dtype if gray else dtype_of(colour, picture.dtype, file)
    packed, lossy, clear = picture.packed, picture.lossy, picture.transparent
    return Header(picture.shape, dtype, Metadata(), picture.pixel, packed=packed, lossy=lossy, transparent=clear)


def _check_order(files: Sequence[str], numbers: Sequence[int | None], pattern: str) -> None:
    """Refuse sections whose order in OME-XML differs from that of their names."""
    known = [(n, file) for n, file in zip(numbers, files, strict=True) if n is not None]
    for (a, one), (b, other) in pairwise(known):
        if a >= b:
            raise NeuropilError(
                f"expected sections in the order of their OME-XML, got section {a} in {one} before section {b} in "
                f"{other}, by the names of {pattern}; open one of the files, which names the others"
            )


def _check_alike(first: Header, other: Header, expected: str, file: str) -> None:
    """Refuse a section that differs from the first in size, dtype, format, origin or pixel size."""
    if (other.shape, other.dtype) != (first.shape, first.dtype):
        raise NeuropilError(
            f"expected sections of one size and type, {first.shape} {first.dtype} as {expected}, got {other.shape} "
            f"{other.dtype} in {file}"
        )
    if other.packed != first.packed:
        raise NeuropilError(
            f"expected {first.packed} as {expected}, got {other.packed} in {file}; save all in one format"
        )
    if (other.metadata.origin, other.metadata.shift) != (first.metadata.origin, first.metadata.shift):
        raise NeuropilError(
            f"expected sections that store one origin, {first.metadata.origin} as {expected}, got "
            f"{other.metadata.origin} in {file}; remove the origins"
        )
    sizes: tuple[tuple[Any, Any], ...]
    sizes = ((first.metadata.voxel_size, other.metadata.voxel_size), (first.pixel, other.pixel))
    for a, b in sizes:
        same = a is None and b is None
        if a is not None and b is not None:
            same = all(abs(n - m) <= _ALIKE * max(n, m) for n, m in zip(a, b, strict=True))
        if not same:
            told = [" × ".join(f"{n:.4g}" for n in size) + " nm" if size else "none" for size in (a, b)]
            raise NeuropilError(
                f"expected sections of one pixel size, {told[0]} as {expected}, got {told[1]} in {file}; scale it, or "
                "correct what the files say"
            )


def _load(file: str, colour: Colour) -> npt.NDArray[Any]:
    if _is_tiff(file):
        return tiff.read_section_voxels(file, colour)
    found = read_picture(file)
    if found.ndim == 3 and found.shape[2] == 2:
        return np.asarray(found[..., 0])  # gray and alpha
    return read_colours(found, colour) if found.ndim == 3 else found


def _save(file: Path, suffix: str, section: npt.NDArray[Any], metadata: Metadata) -> None:
    if suffix == ".png":
        from PIL import Image, PngImagePlugin

        text = PngImagePlugin.PngInfo()
        text.add_text("Software", MADE_BY)
        Image.fromarray(section).save(file, format="png", pnginfo=text)
        return
    import tifffile

    tifffile.imwrite(
        file, section[np.newaxis], photometric="minisblack", metadata={"axes": "ZYX", **description(metadata)}
    )


def _made_here(file: Path) -> bool:
    return made_here(file) if _is_tiff(str(file)) else has_mark(file)


def _all_made_here(folder: Path) -> bool:
    """Whether every section of a folder was written by neuropil."""
    return folder.is_dir() and all(_made_here(file) for file in folder.iterdir())


def _is_tiff(file: str) -> bool:
    return file.lower().endswith(tiff.FORMAT.suffixes)


PATTERNS = (".png", ".jpg", ".jpeg", *tiff.FORMAT.suffixes)
"""Endings of the files that a pattern may name."""

FORMAT = Format(
    name="sections",
    title="a stack of sections",
    suffixes=(".png", ".jpg", ".jpeg"),
    open=open_sections,
    list=list_one,
    stamp=stamp_sections,
    create=create_sections,
)
