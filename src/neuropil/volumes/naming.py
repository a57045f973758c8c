"""Names of axes: which of z, y, x, channels and time a name stands for, if any."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from neuropil.errors import NeuropilError

_NAMES = {
    "z": "z", "depth": "z", "plane": "z", "section": "z", "slice": "z",
    "y": "y", "row": "y", "height": "y",
    "x": "x", "column": "x", "col": "x", "width": "x",
    "c": "c", "channel": "c", "s": "c", "sample": "c", "edge": "c", "offset": "c", "affinity": "c", "affinitie": "c",
    "colour": "c", "color": "c", "rgb": "c", "rgba": "c", "band": "c",
    "t": "t", "time": "t", "frame": "t",
}  # fmt: skip

_AROUND = re.compile(r"^(?:dim|axis|coord|pos)[ _-]?|[ _-]?(?:dim|axis|coord|pos|index)$")
"""Prefixes and suffixes that these names may have."""

_NUMBERED = re.compile(r"(?:phony_|array_|unnamed_)?(?:dim|dimension|axis|ax|d|q|i)?[ _-]?\d*|\?|none|null|unknown")
"""Names without a meaning: numbers, as xarray, dask, netCDF and funlib give them, and unnamed axes of TIFF."""


def kind(name: object) -> str:
    """The kind of an axis by its name: z, y, x, c (channels) or t; "?" for a name without a meaning, "!" for a name
    with another meaning.

    >>> [kind(name) for name in ("dim_x", "Slices", "c0^", "phony_dim_0", None, "wavelength")]
    ['x', 'z', 'c', '?', '?', '!']
    """
    text = "" if name is None else str(name).strip().lower()
    if re.fullmatch(r"c\d*\^?", text):
        return "c"
    for form in (text, _AROUND.sub("", text)):
        for one in (form, form.removesuffix("s")):
            if one in _NAMES:
                return _NAMES[one]
    return "?" if _NUMBERED.fullmatch(text) else "!"


def split_names(value: object, sure: bool) -> list[str] | None:
    """Names of axes from an attribute: a list of names, of objects that have one, or text such as ``zyx``.

    Args:
        value: as JSON.
        sure: whether the attribute is known to name axes; else None is returned for anything but known names.

    >>> split_names("z, y, x", False), split_names([{"name": "z"}, {"name": "y"}], False), split_names([3, 4], False)
    (['z', 'y', 'x'], ['z', 'y'], None)
    """
    if isinstance(value, list) and all(isinstance(one, Mapping) for one in value):
        value = [one.get("name", one.get("key", one)) for one in value]
    if isinstance(value, list) and (sure or all(isinstance(one, str) for one in value)):
        return ["" if one is None else str(one) for one in value]
    if isinstance(value, str):
        parts = re.split(r"[,;\s]+", value.strip())
        letters = len(parts) == 1 and {kind(letter) for letter in value} <= set("tczyx")
        names = list(value) if letters else parts
        return names if sure or all(kind(name) in "tczyx" for name in names) else None
    return [str(value)] if sure and value is not None else None


def agreed(several: Sequence[Sequence[str | None] | None], path: str) -> Sequence[str | None] | None:
    """The first of several lists of axis names that has a meaning; None where none has.

    Raises:
        NeuropilError: two of them contradict each other.
    """
    found = [names for names in several if names and any(kind(name) != "?" for name in names)]
    for other in found[1:]:
        pairs = zip(found[0], other, strict=False)
        if len(other) == len(found[0]) and any(kind(a) != kind(b) for a, b in pairs if "?" not in (kind(a), kind(b))):
            lists = " and in another place ".join(", ".join(map(str, names)) for names in (found[0], other))
            raise NeuropilError(f"{path} names its axes {lists}; {way_out(len(other))}")
    return found[0] if found else None


def way_out(axes: int) -> str:
    """The advice in errors about axis names that cannot be used."""
    given = "czyx"[-axes:] if axes <= 4 else "tczyx"
    return f"name them as they are stored, such as --axes {given} of `neuropil convert`, or axes= of open_volume"


def table(names: Sequence[Any] | None, shape: Sequence[int]) -> str:
    """Names of axes with their lengths.

    >>> table(["z", "y"], (4, 20))
    'z (4), y (20)'
    """
    if names is None or len(names) != len(shape):
        return ", ".join(map(str, names or ()))
    return ", ".join(f"{name} ({n})" for name, n in zip(names, shape, strict=True))
