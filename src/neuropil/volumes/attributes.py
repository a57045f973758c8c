"""Names of attributes that hold axes, voxel sizes and positions: those that are read, and those that are reported."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.marks import is_marked
from neuropil.volumes.naming import agreed, split_names, way_out

VOXEL_SIZES = ("voxel_size", "voxel_size_nm", "resolution")
"""Attributes in which a voxel size is found, the first one that is there; in nm unless ``units`` says otherwise."""

MICROMETRES = "element_size_um"
"""The voxel size as ilastik, PlantSeg and Fiji's HDF5 plugins have it: µm, z y x."""

UNITS = ("units", "unit")
"""Attributes with the unit of voxel size and offset, as funlib writes them: one, or one for each axis."""

SIZES = (*VOXEL_SIZES, MICROMETRES)
"""All attributes in which a voxel size is found."""

PLACES = ("offset", "origin")
"""Attributes that say where an array begins: in the units of its voxel size, and in voxels."""

OWN_UNITS = tuple(f"{key}_{unit}" for key in ("voxel_size", "resolution", *PLACES) for unit in UNITS)
"""Attributes with the unit of one other attribute, such as ``offset_units``; the unit may be voxels."""

_NAMES = ("axis_names", "_ARRAY_DIMENSIONS")
"""Attributes that name the axes, of funlib and xarray."""

_PERHAPS = re.compile(r"(axis|axes|dims?|dimensions?)(names?|labels?|order|ordering)?|layout|order|ordering")
"""Attributes in which other programs may name axes; compared in lower case, without _."""

_IN_MEMORY = re.compile(r"(memory|array|storage|index|data|axis|axes)?(order|ordering|layout)|(is)?fortran(order)?")
_FORTRAN = re.compile(r"f|fortran|f(ortran)?order|col(umn)?major")
_UNNAMED = re.compile(r"[cakf]|(c|f|fortran)(order)?|(row|col|column)major")
"""Attributes and values for the memory order (C or Fortran) of an array; compared in lower case, without _."""

_ABOUT_AXES = (*_NAMES, "axistags", "DIMENSION_LABELS", "DIMENSION_LIST", "_Netcdf4Dimid", "_Netcdf4Coordinates")
"""Attributes that describe the axes as stored, and are wrong in a copy with other axes."""

_LIKE_A_SIZE = re.compile(
    r"transform|affine|coordinatetransformations|calibration|(grid)?spacing|scal(e|ing)|anisotropy|sampling|res|"
    r"(section|slice)thickness|nmper(voxel|pixel)|physicalsize[xyz]?|(xyz|zyx)?resolution|"
    r"(voxel|pixel|element|vx|px)(dimensions?|spacings?|resolutions?|scales?|widths?|heights?|depths?|sizes?|size[xyz]|)"
    r"(nm|um|microns?|xyz|zyx|innm)?|resolution([xyz]+|nm|um|innm)"
)
_LIKE_A_PLACE = re.compile(
    r"bbox|boundingbox|(voxel|global|world|crop|roi|block|chunk|bbox)?(offset|origin|translat(ion|e)|topleft|start)"
    r"(nm|um|px|voxels?|xyz|zyx)?"
)
"""Attributes that may be a voxel size or position of unknown axis order and unit; in lower case, without _."""


def axis_names(attributes: Mapping[str, Any], path: str) -> list[str] | None:
    """Names of the axes in the attributes of an array or group: funlib's and xarray's, those of other programs, such as
    ``dimension_order``, or the ``axistags`` of ilastik; None where there are none.

    Raises:
        NeuropilError: two attributes contradict each other.

    >>> axis_names({"axistags": '{"axes": [{"key": "z"}, {"key": "y"}, {"key": "x"}, {"key": "c"}]}'}, "a.h5/raw")
    ['z', 'y', 'x', 'c']
    >>> axis_names({"dimension_order": "xyz"}, "a.h5/raw")
    ['x', 'y', 'z']
    """
    found = [split_names(to_json(attributes.get(key)), sure=True) for key in _NAMES]
    others = [key for key in attributes if _names_axes(key) and not _UNNAMED.fullmatch(_plain(str(attributes[key])))]
    found += [split_names(to_json(attributes[key]), sure=False) for key in others]
    tags = to_json(attributes.get("axistags"))
    axes = tags.get("axes") if isinstance(tags, dict) else None
    if isinstance(axes, list) and all(isinstance(axis, dict) and "key" in axis for axis in axes):
        found.append([str(axis["key"]) for axis in axes])
    known = agreed(found, path) or next(filter(None, found), None)
    return None if known is None else [str(name) for name in known]


def check_order(several: Iterable[Mapping[str, Any]], path: str) -> None:
    """Refuse an array with an attribute that says Fortran order: it is unknown whether its axes were reversed when it
    was written.

    Args:
        several: attributes of the array, and of groups above.
        path: names the array in messages.

    Raises:
        NeuropilError: there is such an attribute.
    """
    for key, value in (pair for attributes in several for pair in attributes.items()):
        said, name = to_json(value), _plain(key)
        text = _plain(str(said)) if isinstance(said, str | int) else ""
        yes = text in ("true", "1") if "fortran" in name else _FORTRAN.fullmatch(text) is not None
        if _IN_MEMORY.fullmatch(name) and yes:
            raise NeuropilError(
                f"{path} has the attribute {key} = {said}: it is not clear whether its axes are therefore x, y, z; "
                f"{way_out(3)}, or xyz"
            )


def about_axes(key: str, value: object) -> bool:
    """Whether an attribute describes the axes as stored, and would be wrong in a copy."""
    return key in _ABOUT_AXES or (_names_axes(key) and split_names(value, sure=False) is not None)


def _names_axes(key: str) -> bool:
    return key not in _ABOUT_AXES and _PERHAPS.fullmatch(_plain(key)) is not None


def _plain(key: str) -> str:
    return re.sub(r"[_\- ]", "", key).lower()


def tell_unused(attributes: Mapping[str, Any], path: str) -> None:
    """Report voxel sizes and positions of other tools that are not used, because their axis order or unit is unknown.

    Args:
        attributes: of an array or group, without those that are read.
        path: names it in messages.
    """
    if is_marked(attributes):
        return
    found = {key: to_json(value) for key, value in attributes.items() if value is not None}
    tags = found.get("axistags")
    axes = tags.get("axes") if isinstance(tags, dict) else None
    for axis in axes if isinstance(axes, list) else ():
        if isinstance(axis, dict) and axis.get("resolution"):
            _tell("axistags", f"{axis.get('key')} with the resolution {axis['resolution']}", True, path)
    for key, value in found.items():
        if key in (*SIZES, *PLACES) or isinstance(value, bool) or not isinstance(value, int | float | list | dict):
            continue
        size, place = (form.fullmatch(_plain(key)) is not None for form in (_LIKE_A_SIZE, _LIKE_A_PLACE))
        if value and (size or place):
            _tell(key, value, size, path)


def _tell(key: str, value: object, size: bool, path: str) -> None:
    out = "a position is read from the attribute offset (in the units of the voxel size)"
    if size:
        out = "if it is the size of a voxel, give --voxel-size to `neuropil convert`"
    tell(f"{path}: its attribute {key} is {str(value)[:80]}, which is not used; {out}")


def to_json(value: Any) -> Any:
    """The value of an attribute as plain JSON: from NumPy scalars and arrays, bytes, or JSON in a string."""
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
