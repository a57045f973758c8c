"""TIFF files: uncompressed pages are memory-mapped, others are decompressed one page at a time."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.allowances import check_inside
from neuropil.volumes.arrangement import arrange
from neuropil.volumes.atomic import replacing
from neuropil.volumes.formats.base import Colour, Format, Location, list_one, stamp_file
from neuropil.volumes.formats.colours import check_opaque, read_colours, tell_alpha
from neuropil.volumes.formats.pages import PagedStore, Pages
from neuropil.volumes.formats.tiff_checks import check_page
from neuropil.volumes.formats.tiff_metadata import description, made_here, read_metadata
from neuropil.volumes.formats.tiff_ome import check_content, check_files, read_ome, section_number
from neuropil.volumes.formats.tiff_pages import Stack, find_stack
from neuropil.volumes.metadata import Metadata
from neuropil.volumes.volume import ArrayStore, Mode, Volume, arranged, first_line, readable, writable

_ASSOCIATED = 1  # associated alpha in the tag ExtraSamples


@dataclass(frozen=True, eq=False)
class MappedStore(ArrayStore):
    """The memory-mapped voxels of a file."""

    mapped: Any = None

    def close(self) -> None:
        if self.mapped.mode == "r+":
            self.mapped.flush()


def open_tiff(location: Location, mode: Mode = "r") -> Volume:
    """Open the pages of a file as `[z, y, x]`, or `[c, z, y, x]` if its metadata name channels."""
    path = location.whole_file()
    if not Path(path).is_file():
        raise NeuropilError(f"no such file: {path}")
    with _damage_told(path):
        file = _parse(path)
        try:
            stack = find_stack(file, path, location.colour)
            arrangement = arrange(stack.shape, location.names(stack.shape, stack.names), path)
            if ome := read_ome(file, path):
                check_content(ome, np.dtype(stack.series[0].dtype).newbyteorder("="), path)
            metadata, _ = read_metadata(file, path)
            if stack.samples == (4,):
                tell_alpha(path)
            store: Any = _mapped(path, stack, mode) if stack.mapped else None
            if store is not None:
                file.close()
            else:
                store = PagedStore(stack.shape[:-2], _pages(stack, path), stack.lossy, file)
        except BaseException:
            file.close()
            raise
    if mode == "r+" and not isinstance(store, MappedStore):
        store.close()
        raise NeuropilError(f"the pages of {path} are compressed or scattered and cannot be changed in place")
    return Volume(path, arranged(store, arrangement), metadata, mode)


@contextmanager
def create_tiff(
    location: Location, shape: tuple[int, ...], dtype: np.dtype[Any], metadata: Metadata, chunks: Sequence[int] | None
) -> Iterator[Volume]:
    """Create an uncompressed file, filled through a memory map; booleans become uint8. Its pages are its chunks."""
    path = location.whole_file()
    if Path(path).is_dir():
        raise NeuropilError(f"cannot write {path}: it is a folder; choose another name")
    with replacing(Path(path), made_here) as temporary:
        with writable(path):
            mapped = _allocate(temporary, shape, np.dtype(np.uint8) if dtype.kind == "b" else dtype, metadata)
        yield Volume(path, MappedStore(mapped, mapped=mapped), metadata, "r+")
        with writable(path):
            mapped.flush()


def _allocate(file: Path, shape: Sequence[int], dtype: np.dtype[Any], metadata: Metadata) -> Any:
    import tifffile

    mapped = tifffile.memmap(
        file,
        shape=tuple(shape),
        dtype=dtype,
        photometric="minisblack",
        metadata={**description(metadata), "axes": "CZYX"[-len(shape) :]},
    )
    if hasattr(os, "posix_fallocate"):  # with a sparse file, a full disk would end the process (SIGBUS)
        with file.open("r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
    return mapped


@dataclass(frozen=True)
class TiffSection:
    """A file that is one section of a stack.

    Args:
        page: its shape and type.
        metadata: its own.
        pixel: nm along y and x; None where that is not known.
        number: its section number in OME-XML; None without one.
        lossy: whether compression may have changed values.
        transparent: whether it has transparency.
    """

    page: Pages
    metadata: Metadata
    pixel: tuple[float, float] | None
    number: int | None
    lossy: bool
    transparent: bool


def read_section(path: str, colour: Colour) -> TiffSection:
    """Read a file that is one section of a stack, without its pixels. Other files in its OME-XML are not opened.

    Raises:
        NeuropilError: the file has several pages, or is damaged.
    """
    with _damage_told(path), closing(_parse(path, whole=False)) as file:
        stack = _one_section(file, path, colour)
        ome = read_ome(file, path)
        number = section_number(ome, path) if ome else None
        return TiffSection(_pages(stack, path), *read_metadata(file, path), number, stack.lossy, stack.samples == (4,))


def read_section_voxels(path: str, colour: Colour) -> npt.NDArray[Any]:
    """The pixels of a file that is one section, `[y, x]`."""
    with _damage_told(path), closing(_parse(path, whole=False)) as file:
        return _pages(_one_section(file, path, colour), path).page(0)


def _one_section(file: Any, path: str, colour: Colour) -> Stack:
    stack = find_stack(file, path, colour)
    if math.prod(stack.shape[:-2]) != 1:
        raise NeuropilError(f"expected one section in each file, got shape {stack.shape}, in {path}")
    return stack


@contextmanager
def _damage_told(path: str) -> Iterator[None]:
    """Turn all exceptions of tifffile over a damaged file into one error, and silence its log."""
    logger = logging.getLogger("tifffile")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with readable(path):
            yield
    except NeuropilError:
        raise
    except Exception as error:
        raise NeuropilError(f"cannot read {path}: damaged, truncated or no TIFF ({first_line(error)})") from None
    finally:
        logger.setLevel(level)


def _parse(path: str, whole: bool = True) -> Any:
    """Open a file (``whole``: with the other files in its OME-XML), and follow its list of pages to the end, because
    tifffile reads a truncated file without its last pages."""
    import tifffile

    file = tifffile.TiffFile(path, is_ome=None if whole else False)
    try:
        ome = read_ome(file, path) if whole else ""
        if ome:
            check_files(ome, path)
        if ome != file.pages.first.description and ome:  # of a companion
            file.close()
            file = tifffile.TiffFile(path, omexml=ome)
        file.filehandle.seek((len(file.pages) and file.pages.next_page_offset) or 0)
        end = file.filehandle.read(file.tiff.offsetsize)
        if len(end) < file.tiff.offsetsize or any(end):
            raise NeuropilError(f"{path} is truncated: pages are missing after {len(file.pages)}")
    except BaseException:
        file.close()
        raise
    return file


def _mapped(path: str, stack: Stack, mode: Mode) -> MappedStore:
    (series,) = stack.series
    dtype = np.dtype(series.dtype).newbyteorder(series.parent.byteorder)
    end = series.dataoffset + math.prod(stack.shape) * dtype.itemsize
    if end > Path(path).stat().st_size:
        raise NeuropilError(f"{path} is truncated: it needs {end} bytes and has {Path(path).stat().st_size}")
    mapped = np.memmap(path, dtype, mode, series.dataoffset, stack.shape)
    return MappedStore(np.asarray(mapped), mapped=mapped)


def _pages(stack: Stack, path: str) -> Pages:
    """The pages of a stack, also those in other files of an OME-TIFF; all headers are checked, no pixel is read."""
    pages = stack.pages
    absent = 0
    for number, page in enumerate(pages):
        if page is None:
            raise NeuropilError(f"page {number} of {path} is missing; is one of the files that it names?")
        _check_page(page, pages[0].keyframe, number, path)
        absent += sum(_absent(page))
    if absent:
        tell(f"{absent} tiles or strips of {path} are missing; they are read as {pages[0].keyframe.nodata}")

    def load(number: int) -> npt.NDArray[Any]:
        page = pages[number // stack.depth]
        with _damage_told(f"page {number} of {path}"):
            if all(_absent(page)):
                return np.full(stack.shape[-2:], page.keyframe.nodata, stack.dtype)
            with _opened(page.parent.filehandle):
                found = np.asarray(page.asarray()).reshape(stack.depth, *stack.shape[-2:], *stack.samples)
            if stack.inverted:
                found = np.invert(found)
            if stack.samples == (4,) and _ASSOCIATED in page.keyframe.extrasamples:
                check_opaque(found, path)
            if stack.samples:
                found = read_colours(found, stack.colour)
            return np.asarray(found[number % stack.depth])

    return Pages(stack.shape[-2:], stack.dtype, load)


def _absent(page: Any) -> list[bool]:
    """Whether each tile or strip of a page is missing: GDAL does not write empty ones."""
    places = zip(page.dataoffsets, page.databytecounts, strict=True)
    return [start == 0 or (count == 0 and not page.is_contiguous) for start, count in places]


@contextmanager
def _opened(handle: Any) -> Iterator[None]:
    """Open a closed file, and close it again after the block."""
    closed = handle.closed
    if closed:
        handle.open()
    try:
        yield
    finally:
        if closed:
            handle.close()


def _check_page(page: Any, first: Any, number: int, path: str) -> None:
    check_page(page, first, path)
    handle = page.parent.filehandle
    if Path(handle.path) != Path(path).absolute() and Path(handle.path) != Path(path):
        check_inside(path, handle.path, f"page {number}")
    ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
    if max(ends, default=0) > handle.size:
        raise NeuropilError(f"{handle.path} is truncated: page {number} ends at byte {max(ends)} of {handle.size}")


FORMAT = Format(
    name="tiff",
    title="TIFF",
    suffixes=(".tif", ".tiff"),
    open=open_tiff,
    list=list_one,
    stamp=stamp_file,
    create=create_tiff,
    signatures=(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    axes=True,
)
