"""Voxel size, offset and axes of N5 datasets, from the attributes of the programs that write N5 (order x, y, z)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.arrangement import Arrangement, arrange
from neuropil.volumes.attributes import OWN_UNITS, SIZES, UNITS, about_axes, axis_names
from neuropil.volumes.formats.groups import Group, inherit
from neuropil.volumes.formats.transforms import in_words, level_transform, size_key, turned
from neuropil.volumes.marks import is_marked
from neuropil.volumes.metadata import Metadata
from neuropil.volumes.naming import agreed, kind

LAYOUT = ("dimensions", "blockSize", "dataType", "compression", "n5")
"""Attributes that describe how the dataset is stored."""

_SPOKEN = ("axes", "pixelResolution", "transform", "downsamplingFactors", "multiscales", "scales", "multiScale")
"""Attributes that are read here, and not kept in the metadata."""

SIZED = (*SIZES, "pixelResolution", "transform", "downsamplingFactors")
"""Attributes that give the voxel size of a dataset."""

_ORDER = "xyz"
"""The order of axes in N5 attributes."""

_BIG_DATA_VIEWER = re.compile(r"setup\d+(/timepoint\d+)?$")

_LEVEL = re.compile(r"s(\d+)")


def made_here(values: Mapping[str, Any]) -> bool:
    """Whether neuropil wrote the dataset; version 0.1 left no mark and is recognised by axes and compression."""
    before = values.get("axes") == list("xyzc"[: len(values.get("dimensions", ()))])
    packed = values.get("compression")
    return is_marked(values) or (
        before and isinstance(packed, Mapping) and (packed.get("type"), packed.get("level")) == ("gzip", 1)
    )


def _counts_z_first(values: Mapping[str, Any]) -> bool:
    """Whether voxel size and offset are in neuropil's order, z y x: it always writes ``pixelResolution``, too."""
    sizes = [key in values for key in ("voxel_size", "pixelResolution")]
    return is_marked(values) or (made_here(values) and sizes[0] == sizes[1] and "resolution" not in values)


def n5_metadata(
    values: Mapping[str, Any],
    groups: Sequence[Group],
    path: str,
    names: Sequence[str | None] | None = None,
    finest: Callable[[], Mapping[str, Any] | None] = lambda: None,
) -> tuple[Arrangement, Metadata]:
    """The order of axes and the metadata of a dataset.

    N5 is x, y, z: ``resolution``, ``voxel_size``, ``offset``, ``units`` and ``axes`` have the order of
    ``dimensions``. COSEM's ``transform`` names its own axes. A pyramid level without a voxel size has that of its group
    times its ``downsamplingFactors``. Attributes that neuropil writes are in its own order, z, y, x.

    Args:
        values: the attributes of the dataset.
        groups: those above it, the nearest first.
        path: names the dataset in messages.
        names: of the axes as stored, instead of those in the file.
        finest: reads the attributes of the dataset s0 of its group, if there is one.

    Raises:
        NeuropilError: an attribute that is there but cannot be read, or an unknown unit.
    """
    shape = list(reversed(values["dimensions"]))
    own = {key: value for key, value in values.items() if key not in LAYOUT}
    spoken = [_of_group(group, own, groups, path) for group in groups]
    about = inherit(in_words(own, _ORDER, path), spoken, len(shape), path)
    given = names or _file_names(own, path) or axis_names(about.attributes, path)
    order = list(reversed(given)) if given else list("tczyx"[-len(shape) :])
    arrangement = arrange(shape, order, path, keep_channel=True if "offsets" in values else None)
    if _counts_z_first(values):
        kept = {key: value for key, value in own.items() if key not in _SPOKEN}
        return arrangement, Metadata.from_attributes(kept, path)
    plain = dict(about.attributes)
    if _BIG_DATA_VIEWER.search(about.where) and not any(key in plain for key in UNITS):
        tell(f"{path} is of BigDataViewer, whose XML file says in which unit its resolution is; taken as nm")
    if about.where or _of_finest(plain, own, groups, path, finest):
        plain = _scaled(plain, own, groups, path)
    kept = {key: value for key, value in plain.items() if key not in (*_SPOKEN, "axis_names", "origin")}
    for key in (*SIZES[:-1], *UNITS, *OWN_UNITS, "offset"):
        if isinstance(kept.get(key), list):
            kept[key] = list(reversed(kept[key]))
    origin = plain.get("origin")
    if origin is not None:
        zyx = arrangement.zyx(list(reversed(origin))) if isinstance(origin, list) else None
        kept["origin"] = origin if zyx is None else zyx
    return arrangement, Metadata.from_attributes(kept, path, arrangement).found(about.where)


def _file_names(own: Mapping[str, Any], path: str) -> Sequence[str | None] | None:
    """Names of the axes in the order of ``dimensions``; names of xarray are in NumPy's order, the reverse.

    Raises:
        NeuropilError: it is not clear in which order they are, or two lists contradict each other.
    """
    plain = {key: value for key, value in own.items() if key != "_ARRAY_DIMENSIONS"}
    backwards = axis_names({"_ARRAY_DIMENSIONS": own.get("_ARRAY_DIMENSIONS")}, path)
    if backwards and (key := size_key(own)) is not None:
        tell(f"{path} names its axes in NumPy's order; its {key} {own[key]} is read in N5's order, x first")
    found = agreed([axis_names(plain, path), backwards and backwards[::-1]], path)
    kinds = [kind(name) for name in found or () if kind(name) in "zyx"]
    other = next((key for key in plain if key != "axes" and about_axes(key, plain[key])), None)
    if other is not None and not backwards and kinds == list("zyx"):
        raise NeuropilError(
            f"{path} has {other} {', '.join(map(str, found or ()))}, but N5 counts x first: it is not clear whether "
            "this is the order of N5 or of NumPy; give --axes of `neuropil convert`, or axes= of open_volume: xyz if "
            "it is that of NumPy"
        )
    return found


def _of_group(group: Group, own: Mapping[str, Any], groups: Sequence[Group], path: str) -> Group:
    """A group with the voxel size that it gives this dataset: by its ``multiscales``, else by attributes for all its
    arrays. Where the level of the dataset is known, the shapes of the other arrays do not matter."""
    for image in group.attributes.get("multiscales") or []:
        for level in image.get("datasets") or [] if isinstance(image, Mapping) else []:
            if level.get("path") == group.inside and "coordinateTransformations" in level:
                tell(f"the group {group.path} of {path} has coordinateTransformations, which are not used in N5")
    if (transform := level_transform(group)) is not None:
        return replace(group, attributes=turned(transform, _ORDER, path), arrays=list)
    plain = replace(group, attributes=in_words(group.attributes, _ORDER, path))
    level = _LEVEL.fullmatch(group.inside.rpartition("/")[2])
    known = level_factors(own, groups, path) is not None or (level is not None and int(level[1]) == 0)
    return replace(plain, arrays=list) if known else plain


def level_factors(own: Mapping[str, Any], groups: Sequence[Group], path: str) -> list[float] | None:
    """Downsampling factors of the dataset, x, y, z: its own ``downsamplingFactors``, or its row in those of a group."""
    found = own.get("downsamplingFactors")
    for group in groups if found is None else ():
        level = _LEVEL.fullmatch(group.inside.rpartition("/")[2])
        for rows in (group.attributes.get("scales"), group.attributes.get("downsamplingFactors")):
            if found is None and level and isinstance(rows, list) and int(level[1]) < len(rows):
                found = rows[int(level[1])]
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(n, int | float) and n > 0 for n in found):
        raise NeuropilError(f"expected downsamplingFactors as positive numbers, got {found!r}, in {path} or its groups")
    return [float(n) for n in found]


def _scaled(plain: Mapping[str, Any], own: Mapping[str, Any], groups: Sequence[Group], path: str) -> dict[str, Any]:
    """Voxel size and offset of a pyramid level, computed from those of the finest level."""
    factors, key = level_factors(own, groups, path), size_key(plain)
    levels = (image.get("datasets", []) for group in groups for image in group.attributes.get("multiscales") or [])
    if factors is None or key is None or any("transform" in level for some in levels for level in some):
        return dict(plain)
    sizes = _row(plain[key], len(factors))
    if len(sizes) != len(factors):
        raise NeuropilError(
            f"expected {key} and downsamplingFactors for the same axes, got {plain[key]} and {factors}, in {path}"
        )
    before = plain.get("offset", [0.0] * len(sizes))
    shift = [at + (f - 1) / 2 * n for at, f, n in zip(before, factors, sizes, strict=True)]
    place = {} if "offset" not in plain and not any(shift) else {"offset": shift}
    return {**plain, key: [f * n for f, n in zip(factors, sizes, strict=True)], **place}


def _row(value: Any, length: int) -> list[float]:
    return list(value) if isinstance(value, list) else [value] * length


def _of_finest(
    plain: Mapping[str, Any],
    own: Mapping[str, Any],
    groups: Sequence[Group],
    path: str,
    finest: Callable[[], Mapping[str, Any] | None],
) -> bool:
    """Whether the voxel size stored with a level is that of the finest level, by comparison with s0 of its group."""
    factors, key = level_factors(own, groups, path), size_key(plain)
    if factors is None or key is None or set(factors) == {1.0} or "transform" in own:
        return False
    sizes = _row(plain[key], len(factors))
    told = f"{path} has a voxel size ({', '.join(f'{n:g}' for n in sizes)}; x, y, z) and downsamplingFactors"
    finer = finest()
    other = None if finer is None else in_words(finer, _ORDER, path)
    known = size_key(other)
    if other is not None and known is not None:
        whole = _row(other[known], len(sizes))
        for rate, answer in (([1.0] * len(factors), True), (factors, False)):
            if all(abs(n - r * one) <= 1e-3 * n for n, r, one in zip(sizes, rate, whole, strict=True)):
                return answer
        raise NeuropilError(
            f"{told}; the voxel size of s0 ({whole}) agrees with it neither with nor without the factors; correct it"
        )
    meant = "pixelResolution" in own and size_key(own) is None  # n5-viewer defines it as that of the finest level
    tell(f"{told}: taken as the size of {'the finest level' if meant else 'its own voxels'}")
    return meant
