"""Zarr 2 and 3, N5 and Neuroglancer precomputed, in folders, buckets and on web servers, through TensorStore.

TensorStore presents N5 and precomputed as x, y, z, channel; here all are z, y, x after channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorstore as ts

from neuropil.errors import NeuropilError
from neuropil.volumes import arrays, keys
from neuropil.volumes.location import Location, nearest
from neuropil.volumes.metadata import Metadata
from neuropil.volumes.store_metadata import (
    n5_metadata,
    ome_images,
    ome_metadata,
    precomputed_axes,
    precomputed_metadata,
)
from neuropil.volumes.volume import Index, Mode, Volume, readable


@dataclass(frozen=True, eq=False)
class ChunkedStore:
    """A TensorStore as [z, y, x] or [c, z, y, x], counted from 0."""

    handle: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.handle.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        stored: np.dtype[Any] = np.dtype(self.handle.dtype.numpy_dtype)
        return stored

    @property
    def chunks(self) -> tuple[int, ...] | None:
        shape = self.handle.chunk_layout.write_chunk.shape
        return None if shape is None else tuple(int(n) for n in shape)

    def read(self, index: Index) -> npt.NDArray[Any]:
        return np.asarray(self.handle[index].read().result())

    def write(self, index: Index, array: npt.NDArray[Any]) -> None:
        self.handle[index].write(array).result()

    def close(self) -> None:
        pass  # every write has been waited for


def open_store(location: Location, mode: Mode = "r") -> Volume:
    """An array of a container: the one named, or the only one."""
    if location.format == "precomputed":
        return _open_precomputed(location, mode)
    _check_local(location)
    form = "n5" if location.format == "n5" else "zarr"
    name = _find(location, form)
    described = keys.array_json(location.container, name, form)
    assert described is not None
    driver, _ = described
    path = Location(location.format, location.container, name).path
    metadata, from_ome = _metadata(location.container, name, driver, described[1], path)
    handle = open_handle(driver, location.container, name, mode)
    return Volume(path, ChunkedStore(_present(handle, driver, from_ome)), metadata, mode)


def list_store(location: Location) -> dict[str, arrays.Listed]:
    """Shape and dtype of every array of a container, by name."""
    if location.format != "precomputed":
        _check_local(location)
        return keys.list_arrays(location.container, location.format)
    info = _info(location)
    dtype, channels = np.dtype(info["data_type"]), info["num_channels"]
    lead = (channels,) if channels > 1 else ()
    return {scale["key"]: arrays.Listed((*lead, *reversed(scale["size"])), dtype) for scale in info["scales"]}


def open_handle(driver: keys.Driver, container: str, name: str, mode: Mode, extra: dict[str, Any] | None = None) -> Any:
    """An existing TensorStore."""
    spec = {"driver": driver, "kvstore": keys.kvstore(container, name), **(extra or {})}
    with readable("/".join(part for part in (container, name) if part)):
        # Bounds are fixed when it is opened: asking again at each read would double the requests.
        opened = ts.open(
            {**spec, "recheck_cached_metadata": "open"}, context=keys.context(), read=True, write=mode == "r+"
        )
        return opened.result()


def _open_precomputed(location: Location, mode: Mode) -> Volume:
    info = _info(location)
    names = [scale["key"] for scale in info["scales"]]
    if location.array and location.array not in names:
        known = ", ".join(names)
        raise NeuropilError(
            f"no scale {location.array!r} in {location.container}{nearest(location.array, names)}; it has {known}"
        )
    number = names.index(location.array) if location.array else 0
    metadata = precomputed_metadata(info, info["scales"][number], location.path)
    handle = open_handle("neuroglancer_precomputed", location.container, "", mode, {"scale_index": number})
    return Volume(location.path, ChunkedStore(present_precomputed(handle, precomputed_axes(info))), metadata, mode)


def present_precomputed(handle: Any, axes: int) -> Any:
    """x, y, z, channel at an offset as [z, y, x] or [c, z, y, x] at 0."""
    inside = handle.T[0] if axes == 3 else handle.T
    return inside[ts.d[:].translate_to[0]]


def _info(location: Location) -> dict[str, Any]:
    _check_local(location)
    info = keys.read_json(location.container, "info")
    if info is None or not info.get("scales"):
        raise NeuropilError(f"no Neuroglancer precomputed volume at {location.container}: no info file with scales")
    return info


def _check_local(location: Location) -> None:
    if not location.remote and not Path(location.container).is_dir():
        raise NeuropilError(f"no such file: {location.container}")


def _find(location: Location, form: str) -> str:
    """The array that is named, or the only one, or the finest of an OME-Zarr image."""
    name = location.array.strip("/")
    if keys.array_json(location.container, name, form) is not None:
        return name
    for image in ome_images(keys.attributes(location.container, name)) if form == "zarr" else []:
        finest = "/".join(part for part in (name, str(image["datasets"][0].get("path"))) if part)
        if keys.array_json(location.container, finest, form) is not None:
            return finest
    found = keys.list_arrays(location.container, form)
    if not found and location.remote:
        raise NeuropilError(f"no array at {location.path}; if it is a group, name the array inside it")
    return arrays.choose(found, location)


def _metadata(
    container: str, name: str, driver: keys.Driver, described: dict[str, Any], path: str
) -> tuple[Metadata, bool]:
    """The array's own metadata, or what the group around it says, and whether OME-Zarr describes the array."""
    if driver == "n5":
        return n5_metadata(described, path), False
    own = described.get("attributes", {}) if driver == "zarr3" else keys.attributes(container, name)
    metadata = Metadata.from_attributes(own, path)
    group, _, last = name.rpartition("/")
    around = ome_metadata(keys.attributes(container, group), last) if last else None
    if around is None or metadata.voxel_size is not None or metadata.offsets is not None:
        return metadata, False
    return Metadata(around.voxel_size, around.origin, None, metadata.encoding, metadata.extra), True


def _present(handle: Any, driver: keys.Driver, from_ome: bool) -> Any:
    turned = handle.T if driver == "n5" else handle
    if turned.rank == 2:
        return turned[ts.newaxis]
    lead = turned.rank - len(arrays.volume_shape(turned.shape))
    if from_ome and turned.rank - lead == 4 and turned.shape[lead] == 1:
        lead += 1  # OME-Zarr images often have one channel, written out
    return turned[(0,) * lead] if lead else turned
