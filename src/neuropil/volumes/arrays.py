"""Helpers of all formats: choose an array of a container, check shape and dtype, default chunks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import prod
from typing import Any

import numpy as np

from neuropil.errors import NeuropilError
from neuropil.volumes.metadata import JSON

_CHUNK = (32, 128, 128)  # 0.5 MB of uint8, 4 MB of uint64: few files, and small boxes read little extra

_LONGEST, _BYTES, _FARTHEST = 2**32, 2**63, 2**62
"""Most voxels along an axis (17 m at 4 nm), most bytes of an array, most voxels from 0 to its origin: libraries count
in 64 bits."""


@dataclass(frozen=True)
class Listed:
    """An array of a container, as listed."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        return f"{'×'.join(map(str, self.shape))} {self.dtype}"


def check_extent(shape: Sequence[int], dtype: np.dtype[Any], path: str) -> None:
    """Refuse impossible shapes and dtypes, as in damaged metadata, before a library allocates memory for them."""
    if max(shape, default=0) > _LONGEST or prod(shape) * dtype.itemsize >= _BYTES:
        raise NeuropilError(
            f"expected an array of less than 2**63 bytes, at most 2**32 voxels long, got shape {tuple(shape)} of "
            f"{dtype}, in {path}; its metadata are damaged"
        )
    if dtype.kind in "iuf" and dtype.itemsize > 8:
        raise NeuropilError(f"expected numbers of at most 8 bytes, got {dtype}, in {path}; save it as float64")


def check_array(shape: Sequence[int], dtype: np.dtype[Any], path: str, origin: Sequence[int] | None = None) -> None:
    """Refuse an array that is no volume: not 3 or 4 axes, no voxels, no real numbers, too large, origin too far."""
    check_extent(shape, dtype, path)
    if len(shape) not in (3, 4):
        raise NeuropilError(f"expected 3 axes (z, y, x) or 4 (c, z, y, x), got shape {tuple(shape)}, in {path}")
    if 0 in shape:
        raise NeuropilError(f"expected at least one voxel, got an empty volume of shape {tuple(shape)}, in {path}")
    if dtype.kind not in "buif":
        raise NeuropilError(f"expected real numbers, got dtype {dtype}, in {path}")
    if max(map(abs, origin or (0,))) >= _FARTHEST:
        raise NeuropilError(f"expected an origin less than 2**62 voxels from 0, got one beyond, in {path}; correct it")


def choose(found: Mapping[str, Listed], path: str, container: str, array: str) -> str:
    """The array that a path names, or the only one there is.

    Args:
        found: the arrays of the container, by name.
        path: as the user wrote it.
        container: the part of it that is a file, folder or URL.
        array: the part of it that names an array inside; "" where none is named.

    Raises:
        NeuropilError: none, several and none named (they are listed), or none of that name.
    """
    name = array.strip("/")
    if name in found:
        return name
    inside = {key: listed for key, listed in found.items() if not name or key.startswith(f"{name}/")}
    table = ", ".join(f"{key} ({listed})" for key, listed in sorted((inside or found).items()))
    if not found:
        raise NeuropilError(f"no array in {container}")
    if name and not inside:
        raise NeuropilError(f"no array {name!r} in {container}{nearest(name, list(found))}; it has {table}")
    volumes = [key for key, listed in inside.items() if len(listed.shape) >= 3] or list(inside)
    if len(volumes) > 1:
        raise NeuropilError(f"several arrays in {path}; name one, as {container}/{volumes[0]}: {table}")
    return volumes[0]


def nearest(name: str, names: list[str]) -> str:
    """`` (did you mean …?)`` where one of the names is like ``name``, else nothing.

    >>> nearest("mian", ["main", "labels"])
    ' (did you mean main?)'
    """
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""


def default_chunks(shape: Sequence[int]) -> tuple[int, ...]:
    """Shape of the chunks to store an array in: all channels together, since they are read together.

    >>> default_chunks((3, 10, 1024, 1024))
    (3, 10, 128, 128)
    """
    return (*shape[:-3], *(min(n, c) for n, c in zip(shape[-3:], _CHUNK, strict=True)))


def clip_chunks(chunks: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Chunks as asked for, none longer than its axis; three numbers are z, y, x, with all channels in one chunk."""
    if len(chunks) not in (3, len(shape)) or min(chunks) < 1:
        raise NeuropilError(f"expected chunks of 3 or {len(shape)} positive numbers, got {tuple(chunks)}")
    whole = (*shape[:-3], *chunks) if len(chunks) == 3 else tuple(chunks)
    return tuple(min(int(n), int(c)) for n, c in zip(shape, whole, strict=True))


def attribute(value: JSON) -> Any:
    """A JSON value as an HDF5 attribute: numbers, strings and rows of numbers as they are, the rest as JSON text."""
    if isinstance(value, bool | int | float | str):
        return value
    try:
        row = np.asarray(value)
        if row.dtype.kind in "iuf" and row.size and row.tolist() == value:
            return row
    except ValueError:
        pass  # rows of different lengths
    return json.dumps(value)
