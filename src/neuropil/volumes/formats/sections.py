"""Stacks of PNG or TIFF files, one section each, named by a pattern and ordered as a reader would count them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError
from neuropil.volumes.atomic import replacing
from neuropil.volumes.formats import tiff
from neuropil.volumes.formats.base import Format, Location, Stamp, list_one, stamp_files
from neuropil.volumes.formats.pages import Pages
from neuropil.volumes.metadata import Metadata
from neuropil.volumes.volume import ArrayStore, Index, Mode, Volume, readable, writable


@dataclass(frozen=True, eq=False)
class SectionStore:
    """Files, one section each."""

    files: tuple[str, ...]
    pages: Pages

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.files), *self.pages.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.pages.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        return (1, *self.pages.shape)

    def read(self, index: Index) -> npt.NDArray[Any]:
        return self.pages.read(np.arange(len(self.files))[index[0]], index[1:])

    def write(self, index: Index, array: npt.NDArray[Any]) -> None:
        raise NeuropilError("sections cannot be changed in place; write a new stack")

    def close(self) -> None:
        pass


def natural(name: str) -> list[tuple[int, int, str]]:
    """A sort key by which section 2 comes before section 10.

    >>> sorted(["s10.png", "s2.png", "s1.png"], key=natural)
    ['s1.png', 's2.png', 's10.png']
    """
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def open_sections(location: Location, mode: Mode = "r") -> Volume:
    """The files that a pattern names, as `[z, y, x]`. Only the first one's header is read; the others must be alike."""
    pattern = location.container
    if mode != "r":
        raise NeuropilError(f"sections are opened to read only, or written as a whole: {pattern}")
    files = _files(pattern)
    if not files:
        raise NeuropilError(f"no such file: {pattern}" if not _is_pattern(pattern) else f"no file matches {pattern}")
    with readable(files[0]):
        shape, dtype, metadata = _header(files[0])

    def load(number: int) -> npt.NDArray[Any]:
        with readable(files[number]):
            section = _load(files[number])
        if section.shape != shape or section.dtype.newbyteorder("=") != dtype:
            raise NeuropilError(
                f"expected sections of one size and type, {shape} {dtype} as {files[0]}, got {section.shape} "
                f"{section.dtype} in {files[number]}"
            )
        return section

    return Volume(pattern, SectionStore(files, Pages(shape, dtype, load)), metadata, mode)


@contextmanager
def create_sections(
    location: Location, shape: tuple[int, ...], dtype: np.dtype[Any], metadata: Metadata, chunks: Sequence[int] | None
) -> Iterator[Volume]:
    """A new folder of sections, gathered in memory and written when the block is left; booleans become uint8.

    ``dir/s*.png`` makes ``dir/s0000.png`` and so on. The folder appears as a whole, and replaces only one that holds
    such sections and nothing else.
    """
    pattern = Path(location.container)
    dtype = np.dtype(np.uint8) if dtype.kind == "b" else dtype
    _check_target(pattern, shape, dtype, metadata)
    volume = Volume(str(pattern), ArrayStore(np.zeros(tuple(shape), dtype)), metadata, "r+")
    if not _is_pattern(pattern.name):
        yield volume
        with replacing(pattern) as temporary, writable(str(pattern)):
            _save(temporary, pattern.suffix.lower(), volume.read()[0], metadata)
        return
    with replacing(pattern.parent) as folder:
        with writable(str(pattern)):
            folder.mkdir()
        yield volume
        with writable(str(pattern)):
            digits = max(4, len(str(shape[0] - 1)))
            for z in range(shape[0]):
                name = pattern.name.replace("*", f"{z:0{digits}d}")
                _save(folder / name, pattern.suffix.lower(), volume.store.read((slice(z, z + 1),))[0], metadata)


def stamp_sections(location: Location) -> Stamp:
    """Name, size and time of every section."""
    return stamp_files([Path(file) for file in _files(location.container)])


def _files(pattern: str) -> tuple[str, ...]:
    """The files that a pattern names, in order."""
    if Path(pattern).is_file():
        return (pattern,)
    return tuple(sorted(filter(_is_file, glob(pattern, recursive=True)), key=natural))


def _check_target(pattern: Path, shape: Sequence[int], dtype: np.dtype[Any], metadata: Metadata) -> None:
    is_png = pattern.suffix.lower() == ".png"
    if len(shape) != 3:
        raise NeuropilError(f"sections hold [z, y, x]; got shape {tuple(shape)} for {pattern}; write .h5 or .zarr")
    if is_png and dtype not in (np.uint8, np.uint16):
        raise NeuropilError(f"PNG holds uint8 and uint16; got {dtype} for {pattern}; write .tif, .h5 or .zarr")
    if is_png and metadata.to_attributes():
        lost = ", ".join(metadata.to_attributes())
        warnings.warn(f"PNG holds no metadata: {pattern} is written without {lost}", stacklevel=2)
    if not _is_pattern(pattern.name):
        if shape[0] != 1:
            raise NeuropilError(f"one {pattern.suffix} holds one section, got {shape[0]}; write dir/*{pattern.suffix}")
        return
    if _is_pattern(str(pattern.parent)) or pattern.name.count("*") != 1 or re.search(r"[?\[]", pattern.name):
        raise NeuropilError(f"expected one * in the file name to write sections, as dir/*.png; got {pattern}")
    if pattern.parent.is_dir():
        others = [file.name for file in pattern.parent.iterdir() if not fnmatch(file.name, pattern.name)]
        if others:
            raise NeuropilError(
                f"{pattern.parent} holds other files ({others[0]}); choose a new folder for the sections"
            )


def _header(file: str) -> tuple[tuple[int, ...], np.dtype[Any], Metadata]:
    """Shape `[y, x]`, dtype and metadata of one section, without unpacking it."""
    if _is_png(file):
        from PIL import Image

        with Image.open(file) as image:
            if image.mode not in ("L", "1", "I", "I;16", "I;16B"):
                raise NeuropilError(f"expected gray sections, got {image.mode} in {file}; convert them to gray")
            kinds = {"L": "u1", "1": "?", "I": "i4"}
            return image.size[::-1], np.dtype(kinds.get(image.mode, "u2")), Metadata()
    with tiff.open_tiff(Location(tiff.FORMAT, file)) as volume:
        if len(volume.shape) != 3 or volume.shape[0] != 1:
            raise NeuropilError(f"expected one section in each file, got shape {volume.shape}, in {file}")
        return volume.shape[1:], volume.dtype, volume.metadata


def _load(file: str) -> npt.NDArray[Any]:
    if _is_png(file):
        from PIL import Image

        with Image.open(file) as image:
            return np.asarray(image)
    with tiff.open_tiff(Location(tiff.FORMAT, file)) as volume:
        return volume.read()[0] if volume.shape[0] == 1 else volume.read()


def _save(file: Path, suffix: str, section: npt.NDArray[Any], metadata: Metadata) -> None:
    if suffix == ".png":
        from PIL import Image

        Image.fromarray(section).save(file, format="png")
        return
    import tifffile

    from neuropil.volumes.formats.tiff_metadata import description

    tifffile.imwrite(
        file, section[np.newaxis], photometric="minisblack", metadata={"axes": "ZYX", **description(metadata)}
    )


def _is_pattern(name: str) -> bool:
    return re.search(r"[*?\[]", name) is not None


def _is_png(file: str) -> bool:
    return file.lower().endswith(".png")


def _is_file(name: str) -> bool:
    return Path(name).is_file()


PATTERNS = (".png", ".tif", ".tiff")
"""Endings of the files that a pattern may name."""

FORMAT = Format(
    name="sections",
    title="a stack of sections",
    suffixes=(".png",),
    open=open_sections,
    list=list_one,
    stamp=stamp_sections,
    create=create_sections,
)
