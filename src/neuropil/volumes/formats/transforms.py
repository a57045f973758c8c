"""Convert ``transform`` (COSEM), ``pixelResolution`` (n5-viewer), ``dimension_units`` to resolution, units, offset."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.attributes import OWN_UNITS, PLACES, SIZES, UNITS, axis_names, to_json
from neuropil.volumes.formats.groups import Group
from neuropil.volumes.marks import is_marked
from neuropil.volumes.naming import kind


def size_key(plain: Mapping[str, Any] | None) -> str | None:
    """The attribute that gives a voxel size; None where none does."""
    return next((key for key in SIZES if (plain or {}).get(key) is not None), None)


def in_words(values: Mapping[str, Any], order: Sequence[str], path: str) -> dict[str, Any]:
    """Attributes with ``transform``, ``dimension_units``, ``pixelResolution`` converted to resolution, units, offset.

    A transform names its own axes; ``dimension_units`` has a size and a unit for each axis. ``pixelResolution`` is x,
    y, z in N5; elsewhere it is used only if its three numbers are equal, and else reported later.

    Args:
        values: of an array or group.
        order: in which the sizes of the array are stored, such as ``xyz`` in N5.
        path: names the array in messages.

    Raises:
        NeuropilError: a transform whose axes are not z, y, x.
    """
    if is_marked(values):
        return dict(values)
    plain = {key: value for key, value in values.items() if key not in ("transform", "pixelResolution")}
    transform, pixels = to_json(values.get("transform")), to_json(values.get("pixelResolution"))
    if size_key(plain) is None and isinstance(units := to_json(plain.pop("dimension_units", None)), list):
        plain |= _by_dimension_units(units)
    if isinstance(transform, Mapping) and "scale" in transform:
        return _by_transform(plain, transform, order, path)
    if transform is not None:
        plain["transform"] = transform
    whole = pixels if isinstance(pixels, Mapping) else {"dimensions": pixels}
    sizes, key = whole.get("dimensions"), size_key(plain)
    if pixels is None:
        return plain
    if key is None and "".join(order) != "xyz" and (not isinstance(sizes, list) or len(set(sizes)) > 1):
        return {**plain, "pixelResolution": pixels}
    if key is not None and sizes != to_json(plain[key]):
        tell(f"{path} has the {key} {plain[key]}, which is used, and the pixelResolution {dict(whole)}")
    if key is None:
        plain["resolution"] = sizes
        plain.setdefault("units", whole.get("unit", "nm"))
    return plain


def _by_transform(
    plain: Mapping[str, Any], transform: Mapping[str, Any], order: Sequence[str], path: str
) -> dict[str, Any]:
    found, key = turned(transform, order, path), size_key(plain)
    if key is not None and sorted(_numbers(plain[key])) != sorted(found["resolution"]):
        tell(f"{path} has the {key} {to_json(plain[key])} and a transform, {dict(transform)}, which is used")
    left = (*SIZES, *UNITS, *PLACES, *OWN_UNITS)
    return {**{name: value for name, value in plain.items() if name not in left}, **found}


def _by_dimension_units(units: Sequence[Any]) -> dict[str, Any]:
    """Resolution and units from TensorStore's and Neuroglancer's ``dimension_units``, such as ``4 nm``.

    >>> _by_dimension_units(["40 nm", "4 nm", "nm"])
    {'resolution': [40.0, 4.0, 1.0], 'units': ['nm', 'nm', 'nm']}
    """
    parts = [re.fullmatch(r"\s*([-+.\d]*(?:e[-+]?\d+)?)\s*(.*?)\s*", str(unit or "")) for unit in units]
    return {
        "resolution": [float(part[1] or 1) for part in parts if part],
        "units": [part[2] for part in parts if part],
    }


def _numbers(value: Any) -> list[Any]:
    row = to_json(value)
    return row if isinstance(row, list) else [row] * 3


def turned(transform: Mapping[str, Any], order: Sequence[str], path: str) -> dict[str, Any]:
    """Resolution, offset and units of a transform, which names its own axes, in the given order of axes.

    Raises:
        NeuropilError: z, y or x is missing among its axes, or lists have other lengths.

    >>> turned({"axes": ["z", "y", "x"], "scale": [40, 5, 4], "translate": [0, 0, 8]}, "xyz", "a.n5/s0")
    {'resolution': [4, 5, 40], 'offset': [8, 0, 0]}
    """
    axes = [str(axis).lower() for axis in transform.get("axes", "zyx")]
    rows = {"resolution": transform["scale"], "offset": transform.get("translate"), "units": transform.get("units")}
    known = {key: row for key, row in rows.items() if row is not None}
    lists = all(isinstance(row, list) and len(row) == len(axes) for row in known.values())
    if any(axes.count(axis) != 1 for axis in "xyz") or not lists:
        raise NeuropilError(f"expected a transform of axes z, y, x, got {dict(transform)}, in the attributes of {path}")
    return {key: [row[axes.index(axis)] for axis in order] for key, row in known.items()}


def level_transform(group: Group) -> Mapping[str, Any] | None:
    """The transform of an array in the ``multiscales`` of a group, as COSEM writes them; None without one."""
    images = to_json(group.attributes.get("multiscales"))
    for image in images if isinstance(images, list) else []:
        for level in (image.get("datasets") or []) if isinstance(image, Mapping) else []:
            if isinstance(level, Mapping) and level.get("path") == group.inside:
                transform = level.get("transform")
                return transform if isinstance(transform, Mapping) and "scale" in transform else None
    return None


def named_axes(
    own: Mapping[str, Any], found: Sequence[str | None] | None, groups: Sequence[Group], path: str
) -> list[str]:
    """The order of z, y, x in an array: by its axis names, else by those of the nearest group or transform."""
    several = [found, axis_names(own, path), _transformed(own)]
    several += [names for one in groups for names in (axis_names(one.attributes, path), _transformed(one.attributes))]
    for names in filter(None, several):
        order = [kind(name) for name in names if kind(name) in "zyx"]
        if sorted(order) == ["x", "y", "z"]:
            return order
    return list("zyx")


def _transformed(values: Mapping[str, Any]) -> list[str] | None:
    """The axes of a transform in NumPy's order (reversed if its ``order`` is F); None without a transform."""
    transform = to_json(values.get("transform"))
    if not isinstance(transform, Mapping) or "scale" not in transform:
        return None
    axes = [str(axis) for axis in transform.get("axes", "zyx")]
    return axes[::-1] if str(transform.get("order", transform.get("ordering", "C"))).upper() == "F" else axes


def spoken(
    own: Mapping[str, Any],
    groups: Sequence[Group],
    named: Sequence[str | None] | None,
    axes: int,
    path: str,
) -> tuple[dict[str, Any], list[Group]]:
    """Apply :func:`in_words` to the attributes of an array in NumPy's order, and to those of its groups. Where nothing
    else names the axes of the array, its transform does.

    Args:
        own: attributes of the array.
        groups: above the array, the nearest first.
        named: names of its axes that are stored elsewhere.
        axes: number of axes.
        path: names the array in messages.
    """
    order = named_axes(own, named, groups, path)
    given = _transformed(own)
    plain = in_words(own, order, path)
    if given is not None and len(given) == axes and not named and axis_names(own, path) is None and not is_marked(own):
        plain["axis_names"] = given
    return plain, list(_spoken(groups, order, path))


def _spoken(groups: Sequence[Group], order: Sequence[str], path: str) -> Iterator[Group]:
    for group in groups:
        transform = level_transform(group)
        if transform is not None:
            yield replace(group, attributes=turned(transform, order, path), arrays=list)
        else:
            yield replace(group, attributes=in_words(group.attributes, order, group.path))
