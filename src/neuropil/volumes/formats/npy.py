"""NumPy files (.npy): one memory-mapped array, without metadata."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.arrangement import arrange
from neuropil.volumes.atomic import replacing
from neuropil.volumes.formats.base import Format, Location, list_one, stamp_file
from neuropil.volumes.metadata import Metadata
from neuropil.volumes.volume import ArrayStore, Mode, Volume, arranged, readable, writable

_HEADER = 1024
_MAGIC = b"\x93NUMPY\x01\x00"


def open_npy(location: Location, mode: Mode = "r") -> Volume:
    """Open a NumPy file, memory-mapped; z, y, x or c, z, y, x."""
    path = location.whole_file()
    if not Path(path).is_file():
        raise NeuropilError(f"no such file: {path}")
    with readable(path):
        _check_content(path)
        mapped = np.load(path, mmap_mode=mode, allow_pickle=False)
    arrangement = arrange(mapped.shape, location.names(mapped.shape, None), path)
    return Volume(path, arranged(ArrayStore(mapped), arrangement), Metadata(), mode)


def _check_content(path: str) -> None:
    """Refuse archives (.npz), Python objects, and files with several arrays, of which NumPy would read only one."""
    with Path(path).open("rb") as file:
        if file.read(4) == b"PK\3\4":
            raise NeuropilError(f"expected one array, got an archive of arrays (.npz) in {path}; save the one you mean")
        file.seek(0)
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        if dtype.hasobject:
            raise NeuropilError(f"expected numbers, got Python objects in {path}; save an array of one type")
        end = file.tell() + math.prod(shape) * dtype.itemsize
    size = Path(path).stat().st_size
    if size > end:
        raise NeuropilError(
            f"expected one array of {end} bytes, got {size} in {path}; were several saved into one file?"
        )


@contextmanager
def create_npy(
    location: Location, shape: tuple[int, ...], dtype: np.dtype[Any], metadata: Metadata, chunks: Sequence[int] | None
) -> Iterator[Volume]:
    """Create a NumPy file, filled through a memory map; it has no room for metadata."""
    path = location.whole_file()
    if metadata.to_attributes():
        tell(f"NPY holds no metadata: {path} is written without {', '.join(metadata.to_attributes())}")
    with replacing(Path(path), _made_here) as temporary:
        with writable(path):
            mapped = _allocate(temporary, shape, dtype)
        yield Volume(path, ArrayStore(mapped), metadata, "r+")
        with writable(path):
            mapped.flush()


def _allocate(file: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Create a mapped file. Its header is padded with spaces to 1,024 bytes, which is our mark; readers skip it."""
    head = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    text = str(head).encode("latin1")
    size = _HEADER - len(_MAGIC) - 2
    with file.open("wb") as opened:
        opened.write(_MAGIC + size.to_bytes(2, "little") + text.ljust(size - 1) + b"\n")
        if hasattr(os, "posix_fallocate"):  # with a sparse file, a full disk would end the process (SIGBUS)
            os.posix_fallocate(opened.fileno(), _HEADER, math.prod(shape) * dtype.itemsize)
        else:
            opened.truncate(_HEADER + math.prod(shape) * dtype.itemsize)
    return np.memmap(file, dtype, "r+", _HEADER, shape)


def _made_here(path: Path) -> bool:
    """Whether a file was written by neuropil, since version 0.2."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(_HEADER)
    return head.startswith(_MAGIC) and int.from_bytes(head[8:10], "little") + 10 == _HEADER and head[-1:] == b"\n"


FORMAT = Format(
    name="npy", title="NPY", suffixes=(".npy",), open=open_npy, list=list_one, stamp=stamp_file, create=create_npy,
    signatures=(b"\x93NUMPY",), axes=True,
)  # fmt: skip
