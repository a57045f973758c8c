"""Code shared by Zarr, N5 and Neuroglancer precomputed: chunked arrays in folders, buckets and on web servers.

They are read through TensorStore, which presents N5 and precomputed as x, y, z, channel; here all are channel, z, y, x.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError
from neuropil.memory import expect_memory
from neuropil.volumes import arrays
from neuropil.volumes.formats import keys
from neuropil.volumes.formats.base import Location
from neuropil.volumes.formats.zipped import is_zip, members
from neuropil.volumes.volume import Index, Mode, Store, WrappedStore, readable

Driver = Literal["zarr3", "zarr", "n5", "neuroglancer_precomputed"]
"""TensorStore's name of a format."""


@dataclass(frozen=True)
class Described:
    """The metadata of an array, from the JSON file next to its chunks."""

    driver: Driver
    values: Mapping[str, Any]

    @property
    def listed(self) -> arrays.Listed:
        """Shape and dtype of the array."""
        values = self.values
        shape = tuple(reversed(values["dimensions"])) if self.driver == "n5" else tuple(values["shape"])
        name = values.get("data_type", values.get("dataType", values.get("dtype", "V")))
        try:
            return arrays.Listed(shape, np.dtype(name))
        except TypeError:
            return arrays.Listed(shape, np.dtype("V"))


Describe = Callable[[str, str], Described | None]
"""Reads the metadata of an array, by container and name; None where there is no array."""


@dataclass(frozen=True, eq=False)
class ChunkedStore:
    """A TensorStore whose indices are counted from 0."""

    handle: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.handle.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        stored: np.dtype[Any] = np.dtype(self.handle.dtype.numpy_dtype)
        return stored

    @property
    def lossy(self) -> bool:
        """Whether compression has changed values: JPEG in precomputed volumes."""
        scale = self.handle.spec().to_json().get("scale_metadata", {})
        return bool(scale.get("encoding") == "jpeg")

    @property
    def chunks(self) -> tuple[int, ...] | None:
        shape = self.handle.chunk_layout.write_chunk.shape
        return None if shape is None else tuple(int(n) for n in shape)

    def read(self, index: Index) -> npt.NDArray[Any]:
        return np.asarray(self.handle[index].read().result())

    def write(self, index: Index, array: npt.NDArray[Any]) -> None:
        """Wait for all chunks, even if one fails: none may reach the disk later."""
        starts = [i.indices(n)[0] for i, n in zip(index, self.shape, strict=True)]
        begun = []
        for part in product(*map(_cuts, index, self.chunks or self.shape, self.shape)):
            inside = tuple(slice(p.start - i, p.stop - i) for p, i in zip(part, starts, strict=True))
            begun.append(self.handle[part].write(array[inside]))
        failed = [one.exception() for one in begun]
        for error in filter(None, failed):
            raise error

    def close(self) -> None:
        pass  # every write has been waited for


def _cuts(index: slice, chunk: int, length: int) -> list[slice]:
    """A range along an axis, cut at the borders of chunks."""
    start, stop, _ = index.indices(length)
    ends = [start, *range((start // chunk + 1) * chunk, stop, chunk), stop]
    return [slice(a, b) for a, b in pairwise(ends)]


@dataclass(frozen=True, eq=False)
class GuardedStore(WrappedStore):
    """A local array that refuses reading once another process has replaced it: chunks are found by name, so that a box
    could mix chunks of the old and the new array."""

    file: Path
    """The metadata file of the array; a new array has a new one."""
    found: tuple[int, ...]
    """Its identity when it was opened."""

    def read(self, index: Index) -> npt.NDArray[Any]:
        try:
            return self.inner.read(index)
        finally:  # checked afterwards, because chunks are looked up by name during the read
            if identity(self.file) != self.found:
                raise NeuropilError(f"{self.file.parent} was replaced while it was read; start again")


def guarded_file(location: Location, name: str, files: Sequence[str]) -> tuple[Path | None, tuple[int, ...]]:
    """The metadata file of a local array, and its identity before it is read; None for an array in a bucket."""
    if location.remote:
        return None, ()
    if Path(location.container).is_file():  # a ZIP file
        return Path(location.container), identity(Path(location.container))
    places = [Path(location.container, name, file) for file in files]
    file = next((place for place in places if place.is_file()), places[0])
    return file, identity(file)


def guarded(store: Store, file: Path | None, found: tuple[int, ...], mode: Mode) -> Store:
    """A store opened for reading, guarded against replacement; others unchanged."""
    return store if file is None or mode != "r" else GuardedStore(store, file, found)


def identity(file: Path) -> tuple[int, ...]:
    """Device, inode, modification time and size of a file, which change when it is replaced; empty if it is missing."""
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def open_handle(driver: Driver, container: str, name: str, mode: Mode, extra: dict[str, Any] | None = None) -> Any:
    """Open an existing array as a TensorStore."""
    import tensorstore as ts

    spec = {"driver": driver, "kvstore": keys.kvstore(container, name), **(extra or {})}
    spec |= {"store_data_equal_to_fill_value": True} if mode == "r+" else {}
    with readable("/".join(part for part in (container, name) if part)):
        # Bounds are fixed when it is opened: asking again at each read would double the requests.
        opened = ts.open(
            {**spec, "recheck_cached_metadata": "open"}, context=keys.context(), read=True, write=mode == "r+"
        )
        return opened.result()


def check_local(location: Location) -> None:
    """Refuse a local container that does not exist."""
    if not location.remote and not Path(location.container).exists():
        raise NeuropilError(f"no such file: {location.container}")


def check_described(listed: arrays.Listed, chunk: Sequence[int], path: str) -> None:
    """Refuse an impossible array, or chunks that do not fit into memory: libraries would crash over them.

    Args:
        listed: shape and dtype of the array.
        chunk: shape of a chunk, which is decompressed at once.
        path: names the array in messages.
    """
    arrays.check_extent(listed.shape, listed.dtype, path)
    size, told = prod(chunk) * listed.dtype.itemsize, " × ".join(map(str, chunk))
    expect_memory(
        size, f"decompressing a chunk of {told} voxels of {path}", "if it has such chunks, write it in smaller ones"
    )


def choose_listed(found: Mapping[str, arrays.Listed], location: Location) -> str:
    """The array that a location names, or the only one that was found."""
    if not found and location.remote:
        raise NeuropilError(f"no array at {location.path}; if it is a group, name the array inside it")
    return arrays.choose(found, location.path, location.container, location.array)


def list_folder(container: str, describe: Describe, below: str = "") -> dict[str, arrays.Listed]:
    """Shape and dtype of every array in a local folder or ZIP file, by name; ``below`` a group of it."""
    found: dict[str, arrays.Listed] = {}
    if is_zip(container):
        for name in sorted({key.rpartition("/")[0] for key in members(container) if key.startswith(below)}):
            described = describe(container, name)
            if described is not None:
                found[name] = described.listed
        return found
    for folder, names, _ in os.walk(Path(container, below)):
        name = Path(folder).relative_to(container).as_posix().removeprefix(".")
        described = describe(container, name)
        if described is not None:
            found[name] = described.listed
        kept = [n for n in sorted(names) if not n.endswith(".partial")]
        names[:] = [] if described is not None else kept  # inside an array are only chunks
    return found
