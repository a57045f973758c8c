"""NumPy files: one array, mapped, without metadata."""

from __future__ import annotations

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


def open_npy(location: Location, mode: Mode = "r") -> Volume:
    """A NumPy file, mapped; z, y, x or c, z, y, x."""
    path = location.whole_file()
    if not Path(path).is_file():
        raise NeuropilError(f"no such file: {path}")
    with readable(path):
        mapped = np.load(path, mmap_mode=mode, allow_pickle=False)
    arrangement = arrange(mapped.shape, location.names(mapped.shape, None), path)
    return Volume(path, arranged(ArrayStore(mapped), arrangement), Metadata(), mode)


@contextmanager
def create_npy(
    location: Location, shape: tuple[int, ...], dtype: np.dtype[Any], metadata: Metadata, chunks: Sequence[int] | None
) -> Iterator[Volume]:
    """A new NumPy file, filled through a memory map; it has no room for metadata."""
    path = location.whole_file()
    if metadata.to_attributes():
        tell(f"NPY holds no metadata: {path} is written without {', '.join(metadata.to_attributes())}")
    with replacing(Path(path)) as temporary:
        with writable(path):
            mapped = np.lib.format.open_memmap(temporary, "w+", dtype, shape)
        yield Volume(path, ArrayStore(mapped), metadata, "r+")
        with writable(path):
            mapped.flush()


FORMAT = Format(
    name="npy", title="NPY", suffixes=(".npy",), open=open_npy, list=list_one, stamp=stamp_file, create=create_npy,
    signatures=(b"\x93NUMPY",), axes=True,
)  # fmt: skip
