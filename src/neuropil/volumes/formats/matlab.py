"""HDF5 files of MATLAB (version 7.3) and Octave: axes and kinds of their arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neuropil.errors import NeuropilError

CLASS = "MATLAB_class"
"""The attribute that MATLAB gives to everything it stores."""

_NUMBERS = ("double", "single", "logical", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))


def internal(name: str, dataset: Any) -> bool:
    """Whether a dataset is internal, not an array of the user: parts of cells and objects, and text."""
    if name.startswith(("#refs#/", "#subsystem#/")) or _class(dataset.attrs) == "char":
        return True
    return bool(dataset.shape == () and "OCTAVE_NEW_FORMAT" in dataset.parent.attrs)  # the name of a type


def check_numbers(attributes: Mapping[str, Any], path: str) -> None:
    """Refuse text, cells and empty arrays, which MATLAB stores as numbers, too; of empty arrays these are the shape.

    Raises:
        NeuropilError: the array is one of these.
    """
    kind = _class(attributes)
    if kind is not None and kind not in _NUMBERS:
        raise NeuropilError(f"expected numbers, got MATLAB's class {kind}, in {path}; save the array by itself")
    if attributes.get("MATLAB_empty", 0):
        raise NeuropilError(f"expected at least one voxel, got an empty array of MATLAB, in {path}")


def axes(shape: Sequence[int], path: str) -> list[str]:
    """Names of the axes, as stored, of an array that is y, x, z, c in MATLAB, which stores axes in reverse order.

    Raises:
        NeuropilError: its third axis looks like colours or channels, so that z and c are not clear.

    >>> axes((30, 6, 5), "a.mat/raw")
    ['z', 'x', 'y']
    """
    if len(shape) == 4 and shape[1] in (3, 4) and shape[0] > 4:
        by = " × ".join(str(n) for n in reversed(shape))
        raise NeuropilError(
            f"expected y, x, z, c, got an array of {by} in MATLAB, whose third axis looks like channels, in {path}; "
            "name its axes as stored, --axes zcxy of `neuropil convert`"
        )
    return ["t", "c", "z", "x", "y"][-len(shape) :]


def of_octave(dataset: Any) -> bool:
    """Whether Octave stored the array: as `value` of a group, with reversed axes as in MATLAB."""
    return bool("OCTAVE_NEW_FORMAT" in dataset.parent.attrs and dataset.name.endswith("/value"))


def check_version(container: str) -> None:
    """Refuse a file of an older MATLAB version, which is no HDF5.

    Raises:
        NeuropilError: it is one.
    """
    path = Path(container)
    if path.is_file() and path.open("rb").read(10).startswith(b"MATLAB 5.0"):
        raise NeuropilError(f"{container} is of a MATLAB before version 7.3; save it with '-v7.3'")


def _class(attributes: Mapping[str, Any]) -> str | None:
    found = attributes.get(CLASS)
    return found.decode(errors="replace") if isinstance(found, bytes) else None if found is None else str(found)
