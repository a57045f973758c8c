"""Zarr in ZIP files: the members that a box touches are extracted, verified by checksum, and read from memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError
from neuropil.volumes.volume import Index, ReadOnlyStore, first_line


def is_zip(container: str) -> bool:
    """Whether a local container is a file (a ZIP file) and not a folder."""
    return "://" not in container and Path(container).is_file()


def members(container: str) -> list[str]:
    """The names of all files of a ZIP file, each once.

    Raises:
        NeuropilError: the ZIP file cannot be read.
    """
    return list(dict.fromkeys(name for name in _opened(container).namelist() if not name.endswith("/")))


def has_member(container: str, name: str) -> bool:
    """Whether a ZIP file holds a file of this name."""
    return name in _opened(container).NameToInfo


def member(container: str, name: str) -> bytes | None:
    """The content of a member of a ZIP file, the last one of that name; None where there is none.

    Raises:
        NeuropilError: the member cannot be read, or its checksum is wrong.
    """
    packed = _opened(container)
    try:
        return packed.read(name)
    except KeyError:
        return None
    except (BadZipFile, OSError, NotImplementedError, EOFError, RuntimeError) as error:
        raise NeuropilError(f"cannot read {container}/{name}: {first_line(error)}; is it damaged?") from error


def _opened(container: str) -> ZipFile:
    known = Path(container).stat()
    try:
        return _kept(container, known.st_size, known.st_mtime_ns)
    except (BadZipFile, OSError, NotImplementedError) as error:
        raise NeuropilError(f"cannot read {container}: {first_line(error)}; is it damaged or truncated?") from error


@lru_cache(maxsize=4)
def _kept(container: str, size: int, changed: int) -> ZipFile:
    """A ZIP file, kept open because its list of members may be long; opened again if size or time change."""
    return ZipFile(container)


@dataclass(frozen=True, eq=False)
class ZipStore(ReadOnlyStore):
    """An array whose chunks lie in a ZIP file.

    Args:
        container: path of the ZIP file.
        spec: the TensorStore specification, without a kvstore.
        described: name and content of the metadata file of the array.
        inside: prefix of the names of all its files.
        start: prefix of a chunk name, after ``inside``.
        between: separator of the numbers in a chunk name.
    """

    container: str
    spec: dict[str, Any]
    described: tuple[str, bytes]
    inside: str
    start: str
    between: str

    @cached_property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(n) for n in self._handle({}).shape)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        stored: np.dtype[Any] = np.dtype(self._handle({}).dtype.numpy_dtype)
        return stored

    @cached_property
    def chunks(self) -> tuple[int, ...] | None:
        return tuple(int(n) for n in self._handle({}).chunk_layout.write_chunk.shape)

    def read(self, index: Index) -> npt.NDArray[Any]:
        spans = [part.indices(n)[:2] for part, n in zip(index, self.shape, strict=True)]
        grid = [range(a // n, -(-b // n)) for (a, b), n in zip(spans, self.chunks or (), strict=True)]
        found = {}
        for numbers in product(*grid):
            name = self.start + self.between.join(map(str, numbers))
            data = member(self.container, self.inside + name)
            if data is not None:
                found[name] = data
        return np.asarray(self._handle(found)[index].read().result())

    def _handle(self, files: dict[str, bytes]) -> Any:
        """A TensorStore over some of the files, in memory."""
        import tensorstore as ts

        context = ts.Context()
        memory = ts.KvStore.open({"driver": "memory"}, context=context).result()
        for name, data in (self.described, *files.items()):
            memory.write(name, data).result()
        return ts.open({**self.spec, "kvstore": {"driver": "memory"}}, context=context, read=True).result()
