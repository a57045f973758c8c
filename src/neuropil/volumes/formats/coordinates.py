"""Voxel size and offset from coordinates of axes, which netCDF and xarray keep in other arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import tell
from neuropil.volumes.attributes import SIZES, UNITS
from neuropil.volumes.formats.groups import Inherited
from neuropil.volumes.marks import is_marked
from neuropil.volumes.naming import kind


@dataclass(frozen=True)
class Coordinates:
    """Where the voxels lie along an axis.

    Args:
        name: of the axis.
        values: one for each voxel.
        unit: of the values, as spelled in the file.
    """

    name: str
    values: npt.NDArray[Any]
    unit: str


def with_coordinates(about: Inherited, axes: Callable[[], Sequence[Coordinates | None]], path: str) -> Inherited:
    """Add the voxel size that coordinates of the axes give to attributes without one.

    Coordinates without a unit are ignored: they may count voxels. Others that cannot be used are reported.

    Args:
        about: the attributes of the array, and of groups above.
        axes: reads the coordinates of each axis; None for one without.
        path: names the array in messages.
    """
    if any(key in about.attributes for key in SIZES) or is_marked(about.attributes):
        return about
    found = _as_attributes(axes(), path)
    own = {key: value for key, value in about.attributes.items() if key not in UNITS} if found else about.attributes
    return Inherited({**found, **own}, " of the coordinates of its axes" if found else about.where)


def _as_attributes(axes: Sequence[Coordinates | None], path: str) -> dict[str, Any]:
    """Voxel size, place and units in the order of the axes; empty where they are not known."""
    space = [one for one in axes if one is not None and kind(one.name) in "zyx?"]
    if not space:
        return {}
    steps = [_step(one) for one in space]
    if len(space) != 3 or None in steps:
        named = ", ".join(one.name for one in space)
        why = "have no even steps" if None in steps else "are not those of z, y and x"
        tell(f"{path} has coordinates along {named}, which {why}, so the size of a voxel is not known")
        return {}
    return {
        "resolution": [abs(step) for step in steps if step is not None],
        "offset": [float(one.values[0]) for one in space],
        "units": [one.unit for one in space],
    }


def _step(axis: Coordinates) -> float | None:
    """The distance of neighbouring voxels; None where it varies or is not positive."""
    steps = np.diff(axis.values.astype(np.float64))
    if not steps.size or steps.min() <= 0 or np.ptp(steps) > 1e-3 * steps.mean():
        return None
    return float(steps.mean())


def coordinates(name: str, values: npt.NDArray[Any], unit: object) -> Coordinates | None:
    """Coordinates of an axis, if they are numbers and have a unit."""
    if unit is None or values.ndim != 1 or values.dtype.kind not in "iuf":
        return None
    return Coordinates(name, values, unit.decode(errors="replace") if isinstance(unit, bytes) else str(unit))
