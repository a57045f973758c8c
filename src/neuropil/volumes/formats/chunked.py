"""What Zarr, N5 and Neuroglancer precomputed have in common: arrays in chunks, through TensorStore.

In folders, buckets and on web servers. TensorStore presents N5 and precomputed as x, y, z, channel; here all are
z, y, x after channels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError
from neuropil.volumes import arrays
from neuropil.volumes.formats import keys
from neuropil.volumes.formats.base import Location
from neuropil.volumes.volume import Index, Mode, readable

Driver = Literal["zarr3", "zarr", "n5", "neuroglancer_precomputed"]
"""TensorStore's name of a format."""


@dataclass(frozen=True)
class Described:
    """An array as the file beside its chunks describes it."""

    driver: Driver
    values: Mapping[str, Any]

    @property
    def listed(self) -> arrays.Listed:
        """Its shape and dtype."""
        values = self.values
        shape = tuple(reversed(values["dimensions"])) if self.driver == "n5" else tuple(values["shape"])
        name = values.get("data_type", values.get("dataType", values.get("dtype", "V")))
        try:
            return arrays.Listed(shape, np.dtype(name))
        except TypeError:
            return arrays.Listed(shape, np.dtype("V"))


Describe = Callable[[str, str], Described | None]
"""Reads what describes the array of a name in a container; None where there is none."""


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


def open_handle(driver: Driver, container: str, name: str, mode: Mode, extra: dict[str, Any] | None = None) -> Any:
    """An existing TensorStore."""
    import tensorstore as ts

    spec = {"driver": driver, "kvstore": keys.kvstore(container, name), **(extra or {})}
    with readable("/".join(part for part in (container, name) if part)):
        # Bounds are fixed when it is opened: asking again at each read would double the requests.
        opened = ts.open(
            {**spec, "recheck_cached_metadata": "open"}, context=keys.context(), read=True, write=mode == "r+"
        )
        return opened.result()


def check_local(location: Location) -> None:
    """Refuse a local container that is not there."""
    if not location.remote and not Path(location.container).is_dir():
        raise NeuropilError(f"no such file: {location.container}")


def choose_listed(found: Mapping[str, arrays.Listed], location: Location) -> str:
    """The array that a location names, or the only one that was found."""
    if not found and location.remote:
        raise NeuropilError(f"no array at {location.path}; if it is a group, name the array inside it")
    return arrays.choose(found, location.path, location.container, location.array)


def list_folder(container: str, describe: Describe) -> dict[str, arrays.Listed]:
    """Shape and dtype of every array in a local folder, by name."""
    found = {}
    for folder, names, _ in os.walk(container):
        name = Path(folder).relative_to(container).as_posix().removeprefix(".")
        described = describe(container, name)
        if described is not None:
            found[name] = described.listed
        kept = [n for n in sorted(names) if not n.endswith(".partial")]
        names[:] = [] if described is not None else kept  # the chunks of an array are no arrays
    return found


def present(handle: Any, squeeze_channel: bool = False) -> Any:
    """An array of z, y, x in the end as [z, y, x] or [c, z, y, x]: one section of a 2-D one, without leading axes of
    length 1 where there are more than four.

    Args:
        handle: a TensorStore.
        squeeze_channel: leave out an axis of one channel as well.
    """
    import tensorstore as ts

    if handle.rank == 2:
        return handle[ts.newaxis]
    lead = handle.rank - len(arrays.volume_shape(handle.shape))
    if squeeze_channel and handle.rank - lead == 4 and handle.shape[lead] == 1:
        lead += 1
    return handle[(0,) * lead] if lead else handle
