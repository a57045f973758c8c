"""Neuroglancer precomputed volumes, whose axes are x, y, z."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from neuropil.errors import NeuropilError
from neuropil.geometry import Triple, VoxelSize
from neuropil.volumes import arrays
from neuropil.volumes.arrangement import Arrangement
from neuropil.volumes.formats import keys
from neuropil.volumes.formats.base import Format, Location, Stamp
from neuropil.volumes.formats.chunked import (
    ChunkedStore,
    Described,
    check_described,
    check_local,
    guarded,
    guarded_file,
    open_handle,
)
from neuropil.volumes.formats.making import allowed, create_chunked, open_new
from neuropil.volumes.formats.precomputed_files import ChunkFiles, check_encoding, needs_files
from neuropil.volumes.marks import marked
from neuropil.volumes.metadata import JSON, Metadata, parse_voxel_size
from neuropil.volumes.volume import Mode, Volume, arranged

_TYPES = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "f4")
_TYPE = "neuroglancer_multiscale_volume"
_KEY = "neuropil"  # where the info file keeps our attributes
_AXES = "axes"
_SHARD_BITS = 6  # 64 chunks of half a million voxels each in one file


def open_precomputed(location: Location, mode: Mode = "r") -> Volume:
    """Open a scale of a volume: the one named, or the finest."""
    file, found = guarded_file(location, "", ("info",))
    info = _info(location)
    names = [scale["key"] for scale in info["scales"]]
    if location.array and location.array not in names:
        meant = arrays.nearest(location.array, names)
        known = ", ".join(names)
        raise NeuropilError(f"no scale {location.array!r} in {location.container}{meant}; it has {known}")
    finest = min(range(len(names)), key=lambda n: prod(info["scales"][n]["resolution"]))
    number = names.index(location.array) if location.array else finest
    scale = info["scales"][number]
    chunk = [*scale["chunk_sizes"][0], info.get("num_channels", 1)]
    check_described(_listed(info, scale), chunk, location.path)
    check_encoding(location.container, info, scale)
    metadata = precomputed_metadata(info, scale, location.path)
    axes, ours = precomputed_axes(info), isinstance(info.get(_KEY), Mapping)
    if mode == "r" and needs_files(location.container, scale, location.remote):
        files = ChunkFiles(location.container, info, scale, ours)
        order = (1, 2, 3) if axes == 3 else (0, 1, 2, 3)
        store = arranged(files, Arrangement(files.shape, order))
        return Volume(location.path, guarded(store, file, found, mode), metadata, mode)
    handle = open_handle("neuroglancer_precomputed", location.container, "", mode, {"scale_index": number})
    return Volume(location.path, guarded(ChunkedStore(_present(handle, axes)), file, found, mode), metadata, mode)


def list_precomputed(location: Location) -> dict[str, arrays.Listed]:
    """Shape and dtype of every scale, by its key."""
    info = _info(location)
    return {scale["key"]: _listed(info, scale) for scale in info["scales"]}


def _listed(info: Mapping[str, Any], scale: Mapping[str, Any]) -> arrays.Listed:
    channels = info.get("num_channels", 1)
    lead = (channels,) if channels > 1 else ()
    return arrays.Listed((*lead, *reversed(scale["size"])), np.dtype(info["data_type"]))


def stamp_precomputed(location: Location) -> Stamp:
    """The stamp of the info file, which describes all scales."""
    return keys.stamp_described(location.at(""), ("info",))


def create_precomputed(
    location: Location, shape: tuple[int, ...], dtype: np.dtype[Any], metadata: Metadata, chunks: Sequence[int] | None
) -> AbstractContextManager[Volume]:
    """Create a volume of one scale."""
    if location.array:
        raise NeuropilError(f"a precomputed volume is written as a whole; expected {location.container}")
    kind = allowed(dtype, _TYPES, location)

    def make(container: str, array: str, pieces: tuple[int, ...]) -> Any:
        handle = open_new(precomputed_spec(shape, kind, metadata, pieces, location.sharded), container, array)
        info = keys.read_json(container, "info") or {}
        keys.write_json(container, "info", {**info, **precomputed_info(metadata, len(shape))})
        return _present(handle, len(shape))

    return create_chunked(location, shape, metadata, chunks, make, _describe, _made_here)


def _describe(container: str, name: str) -> Described | None:
    info = None if name else keys.read_json(container, "info")
    return None if info is None else Described("neuroglancer_precomputed", info)


def _made_here(array: str) -> bool:
    """Whether neuropil wrote the volume: every version stores its own attributes in the info file."""
    return isinstance((keys.read_json(array, "info") or {}).get(_KEY), Mapping)


def _present(handle: Any, axes: int) -> Any:
    """A TensorStore x, y, z, channel with an offset as [z, y, x] or [c, z, y, x] from 0."""
    import tensorstore as ts

    inside = handle.T[0] if axes == 3 else handle.T
    return inside[ts.d[:].translate_to[0]]


def _info(location: Location) -> dict[str, Any]:
    check_local(location)
    info = keys.read_json(location.container, "info")
    if info is None or not info.get("scales"):
        raise NeuropilError(f"no Neuroglancer precomputed volume at {location.container}: no info file with scales")
    if info.get("@type", _TYPE) != _TYPE:
        raise NeuropilError(f"expected the info of a volume ({_TYPE}), got {info['@type']}, in {location.container}")
    return info


def precomputed_metadata(info: Mapping[str, Any], scale: Mapping[str, Any], path: str) -> Metadata:
    """Metadata of one scale: its resolution (nm) and offset (voxels), x, y, z, and what we keep in the info file."""
    ours = info.get(_KEY)
    kept = {key: value for key, value in ours.items() if key != _AXES} if isinstance(ours, Mapping) else {}
    metadata = Metadata.from_attributes(kept, path)
    unknown = isinstance(ours, Mapping) and metadata.voxel_size is None
    size = None if unknown else parse_voxel_size(list(reversed(scale["resolution"])), "resolution")
    x, y, z = scale.get("voxel_offset", (0, 0, 0))
    # The format always has an offset; our own attributes tell a stored origin of zero from a missing one.
    start = (int(z), int(y), int(x))
    origin = start if any(start) or metadata.origin is not None else None
    return replace(metadata, voxel_size=size, origin=origin, found_in="resolution of the info file")


def precomputed_info(metadata: Metadata, axes: int) -> dict[str, JSON]:
    """What is stored in the info file in addition to what Neuroglancer reads; an array of 3 or 4 axes."""
    return {_KEY: {**marked(metadata.to_attributes()), _AXES: "czyx"[-axes:]}}


def precomputed_axes(info: Mapping[str, Any]) -> int:
    """Number of axes, 3 or 4: volumes of one channel have no channel axis, unless neuropil wrote them with one."""
    ours = info.get(_KEY)
    written = ours.get(_AXES) if isinstance(ours, Mapping) else None
    return 4 if info.get("num_channels", 1) > 1 or written == "czyx" else 3


def precomputed_resolution(metadata: Metadata) -> VoxelSize:
    """Voxel size as x, y, z; 1 nm where it is unknown, because the format requires one."""
    z, y, x = metadata.voxel_size or (1.0, 1.0, 1.0)
    return (x, y, z)


def precomputed_offset(metadata: Metadata) -> Triple:
    """Origin as x, y, z."""
    z, y, x = metadata.start
    return (x, y, z)


def precomputed_spec(
    shape: tuple[int, ...], dtype: np.dtype[Any], metadata: Metadata, chunks: tuple[int, ...], sharded: bool = False
) -> dict[str, Any]:
    """The TensorStore specification of a new scale. uint32 and uint64 volumes are segmentations, which Neuroglancer
    shows in colours; all else is an image."""
    ids = len(shape) == 3 and dtype in (np.uint32, np.uint64)
    encoding: dict[str, Any] = {"encoding": "raw"}
    if ids:
        encoding = {"encoding": "compressed_segmentation", "compressed_segmentation_block_size": [8, 8, 8]}
    return {
        "driver": "neuroglancer_precomputed",
        "store_data_equal_to_fill_value": True,  # other programs take a missing chunk for an error
        "multiscale_metadata": {
            "type": "segmentation" if ids else "image",
            "data_type": dtype.name,
            "num_channels": shape[0] if len(shape) == 4 else 1,
        },
        "scale_metadata": {
            "size": list(reversed(shape[-3:])),
            "resolution": list(precomputed_resolution(metadata)),
            "voxel_offset": list(precomputed_offset(metadata)),
            "chunk_size": list(reversed(chunks[-3:])),
            **encoding,
            **({"sharding": _sharding(shape[-3:], chunks[-3:])} if sharded else {}),
        },
    }


def _sharding(shape: tuple[int, ...], chunks: tuple[int, ...]) -> dict[str, Any]:
    """The sharding specification: up to 64 neighbouring chunks in one file."""
    bits = sum((-(-n // c) - 1).bit_length() for n, c in zip(shape, chunks, strict=True))
    inside = min(bits, _SHARD_BITS)
    return {
        "@type": "neuroglancer_uint64_sharded_v1",
        "hash": "identity",
        "preshift_bits": inside,
        "minishard_bits": 0,
        "shard_bits": bits - inside,
        "minishard_index_encoding": "gzip",
        "data_encoding": "gzip",
    }


FORMAT = Format(
    name="precomputed",
    title="a precomputed volume",
    suffixes=(".precomputed",),
    open=open_precomputed,
    list=list_precomputed,
    stamp=stamp_precomputed,
    create=create_precomputed,
    markers=("info",),
    schemes=("precomputed",),
    several=True,
    sharded=True,
    folder=True,
)
