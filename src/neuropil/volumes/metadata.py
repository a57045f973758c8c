"""What travels with an array besides its voxels, and how it is written in the attributes of a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neuropil.errors import NeuropilError
from neuropil.geometry import Offsets, Triple, VoxelSize, parse_offsets
from neuropil.volumes.encoding import Encoding

type_JSON = Any
JSON = None | bool | int | float | str | list[type_JSON] | dict[str, type_JSON]
"""A value that JSON can hold."""

_VOXEL_SIZES = ("voxel_size", "voxel_size_nm", "resolution")
"""Attributes in which a voxel size in nm is found, the first one that is there."""

_NANOMETRES = {
    "nm": 1.0,
    "nanometer": 1.0,
    "nanometre": 1.0,
    "um": 1e3,
    "µm": 1e3,
    "μm": 1e3,
    "micron": 1e3,
    "micrometer": 1e3,
    "micrometre": 1e3,
    "mm": 1e6,
    "millimeter": 1e6,
    "angstrom": 0.1,
    "å": 0.1,
    "m": 1e9,
    "meter": 1e9,
}

_OURS = (*_VOXEL_SIZES, "origin", "offsets", "encoding")


@dataclass(frozen=True)
class Metadata:
    """What travels with an array.

    ``voxel_size`` in nm (z, y, x); ``origin``, the voxel of the image at which the array begins, where that is stored;
    for affinities ``offsets``, one (dz, dy, dx) per channel, and the ``encoding`` of their codes; and ``extra``,
    anything else that JSON can hold.

    >>> Metadata(voxel_size=(30, 6, 6)).start, Metadata(origin=(60, 0, 0)).start
    ((0, 0, 0), (60, 0, 0))
    """

    voxel_size: VoxelSize | None = None
    origin: Triple | None = None
    offsets: Offsets | None = None
    encoding: Encoding | None = None
    extra: Mapping[str, JSON] = field(default_factory=dict)

    @property
    def start(self) -> Triple:
        """The voxel of the image at which the array begins: the origin, or the first one where none is stored."""
        return self.origin or (0, 0, 0)

    def to_attributes(self) -> dict[str, JSON]:
        """Attributes to store, plain JSON values; what is not known is left out."""
        attributes: dict[str, JSON] = {key: value for key, value in self.extra.items() if key not in _OURS}
        if self.voxel_size is not None:
            attributes["voxel_size"] = [float(n) for n in self.voxel_size]
        if self.origin is not None:
            attributes["origin"] = [int(n) for n in self.origin]
        if self.offsets is not None:
            attributes["offsets"] = [list(offset) for offset in self.offsets]
        if self.encoding is not None:
            attributes["encoding"] = self.encoding.to_json()
        return attributes

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any], path: str) -> Metadata:
        """Read stored attributes; ``path`` names the array in errors.

        A voxel size is read from ``voxel_size``, ``voxel_size_nm`` or ``resolution`` (nm, z y x). Where there is no
        ``origin``, an ``offset`` in nm gives it, as CREMI and gunpowder have it, if it is a whole number of voxels.

        Raises:
            NeuropilError: an attribute that is there but cannot be read.

        >>> Metadata.from_attributes({"resolution": [40, 4, 4], "offset": [40, 0, 8]}, "a.h5/main").origin
        (1, 0, 2)
        """
        plain = {key: to_json(value) for key, value in attributes.items()}
        try:
            size = _voxel_size(plain)
            extra = {key: value for key, value in plain.items() if key not in _OURS}
            offsets, encoding = plain.get("offsets"), plain.get("encoding")
            return cls(
                size,
                _origin(plain, size),
                None if offsets is None else parse_offsets(offsets),  # type: ignore[arg-type]
                None if encoding is None else Encoding.from_json(encoding),
                extra,
            )
        except NeuropilError as error:
            raise NeuropilError(f"{error}, in the attributes of {path}") from None


def to_json(value: Any) -> JSON:
    """Plain JSON values of what attributes hold: NumPy scalars and arrays, bytes, and JSON in a string."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return to_json(json.loads(value))
        except json.JSONDecodeError:
            return value
    if isinstance(value, np.ndarray | np.generic):
        return to_json(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def nanometres(unit: object) -> float | None:
    """Length of a unit in nm, by any of its usual names; None for what is no unit of length.

    >>> nanometres("micrometer"), nanometres("pixel")
    (1000.0, None)
    """
    return _NANOMETRES.get(unit.strip().lower().replace("\\u00b5", "µ")) if isinstance(unit, str) else None


def _voxel_size(plain: Mapping[str, JSON]) -> VoxelSize | None:
    for key in _VOXEL_SIZES:
        if plain.get(key) is not None:
            return parse_voxel_size(plain[key], key)
    return None


def parse_voxel_size(value: Any, key: str) -> VoxelSize:
    """Three positive numbers, nm, z y x; one number stands for all three."""
    sizes = [value] * 3 if isinstance(value, int | float) else value
    try:
        z, y, x = (float(n) for n in sizes)
    except (TypeError, ValueError):
        z = y = x = -1.0
    if not (min(z, y, x) > 0 and max(z, y, x) < float("inf")):
        raise NeuropilError(f"expected {key} as three positive numbers (nm; z, y, x), got {value!r}")
    return (z, y, x)


def _origin(plain: Mapping[str, JSON], voxel_size: VoxelSize | None) -> Triple | None:
    origin = plain.get("origin")
    if origin is None:
        return _origin_from_nm(plain.get("offset"), voxel_size)
    if not isinstance(origin, Sequence) or len(origin) != 3 or any(not _whole(n) for n in origin):
        raise NeuropilError(f"expected origin as three whole numbers (voxels; z, y, x), got {origin!r}")
    return (int(origin[0]), int(origin[1]), int(origin[2]))


def _origin_from_nm(offset: JSON, voxel_size: VoxelSize | None) -> Triple | None:
    if voxel_size is None or not isinstance(offset, list) or len(offset) != 3:
        return None
    if not all(isinstance(n, int | float) for n in offset):
        return None
    voxels = [n / size for n, size in zip(offset, voxel_size, strict=True)]
    if any(abs(n - round(n)) > 1e-3 for n in voxels):
        return None
    z, y, x = (round(n) for n in voxels)
    return (z, y, x)


def _whole(number: Any) -> bool:
    return isinstance(number, int | float) and float(number).is_integer()
