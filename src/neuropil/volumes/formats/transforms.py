"""``transform`` of COSEM and ``pixelResolution`` of n5-viewer, as resolution, units and offset."""

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
    """Attributes with a ``transform`` or ``pixelResolution`` as resolution, units and offset.

    A transform names its own axes; ``dimension_units`` has a size and a unit for each. ``pixelResolution`` counts x, y,
    z in N5; elsewhere it is used where all three are the same, and else left, to be told.

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
    """What TensorStore and Neuroglancer say of each axis, such as ``4 nm``, or nothing.

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
    """The numbers of a transform, which names its own axes, in another order.

    Raises:
        NeuropilError: other axes than z, y, x and some more.

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
    """The transform that the ``multiscales`` of a group give an array below it, as COSEM has them; None without one."""
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
    """In which order the sizes of an array are: that of its axes z, y, x, by the names that are found for it, or by
    those of the nearest group or transform."""
    several = [found, axis_names(own, path), _transformed(own)]
    several += [names for one in groups for names in (axis_names(one.attributes, path), _transformed(one.attributes))]
    for names in filter(None, several):
        order = [kind(name) for name in names if kind(name) in "zyx"]
        if sorted(order) == ["x", "y", "z"]:
            return order
    return list("zyx")


def _transformed(values: Mapping[str, Any]) -> list[str] | None:
    """The axes of a transform, which are those of the array where it counts as NumPy does."""
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
    """Attributes of an array that counts as NumPy does, and of the groups above it, with transforms in the words of
    others. Where nothing else names the axes of the array, its transform does.

    Args:
        own: of the array.
        groups: above it, the nearest first.
        named: names of its axes that are kept elsewhere.
        axes: their number.
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
