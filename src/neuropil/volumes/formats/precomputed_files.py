"""Chunks of a precomputed volume that lie in files of their own: compressed as cloud-volume writes them, or absent."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.allowances import gaps_allowed
from neuropil.volumes.formats import keys
from neuropil.volumes.volume import Index

_NATIVE = ("raw", "jpeg", "png", "compressed_segmentation")
"""Encodings that TensorStore has."""

_PACKAGES = {"crackle": "crackle-codec", "compresso": "compresso", "fpzip": "fpzip"}
"""Encodings that packages of the field have; the module is called as the encoding."""


def _brotli(data: bytes) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.brotli_decode(data))


def _zstd(data: bytes) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.zstd_decode(data))


_UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes, ".gz": gzip.decompress, ".br": _brotli, ".zstd": _zstd, ".xz": lzma.decompress,
}  # fmt: skip
"""Endings that cloud-volume gives to compressed files."""


@dataclass(frozen=True, eq=False)
class ChunkFiles:
    """The chunks of one scale as `[c, z, y, x]`, fetched file by file; none may be absent.

    Args:
        container: folder or URL of the info file.
        info: what it holds.
        scale: the scale that is read.
        ours: whether it was written here, where absent chunks are 0.
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
    def chunks(self) -> tuple[int, ...]:
        return (self.shape[0], *(int(n) for n in reversed(self.scale["chunk_sizes"][0])))

    def read(self, index: Index) -> npt.NDArray[Any]:
        import tensorstore as ts

        context, found, absent = ts.Context(), 0, []
        memory = ts.KvStore.open({"driver": "memory"}, context=context).result()
        memory.write("info", json.dumps(self._plain_info()).encode()).result()
        for name in self._names(index):
            data = self._fetch(name)
            if data is None:
                absent.append(name)
                continue
            found += 1
            memory.write(f"{self.scale['key']}/{name}", self._as_native(data, name)).result()
        if absent and not self.ours:
            self._tell_absent(absent, found)
        spec = {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "memory"}}
        whole = ts.open(spec, context=context, read=True).result().T[ts.d[:].translate_to[0]]
        return np.asarray(whole[index].read().result())

    def write(self, index: Index, array: npt.NDArray[Any]) -> None:
        raise NeuropilError("compressed chunks cannot be changed in place; write a new volume")

    def close(self) -> None:
        pass

    def _names(self, index: Index) -> list[str]:
        """Names of the chunks that an index touches."""
        spans = []
        offset = self.scale.get("voxel_offset", (0, 0, 0))
        for part, size, chunk, at in zip(
            reversed(index[1:]), self.scale["size"], self.scale["chunk_sizes"][0], offset, strict=True
        ):
            start, stop, _ = part.indices(size)
            numbers = range(start // chunk, -(-stop // chunk)) if stop > start else range(0)
            spans.append([f"{at + n * chunk}-{at + min((n + 1) * chunk, size)}" for n in numbers])
        return ["_".join(name) for name in product(*spans)]

    def _fetch(self, name: str) -> bytes | None:
        for ending, unpack in _UNPACK.items():
            key = f"{self.scale['key']}/{name}{ending}"
            data = keys.read_bytes(self.container, key)
            if data is None:
                continue
            try:
                return unpack(data)
            except Exception as error:
                raise NeuropilError(f"cannot read {self.container}/{key}: it is damaged ({error})") from None
        return None

    def _plain_info(self) -> dict[str, Any]:
        """The info file with this scale alone, in an encoding that TensorStore has."""
        scale = {**self.scale}
        if scale["encoding"] not in _NATIVE:
            scale["encoding"] = "raw"
        return {**self.info, "scales": [scale]}

    def _as_native(self, data: bytes, name: str) -> bytes:
        encoding = self.scale["encoding"]
        if encoding in _NATIVE:
            return data
        decode = find_decoder(encoding, self.container)
        try:
            found = np.asarray(decode(data))
        except Exception as error:
            raise NeuropilError(f"cannot read chunk {name} of {self.container}: it is damaged ({error})") from None
        return found.astype(self.dtype).tobytes("F")

    def _tell_absent(self, absent: list[str], found: int) -> None:
        told = f"{len(absent)} of {len(absent) + found} chunks of {self.container} are absent, such as {absent[0]}"
        if not gaps_allowed():
            raise NeuropilError(f"{told}; the format has no value for them; give --allow-gaps to read them as 0")
        tell(f"{told}; read as 0")


def find_decoder(encoding: str, container: str) -> Callable[[bytes], Any]:
    """The function of a package that unpacks an encoding.

    Raises:
        NeuropilError: an encoding that nothing here reads, or the package is not installed.
    """
    if encoding not in _PACKAGES:
        known = ", ".join((*_NATIVE, *_PACKAGES))
        raise NeuropilError(f"expected an encoding of {known}, got {encoding!r}, in {container}/info")
    from importlib import import_module

    try:
        module = import_module(encoding)
    except ImportError:
        raise NeuropilError(
            f"{container} is encoded by {encoding}; install {_PACKAGES[encoding]} (pip install 'neuropil[formats]')"
        ) from None
    decode: Callable[..., Any] = module.decompress
    return partial(decode, order="F") if encoding == "fpzip" else decode  # its own default has axes the other way round


def needs_files(container: str, scale: Mapping[str, Any], remote: bool) -> bool:
    """Whether the chunks of a scale are fetched file by file: all but sharded ones in buckets, and local ones that are
    compressed, absent, or encoded by other packages."""
    if scale.get("sharding") is not None:
        return False
    if remote or scale["encoding"] not in _NATIVE:
        return True
    folder = Path(container, scale["key"])
    sizes = zip(scale["size"], scale["chunk_sizes"][0], strict=True)
    expected = int(np.prod([-(-n // c) for n, c in sizes]))
    plain = 0
    for file in folder.iterdir() if folder.is_dir() else ():
        if file.suffix in _UNPACK and file.suffix:
            return True
        plain += 1
    return plain < expected
