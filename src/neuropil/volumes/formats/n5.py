"""N5, which counts axes x, y, z in all its attributes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from neuropil.errors import NeuropilError
from neuropil.volumes import arrays
from neuropil.volumes.arrangement import Arrangement, arrange
from neuropil.volumes.formats import keys
from neuropil.volumes.formats.base import Format, Location, Stamp
from neuropil.volumes.formats.chunked import (
    ChunkedStore,
    Described,
    check_local,
    choose_listed,
    guarded,
    guarded_file,
    list_folder,
    open_handle,
)
from neuropil.volumes.formats.codecs import N5Store
from neuropil.volumes.formats.making import allowed, create_chunked, open_new
from neuropil.volumes.formats.presence import ChunkNames, watched
from neuropil.volumes.marks import is_marked, marked
from neuropil.volumes.metadata import JSON, Metadata, axis_names, parse_voxel_size
from neuropil.volumes.naming import agreed
from neuropil.volumes.units import nanometres
from neuropil.volumes.volume import Mode, Store, Volume, arranged

_LAYOUT = ("dimensions", "blockSize", "dataType", "compression", "axes", "n5", "pixelResolution", "transform")
VERSION = "2.5.1"
"""Of the specification; readers look for it at the top of a container."""
_SIZES = ("voxel_size", "voxel_size_nm", "resolution", "pixelResolution", "transform")
_TYPES = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8")


def open_n5(location: Location, mode: Mode = "r") -> Volume:
    """A dataset of a container: the one named, or the only one."""
    check_local(location)
    name = location.array.strip("/")
    described = describe(location.container, name)
    if described is None and (
        keys.read_json(location.container, f"{name}/attributes.json" if name else "attributes.json") or {}
    ).get("multiScale"):
        name = f"{name}/s0".strip("/")  # the finest level of a pyramid
        described = describe(location.container, name)
    if described is None:
        name = choose_listed(list_n5(location), location)
    file, found = guarded_file(location, name, ("attributes.json",))
    described = describe(location.container, name)
    assert described is not None
    path = location.at(name).path
    shape = described.values["dimensions"]
    above = name.rpartition("/")[0]
    around = keys.read_json(location.container, f"{above}/attributes.json" if above else "attributes.json") or {}
    values = dict(described.values) | ({"axes": list(location.names(shape, None) or ())} if location.axes else {})
    arrangement, metadata = n5_metadata(values, around if name else {}, path)
    compression = described.values.get("compression")
    if isinstance(compression, Mapping) and compression.get("type") == "lz4":
        if mode == "r+":
            raise NeuropilError(f"{path} is packed by LZ4, which is only read; convert it first")
        kind = np.dtype(described.values["dataType"])
        block = tuple(described.values["blockSize"])
        store: Store = N5Store(location.container, name, tuple(shape), block, kind)
    else:
        store = ChunkedStore(open_handle("n5", location.container, name, mode).T)
    if not location.remote and mode == "r":
        names = ChunkNames(tuple(shape), tuple(described.values["blockSize"]), "/", turned=True)
        store = watched(store, location.container, name, names, None, path)
    return Volume(path, guarded(arranged(store, arrangement), file, found, mode), metadata, mode)


def list_n5(location: Location) -> dict[str, arrays.Listed]:
    """Shape and dtype of every dataset of a local container, by name; a bucket does not tell."""
    check_local(location)
    return {} if location.remote else list_folder(location.container, describe)


def stamp_n5(location: Location) -> Stamp:
    """The stamp of the file that describes the dataset."""
    return keys.stamp_described(location, ("attributes.json",))


def create_n5(
    location: Location, shape: tuple[int, ...], dtype: np.dtype[Any], metadata: Metadata, chunks: Sequence[int] | None
) -> AbstractContextManager[Volume]:
    """A new dataset."""
    kind = allowed(dtype, _TYPES, location)

    def make(container: str, array: str, pieces: tuple[int, ...]) -> Any:
        return open_new(_spec(shape, kind, metadata, pieces), container, array).T

    def group(folder: Path, top: bool) -> None:
        if top and not (folder / "attributes.json").exists():
            (folder / "attributes.json").write_text(json.dumps({"n5": VERSION}))

    return create_chunked(location, shape, metadata, chunks, make, describe, _made_here, group)


def describe(container: str, name: str) -> Described | None:
    """What describes a dataset of a name; None where there is none."""
    found = keys.read_json(container, f"{name}/attributes.json" if name else "attributes.json")
    return Described("n5", found) if found is not None and "dimensions" in found else None


def _made_here(array: str) -> bool:
    """Whether a dataset was written by neuropil; of version 0.1, which left no mark, by its axes and compression."""
    values = (keys.read_json(array, "attributes.json") or {}) if describe(array, "") else {}
    before = values.get("axes") == list("xyzc"[: len(values.get("dimensions", ()))])
    packed = values.get("compression")
    return is_marked(values) or (
        before and isinstance(packed, Mapping) and (packed.get("type"), packed.get("level")) == ("gzip", 1)
    )


def n5_metadata(values: Mapping[str, Any], around: Mapping[str, Any], path: str) -> tuple[Arrangement, Metadata]:
    """How a dataset is presented, and its metadata. N5 counts x, y, z: ``resolution``, ``offset``, ``units`` and
    ``axes`` are in the order of ``dimensions``, for others as for us. COSEM's ``transform`` names its own axes.

    Args:
        values: the attributes of the dataset.
        around: those of the group above, whose ``resolution`` and ``units`` hold where the dataset has none.
        path: names the dataset in messages.

    Raises:
        NeuropilError: an attribute that is there but cannot be read, or an unknown unit.
    """
    shape = list(reversed(values["dimensions"]))
    given = agreed([axis_names(values), axis_names(around)], path)
    names = list(reversed(given)) if given else list("tczyx"[-len(shape) :])
    arrangement = arrange(shape, names, path, keep_channel=True if "offsets" in values else None)
    plain: dict[str, Any] = {key: value for key, value in values.items() if key not in _LAYOUT}
    if not set(_SIZES) & values.keys():
        plain |= _of_group(around, values, path)
    if "voxel_size" in plain or "voxel_size_nm" in plain:  # ours, z y x
        kept = {key: value for key, value in plain.items() if key not in ("resolution", "units")}
        return arrangement, Metadata.from_attributes(kept, path)
    transform = values.get("transform", plain.get("transform"))
    if isinstance(transform, Mapping) and "scale" in transform:
        return arrangement, _transformed(transform, plain, arrangement, path)
    found = values.get("pixelResolution", plain.get("resolution"))
    if isinstance(found, Mapping):
        plain.setdefault("units", found.get("unit", "nm"))
        found = found.get("dimensions")
    turned = {"resolution": found, "units": plain.get("units"), "offset": plain.get("offset")}
    for key, value in turned.items():
        plain[key] = list(reversed(value)) if isinstance(value, list) else value
    known = {key: value for key, value in plain.items() if value is not None}
    return arrangement, Metadata.from_attributes(known, path, arrangement)


def _of_group(around: Mapping[str, Any], values: Mapping[str, Any], path: str) -> dict[str, Any]:
    """What the group above says of a dataset that is silent: a resolution, of which a level of a pyramid has
    ``downsamplingFactors``, or the transform of a level in ``multiscales``."""
    for image in around.get("multiscales") or []:
        for level in image.get("datasets", []) if isinstance(image, Mapping) else []:
            if level.get("path") == path.rpartition("/")[2] and "transform" in level:
                return {"transform": level["transform"]}
    found = {key: around[key] for key in ("resolution", "units", "offset", "transform") if key in around}
    if "resolution" not in found and "pixelResolution" in around:
        whole = around["pixelResolution"]
        found["resolution"] = whole.get("dimensions") if isinstance(whole, Mapping) else whole
        found["units"] = whole.get("unit", "nm") if isinstance(whole, Mapping) else "nm"
    factors, sizes = values.get("downsamplingFactors"), found.get("resolution")
    if isinstance(factors, list) and isinstance(sizes, list) and len(factors) == len(sizes):
        before = found.get("offset", [0.0] * len(sizes))
        found["offset"] = [at + (f - 1) / 2 * size for at, f, size in zip(before, factors, sizes, strict=True)]
        found["resolution"] = [f * size for f, size in zip(factors, sizes, strict=True)]
    return found


def _transformed(
    transform: Mapping[str, Any], plain: Mapping[str, Any], arrangement: Arrangement, path: str
) -> Metadata:
    """COSEM's ``transform``: axes, scale, translate and units, each in the order of these axes; the one named z goes
    with the axis z of the array."""
    axes = [str(axis).lower() for axis in transform.get("axes", "zyx")]
    rows = {key: transform.get(key) for key in ("scale", "translate", "units")}
    if sorted(axes) != ["x", "y", "z"] or any(row is not None and len(row) != 3 for row in rows.values()):
        raise NeuropilError(f"expected a transform of axes z, y, x, got {dict(transform)}, in the attributes of {path}")
    order = [axes.index(axis) for axis in "zyx"]
    units = [nanometres((rows["units"] or ["nm"] * 3)[at], f"the transform of {path}") for at in order]
    kept = {key: value for key, value in plain.items() if key not in ("transform", "resolution", "units", "offset")}
    own = Metadata.from_attributes(kept, path, arrangement)
    if None in units:
        return own
    size, place = (
        [float(row[at]) * (unit or 1) for at, unit in zip(order, units, strict=True)]
        for row in (list(rows["scale"] or ()), rows["translate"] or [0.0] * 3)
    )
    return own.placed(parse_voxel_size(size, "scale"), place, path, "attribute transform")


def n5_attributes(metadata: Metadata, axes: int) -> dict[str, JSON]:
    """What is stored beside the layout of an N5 dataset."""
    attributes = marked(metadata.to_attributes())
    attributes["axes"] = list("xyzc"[:axes])
    attributes["n5"] = VERSION
    if metadata.voxel_size is not None:
        attributes["pixelResolution"] = {"dimensions": list(reversed(metadata.voxel_size)), "unit": "nm"}
    return attributes


def _spec(shape: tuple[int, ...], dtype: np.dtype[Any], metadata: Metadata, chunks: tuple[int, ...]) -> dict[str, Any]:
    layout = {
        "dimensions": list(reversed(shape)),
        "blockSize": list(reversed(chunks)),
        "dataType": dtype.name,
        "compression": {"type": "gzip", "level": 1},
    }
    return {"driver": "n5", "metadata": {**n5_attributes(metadata, len(shape)), **layout}}


FORMAT = Format(
    name="n5",
    title="N5",
    suffixes=(".n5",),
    open=open_n5,
    list=list_n5,
    stamp=stamp_n5,
    create=create_n5,
    markers=("attributes.json",),
    schemes=("n5",),
    several=True,
    axes=True,
    folder=True,
)
