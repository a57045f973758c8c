"""Voxel size and axes of WEBKNOSSOS layers, from the datasource-properties.json in a folder above the array."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from neuropil.errors import tell
from neuropil.volumes.formats import keys
from neuropil.volumes.formats.groups import Group

_FILE = "datasource-properties.json"
_ABOVE = 3
"""Number of folders above an array that are searched."""


def layer_of(container: str, name: str, shape: Sequence[int], numpy: bool) -> Iterator[Group]:
    """Voxel size and order of axes of an array, as attributes of a group above it. A bounding box smaller than the
    array is reported.

    Args:
        container, name: of the array.
        shape: of the array as stored.
        numpy: whether axes are in NumPy's order, as in Zarr, where WEBKNOSSOS stores c, x, y, z; else in that of N5.
    """
    if keys.in_folder(container):
        place = Path(container, name).absolute()
        above = [(str(folder), place.relative_to(folder).as_posix()) for folder in list(place.parents)[:_ABOVE]]
    elif "://" in container:
        scheme, _, rest = "/".join(part for part in (container.rstrip("/"), name) if part).partition("://")
        steps = rest.split("/")
        ends = range(len(steps) - 1, max(len(steps) - 1 - _ABOVE, 0), -1)
        above = [(f"{scheme}://{'/'.join(steps[:n])}", "/".join(steps[n:])) for n in ends]
    else:
        return
    for folder, inside in above:
        found = keys.read_json(folder, _FILE)
        if found is not None:
            attributes = _attributes(found, inside, shape, numpy)
            if attributes:
                yield Group(f"{folder}/{_FILE}", "", inside, attributes, list)
            return


def _attributes(found: Mapping[str, Any], inside: str, shape: Sequence[int], numpy: bool) -> dict[str, Any]:
    """A transform, and names of axes; empty where no layer of the file is this array."""
    scale = found.get("scale")
    scale = scale if isinstance(scale, Mapping) else {"factor": scale}
    layer = next((one for one in found.get("dataLayers", []) if one.get("name") == inside.split("/")[0]), None)
    sizes = scale.get("factor")
    if layer is None or not isinstance(sizes, list) or len(sizes) != 3:
        return {}
    mag: dict[str, Any] = next((one for one in layer.get("mags", []) if _path(one) == inside), {})
    factors = mag.get("mag") or _factors(inside.rpartition("/")[2])
    factors = factors if isinstance(factors, list) else [factors] * 3
    if any(not isinstance(n, int | float) for n in factors) or len(factors) != 3:
        return {}
    order: dict[str, int] = mag.get("axisOrder") or {"c": 0, "x": 1, "y": 2, "z": 3}
    names = sorted(order, key=order.__getitem__) if numpy else list("xyz")
    _tell_box(layer.get("boundingBox"), factors, dict(zip(names, shape, strict=False)), inside)
    transform = {
        "axes": ["x", "y", "z"],
        "scale": [f * n for f, n in zip(factors, sizes, strict=True)],
        "units": [scale.get("unit", "nm")] * 3,
    }
    if max(factors) > 1:
        transform["translate"] = [(f - 1) / 2 * n for f, n in zip(factors, sizes, strict=True)]
    return {"transform": transform, **({"axis_names": names} if numpy else {})}


def _tell_box(box: Any, factors: Sequence[float], lengths: Mapping[str, int], inside: str) -> None:
    """Report the bounding box of the data, in voxels of mag 1 in the file, where it is smaller than the array."""
    if not isinstance(box, Mapping) or not {*"xyz"} <= set(lengths):
        return
    ends = [(n, n + box[side]) for n, side in zip(box["topLeft"], ("width", "height", "depth"), strict=True)]
    parts = [
        (int(a // f), int(-(-b // f)), lengths[axis]) for (a, b), f, axis in zip(ends, factors, "xyz", strict=True)
    ]
    if any(a > 0 or b < n for a, b, n in parts):
        told = ",".join(f"{a}:{b}" for a, b, _ in reversed(parts))
        tell(f"WEBKNOSSOS has data of {inside} only in {told} (z, y, x); the rest is empty: give this box as --box")


def _path(mag: Mapping[str, Any]) -> str:
    return str(mag.get("path", "")).removeprefix("./").strip("/")


def _factors(name: str) -> list[int] | None:
    """The mag (downsampling factors x, y, z) in the name of a folder.

    >>> _factors("2-2-1"), _factors("4")
    ([2, 2, 1], [4, 4, 4])
    """
    parts = [int(part) for part in name.split("-")] if re.fullmatch(r"\d+(-\d+-\d+)?", name) else []
    return parts * (3 // len(parts)) if parts else None
