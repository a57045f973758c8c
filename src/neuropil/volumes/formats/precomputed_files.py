"""Read precomputed chunks one by one, where TensorStore cannot: other encodings, compressed files, missing chunks."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.allowances import check_link, gaps_allowed
from neuropil.volumes.formats import keys
from neuropil.volumes.formats.decoders import NATIVE, decode_apart, find_decoder
from neuropil.volumes.volume import Index, ReadOnlyStore, readable

_CACHED = {"cache_pool": {"total_bytes_limit": 1 << 26}}
"""Cache for the indices of shards, in bytes."""


def _brotli(data: bytes) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.brotli_decode(data))


def _zstd(data: bytes) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.zstd_decode(data))


_UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes, ".gz": gzip.decompress, ".br": _brotli, ".zstd": _zstd, ".xz": lzma.decompress,
    ".bz2": bz2.decompress,
}  # fmt: skip
"""Decompression by the endings that cloud-volume gives to compressed files."""


@dataclass(frozen=True, eq=False)
class ChunkFiles(ReadOnlyStore):
    """The chunks of one scale as `[c, z, y, x]`, fetched one by one; missing ones are refused or reported.

    Args:
        container: folder or URL of the info file.
        info: what it holds.
        scale: the scale that is read.
        ours: whether neuropil wrote the volume; then missing chunks are read as 0, and reported.
    """

    container: str
    info: Mapping[str, Any]
    scale: Mapping[str, Any]
    ours: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return (int(self.info.get("num_channels", 1)), *(int(n) for n in reversed(self.scale["size"])))

    @property
    def dtype(self) -> np.dtype[Any]:
        stored: np.dtype[Any] = np.dtype(self.info["data_type"])
        return stored

    @property
    def lossy(self) -> bool:
        """Whether the encoding is lossy."""
        return is_lossy(self.scale)

    @property
    def chunks(self) -> tuple[int, ...]:
        return (self.shape[0], *(int(n) for n in reversed(self.scale["chunk_sizes"][0])))

    def read(self, index: Index) -> npt.NDArray[Any]:
        import tensorstore as ts

        context, found, absent = ts.Context(), 0, []
        memory = ts.KvStore.open({"driver": "memory"}, context=context).result()
        memory.write("info", json.dumps(self._plain_info()).encode()).result()
        for name, data in self._fetch_all(index):
            if data is None:
                absent.append(name)
                continue
            found += 1
            memory.write(f"{self.scale['key']}/{name}", self._as_native(data, name)).result()
        if absent:
            self._tell_absent(absent, found)
        spec = {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "memory"}}
        whole = ts.open(spec, context=context, read=True).result().T[ts.d[:].translate_to[0]]
        return np.asarray(whole[index].read().result())

    def _fetch_all(self, index: Index) -> Iterator[tuple[str, bytes | None]]:
        """Name and content of the chunks that an index touches; None as content of a missing chunk."""
        grid, spans = chunk_grid(self.scale), []
        for part, line, size, chunk in zip(
            reversed(index[1:]), grid, self.scale["size"], self.scale["chunk_sizes"][0], strict=True
        ):
            start, stop, _ = part.indices(size)
            spans.append(range(start // chunk, min(-(-stop // chunk), len(line))) if stop > start else range(0))
        places = {at: "_".join(line[n] for line, n in zip(grid, at, strict=True)) for at in product(*spans)}
        if self._shards is None:
            yield from ((name, self._fetch(name)) for name in places.values())
            return
        shape = [len(line) for line in grid]
        with readable(self.container):
            begun = [self._shards.read(morton(at, shape).to_bytes(8, "big")) for at in places]
            for name, one in zip(places.values(), begun, strict=True):
                found = one.result()
                yield name, found.value if found.state == "value" else None

    @cached_property
    def _shards(self) -> Any:
        """A key-value store that finds chunks in shards; None for an unsharded scale."""
        import tensorstore as ts

        if self.scale.get("sharding") is None:
            return None
        base = keys.kvstore(self.container, self.scale["key"])
        spec = {"driver": "neuroglancer_uint64_sharded", "metadata": self.scale["sharding"], "base": base}
        with readable(self.container):
            return ts.KvStore.open(spec, context=ts.Context(_CACHED)).result()

    def _fetch(self, name: str) -> bytes | None:
        known = {f"{self.scale['key']}/{name}{ending}": unpack for ending, unpack in _UNPACK.items()}
        if keys.in_folder(self.container):
            there = [key for key in known if os.path.lexists(os.path.join(self.container, key))]
            if len(there) > 1:
                raise NeuropilError(
                    f"a chunk of {self.container} exists twice, as {there[0]} and as {there[1]}: it is not clear which "
                    "one is meant; move those of one ending away"
                )
            known = {key: known[key] for key in there}
        for key, unpack in known.items():
            data = keys.read_bytes(self.container, key)
            if data is None:
                continue
            try:
                return unpack(data)
            except Exception as error:
                raise NeuropilError(f"cannot read {self.container}/{key}: it is damaged ({error})") from None
        return None

    def _plain_info(self) -> dict[str, Any]:
        """The info file with this scale only, in an encoding that TensorStore knows."""
        scale = {key: value for key, value in self.scale.items() if key != "sharding"}
        if scale["encoding"] not in NATIVE:
            scale["encoding"] = "raw"
        return {**self.info, "scales": [scale]}

    def _as_native(self, data: bytes, name: str) -> bytes:
        encoding = self.scale["encoding"]
        if encoding in NATIVE:
            return data
        try:
            found = decode_apart(encoding, data)
        except Exception as error:
            raise NeuropilError(f"cannot read chunk {name} of {self.container}: it is damaged ({error})") from None
        if not np.can_cast(found.dtype, self.dtype, "safe"):
            raise NeuropilError(
                f"expected {self.dtype} in chunk {name} of {self.container}, as its info file says, got {found.dtype}"
            )
        return found.astype(self.dtype).tobytes("F")

    def _tell_absent(self, absent: list[str], found: int) -> None:
        told = f"{len(absent)} of {len(absent) + found} chunks of {self.container} are missing, such as {absent[0]}"
        if not self.ours and not gaps_allowed():
            raise NeuropilError(f"{told}; the format has no value for them; give --allow-gaps to read them as 0")
        tell(f"{told}; read as 0")


@dataclass(frozen=True)
class AxisNames(Sequence[str]):
    """The part of the names of chunks for one axis, as a lazy sequence: there may be billions."""

    start: int
    size: int
    chunk: int

    def __len__(self) -> int:
        return -(-self.size // self.chunk)

    def __getitem__(self, n: Any) -> Any:
        first = range(0, self.size, self.chunk)[n]
        return f"{self.start + first}-{self.start + min(first + self.chunk, self.size)}"

    def __contains__(self, name: object) -> bool:
        begin = re.match(r"-?\d+", str(name))
        n = -1 if begin is None else (int(begin[0]) - self.start) // self.chunk
        return 0 <= n < len(self) and self[n] == name


def chunk_grid(scale: Mapping[str, Any]) -> list[AxisNames]:
    """The parts of the names of chunks, for each axis x, y, z.

    >>> scale = {"size": [5, 2, 1], "chunk_sizes": [[3, 2, 1]], "voxel_offset": [-1, 0, 0]}
    >>> [list(names) for names in chunk_grid(scale)]
    [['-1-2', '2-4'], ['0-2'], ['0-1']]
    """
    offset = scale.get("voxel_offset", (0, 0, 0))
    return [AxisNames(*axis) for axis in zip(offset, scale["size"], scale["chunk_sizes"][0], strict=True)]


def morton(at: Sequence[int], grid: Sequence[int]) -> int:
    """The compressed Morton code of a chunk: interleaved bits of its index along x, y, z, as many as the grid needs.

    >>> [morton(at, (4, 2, 1)) for at in ((1, 0, 0), (0, 1, 0), (2, 0, 0), (3, 1, 0))]
    [1, 2, 4, 7]
    """
    number, shift = 0, 0
    for bit in range(max(grid).bit_length()):
        for n, most in zip(at, grid, strict=True):
            if 2**bit < most:
                number |= (n >> bit & 1) << shift
                shift += 1
    return number


def is_lossy(scale: Mapping[str, Any]) -> bool:
    """Whether the encoding of a scale is lossy: JPEG, and JPEG XL below quality 100."""
    encoding, quality = scale.get("encoding"), scale.get("jxl_quality")
    return encoding == "jpeg" or (encoding == "jxl" and not (isinstance(quality, int | float) and quality >= 100))


def check_encoding(container: str, info: Mapping[str, Any], scale: Mapping[str, Any]) -> None:
    """Refuse an encoding that is not read here, or a lossy one for ids.

    Raises:
        NeuropilError: as :func:`find_decoder`; a segmentation in a lossy encoding.
    """
    if info.get("type") == "segmentation" and is_lossy(scale):
        raise NeuropilError(
            f"expected lossless ids, got a segmentation encoded by {scale['encoding']}, which changes them, in "
            f"{container}; write it as compressed_segmentation"
        )
    if scale["encoding"] not in NATIVE:
        find_decoder(scale["encoding"], container)


def needs_files(container: str, scale: Mapping[str, Any], remote: bool) -> bool:
    """Whether the chunks of a scale must be read by :class:`ChunkFiles`: in shards and buckets, or if local ones are
    compressed, missing, or encoded by other packages.

    Raises:
        NeuropilError: a link that leads out of the container.
    """
    if not remote:
        folder = check_link(container, Path(container, scale["key"]))
        if scale.get("sharding") is not None and folder.is_dir():
            list(keys.array_files(container, scale["key"]))  # refuses links: TensorStore would follow them
    if remote or scale.get("sharding") is not None or scale["encoding"] not in NATIVE:
        return True
    folder, grid = Path(container, scale["key"]), chunk_grid(scale)
    plain = 0
    for file in keys.array_files(container, scale["key"]) if folder.is_dir() else ():
        ending = Path(file).suffix
        name = file.removesuffix(ending) if ending in _UNPACK else file
        parts = name.split("_")
        if len(parts) != 3 or not all(part in line for part, line in zip(parts, grid, strict=True)):
            continue
        if name != file:
            return True
        plain += 1
    return plain < math.prod(len(line) for line in grid)
