"""Report missing chunks of an array, and refuse chunks whose names disagree with the metadata."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.formats import keys
from neuropil.volumes.marks import is_marked
from neuropil.volumes.volume import Index, Store, WrappedStore

COUNTED = 100_000
"""Files up to which missing ones are counted when an array is opened; of more, each is looked for when it is read."""

_LISTED = 2_000_000
"""The same for chunks in the indices of shards."""

_NUMBER = re.compile(r"0|[1-9][0-9]*")

_ABSENT = 2**64 - 1
"""Offset and length in the index of a shard for a missing chunk."""


@dataclass(frozen=True)
class ChunkNames:
    """How the files of an array are named within its folder.

    Args:
        shape: of the array, in the order of the numbers in the names.
        part: shape of what a file holds, a chunk or a shard.
        between: separator of the numbers in a name.
        prefix: text before the numbers.
        turned: whether boxes have the axes in reverse order.

    >>> names = ChunkNames((4, 9), (2, 3), "/", "c/")
    >>> names.of((1, 2)), names.index("c/1/2"), names.index("c/1/3"), names.other("1.2")
    ('c/1/2', (1, 2), None, True)
    """

    shape: tuple[int, ...]
    part: tuple[int, ...]
    between: str
    prefix: str = ""
    turned: bool = False

    @cached_property
    def grid(self) -> tuple[int, ...]:
        """Number of files along each axis."""
        return tuple(-(-n // c) for n, c in zip(self.shape, self.part, strict=True))

    def of(self, index: Sequence[int]) -> str:
        """The name of a file."""
        return self.prefix + self.between.join(map(str, index))

    def index(self, name: str) -> tuple[int, ...] | None:
        """The chunk index in a file name; None for a file that is no chunk of this array."""
        if not name.startswith(self.prefix):
            return None
        return self._inside(name.removeprefix(self.prefix).split(self.between))

    def other(self, name: str) -> bool:
        """Whether a file name has the numbers of a chunk, but another prefix or separator."""
        return self.index(name) is None and self._inside(re.split(r"[./]", re.sub(r"^c[./]", "", name))) is not None

    def beyond(self, name: str) -> bool:
        """Whether a file has the name of a chunk outside of the array."""
        parts = name.removeprefix(self.prefix).split(self.between)
        known = name.startswith(self.prefix) and len(parts) == len(self.grid) and all(map(_NUMBER.fullmatch, parts))
        return bool(known) and self.index(name) is None

    def others(self, index: Sequence[int]) -> Iterator[str]:
        """The names of a chunk with other prefixes or separators."""
        known = (prefix + between.join(map(str, index)) for prefix in ("", "c/", "c.") for between in "./")
        return (name for name in known if self.other(name))

    def touched(self, index: Index) -> Iterator[tuple[int, ...]]:
        """The chunk indices of the files that hold the voxels of an index."""
        parts = reversed(index) if self.turned else index
        spans = [part.indices(n)[:2] for part, n in zip(parts, self.shape, strict=True)]
        return product(*(range(a // c, -(-b // c)) for (a, b), c in zip(spans, self.part, strict=True)))

    def of_read(self, at: Sequence[int], index: Index) -> Index:
        """The position of a file's voxels in the array that is read by an index."""
        parts, shape = (index[::-1], self.shape) if self.turned else (index, self.shape)
        spans = []
        for part, n, c, i in zip(parts, shape, self.part, at, strict=True):
            start, stop, _ = part.indices(n)
            spans.append(slice(max(i * c - start, 0), min((i + 1) * c, stop) - start))
        return tuple(reversed(spans)) if self.turned else tuple(spans)

    def _inside(self, parts: Sequence[str]) -> tuple[int, ...] | None:
        if len(parts) != len(self.grid) or not all(map(_NUMBER.fullmatch, parts)):
            return None
        index = tuple(map(int, parts))
        return index if all(n < most for n, most in zip(index, self.grid, strict=True)) else None


@dataclass(frozen=True)
class Shards:
    """How the files of a Zarr 3 array pack chunks.

    Args:
        shape: of the array.
        shard: shape of a shard, which is one file.
        chunk: shape of one chunk.
        order: in which the axes of the array are stored.
        at_end: whether the index of the chunks is at the end or at the beginning of a file.
        little: whether the index is little-endian.
        checked: whether a checksum follows the index.
    """

    shape: tuple[int, ...]
    shard: tuple[int, ...]
    chunk: tuple[int, ...]
    order: tuple[int, ...]
    at_end: bool = True
    little: bool = True
    checked: bool = True

    @cached_property
    def expected(self) -> int:
        """Number of chunks of the whole array."""
        return math.prod(-(-n // c) for n, c in zip(self.shape, self.chunk, strict=True))

    def inside(self, at: Sequence[int], index: Index) -> npt.NDArray[np.bool_]:
        """Which chunks of a shard hold voxels of a box, in the order of the shard's index."""
        lines = []
        for axis in self.order:
            start, stop, _ = index[axis].indices(self.shape[axis])
            first = np.arange(at[axis] * self.shard[axis], (at[axis] + 1) * self.shard[axis], self.chunk[axis])
            lines.append((first < stop) & (first + self.chunk[axis] > start))
        return np.asarray(reduce(np.logical_and.outer, lines)).ravel()

    def count(self, container: str, key: str, at: Sequence[int], index: Index) -> tuple[int, int]:
        """Of the chunks of a shard that hold voxels of a box: how many exist, and how many there should be.

        Raises:
            NeuropilError: the file is too short for its index.
        """
        inside = self.inside(at, index)
        size = 16 * inside.size + 4 * self.checked
        data = keys.read_end(container, key, size, self.at_end)
        if len(data) < size:
            raise NeuropilError(f"cannot read {container}/{key}: it ends before its index of chunks; is it truncated?")
        pairs = np.frombuffer(data[: 16 * inside.size], "<u8" if self.little else ">u8").reshape(-1, 2)
        return int((inside & (pairs != _ABSENT).any(axis=1)).sum()), int(inside.sum())

    def listed(self, container: str, key: str, at: Sequence[int], index: Index) -> tuple[int, int]:
        """The same for a file in a bucket, of which only the index is read."""
        import tensorstore as ts

        inside = self.inside(at, index)
        grid = [self.shard[axis] // self.chunk[axis] for axis in self.order]
        endian = "little" if self.little else "big"
        codecs: list[dict[str, Any]] = [{"name": "bytes", "configuration": {"endian": endian}}]
        spec = {
            "driver": "zarr3_sharding_indexed",
            "base": f"{container.rstrip('/')}/{key}",
            "grid_shape": grid,
            "index_codecs": codecs + [{"name": "crc32c"}] * self.checked,
            "index_location": "end" if self.at_end else "start",
        }
        found = ts.KvStore.open(spec, context=keys.context()).result().list().result()
        there = np.zeros(grid, bool)
        for one in found:
            there[tuple(np.frombuffer(one, ">u4"))] = True
        return int((inside & there.ravel()).sum()), int(inside.sum())


def find_shards(values: Mapping[str, Any], path: str) -> Shards | None:
    """The sharding of a Zarr 3 array, from its metadata; None where each file is one chunk."""
    codecs, shape = list(values.get("codecs", ())), tuple(values["shape"])
    order = tuple(range(len(shape)))
    while codecs and codecs[0].get("name") == "transpose":
        turn = codecs.pop(0)["configuration"]["order"]
        order = tuple(order[axis] for axis in turn)
    if not codecs or codecs[0].get("name") != "sharding_indexed":
        return None
    how = codecs[0]["configuration"]
    shard = tuple(values["chunk_grid"]["configuration"]["chunk_shape"])
    chunk = [0] * len(shape)
    for axis, length in zip(order, how["chunk_shape"], strict=True):
        chunk[axis] = length
    if any(one.get("name") == "sharding_indexed" for one in how.get("codecs", [])):
        tell(f"{path}: its shards are nested; missing chunks are not counted in them, and have the fill value")
    listed = {one["name"]: one.get("configuration", {}) for one in how.get("index_codecs", [])}
    return Shards(
        shape, shard, tuple(chunk), order, how.get("index_location", "end") == "end",
        listed.get("bytes", {}).get("endian", "little") == "little", "crc32c" in listed,
    )  # fmt: skip


def is_sparse(attributes: Mapping[str, Any]) -> bool:
    """Whether neuropil wrote the array with a mask, so that chunks outside of the tissue are missing on purpose."""
    return is_marked(attributes) and "tissue" in attributes


def watched(store: Store, container: str, name: str, names: ChunkNames, shards: Shards | None, path: str) -> Store:
    """A store that reports missing chunks: now, or, for many files or in a bucket, when they are read.

    Args:
        store: the array, with its own axes.
        container, name: of the array.
        names: of its files.
        shards: how files pack chunks; None where each is one chunk.
        path: names the array in messages.

    Raises:
        NeuropilError: the names of some or all files disagree with the metadata, or are those of a larger array.
    """
    if "://" in container or math.prod(names.grid) > COUNTED or (shards is not None and shards.expected > _LISTED):
        return WatchedStore(store, container, name, names, shards, path)
    files, there, other, stray, beyond = 0, 0, "", "", 0
    whole = (slice(None),) * len(names.shape)
    for file in keys.array_files(container, name):
        index = names.index(file)
        if index is not None:
            files += 1
            there += shards.count(container, f"{name}/{file}".lstrip("/"), index, whole)[0] if shards else 1
        elif names.other(file):
            other = other or file
        elif names.beyond(file):
            beyond += 1
        elif not file.rpartition("/")[2].startswith(".") and not file.endswith((".json", ".partial")):
            stray = stray or file
    expected = shards.expected if shards else math.prod(names.grid)
    if other and files:
        raise NeuropilError(_mixed(path, names, other))
    if not files and (other or stray):
        raise NeuropilError(
            f"the metadata of {path} and its chunks disagree: none of its {expected} chunks has the name that the "
            f"metadata give, but there is {other or stray}; correct the metadata"
        )
    if beyond:
        told = f"{beyond} files of {path} have names of chunks beyond its shape, {names.shape}"
        if there < expected:
            raise NeuropilError(f"{told}, and {expected - there} of its own are missing: correct its metadata")
        tell(f"{told}, and are not read; if it was not made smaller, correct its metadata")
    if there < expected:
        tell(f"{expected - there} of {expected} chunks of {path} are missing: their voxels are read as the fill value")
    return store


def _mixed(path: str, names: ChunkNames, other: str) -> str:
    return (
        f"chunks of {path} have two kinds of names, such as {names.of((0,) * len(names.grid))} and {other}: it is not "
        "clear which of them are meant; move the others away"
    )


@dataclass(frozen=True, eq=False)
class WatchedStore(WrappedStore):
    """An array with many files, or in a bucket: missing chunks are looked for when they are read, and reported once."""

    container: str
    name: str
    names: ChunkNames
    shards: Shards | None
    path: str
    _told: list[str] = field(default_factory=list)  # once

    def read(self, index: Index) -> npt.NDArray[Any]:
        """In a bucket only chunks of a single value are looked for, because missing ones are: each costs a request."""
        found = self.inner.read(index) if self.remote else None
        if found is None or not self._told:
            self._look(index, found)
        return self.inner.read(index) if found is None else found

    @property
    def remote(self) -> bool:
        """In a bucket or on a web server."""
        return "://" in self.container

    def _look(self, index: Index, found: npt.NDArray[Any] | None) -> None:
        touched = self.names.touched(index) if found is None else self._of_one_value(index, found)
        absent = sum(self._absent(at, index) for at in touched)
        if absent and not self._told:
            told = f"of the {math.prod(self.names.grid):,} chunks of {self.path} some that are read are missing"
            self._told.append(told)
            tell(f"{told}: their voxels have the fill value")

    def _of_one_value(self, index: Index, found: npt.NDArray[Any]) -> Iterator[tuple[int, ...]]:
        """The files of the chunks that have a single value in ``found``."""
        chunks = self.names if self.shards is None else replace(self.names, part=self.shards.chunk)
        parts = ((at, found[chunks.of_read(at, index)]) for at in chunks.touched(index))
        plain = (at for at, part in parts if part.size and (part == part.flat[0]).all())
        steps = list(zip(chunks.part, self.names.part, strict=True))
        yield from {tuple(n * c // s for n, (c, s) in zip(at, steps, strict=True)) for at in plain}

    def _absent(self, at: tuple[int, ...], index: Index) -> bool:
        key = self._key(self.names.of(at))
        if self.remote and self.shards is not None:
            there, expected = self.shards.listed(self.container, key, at, index)
            return there < expected
        there = keys.exists(self.container, key)
        for other in () if there else self.names.others(at):
            if keys.exists(self.container, self._key(other)):
                raise NeuropilError(_mixed(self.path, self.names, other))
        if not there or self.shards is None:
            return not there
        found, expected = self.shards.count(self.container, key, at, index)
        return found < expected

    def _key(self, name: str) -> str:
        return f"{self.name}/{name}".lstrip("/")


@dataclass(frozen=True, eq=False)
class WholeBlocks(WrappedStore):
    """An N5 dataset that refuses blocks smaller than the metadata say: the rest would be read as the fill value.

    Args:
        inner: the dataset, with its own axes.
        container, name: of the dataset.
        names: of its blocks.
        path: names the dataset in messages.
    """

    container: str
    name: str
    names: ChunkNames
    path: str

    def read(self, index: Index) -> npt.NDArray[Any]:
        """In a bucket only blocks that end in zeros are checked, as short ones do: each check costs a request."""
        found = self.inner.read(index) if "://" in self.container else None
        for at in self.names.touched(index):
            if found is None or self._ends_in_zeros(found[self.names.of_read(at, index)]):
                self._check(at)
        return self.inner.read(index) if found is None else found

    def _ends_in_zeros(self, part: npt.NDArray[Any]) -> bool:
        return any(not part.take(-1, axis).any() for axis in range(part.ndim))

    def _check(self, at: tuple[int, ...]) -> None:
        key = f"{self.name}/{self.names.of(at)}".lstrip("/")
        length = 4 + 4 * len(at)
        if "://" in self.container:
            start = (keys.read_bytes(self.container, key) or b"")[:length]
        else:
            start = keys.read_end(self.container, key, length, False) if keys.exists(self.container, key) else b""
        if not start:
            return
        if start[:2] != b"\0\0":
            raise NeuropilError(
                f"expected a block of fixed length (mode 0), got mode {int.from_bytes(start[:2])}, as label multisets "
                f"have it, in {key} of {self.path}; export ids as uint64 first"
            )
        head = np.frombuffer(start[4:], ">u4")
        rest = [n - i * c for n, c, i in zip(self.names.shape, self.names.part, at, strict=True)]
        due = [min(n, c) for n, c in zip(rest, self.names.part, strict=True)]
        if len(head) == len(due) and any(n < most for n, most in zip(head.tolist(), due, strict=True)):
            raise NeuropilError(
                f"expected {' × '.join(map(str, due))} voxels (x, y, z) in the block {key} of {self.path}, got "
                f"{' × '.join(map(str, head.tolist()))}; write it again"
            )
