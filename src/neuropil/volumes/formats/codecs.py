"""Codecs that TensorStore lacks: Zarr arrays are read by zarr-python and numcodecs, N5 blocks in LZ4 by imagecodecs."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError
from neuropil.volumes.formats import keys
from neuropil.volumes.formats.zipped import is_zip
from neuropil.volumes.volume import Index, ReadOnlyStore, first_line

_SIGNS = ("compressor", "filters", "codec", "compression")
"""Words in TensorStore's messages about codecs that it does not know."""

_LOSSY = (
    "zfp", "quantize", "bitround", "fixedscaleoffset", "fixed_scale_offset", "astype", "jpeg", "lerc", "webp", "htj2k",
    "avif", "heif", "jetraw", "sperr", "sz3", "bfloat16", "float24", "pixarlog", "packints", "meshopt", "cms", "dds",
    "rgbe", "ultrahdr", "eer", "gif",
)  # fmt: skip
"""Beginnings of the names of lossy codecs, in numcodecs, and in imagecodecs after the prefix ``imagecodecs_``."""


def lacks_codec(error: BaseException) -> bool:
    """Whether TensorStore could not open an array because it lacks a codec.

    >>> lacks_codec(ValueError('Error parsing object member "compressor": unknown id'))
    True
    """
    return any(word in str(error) for word in _SIGNS)


@dataclass(frozen=True, eq=False)
class ZarrStore(ReadOnlyStore):
    """An array that zarr-python reads, chunk by chunk."""

    array: Any
    path: str
    lossy: bool
    """Whether a codec may have changed values."""

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(n) for n in self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        stored: np.dtype[Any] = np.dtype(self.array.dtype)
        return stored

    @property
    def chunks(self) -> tuple[int, ...] | None:
        return tuple(int(n) for n in self.array.chunks)

    def read(self, index: Index) -> npt.NDArray[Any]:
        try:
            return np.asarray(self.array[index])
        except Exception as error:  # codecs raise anything
            raise ValueError(f"{type(error).__name__}: {first_line(error)}") from error


def open_by_zarr(container: str, name: str, values: Mapping[str, Any], path: str) -> ZarrStore:
    """An array whose codec TensorStore lacks, by zarr-python and numcodecs.

    Raises:
        NeuropilError: the packages are not installed, or cannot read the array either.
    """
    wanted = ", ".join(codec_names(values))
    try:
        import zarr
        from zarr.storage import LocalStore, ZipStore
    except ImportError:
        raise NeuropilError(f"{path} is compressed by {wanted}: pip install 'neuropil[formats]' to read it") from None
    form: Literal[2, 3] = 3 if "node_type" in values else 2
    store: Any = ZipStore(container, mode="r") if is_zip(container) else LocalStore(container, read_only=True)
    try:
        array = zarr.open_array(store=store, path=name, mode="r", zarr_format=form)
        assert isinstance(array.dtype, np.dtype)
    except Exception as error:  # zarr and numcodecs raise anything
        raise NeuropilError(
            f"cannot read {path}, compressed by {wanted}: {type(error).__name__}: {first_line(error)}"
        ) from error
    short = [name.rpartition(".")[2].lower().removeprefix("imagecodecs_") for name in codec_names(values)]
    lossy = any(name.startswith(_LOSSY) for name in short)
    return ZarrStore(array, path, lossy)


def codec_names(values: Mapping[str, Any]) -> list[str]:
    """The names of the codecs in the metadata of a Zarr array.

    >>> codec_names({"compressor": {"id": "lz4"}, "filters": [{"id": "delta"}]})
    ['delta', 'lz4']
    """
    if "codecs" in values:
        parts, key = list(values["codecs"]), "name"
    else:
        parts, key = [*(values.get("filters") or ()), values.get("compressor") or {}], "id"
    return [str(part.get(key, part)) if isinstance(part, Mapping) else str(part) for part in parts if part]


@dataclass(frozen=True, eq=False)
class N5Store(ReadOnlyStore):
    """An N5 dataset compressed by LZ4, block by block; presented as z, y, x."""

    container: str
    name: str
    dimensions: tuple[int, ...]
    block: tuple[int, ...]
    stored: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.dimensions[::-1]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.stored

    @property
    def chunks(self) -> tuple[int, ...] | None:
        return self.block[::-1]

    def read(self, index: Index) -> npt.NDArray[Any]:
        spans = [part.indices(n)[:2] for part, n in zip(index, self.shape, strict=True)]
        found = np.zeros([b - a for a, b in spans], self.stored)
        grid = [range(a // n, -(-b // n)) for (a, b), n in zip(spans, self.block[::-1], strict=True)]
        for at in np.ndindex(*[len(line) for line in grid]):
            number = [line[i] for line, i in zip(grid, at, strict=True)]
            block = self._block(number[::-1])
            if block is None:
                continue
            start = [n * size for n, size in zip(number, self.block[::-1], strict=True)]
            here, there = [], []
            for (a, b), first, length in zip(spans, start, block.shape, strict=True):
                low, high = max(a, first), min(b, first + length)
                here.append(slice(low - a, max(high, low) - a))
                there.append(slice(low - first, max(high, low) - first))
            found[tuple(here)] = block[tuple(there)]
        return found

    def _block(self, number: Sequence[int]) -> npt.NDArray[Any] | None:
        key = "/".join(part for part in (self.name, *map(str, number)) if part)
        data = keys.read_bytes(self.container, key)
        if data is None:
            return None  # the N5 specification: missing blocks are zeros
        try:
            mode, count = struct.unpack_from(">HH", data)
            size = struct.unpack_from(f">{count}I", data, 4)
            if mode != 0 or count != len(self.block) or any(n > b for n, b in zip(size, self.block, strict=True)):
                raise ValueError(f"a block of mode {mode} and size {size}")
            voxels = unpack_lz4(data[4 + 4 * count :], math.prod(size) * self.stored.itemsize)
            return np.frombuffer(voxels, self.stored.newbyteorder(">")).reshape(size[::-1])
        except Exception as error:
            raise ValueError(f"block {key}: {type(error).__name__}: {first_line(error)}") from error


def unpack_lz4(data: bytes, size: int) -> bytes:
    """Decompress data of Java's LZ4BlockOutputStream, which N5 uses, or an LZ4 frame.

    Raises:
        ValueError: the data are damaged, or do not hold ``size`` bytes.
    """
    from imagecodecs import lz4_decode, lz4f_decode

    if not data.startswith(_JAVA):
        return _sized(bytes(lz4f_decode(data)), size)
    found, at = [], 0
    while at < len(data):
        if data[at : at + 8] != _JAVA:
            raise ValueError("expected the start of an LZ4 block")
        token, packed, plain = struct.unpack_from("<BII", data, at + 8)
        at += 21  # magic (8), token (1), two lengths (8), checksum (4)
        if plain > size or packed > len(data) - at:
            raise ValueError(f"an LZ4 block of {packed} bytes for {plain}")
        part = data[at : at + packed]
        if packed:
            raw = token & 0xF0 == 0x10
            found.append(part if raw else bytes(lz4_decode(part, header=False, out=plain)))
            if len(found[-1]) != plain:
                raise ValueError(f"expected {plain} bytes, got {len(found[-1])}")
        at += packed
    return _sized(b"".join(found), size)


_JAVA = b"LZ4Block"


def _sized(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise ValueError(f"expected {size} bytes of voxels, got {len(data)}")
    return data
