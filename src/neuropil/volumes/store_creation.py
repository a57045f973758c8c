"""Making Zarr 2 and 3, N5 and Neuroglancer precomputed volumes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts

from neuropil.errors import NeuropilError
from neuropil.volumes import arrays, keys
from neuropil.volumes.atomic import replacing
from neuropil.volumes.location import Location
from neuropil.volumes.metadata import Metadata
from neuropil.volumes.store_metadata import (
    n5_attributes,
    ome_attributes,
    precomputed_info,
    precomputed_offset,
    precomputed_resolution,
)
from neuropil.volumes.stores import ChunkedStore, present_precomputed
from neuropil.volumes.volume import Volume, first_line, writable

_N5_TYPES = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8")
_PRECOMPUTED_TYPES = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "f4")


@contextmanager
def create_store(
    location: Location, shape: tuple[int, ...], dtype: np.dtype[Any], metadata: Metadata, chunks: Sequence[int] | None
) -> Iterator[Volume]:
    """A new array. Locally it is made under another name and renamed when complete. In a bucket, which cannot rename,
    it is refused where something is already, and what was written is deleted after an exception."""
    location = _settle(location)
    pieces = arrays.default_chunks(shape) if chunks is None else arrays.clip_chunks(chunks, shape)
    if location.remote:
        with _in_bucket(location):
            handle = _make(location, location.container, location.array, shape, dtype, metadata, pieces)
            yield Volume(location.path, ChunkedStore(handle), metadata, "r+")
        return
    target = Path(location.container, location.array)
    top = _topmost(Path(location.container), target)
    _check_target(location, target)
    with replacing(top) as temporary:
        with writable(location.path):
            inside = temporary / target.relative_to(top)
            handle = _make(location, str(inside), "", shape, dtype, metadata, pieces)
        yield Volume(location.path, ChunkedStore(handle), metadata, "r+")
        with writable(location.path):
            _make_groups(location, temporary, inside.parent, metadata, shape)
    _make_groups(location, Path(location.container), target.parent, metadata, shape)


def _settle(location: Location) -> Location:
    """The format and the name of the array inside that an output gets."""
    if location.format == "zarr" and not location.remote:
        container = Path(location.container)
        if (container / ".zgroup").is_file() and location.array:
            return Location("zarr2", location.container, location.array)
    if location.format == "zarr" and location.container.endswith(".ome.zarr") and not location.array:
        return Location("zarr", location.container, "0")
    if location.format == "precomputed" and location.array:
        raise NeuropilError(f"a precomputed volume is written as a whole; expected {location.container}")
    return location


def _make(
    location: Location,
    container: str,
    array: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    metadata: Metadata,
    chunks: tuple[int, ...],
) -> Any:
    """The array itself, as [z, y, x] or [c, z, y, x]."""
    place = keys.kvstore(container, array)
    if location.format == "precomputed":
        handle = _open_new(
            _precomputed_spec(shape, _allowed(dtype, _PRECOMPUTED_TYPES, location), metadata, chunks), place
        )
        _update_info(place, precomputed_info(metadata, len(shape)))
        return present_precomputed(handle, len(shape))
    if location.format == "n5":
        return _open_new(_n5_spec(shape, _allowed(dtype, _N5_TYPES, location), metadata, chunks), place).T
    if location.format == "zarr2":
        handle = _open_new(_zarr2_spec(shape, dtype, chunks), place)
        _put(place, ".zattrs", metadata.to_attributes())
        return handle
    return _open_new(_zarr3_spec(shape, dtype, metadata, chunks), place)


def _open_new(spec: dict[str, Any], place: Any) -> Any:
    return ts.open({**spec, "kvstore": place}, context=keys.context(), create=True).result()


def _allowed(dtype: np.dtype[Any], types: Sequence[str], location: Location) -> np.dtype[Any]:
    """The dtype, where the format has it; booleans become uint8."""
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.str[1:] not in types:
        known = ", ".join(np.dtype(t).name for t in types)
        raise NeuropilError(f"{location.format} holds {known}; got {dtype} for {location.path}; write .zarr or .h5")
    return dtype


def _zarr3_spec(
    shape: tuple[int, ...], dtype: np.dtype[Any], metadata: Metadata, chunks: tuple[int, ...]
) -> dict[str, Any]:
    blosc = {"cname": "zstd", "clevel": 1, "shuffle": "shuffle", "typesize": dtype.itemsize, "blocksize": 0}
    return {
        "driver": "zarr3",
        "metadata": {
            "shape": list(shape),
            "data_type": dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks)}},
            "codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "blosc", "configuration": blosc},
            ],
            "fill_value": False if dtype.kind == "b" else 0,
            "dimension_names": ["c", "z", "y", "x"][-len(shape) :],
            "attributes": metadata.to_attributes(),
        },
    }


def _zarr2_spec(shape: tuple[int, ...], dtype: np.dtype[Any], chunks: tuple[int, ...]) -> dict[str, Any]:
    return {
        "driver": "zarr",
        "metadata": {
            "shape": list(shape),
            "dtype": dtype.newbyteorder("<").str,
            "chunks": list(chunks),
            "compressor": {"id": "blosc", "cname": "zstd", "clevel": 1, "shuffle": 1, "blocksize": 0},
            "dimension_separator": "/",
            "fill_value": False if dtype.kind == "b" else 0,
        },
    }


def _n5_spec(
    shape: tuple[int, ...], dtype: np.dtype[Any], metadata: Metadata, chunks: tuple[int, ...]
) -> dict[str, Any]:
    layout = {
        "dimensions": list(reversed(shape)),
        "blockSize": list(reversed(chunks)),
        "dataType": dtype.name,
        "compression": {"type": "gzip", "level": 1},
    }
    return {"driver": "n5", "metadata": {**n5_attributes(metadata), **layout}}


def _precomputed_spec(
    shape: tuple[int, ...], dtype: np.dtype[Any], metadata: Metadata, chunks: tuple[int, ...]
) -> dict[str, Any]:
    """uint32 and uint64 volumes are segmentations, which Neuroglancer shows in colours; all else is an image."""
    ids = len(shape) == 3 and dtype in (np.uint32, np.uint64)
    encoding: dict[str, Any] = {"encoding": "raw"}
    if ids:
        encoding = {"encoding": "compressed_segmentation", "compressed_segmentation_block_size": [8, 8, 8]}
    return {
        "driver": "neuroglancer_precomputed",
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
        },
    }


def _update_info(place: Any, more: dict[str, Any]) -> None:
    store = ts.KvStore.open(place, context=keys.context()).result()
    info = json.loads(store.read("info").result().value)
    store.write("info", json.dumps({**info, **more}).encode()).result()


def _put(place: Any, key: str, value: Any) -> None:
    ts.KvStore.open(place, context=keys.context()).result().write(key, json.dumps(value).encode()).result()


def _topmost(container: Path, target: Path) -> Path:
    """The highest folder on the way from the container to the array that is not there yet; the array if all are."""
    for folder in (container, *reversed(target.relative_to(container).parents[:-1])):
        part = folder if folder == container else container / folder
        if not part.exists():
            return part
    return target


def _check_target(location: Location, target: Path) -> None:
    """Only an array of this kind, or an empty folder, is replaced; nothing goes inside an array."""
    container = Path(location.container)
    form = "n5" if location.format == "n5" else "zarr"
    for folder in [container, *(container / p for p in target.relative_to(container).parents[:-1])]:
        if folder.is_file():
            raise NeuropilError(f"cannot write {location.path}: {folder} is a file")
        if folder != target and location.format != "precomputed" and keys.array_json(str(folder), "", form):
            raise NeuropilError(f"{folder} is an array; it cannot hold {location.array}")
    if not target.is_dir() or not any(target.iterdir()):
        return
    is_ours = (
        (target / "info").is_file() if location.format == "precomputed" else keys.array_json(str(target), "", form)
    )
    if not is_ours:
        inside = ", ".join(keys.list_arrays(str(target), form)) or "other files"
        raise NeuropilError(f"{target} holds {inside}; name an array inside it, choose another name, or delete it")


def _make_groups(location: Location, top: Path, folder: Path, metadata: Metadata, shape: tuple[int, ...]) -> None:
    """Zarr wants a file in every folder above an array that says that it is a group."""
    if location.format not in ("zarr", "zarr2") or not folder.is_relative_to(top):
        return
    for group in (folder, *folder.parents):
        name, text = "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": {}}
        if location.format == "zarr2":
            name, text = ".zgroup", {"zarr_format": 2}
        elif group == top and location.container.endswith(".ome.zarr") and location.array == "0":
            text = {**text, "attributes": ome_attributes(metadata, "0", len(shape) == 4)}
        if not (group / name).exists() or text.get("attributes"):
            (group / name).write_text(json.dumps(text))
        if group == top:
            return


@contextmanager
def _in_bucket(location: Location) -> Iterator[None]:
    if location.container.startswith("http"):
        raise NeuropilError(
            f"cannot write {location.path}: a web server is read only; write to a folder, s3:// or gs://"
        )
    store = ts.KvStore.open(keys.kvstore(location.container, location.array), context=keys.context()).result()
    try:
        taken = store.list(ts.KvStore.KeyRange()).result()[:1]
    except ValueError as error:
        raise NeuropilError(f"cannot write {location.path}: {first_line(error)}") from None
    if taken:
        raise NeuropilError(f"{location.path} exists; delete it or choose another name (a bucket cannot rename)")
    try:
        yield
    except BaseException:
        store.delete_range(ts.KvStore.KeyRange()).result()
        raise
