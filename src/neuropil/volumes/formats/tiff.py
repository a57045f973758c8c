"""TIFF: uncompressed pages are memory-mapped, others are unpacked one page at a time."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError
from neuropil.volumes.arrays import volume_shape
from neuropil.volumes.atomic import replacing
from neuropil.volumes.formats.base import Format, Location, list_one, stamp_file
from neuropil.volumes.formats.pages import Pages
from neuropil.volumes.formats.tiff_metadata import description, read_metadata
from neuropil.volumes.metadata import Metadata
from neuropil.volumes.volume import ArrayStore, Index, Mode, Volume, first_line, readable, writable


@dataclass(frozen=True, eq=False)
class MappedStore(ArrayStore):
    """The memory-mapped voxels of a file."""

    mapped: Any = None

    def close(self) -> None:
        if self.mapped.mode == "r+":
            self.mapped.flush()


@dataclass(frozen=True, eq=False)
class PagedStore:
    """Pages that are read one by one: ``order[c, z]`` or ``order[z]`` is the number of a page in the file."""

    file: Any
    order: npt.NDArray[np.intp]
    pages: Pages
    chunks: tuple[int, ...] | None

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.order.shape, *self.pages.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.pages.dtype

    def read(self, index: Index) -> npt.NDArray[Any]:
        return self.pages.read(self.order[index[:-2]], index[-2:])

    def write(self, index: Index, array: npt.NDArray[Any]) -> None:
        raise NeuropilError("the pages of this TIFF cannot be changed in place; write a new file")

    def close(self) -> None:
        self.file.close()


def open_tiff(location: Location, mode: Mode = "r") -> Volume:
    """The pages of a file as `[z, y, x]`, or `[c, z, y, x]` where it says that it has channels."""
    path = location.whole_file()
    if not Path(path).is_file():
        raise NeuropilError(f"no such file: {path}")
    with _damage_told(path):
        file = _parse(path)
        try:
            series = _only_series(file, path)
            shape, order = _layout(series, path)
            metadata = read_metadata(file, path)
            if series.dataoffset is not None:
                store: Any = _mapped(path, series, shape, order, mode)
                file.close()
            else:
                pages = _pages(file, series, shape, path)
                store = PagedStore(file, order, pages, (1,) * order.ndim + pages.shape)
        except BaseException:
            file.close()
            raise
    if mode == "r+" and not isinstance(store, MappedStore):
        store.close()
        raise NeuropilError(f"the pages of {path} are compressed or scattered and cannot be changed in place")
    return Volume(path, store, metadata, mode)


@contextmanager
def create_tiff(
    location: Location, shape: tuple[int, ...], dtype: np.dtype[Any], metadata: Metadata, chunks: Sequence[int] | None
) -> Iterator[Volume]:
    """A new uncompressed file, filled through a memory map; booleans become uint8. Its pages are its chunks."""
    path = location.whole_file()
    if Path(path).is_dir():
        raise NeuropilError(f"cannot write {path}: it is a folder; choose another name")
    with replacing(Path(path)) as temporary:
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
    if hasattr(os, "posix_fallocate"):  # a map over a hole in a file would end the process where the disk is full
        with file.open("r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
    return mapped


@contextmanager
def _damage_told(path: str) -> Iterator[None]:
    """What tifffile logs about damage, and whatever its parser stumbles over, becomes one error."""
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


def _parse(path: str) -> Any:
    """Open a file and walk its list of pages to the end: a file cut off loses the pages behind the cut."""
    import tifffile

    file = tifffile.TiffFile(path)
    try:
        file.filehandle.seek((len(file.pages) and file.pages.next_page_offset) or 0)
        end = file.filehandle.read(file.tiff.offsetsize)
        if len(end) < file.tiff.offsetsize or any(end):
            raise NeuropilError(f"{path} is truncated: pages are missing after {len(file.pages)}")
    except BaseException:
        file.close()
        raise
    return file


def _only_series(file: Any, path: str) -> Any:
    series = list(file.series)
    sizes = {tuple(s.shape) for s in series}
    if not series:
        raise NeuropilError(f"no image in {path}")
    if len(series) > 1:
        shapes = ", ".join("×".join(map(str, size)) for size in sorted(sizes))
        raise NeuropilError(f"expected pages of one size and type, got {len(series)} images ({shapes}), in {path}")
    return series[0]


def _layout(series: Any, path: str) -> tuple[tuple[int, ...], npt.NDArray[np.intp]]:
    """Shape as stored, and the number of each page by [z] or [c, z]."""
    as_written = series.kind == "shaped"  # by tifffile, with its shape: axes of length 1 are meant
    axes = series.get_axes(squeeze=not as_written)
    shape = tuple(series.get_shape(squeeze=not as_written))
    if axes[-2:] != "YX" or ("S" in axes and series.dataoffset is None):
        raise NeuropilError(
            f"expected gray pages, got axes {axes} of shape {shape}, in {path}; split its channels first"
        )
    order = np.arange(int(np.prod(shape[:-2]))).reshape(shape[:-2])
    if order.ndim == 2 and axes[:-2] in ("ZC", "TC", "QC", "IC"):
        order = order.T
    presented = volume_shape((*order.shape, *shape[-2:]))
    if len(presented) not in (3, 4):
        raise NeuropilError(f"expected 3 axes (z, y, x) or 4 (c, z, y, x), got {axes} of shape {shape}, in {path}")
    return shape, order.reshape(presented[:-2])


def _mapped(path: str, series: Any, shape: tuple[int, ...], order: npt.NDArray[np.intp], mode: Mode) -> MappedStore:
    dtype = np.dtype(series.dtype).newbyteorder(series.parent.byteorder)
    end = series.dataoffset + int(np.prod(shape)) * dtype.itemsize
    if end > Path(path).stat().st_size:
        raise NeuropilError(f"{path} is truncated: it needs {end} bytes and has {Path(path).stat().st_size}")
    mapped = np.memmap(path, dtype, mode, series.dataoffset, (order.size, *shape[-2:]))
    by_page = np.asarray(mapped)
    if (np.diff(order.ravel()) == 1).all():
        return MappedStore(by_page.reshape(*order.shape, *shape[-2:]), mapped=mapped)
    channels = order.shape[0]  # stored section by section
    return MappedStore(by_page.reshape(-1, channels, *shape[-2:]).swapaxes(0, 1), mapped=mapped)


def _pages(file: Any, series: Any, shape: tuple[int, ...], path: str) -> Pages:
    size = file.filehandle.size
    for number, page in enumerate(series.pages):
        if page is None:
            raise NeuropilError(f"page {number} of {path} is missing")
        ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if max(ends, default=0) > size:
            raise NeuropilError(f"{path} is truncated: page {number} ends at byte {max(ends)} of {size}")
    raw = np.memmap(path, np.uint8, "r")
    dtype = np.dtype(series.dtype)

    def load(number: int) -> npt.NDArray[Any]:
        page = series.pages[number]
        if series.keyframe.is_memmappable and page.is_contiguous:
            stored = dtype.newbyteorder(file.byteorder)
            start = page.dataoffsets[0]
            found: npt.NDArray[Any] = raw[start : start + int(np.prod(shape[-2:])) * dtype.itemsize].view(stored)
            return found.reshape(shape[-2:])
        with _damage_told(f"page {number} of {path}"):
            return np.asarray(page.asarray()).reshape(shape[-2:])

    return Pages(shape[-2:], dtype, load)


FORMAT = Format(
    name="tiff",
    title="TIFF",
    suffixes=(".tif", ".tiff"),
    open=open_tiff,
    list=list_one,
    stamp=stamp_file,
    create=create_tiff,
    signatures=(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
)
