"""N5, which counts axes x, y, z in all its attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from neuropil.volumes import arrays
from neuropil.volumes.formats import keys
from neuropil.volumes.formats.base import Format, Location, Stamp
from neuropil.volumes.formats.chunked import (
    ChunkedStore,
    Described,
    check_local,
    choose_listed,
    list_folder,
    open_handle,
    present,
)
from neuropil.volumes.formats.making import allowed, create_chunked, open_new
from neuropil.volumes.metadata import JSON, Metadata, nanometres
from neuropil.volumes.volume import Mode, Volume

_TYPES = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8")


def open_n5(location: Location, mode: Mode = "r") -> Volume:
    """A dataset of a container: the one named, or the only one."""
    check_local(location)
    name = location.array.strip("/")
    described = describe(location.container, name)
    if described is None:
        name = choose_listed(list_n5(location), location)
        described = describe(location.container, name)
    assert described is not None
    path = location.at(name).path
    metadata = n5_metadata(described.values, path)
    handle = open_handle("n5", location.container, name, mode)
    return Volume(path, ChunkedStore(present(handle.T)), metadata, mode)


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

    return create_chunked(location, shape, metadata, chunks, make, describe)


def describe(container: str, name: str) -> Described | None:
    """What describes a dataset of a name; None where there is none."""
    found = keys.read_json(container, f"{name}/attributes.json" if name else "attributes.json")
    return Described("n5", found) if found is not None and "dimensions" in found else None


def n5_metadata(attributes: Mapping[str, Any], path: str) -> Metadata:
    """Metadata of an N5 dataset: ours as in Zarr, or ``pixelResolution`` or ``resolution``, which count x, y, z."""
    layout = ("dimensions", "blockSize", "dataType", "compression", "axes", "units", "n5", "pixelResolution")
    plain = {key: value for key, value in attributes.items() if key not in layout}
    found = attributes.get("pixelResolution", plain.get("resolution"))
    sizes = found.get("dimensions") if isinstance(found, Mapping) else found
    unit = nanometres(found.get("unit", "nm")) if isinstance(found, Mapping) else 1.0
    if "voxel_size" not in plain and isinstance(sizes, Sequence) and unit is not None:
        plain["voxel_size"] = [float(n) * unit for n in reversed(sizes)]
    plain.pop("resolution", None)
    return Metadata.from_attributes(plain, path)


def n5_attributes(metadata: Metadata) -> dict[str, JSON]:
    """What is stored beside the layout of an N5 dataset."""
    attributes = metadata.to_attributes()
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
    return {"driver": "n5", "metadata": {**n5_attributes(metadata), **layout}}


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
    folder=True,
)
