"""N5 folders, whose attributes are in the order x, y, z."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from neuropil.errors import NeuropilError
from neuropil.volumes import arrays
from neuropil.volumes.formats import keys
from neuropil.volumes.formats.base import Format, Location, Stamp
from neuropil.volumes.formats.big_data_viewer import n5_setup_of
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
from neuropil.volumes.formats.codecs import N5Store
from neuropil.volumes.formats.groups import MOST, Neighbour, groups_above, refuse_multiset
from neuropil.volumes.formats.making import allowed, create_chunked, open_new
from neuropil.volumes.formats.meaning import as_meant
from neuropil.volumes.formats.n5_place import LAYOUT, SIZED, level_factors, made_here, n5_metadata
from neuropil.volumes.formats.presence import ChunkNames, WholeBlocks, is_sparse, watched
from neuropil.volumes.formats.webknossos import layer_of
from neuropil.volumes.marks import marked
from neuropil.volumes.metadata import JSON, Metadata
from neuropil.volumes.volume import Mode, Store, Volume, arranged

VERSION = "2.5.1"
"""Version of the specification; readers look for it in the root attributes of a container."""
_TYPES = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8")


def open_n5(location: Location, mode: Mode = "r") -> Volume:
    """Open a dataset of a container: the one named, or the only one."""
    check_local(location)
    name = location.array.strip("/")
    described = describe(location.container, name)
    if described is None and (group_attributes(location.container, name) or {}).get("multiScale"):
        name = f"{name}/s0".strip("/")  # the finest level of a pyramid
        described = describe(location.container, name)
    if described is None:
        for marker in (".zarray", ".zgroup", "zarr.json"):
            if keys.read_json(location.container, f"{name}/{marker}".strip("/")) is not None:
                raise NeuropilError(
                    f"expected N5, got Zarr ({marker}), in {location.path}; write zarr://{location.path}"
                )
        name = choose_listed(list_n5(location), location)
    file, found = guarded_file(location, name, ("attributes.json",))
    described = describe(location.container, name)
    assert described is not None
    path = location.at(name).path
    refuse_multiset(described.values, path)
    check_described(described.listed, described.values["blockSize"], path)
    shape = described.values["dimensions"]
    groups = list(groups_above(location.container, name, group_attributes, _arrays))
    factors = level_factors(described.values, groups, path) or [1.0] * len(shape)
    groups = [*n5_setup_of(location.container, name, shape, factors), *groups]
    groups += layer_of(location.container, name, shape, numpy=False)
    arrangement, metadata = n5_metadata(
        described.values, groups, path, location.names(shape, None), partial(_finest, location, name)
    )
    compression = described.values.get("compression")
    if isinstance(compression, Mapping) and compression.get("type") == "lz4":
        if mode == "r+":
            raise NeuropilError(f"{path} is compressed by LZ4, which is read-only here; convert it first")
        kind = np.dtype(described.values["dataType"])
        block = tuple(described.values["blockSize"])
        store: Store = N5Store(location.container, name, tuple(shape), block, kind)
    else:
        store = ChunkedStore(open_handle("n5", location.container, name, mode, _layout(location, name, mode)).T)
    if mode == "r":
        names = ChunkNames(tuple(shape), tuple(described.values["blockSize"]), "/", turned=True)
        store = WholeBlocks(store, location.container, name, names, path)
        if not is_sparse(described.values):
            store = watched(store, location.container, name, names, None, path)
    other = {key: value for key, value in described.values.items() if key not in SIZED}
    store = as_meant(store, other, path)
    return Volume(path, guarded(arranged(store, arrangement), file, found, mode), metadata, mode)


def _layout(location: Location, name: str, mode: Mode) -> dict[str, Any]:
    """TensorStore options that hide attributes of other tools (resolution, units, axes), which it might refuse."""
    import tensorstore as ts

    described = describe(location.container, name)
    if (
        location.remote
        or mode != "r"
        or described is None
        or not {"resolution", "units", "axes"} & set(described.values)
    ):
        return {}
    plain = {key: value for key, value in described.values.items() if key in LAYOUT}
    place = keys.kvstore(location.container, name)
    memory = {"driver": "memory", "path": f"{place['path']}attributes.json"}
    ts.KvStore.open(memory, context=keys.context()).result().write("", json.dumps(plain).encode()).result()
    return {"kvstore": {"driver": "kvstack", "layers": [{"base": place}, {"exact": "attributes.json", "base": memory}]}}


def _finest(location: Location, name: str) -> dict[str, Any] | None:
    """The attributes of the dataset s0 next to a dataset; None where there is none, or it is the same."""
    above, _, last = name.rpartition("/")
    container = location.container
    if not name and not location.remote:
        container, last = str(Path(container).absolute().parent), Path(container).name
    return group_attributes(container, f"{above}/s0".lstrip("/")) if last and last != "s0" else None


def list_n5(location: Location) -> dict[str, arrays.Listed]:
    """Shape and dtype of every dataset of a local container, by name; empty for a bucket, which has no list."""
    check_local(location)
    return {} if location.remote else list_folder(location.container, describe)


def stamp_n5(location: Location) -> Stamp:
    """The stamp of the dataset's attributes.json."""
    return keys.stamp_described(location, ("attributes.json",))


def create_n5(
    location: Location, shape: tuple[int, ...], dtype: np.dtype[Any], metadata: Metadata, chunks: Sequence[int] | None
) -> AbstractContextManager[Volume]:
    """Create a dataset."""
    kind = allowed(dtype, _TYPES, location)

    def make(container: str, array: str, pieces: tuple[int, ...]) -> Any:
        return open_new(_spec(shape, kind, metadata, pieces), container, array).T

    def group(folder: Path, top: bool) -> None:
        if top and not (folder / "attributes.json").exists():
            (folder / "attributes.json").write_text(json.dumps({"n5": VERSION}))

    return create_chunked(location, shape, metadata, chunks, make, describe, _made_here, group)


def describe(container: str, name: str) -> Described | None:
    """The metadata of a dataset, by container and name; None where there is no dataset."""
    found = keys.read_json(container, f"{name}/attributes.json" if name else "attributes.json")
    return Described("n5", found) if found is not None and "dimensions" in found else None


def _made_here(array: str) -> bool:
    """Whether a dataset was written by neuropil."""
    described = describe(array, "")
    return described is not None and made_here(described.values)


def group_attributes(container: str, name: str) -> dict[str, Any] | None:
    """Attributes of a group; None where it has no attributes file."""
    return keys.read_json(container, f"{name}/attributes.json" if name else "attributes.json")


def _arrays(container: str, name: str) -> list[Neighbour] | None:
    """The datasets below a group; None in a bucket, which has no list."""
    if "://" in container:
        return None
    found = []
    for array, listed in islice(list_folder(container, describe, name).items(), MOST):
        known = group_attributes(container, array) or {}
        found.append(Neighbour(array, listed.shape, any(key in known for key in SIZED)))
    return found


def n5_attributes(metadata: Metadata, axes: int) -> dict[str, JSON]:
    """The attributes to store besides those of the N5 layout."""
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
