"""Zarr 2 and 3, and OME-Zarr images: both versions are read; version 3 is written, or 2 if the path asks for it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from neuropil.errors import NeuropilError
from neuropil.volumes import arrays
from neuropil.volumes.arrangement import arrange
from neuropil.volumes.attributes import SIZES, axis_names, check_order
from neuropil.volumes.formats import keys
from neuropil.volumes.formats.base import Format, Location, Stamp
from neuropil.volumes.formats.chunked import (
    ChunkedStore,
    Described,
    check_described,
    check_local,
    choose_listed,
    guarded,
    guarded_file,
    list_folder,
    open_handle,
)
from neuropil.volumes.formats.codecs import lacks_codec, open_by_zarr
from neuropil.volumes.formats.coordinates import Coordinates, coordinates, with_coordinates
from neuropil.volumes.formats.groups import MOST, Neighbour, groups_above, inherit, refuse_multiset
from neuropil.volumes.formats.making import create_chunked, open_new
from neuropil.volumes.formats.meaning import as_meant
from neuropil.volumes.formats.ome import Level, finest_level, nearest_place, ome_attributes, ome_images
from neuropil.volumes.formats.presence import ChunkNames, find_shards, is_sparse, watched
from neuropil.volumes.formats.transforms import spoken
from neuropil.volumes.formats.webknossos import layer_of
from neuropil.volumes.formats.zipped import ZipStore, is_zip
from neuropil.volumes.marks import is_marked, marked
from neuropil.volumes.metadata import Metadata
from neuropil.volumes.naming import agreed
from neuropil.volumes.volume import Mode, Store, Volume, arranged, readable

_OLD = "zarr2"
"""The scheme that asks for version 2."""

_PACKED = (".zarr.zip", ".zip")
"""Endings of ZIP files that hold arrays."""

_SHARD = (2, 4, 4)
"""Chunks along z, y, x in one shard."""

_IMAGE = ".ome.zarr"
"""The ending that asks for an OME-Zarr image."""


def open_zarr(location: Location, mode: Mode = "r") -> Volume:
    """Open an array of a container: the one named, or the only one, or the finest level of an OME-Zarr image."""
    check_local(location)
    name = _find(location)
    file, found = guarded_file(location, name, ("zarr.json", ".zarray"))
    described = describe(location.container, name)
    assert described is not None
    path = location.at(name).path
    own = (
        described.values.get("attributes", {}) if described.driver == "zarr3" else attributes(location.container, name)
    )
    refuse_multiset(own, path)
    above = list(groups_above(location.container, name, group_attributes, _arrays))
    layer = list(layer_of(location.container, name, described.listed.shape, numpy=True))
    if not location.axes:
        check_order([own, *(group.attributes for group in above)], path)
    image = nearest_place(above, path)
    named = described.values.get("dimension_names")
    known = location.axes or agreed([image.axes if image else None, named], path)
    plain, groups = spoken(own, [] if image else above + layer, known, len(described.listed.shape), path)
    about = inherit(plain, groups, len(described.listed.shape), path, bool(known))
    names = location.axes or agreed([known, axis_names(about.attributes, path)], path)
    keep = True if "offsets" in own else False if image or layer else None  # OME and WEBKNOSSOS write single channels
    names = location.names(described.listed.shape, names)
    if image is None:
        about = with_coordinates(about, lambda: _coordinates(location.container, name, names, described.listed), path)
    arrangement = arrange(described.listed.shape, names, path, keep)
    metadata = Metadata.from_attributes(about.attributes, path, arrangement).found(about.where)
    if image is not None:
        metadata = image.completing(metadata, arrangement, path, plain.get("offset") is not None)
    if mode == "r+" and is_zip(location.container):
        raise NeuropilError(f"{location.container} is a ZIP file, which is read-only here; unpack it to change it")
    store = arranged(as_meant(_open(described, location, name, path, mode, is_sparse(own)), own, path), arrangement)
    return Volume(path, guarded(store, file, found, mode), metadata, mode)


def _coordinates(
    container: str, name: str, names: Sequence[str | None] | None, listed: arrays.Listed
) -> list[Coordinates | None]:
    """Coordinates of xarray: arrays of the same group with the names of the axes."""
    found: list[Coordinates | None] = []
    for axis, length in zip(names or (), listed.shape, strict=False):
        other = "/".join(part for part in (name.rpartition("/")[0], str(axis or "")) if part)
        described = describe(container, other) if name and axis and not is_zip(container) else None
        unit = None if described is None else attributes(container, other).get("units")
        known = None
        if described is not None and unit is not None and described.listed.shape == (length,):
            values = np.asarray(open_handle(described.driver, container, other, "r").read().result())
            known = coordinates(str(axis), values, unit)
        found.append(known)
    return found


def _open(described: Described, location: Location, name: str, path: str, mode: Mode, sparse: bool) -> Store:
    """The store of an array. If version 2 does not state the separator of chunk names, the files decide."""
    values, extra = described.values, {}
    prefix, between = "", values.get("dimension_separator", ".")
    if described.driver == "zarr3":
        encoding = values.get("chunk_key_encoding", {})
        default = encoding.get("name", "default") == "default"
        between = encoding.get("configuration", {}).get("separator", "/" if default else ".")
        prefix = f"c{between}" if default else ""
    elif "dimension_separator" not in values and _nested(location.container, name, len(values["shape"])):
        between, extra = "/", {"metadata": {"dimension_separator": "/"}}
    names = ChunkNames(tuple(values["shape"]), tuple(_chunk_shape(values, path)), between, prefix)
    shards = find_shards(values, path)
    check_described(described.listed, shards.chunk if shards else names.part, path)
    try:
        if is_zip(location.container):
            store: Store = _zipped(described, location.container, name, extra, (prefix, between), path)
        else:
            store = ChunkedStore(open_handle(described.driver, location.container, name, mode, extra))
    except NeuropilError as error:
        if mode != "r" or location.remote or not lacks_codec(error):
            raise
        store = open_by_zarr(location.container, name, values, path)
    if mode != "r" or sparse:
        return store
    return watched(store, location.container, name, names, shards, path)


def _zipped(
    described: Described, container: str, name: str, extra: dict[str, Any], key: tuple[str, str], path: str
) -> ZipStore:
    """The store of an array in a ZIP file; ``key``: prefix and separator of the chunk names."""
    inside = f"{name}/" if name else ""
    file = "zarr.json" if described.driver == "zarr3" else ".zarray"
    text = keys.read_bytes(container, inside + file) or b""
    store = ZipStore(container, {"driver": described.driver, **extra}, (file, text), inside, *key)
    with readable(path):
        assert store.shape
    return store


def _chunk_shape(values: Mapping[str, Any], path: str) -> list[int]:
    grid = values.get("chunk_grid", {})
    if grid.get("name", "regular") != "regular":
        raise NeuropilError(f"expected chunks of one size, got a grid of the kind {grid['name']}, in {path}; copy it")
    return list(grid.get("configuration", {}).get("chunk_shape") or values["chunks"])


def _nested(container: str, name: str, axes: int) -> bool:
    """Whether chunks are named ``0/0/0``, not ``0.0.0``."""
    at = f"{name}/" if name else ""
    flat, nested = (f"{at}{between.join(['0'] * axes)}" for between in "./")
    return (
        axes > 1
        and not keys.exists(container, flat)
        and (keys.exists(container, nested) or keys.is_folder(container, f"{at}0"))
    )


def list_zarr(location: Location) -> dict[str, arrays.Listed]:
    """Shape and dtype of every array of a container, by name: of a URL from Zarr's consolidated metadata."""
    check_local(location)
    if location.remote:
        return dict(_consolidated(location.container))
    return list_folder(location.container, describe)


def stamp_zarr(location: Location) -> Stamp:
    """The stamp of the metadata file of the array."""
    return keys.stamp_described(location, ("zarr.json", ".zarray"))


def create_zarr(
    location: Location, shape: tuple[int, ...], dtype: np.dtype[Any], metadata: Metadata, chunks: Sequence[int] | None
) -> AbstractContextManager[Volume]:
    """Create an array of version 3; of version 2 with ``zarr2://``, or inside a group of version 2."""
    location = settle(location)
    if location.container.lower().endswith(_PACKED):
        raise NeuropilError(f"a ZIP file of Zarr is read-only here; write {location.container[: -len('.zip')]} instead")
    image = location.container.rstrip("/").endswith(_IMAGE) and location.array == "0"
    inside_old = not location.remote and bool(location.array) and Path(location.container, ".zgroup").is_file()
    old = location.scheme == _OLD or inside_old
    if old and location.sharded:
        raise NeuropilError(f"--sharded needs Zarr 3, but {location.path} is of version 2; write it under another name")

    def make(container: str, array: str, pieces: tuple[int, ...]) -> Any:
        if not old:
            return open_new(_spec(shape, dtype, metadata, pieces, location.sharded), container, array)
        handle = open_new(_old_spec(shape, dtype, pieces), container, array)
        keys.write_json(
            container,
            f"{array}/.zattrs" if array else ".zattrs",
            {**marked(metadata.to_attributes()), "_ARRAY_DIMENSIONS": list("czyx"[-len(shape) :])},
        )
        return handle

    def group(folder: Path, top: bool) -> None:
        name, text = "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": {}}
        if old:
            name, text = ".zgroup", {"zarr_format": 2}
        elif top and image:
            level = Level.of(location.array, metadata)
            text = {**text, "attributes": ome_attributes([level], len(shape) == 4)}
        if not (folder / name).exists() or text.get("attributes"):
            (folder / name).write_text(json.dumps(text))

    return create_chunked(location, shape, metadata, chunks, make, describe, _made_here, group)


def settle(location: Location) -> Location:
    """The location of an output: for ``….ome.zarr``, the array ``0`` of an OME-Zarr image."""
    is_image = location.container.rstrip("/").endswith(_IMAGE) and not location.array and location.scheme != _OLD
    return location.at("0") if is_image else location


def describe(container: str, name: str) -> Described | None:
    """The metadata of an array, by container and name; None where there is no array."""
    at = f"{name}/" if name else ""
    found = keys.read_json(container, f"{at}zarr.json")
    if found is not None and found.get("node_type") == "array":
        return Described("zarr3", found)
    found = keys.read_json(container, f"{at}.zarray")
    return Described("zarr", found) if found is not None else None


def _made_here(array: str) -> bool:
    """Whether neuropil wrote an array. Version 0.1 left no mark; its arrays are recognised by axis names and
    compression."""
    described, own = describe(array, ""), attributes(array, "")
    if described is None or is_marked(own):
        return described is not None
    values, axes = described.values, list("czyx"[-len(described.listed.shape) :])
    if described.driver == "zarr3":
        return values.get("dimension_names") == axes and _packed(values["codecs"]) == ("zstd", 1)
    return own.get("_ARRAY_DIMENSIONS") == axes and _packed([{"configuration": values.get("compressor")}]) == (
        "zstd",
        1,
    )


def _packed(codecs: object) -> tuple[object, object]:
    """The compressor and level of Blosc among the codecs; None, None without Blosc."""
    for codec in codecs if isinstance(codecs, list) else []:
        how = codec.get("configuration") if isinstance(codec, dict) else None
        if isinstance(how, dict) and "cname" in how:
            return how["cname"], how.get("clevel")
    return None, None


def attributes(container: str, name: str) -> dict[str, Any]:
    """Attributes of an array or group, version 3 or 2."""
    at = f"{name}/" if name else ""
    found = keys.read_json(container, f"{at}zarr.json")
    if found is not None:
        return dict(found.get("attributes", {}))
    return keys.read_json(container, f"{at}.zattrs") or {}


def group_attributes(container: str, name: str) -> dict[str, Any] | None:
    """Attributes of a group, version 3 or 2; None where there is none of that name."""
    at = f"{name}/" if name else ""
    found = keys.read_json(container, f"{at}zarr.json")
    if found is not None:
        return dict(found.get("attributes", {}))
    old = keys.read_json(container, f"{at}.zattrs")
    return old if old is not None else keys.read_json(container, f"{at}.zgroup") and {}


def _arrays(container: str, name: str) -> list[Neighbour] | None:
    """The arrays below a group; None in a bucket without consolidated metadata."""
    if "://" in container:
        found = {key: one for key, one in _consolidated(container) if key.startswith(f"{name}/" if name else "")}
    else:
        found = list_folder(container, describe, name)
    if "://" in container and not found:
        return None
    return [
        Neighbour(array, listed.shape, any(key in attributes(container, array) for key in SIZES))
        for array, listed in islice(found.items(), MOST)
    ]


def chunk_files(array: Path) -> Iterator[tuple[Path, tuple[int, ...] | None]]:
    """The files of an array that neuropil wrote in version 3, each with the index of its chunk; None for other files,
    such as incomplete ones of a killed process."""
    for file in (array / "c").rglob("*"):
        parts = file.relative_to(array / "c").parts
        if file.is_file():
            yield file, tuple(map(int, parts)) if all(part.isdigit() for part in parts) else None


def _find(location: Location) -> str:
    name = location.array.strip("/")
    if describe(location.container, name) is not None:
        return name
    images = ome_images(attributes(location.container, name))
    finest = {"/".join(part for part in (name, finest_level(image)) if part) for image in images}
    there = sorted(path for path in finest if describe(location.container, path) is not None)
    if len(there) > 1:
        raise NeuropilError(f"{location.path} holds {len(there)} images, {', '.join(there)}; name one")
    if there:
        return there[0]
    return choose_listed(list_zarr(location), location)


def _consolidated(container: str) -> Iterator[tuple[str, arrays.Listed]]:
    group = keys.read_json(container, "zarr.json") or {}
    for name, node in group.get("consolidated_metadata", {}).get("metadata", {}).items():
        if node.get("node_type") == "array":
            yield name, Described("zarr3", node).listed
    for key, node in (keys.read_json(container, ".zmetadata") or {}).get("metadata", {}).items():
        if key.endswith("/.zarray"):
            yield key.removesuffix("/.zarray"), Described("zarr", node).listed


def _spec(
    shape: tuple[int, ...], dtype: np.dtype[Any], metadata: Metadata, chunks: tuple[int, ...], sharded: bool
) -> dict[str, Any]:
    blosc = {"cname": "zstd", "clevel": 1, "shuffle": "shuffle", "typesize": dtype.itemsize, "blocksize": 0}
    codecs: list[dict[str, Any]] = [
        {"name": "bytes", "configuration": {"endian": "little"}},
        {"name": "blosc", "configuration": blosc},
        {"name": "crc32c"},
    ]
    files = chunks
    if sharded:
        index = [codecs[0], {"name": "crc32c"}]
        inside = {"chunk_shape": list(chunks), "codecs": codecs, "index_codecs": index}
        codecs = [{"name": "sharding_indexed", "configuration": inside}]
        sides = zip(shape[-3:], chunks[-3:], _SHARD, strict=True)
        files = (*chunks[:-3], *(c * min(s, -(-n // c)) for n, c, s in sides))
    return {
        "driver": "zarr3",
        "metadata": {
            "shape": list(shape),
            "data_type": dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(files)}},
            "codecs": codecs,
            "fill_value": False if dtype.kind == "b" else 0,
            "dimension_names": ["c", "z", "y", "x"][-len(shape) :],
            "attributes": marked(metadata.to_attributes()),
        },
    }


def _old_spec(shape: tuple[int, ...], dtype: np.dtype[Any], chunks: tuple[int, ...]) -> dict[str, Any]:
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


FORMAT = Format(
    name="zarr",
    title="Zarr",
    suffixes=(".zarr", *_PACKED),
    open=open_zarr,
    list=list_zarr,
    stamp=stamp_zarr,
    create=create_zarr,
    markers=("zarr.json", ".zarray", ".zgroup"),
    schemes=("zarr", "zarr3", _OLD),
    several=True,
    axes=True,
    sharded=True,
    folder=True,
    settle=settle,
)
