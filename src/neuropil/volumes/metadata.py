"""Metadata of an array, and how it is written in the attributes of a file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from neuropil.errors import NeuropilError, tell
from neuropil.geometry import Offsets, Triple, VoxelSize, parse_offsets
from neuropil.volumes.arrangement import Arrangement
from neuropil.volumes.attributes import MICROMETRES, SIZES, UNITS, VOXEL_SIZES, about_axes, to_json
from neuropil.volumes.encoding import Encoding
from neuropil.volumes.marks import KEY, is_marked
from neuropil.volumes.units import nanometres

type_JSON = Any
JSON = None | bool | int | float | str | list[type_JSON] | dict[str, type_JSON]
"""A value that JSON can hold."""

_OURS = ("voxel_size", "voxel_size_nm", "origin", "offsets", "encoding")

DIRECTIONS = "axis_directions"
"""Attribute with the directions of the axes z, y, x: anatomical (R L, A P, S I), or + and -. Arrays that are used
together must have the same directions."""

_WHOLE = 1e-3
"""Share of a voxel by which a position may differ from a whole voxel through rounding of decimals."""


@dataclass(frozen=True)
class Metadata:
    """Metadata of an array, which are copied with it.

    ``voxel_size`` in nm (z, y, x); ``origin``, the voxel of the image at which the array begins, where that is stored;
    for affinities ``offsets``, one (dz, dy, dx) per channel, and the ``encoding`` of their codes; ``extra``, anything
    else that JSON can hold; and ``shift``, the nm by which the array begins beyond the voxel ``origin``, where it
    begins between two, as levels of a pyramid do. ``found_in``: what the file calls the voxel size.

    >>> Metadata(voxel_size=(30, 6, 6)).start, Metadata(origin=(60, 0, 0)).start
    ((0, 0, 0), (60, 0, 0))
    """

    voxel_size: VoxelSize | None = None
    origin: Triple | None = None
    offsets: Offsets | None = None
    encoding: Encoding | None = None
    extra: Mapping[str, JSON] = field(default_factory=dict)
    shift: VoxelSize | None = None
    found_in: str = field(default="", compare=False)

    @property
    def start(self) -> Triple:
        """The voxel of the image at which the array begins: the origin, or the first one where none is stored."""
        return self.origin or (0, 0, 0)

    @property
    def position(self) -> VoxelSize | None:
        """The place of the array in nm; None without a voxel size."""
        if self.voxel_size is None:
            return None
        steps = zip(self.start, self.voxel_size, self.shift or (0.0, 0.0, 0.0), strict=True)
        z, y, x = (voxels * size + shift for voxels, size, shift in steps)
        return (z, y, x)

    @property
    def directions(self) -> dict[str, JSON]:
        """The directions of its axes, as an attribute for outputs made from the array; empty if unknown.

        >>> Metadata(extra={"axis_directions": ["+", "-", "+"], "threshold": 0.5}).directions
        {'axis_directions': ['+', '-', '+']}
        """
        known = self.extra.get(DIRECTIONS)
        return {DIRECTIONS: known} if isinstance(known, list) and len(known) == 3 else {}

    def to_attributes(self) -> dict[str, JSON]:
        """Attributes to store, plain JSON values; what is not known is left out."""
        attributes: dict[str, JSON] = dict(self.extra)
        if self.voxel_size is not None:
            attributes["voxel_size"] = [float(n) for n in self.voxel_size]
        if self.origin is not None:
            attributes["origin"] = [int(n) for n in self.origin]
        if self.shift is not None and self.position is not None:
            attributes["offset"] = list(self.position)
        if self.offsets is not None:
            attributes["offsets"] = [list(offset) for offset in self.offsets]
        if self.encoding is not None:
            attributes["encoding"] = self.encoding.to_json()
        return attributes

    @classmethod
    def from_attributes(
        cls, attributes: Mapping[str, Any], path: str, arrangement: Arrangement | None = None
    ) -> Metadata:
        """Read stored attributes.

        A voxel size is read from ``voxel_size``, ``voxel_size_nm`` or ``resolution``, in nm or in ``units``, or from
        ``element_size_um``. Where there is no ``origin``, an ``offset`` in the same units gives it, as CREMI, funlib
        and gunpowder write it. Attributes of these names that hold something else are ignored, and a line says so.

        Args:
            attributes: as stored.
            path: names the array in errors.
            arrangement: order of the stored axes. Voxel size and offset are in the order in which the file names its
                axes; without names, z y x.

        Raises:
            NeuropilError: an attribute of ours that is there but cannot be read, or an unknown unit.

        >>> Metadata.from_attributes({"resolution": [40, 4, 4], "offset": [40, 0, 8]}, "a.h5/main").origin
        (1, 0, 2)
        """
        kept = {key: value for key, value in attributes.items() if key != KEY or not is_marked(attributes)}
        plain = {key: to_json(value) for key, value in kept.items()}
        try:
            return _read(plain, path, arrangement, is_marked(attributes))
        except NeuropilError as error:
            raise NeuropilError(f"{error}, in the attributes of {path}") from None

    def found(self, where: str) -> Metadata:
        """The same metadata with ``where`` added to the place at which the voxel size was found.

        >>> Metadata((30, 6, 6), found_in="attribute resolution").found(" of the group a.h5/volumes").found_in
        'attribute resolution of the group a.h5/volumes'
        """
        return replace(self, found_in=self.found_in + where) if self.voxel_size is not None else self

    def placed(
        self, voxel_size: VoxelSize, position: Sequence[float], path: str, found_in: str | None = None
    ) -> Metadata:
        """The same metadata with a position in nm (z, y, x): the nearest voxel is the origin, the rest the shift.

        >>> Metadata().placed((4, 4, 4), (8, 0, 8), "a.zarr/s1").origin
        (2, 0, 2)
        """
        found_in = self.found_in if found_in is None else found_in
        if not all(map(math.isfinite, position)):
            raise NeuropilError(f"expected a place in nm, got {list(position)} (z, y, x), in {path}; correct it there")
        exact = [at / size for at, size in zip(position, voxel_size, strict=True)]
        z, y, x = (math.floor(n + 0.5) for n in exact)
        between = [n - whole for n, whole in zip(exact, (z, y, x), strict=True)]
        if max(map(abs, between)) <= _WHOLE:
            origin = (z, y, x) if any((z, y, x)) else None
            return replace(self, voxel_size=voxel_size, origin=origin, shift=None, found_in=found_in)
        a, b, c = (n * size if abs(n) > _WHOLE else 0.0 for n, size in zip(between, voxel_size, strict=True))
        at = ", ".join(f"{n:g}" for n in exact)
        tell(f"{path} begins between voxels, at {at} (z, y, x); taken as {z}, {y}, {x}, and kept in nm")
        return replace(self, voxel_size=voxel_size, origin=(z, y, x), shift=(a, b, c), found_in=found_in)


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


def _read(plain: Mapping[str, JSON], path: str, arrangement: Arrangement | None, ours: bool) -> Metadata:
    extra = {key: value for key, value in plain.items() if not about_axes(key, value)}
    size, unit = _voxel_size(extra, path, arrangement)
    offsets, encoding = _offsets(extra, path, arrangement), _encoding(extra, path)
    whole = _origin(extra, size, path, ours)
    position = _offset(extra, size, unit, path, arrangement)
    if size is None:
        return Metadata(None, None if whole is None else _triple(whole), offsets, encoding, extra)
    if whole is not None and (position is None or not _near(position, whole, size)):
        if position is not None:
            tell(
                f"{path} begins at {position} nm (z, y, x) by its offset, "
                f"and at voxel {whole} by its origin; the origin is used"
            )
        position = [n * one for n, one in zip(whole, size, strict=True)]
    key = next((name for name in SIZES if plain.get(name) is not None), "")
    found = Metadata(size, None, offsets, encoding, extra, found_in=f"attribute {key}")
    found = found if position is None else found.placed(size, position, path)
    # A stored origin of zero is kept: it says more than no origin.
    return found if whole is None or found.origin is not None else replace(found, origin=(0, 0, 0))


def _voxel_size(
    plain: dict[str, JSON], path: str, arrangement: Arrangement | None
) -> tuple[VoxelSize | None, tuple[float, ...]]:
    """Voxel size in nm, and the length in nm of the unit of an ``offset`` that goes with it; taken out of ``plain``."""
    one = (1.0, 1.0, 1.0)
    for key in VOXEL_SIZES:
        value = plain.get(key)
        if value is None:
            continue
        numbers = _numbers([value] * 3 if isinstance(value, int | float) else value, arrangement)
        if numbers is None or not (min(numbers) > 0 and max(numbers) < float("inf")):
            if key in _OURS:
                parse_voxel_size(value if numbers is None else numbers, key)
            _leave(path, key, value, "a voxel size")
            continue
        own = (f"{key}_units", f"{key}_unit", *UNITS)
        unit = one if key == "voxel_size_nm" else _unit(plain, own, path, arrangement)
        others = {name: plain.pop(name, None) for name in (*VOXEL_SIZES, *UNITS) if name != key}
        plain.pop(key)
        if unit is None:
            tell(f"{path}: {key} counts pixels, so the size of a voxel in nm is not known")
            return None, one
        size = parse_voxel_size([n * u for n, u in zip(numbers, unit, strict=True)], key)
        _tell_other_sizes(key, size, {**plain, **others}, unit, path, arrangement)
        return size, unit
    if MICROMETRES in plain:
        size = parse_voxel_size(plain.pop(MICROMETRES), MICROMETRES)
        axes = [] if arrangement is None else list(arrangement.order[-3:])
        if len(set(size)) > 1 and axes != sorted(axes):
            tell(
                f"{path}: its {MICROMETRES} is read as z, y, x, as programs write it, although its axes are ordered "
                "differently"
            )
        return parse_voxel_size([n * 1000 for n in size], MICROMETRES), one
    return None, one


def _tell_other_sizes(
    key: str,
    size: VoxelSize,
    others: Mapping[str, JSON],
    unit: Sequence[float],
    path: str,
    arrangement: Arrangement | None,
) -> None:
    """Report that a second attribute gives another voxel size than the one that is used."""
    for name in SIZES:
        one = [1000.0] * 3 if name == MICROMETRES else [1.0] * 3 if name == "voxel_size_nm" else unit
        numbers = _numbers(others.get(name), None if name == MICROMETRES else arrangement)
        if name == key or numbers is None:
            continue
        found = [n * u for n, u in zip(numbers, one, strict=True)]
        if any(abs(a - b) > 1e-3 * b for a, b in zip(found, size, strict=True)):
            given, other = (" × ".join(f"{n:g}" for n in row) for row in (size, found))
            tell(
                f"{path} has voxels of {given} nm (z, y, x) by its attribute {key}, which is used, and of {other} by "
                f"{name}"
            )


def _unit(
    plain: dict[str, JSON], keys: Sequence[str], path: str, arrangement: Arrangement | None
) -> tuple[float, ...] | None:
    """Length in nm, z y x, of the units that the first of some attributes names; 1 where there is none, None where they
    are pixels. Those that belong to one attribute alone are taken out of ``plain``."""
    found = {key: plain.get(key) if key in UNITS else plain.pop(key, None) for key in keys}
    key = next((key for key, value in found.items() if value is not None), None)
    if key is None:
        return (1.0, 1.0, 1.0)
    value = found[key]
    units = value if isinstance(value, list) else [value] * 3
    turned = units if arrangement is None else arrangement.zyx(units)
    if turned is None or len(turned) != 3:
        raise NeuropilError(f"expected {key} to be one unit, or one for each axis, got {value!r}")
    lengths = [nanometres(unit, f"{key} of {path}") for unit in turned]
    return None if None in lengths else tuple(length for length in lengths if length is not None)


def _numbers(value: JSON, arrangement: Arrangement | None) -> list[float] | None:
    """Finite numbers, z y x, of a list in the order of the file; None where it holds something else."""
    if not isinstance(value, list) or not all(isinstance(n, int | float) and not isinstance(n, bool) for n in value):
        return None
    turned: list[Any] | None = value
    if arrangement is not None and (arrangement.named or len(value) != 3):
        turned = arrangement.zyx(value)
    if turned is None or len(turned) != 3 or not np.isfinite(turned).all():
        return None
    return [float(n) for n in turned]


def _origin(plain: dict[str, JSON], size: VoxelSize | None, path: str, ours: bool) -> list[float] | None:
    """The origin in voxels, which may lie between two; taken out of ``plain``."""
    value = plain.get("origin")
    if value is None:
        return None
    voxels = _numbers(value, None)
    if voxels is None:
        _leave(path, "origin", value, "three numbers (voxels; z, y, x)")
        return None
    plain.pop("origin")
    own = {key: plain.pop(key) for key in ("origin_units", "origin_unit") if plain.get(key) is not None}
    length = _unit(own, tuple(own), path, None) if own else None  # else voxels
    if length is not None and size is None:
        _leave(path, "origin", value, f"used without a voxel size, since it is in {own}")
        return None
    if length is not None and size is not None:
        voxels = [n * one / whole for n, one, whole in zip(voxels, length, size, strict=True)]
    if size is not None or all(n.is_integer() for n in voxels):
        return voxels
    if ours or not all(map(math.isfinite, voxels)):
        raise NeuropilError(f"expected origin as three whole numbers (voxels; z, y, x), got {value!r}")
    nearest = [math.floor(n + 0.5) for n in voxels]
    tell(f"{path}: its attribute origin is {value}, between voxels; taken as {', '.join(map(str, nearest))} (z, y, x)")
    return [float(n) for n in nearest]


def _offset(
    plain: dict[str, JSON], size: VoxelSize | None, unit: Sequence[float], path: str, arrangement: Arrangement | None
) -> list[float] | None:
    """The place in nm, of an offset in its own units, which may be voxels, or in those of the voxel size; taken out of
    ``plain``."""
    value, own = plain.get("offset"), ("offset_units", "offset_unit")
    unit = _unit(plain, own, path, arrangement) or size or unit if set(own) & plain.keys() else unit
    given = _numbers(value, arrangement)
    if given is None and value is not None:
        _leave(path, "offset", value, "three finite numbers")
    elif given is not None and size is None:
        _leave(path, "offset", value, "used without a voxel size")
    elif given is not None:
        plain.pop("offset")
        return [n * one for n, one in zip(given, unit, strict=True)]
    return None


def _offsets(plain: dict[str, JSON], path: str, arrangement: Arrangement | None) -> Offsets | None:
    value = plain.get("offsets")
    if value is None:
        return None
    rows = isinstance(value, list) and all(isinstance(row, list) and len(row) == 3 for row in value)
    if not rows or (arrangement is not None and len(arrangement.order) == 3):
        _leave(path, "offsets", value, "offsets of affinities")
        return None
    plain.pop("offsets")
    return parse_offsets(value)  # type: ignore[arg-type]


def _encoding(plain: dict[str, JSON], path: str) -> Encoding | None:
    value = plain.get("encoding")
    if value is None:
        return None
    if not isinstance(value, dict) or "kind" not in value:
        _leave(path, "encoding", value, "an encoding of affinities")
        return None
    return Encoding.from_json(plain.pop("encoding"))


def _leave(path: str, key: str, value: JSON, expected: str) -> None:
    """Report that an attribute of another tool is ignored."""
    text = json.dumps(value)
    short = text if len(text) <= 60 else f"{text[:57]}…"
    tell(f"{path}: its attribute {key} is {short}, which is not {expected}; ignored")


def _near(position: Sequence[float], voxels: Sequence[float], size: VoxelSize) -> bool:
    """Whether a position in nm lies in the voxel that is stored with it."""
    return all(abs(at - n * one) <= one * (0.5 + _WHOLE) for at, n, one in zip(position, voxels, size, strict=True))


def _triple(numbers: Sequence[float]) -> Triple:
    z, y, x = (int(n) for n in numbers)
    return (z, y, x)
