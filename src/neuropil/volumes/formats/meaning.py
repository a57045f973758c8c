"""Attributes that change the meaning of stored numbers, such as a sign or a scale: applied, or refused by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.attributes import to_json
from neuropil.volumes.marks import is_marked
from neuropil.volumes.volume import Index, Store, WrappedStore

_PLAIN = {"scale_factor": 1.0, "add_offset": 0.0}
"""Scale and offset of netCDF, with the values that change nothing."""

_BIG_DATA_VIEWER = re.compile(r"(?:.*/)?t\d{5}/s\d{2}/\d+/cells")
_IMARIS = re.compile(r"(?:.*/)?ResolutionLevel \d+/TimePoint \d+/Channel \d+/Data")


_SCALES = re.compile(r"(rescale|scl|data|value)?(slope|intercept|inter)|(data|value)?scal(e|ing)factor")
_NOTHING = ("_FillValue", "missing_value", "valid_min", "valid_max", "valid_range")
"""Attributes by which other programs scale values, or mark some as missing."""


@dataclass(frozen=True, eq=False)
class SignedStore(WrappedStore):
    """Integers stored as signed that mean unsigned ones, or the reverse."""

    meant: np.dtype[Any]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.meant

    def read(self, index: Index) -> npt.NDArray[Any]:
        return self.inner.read(index).view(self.dtype)

    def write(self, index: Index, array: npt.NDArray[Any]) -> None:
        self.inner.write(index, np.asarray(array, self.dtype).view(self.inner.dtype))


def as_meant(store: Store, attributes: Mapping[str, Any], path: str) -> Store:
    """The array with the values that its attributes mean.

    ``_Unsigned`` of netCDF says whether integers have a sign, and BigDataViewer stores uint16 as int16.

    Args:
        store: the array as stored.
        attributes: of the array itself.
        path: names the array in messages.

    Raises:
        NeuropilError: as :func:`check_numbers`; a picture in colour; or an array of Imaris, which is padded.
    """
    if is_marked(attributes):
        return store
    if _IMARIS.fullmatch(path):
        raise NeuropilError(
            f"{path} is an array of Imaris, padded with zeros to whole chunks, with its size elsewhere in the file; "
            "save it as OME-TIFF with Imaris or Fiji first"
        )
    check_numbers(attributes, path)
    if "TRUECOLOR" in str(to_json(attributes.get("IMAGE_SUBCLASS"))):
        raise NeuropilError(f"expected gray values, got a picture in colour (IMAGE_TRUECOLOR), in {path}; make it gray")
    _tell_others(attributes, path)
    sign = "iu"["ui".index(store.dtype.kind)] if store.dtype.kind in "ui" else ""
    said = str(to_json(attributes.get("_Unsigned"))).lower()
    if _BIG_DATA_VIEWER.fullmatch(path):
        tell(
            f"{path} is an array of BigDataViewer, which stores uint16 as int16, and the voxel size in an XML file "
            "next to it; if that file is missing, give --voxel-size to `neuropil convert`"
        )
        said = "true" if store.dtype.name == "int16" else said
    if sign and (sign, said) in (("u", "true"), ("i", "false")):
        return SignedStore(store, np.dtype(store.dtype.str.replace(store.dtype.kind, sign)))
    return store


def check_numbers(attributes: Mapping[str, Any], path: str) -> None:
    """Refuse an array whose stored numbers must be converted before use.

    Raises:
        NeuropilError: ``scale_factor``, ``add_offset`` or ``IMAGE_WHITE_IS_ZERO`` would change the numbers.
    """
    for key, nothing in _PLAIN.items():
        value = to_json(attributes.get(key))
        if value is not None and value not in (nothing, [nothing]):
            raise NeuropilError(
                f"{path} has the attribute {key} = {value}: its stored numbers must be scaled, which is not done here; "
                "apply it first, such as with xarray.open_dataset(…).to_netcdf(…)"
            )
    if to_json(attributes.get("IMAGE_WHITE_IS_ZERO")) not in (None, 0, [0], False):
        raise NeuropilError(f"{path} has IMAGE_WHITE_IS_ZERO: 0 is white in it; save it again with 0 for black")


def _tell_others(attributes: Mapping[str, Any], path: str) -> None:
    """Report attributes that other programs apply to the values, and that are not applied here."""
    for key in attributes:
        value, name = to_json(attributes[key]), re.sub("[_ -]", "", key).lower()
        value = value[0] if isinstance(value, list) and len(value) == 1 else value
        if key in _NOTHING and value == value:
            tell(f"{path} has the attribute {key} = {value}, which marks some voxels as missing; all are read alike")
        number = isinstance(value, int | float) and value == value
        if number and _SCALES.fullmatch(name) and key not in _PLAIN and value != (0 if "int" in name else 1):
            tell(f"{path} has the attribute {key} = {value:g}, which is not applied; its numbers are read as stored")
