"""Units of length, in all spellings that occur in files."""

from __future__ import annotations

import re

from neuropil.errors import NeuropilError, tell
from neuropil.geometry import VoxelSize

_NANOMETRES = {
    "nm": 1.0, "nanometer": 1.0, "nanometre": 1.0,
    "um": 1e3, "µm": 1e3, "micron": 1e3, "micrometer": 1e3, "micrometre": 1e3,
    "mm": 1e6, "millimeter": 1e6, "millimetre": 1e6,
    "cm": 1e7, "centimeter": 1e7, "centimetre": 1e7,
    "m": 1e9, "meter": 1e9, "metre": 1e9,
    "inch": 2.54e7, "in": 2.54e7,
    "a": 0.1, "å": 0.1, "angstrom": 0.1, "ångström": 0.1, "ångstrom": 0.1,
    "pm": 1e-3, "picometer": 1e-3, "picometre": 1e-3,
}  # fmt: skip
_NONE = (
    "",
    "pixel",
    "px",
    "voxel",
    "vx",
    "vox",
    "none",
    "unknown",
    "null",
    "dimensionless",
    "1",
    "index",
    "arbitrary",
    "reference frame",
)
"""Units that mean voxels, or nothing."""

USUAL = (0.5, 1000.0)
"""Range of voxel sizes in electron microscopy, nm."""


def nanometres(unit: object, where: str) -> float | None:
    """Length of a unit in nm, by any of its usual names; None where a file counts in voxels or says nothing.

    Args:
        unit: as the file has it.
        where: names file and key in errors.

    Raises:
        NeuropilError: an unknown unit.

    >>> nanometres("microns", "a.tif"), nanometres("nanometers", "a.h5"), nanometres("pixel", "a.tif")
    (1000.0, 1.0, None)
    """
    if unit is None:
        return None
    text = unit.decode(errors="replace") if isinstance(unit, bytes) else str(unit)
    # ImageJ writes µ as an escape; Unicode has two of them.
    name = re.sub(r"\\+u00b5|\u03bc", "µ", text.strip().strip("\0").strip().lower(), flags=re.IGNORECASE)
    for form in (name, name.removesuffix("s")):
        if form in _NANOMETRES:
            return _NANOMETRES[form]
        if form in _NONE:
            return None
    known = "nm, µm, mm, cm, m, Å, inch, or pixel"
    raise NeuropilError(f"expected a unit of length ({known}), got {text!r}, in {where}; correct it there")


def question(size: VoxelSize | None, path: str) -> None:
    """Report a voxel size that is unusual in electron microscopy: its unit is probably wrong."""
    low, high = USUAL
    if size is not None and not all(low <= n <= high for n in size):
        by = " × ".join(f"{n:g}" for n in size)
        tell(f"{path} says that its voxels are {by} nm, which is unusual for electron microscopy; is its unit right?")
