"""Metadata of TIFF files: our own JSON, and the voxel sizes that ImageJ and OME write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from neuropil.errors import tell
from neuropil.geometry import VoxelSize
from neuropil.volumes.marks import is_marked, marked
from neuropil.volumes.metadata import JSON, Metadata, parse_voxel_size
from neuropil.volumes.units import nanometres

RESERVED = ("shape", "axes", "truncated")
"""Keys that tifffile itself keeps in the image description."""


def read_metadata(file: Any, path: str) -> Metadata:
    """The metadata of an open file: from the JSON of its image description, else a voxel size of OME or ImageJ."""
    if file.is_ome or file.pages.first.description[-10:].strip().endswith("OME>"):
        return Metadata(voxel_size=_ome_voxel_size(file.pages.first.description, path), found_in="OME-XML")
    if file.is_imagej:
        resolution = [file.pages.first.tags.get(f"{axis}Resolution") for axis in "YX"]
        size = _imagej_voxel_size(file.imagej_metadata or {}, resolution, path)
        return Metadata(voxel_size=size, found_in="ImageJ's description")
    return Metadata.from_attributes(parse_description(file.pages.first.description), path)


def description(metadata: Metadata) -> dict[str, JSON]:
    """What goes into the image description besides what tifffile keeps there."""
    return {key: value for key, value in marked(metadata.to_attributes()).items() if key not in RESERVED}


def parse_description(text: str) -> dict[str, JSON]:
    """The JSON object of an image description, without what tifffile keeps there; empty if it is something else.

    >>> parse_description('{"shape": [2, 3, 4], "voxel_size": [30, 6, 6]}')
    {'voxel_size': [30, 6, 6]}
    """
    try:
        found = json.loads(text) if text[:1] == "{" else {}
    except json.JSONDecodeError:
        return {}
    return {key: value for key, value in found.items() if key not in RESERVED}


def made_here(path: Path) -> bool:
    """Whether a TIFF file was written by neuropil; of version 0.1, which left no mark, where it has a voxel size or
    another attribute of ours."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            found = parse_description(file.pages.first.description)
    except (OSError, ValueError, tifffile.TiffFileError):
        return False
    return is_marked(found) or bool(found.keys() & {"voxel_size", "offsets", "encoding", "origin"})


def _imagej_voxel_size(imagej: Mapping[str, Any], resolution: list[Any], path: str) -> VoxelSize | None:
    """ImageJ stores pixels per unit along y and x as fractions, and the spacing of sections in that unit; y and z may
    have units of their own."""
    names = [imagej.get(f"{axis}unit", imagej.get("unit")) for axis in "zy"] + [imagej.get("unit")]
    units = [nanometres(name, f"ImageJ's unit of {path}") for name in names]
    if any(key in imagej for key in ("xorigin", "yorigin", "zorigin")):
        tell(f"{path}: ImageJ's origin, the pixel that it counts from, is not used")
    if None in units or None in resolution:
        return None
    (up, over), (right, across) = (tag.value for tag in resolution)
    spacing = imagej.get("spacing")
    if spacing is None or not (spacing > 0 and up > 0 and right > 0):
        tell(f"{path}: ImageJ gives a unit but no spacing of sections, so the size of a voxel is not known")
        return None
    z, y, x = (n * (unit or 1) for n, unit in zip((spacing, over / up, across / right), units, strict=True))
    return (z, y, x)


def _ome_voxel_size(xml: str, path: str) -> VoxelSize | None:
    """OME-XML has PhysicalSizeZ, Y and X on Pixels, in µm where no unit is given."""
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return None
    pixels = root.find(".//{*}Pixels")
    if pixels is None:
        return None
    given = {axis: pixels.get(f"PhysicalSize{axis}") for axis in "ZYX"}
    units = {a: nanometres(pixels.get(f"PhysicalSize{a}Unit", "µm"), f"the OME-XML of {path}") for a in "ZYX"}
    if any(size is None for size in given.values()) or None in units.values():
        if any(given.values()):
            known = ", ".join(axis for axis, size in given.items() if size)
            tell(f"{path}: OME gives a physical size of {known} only, so the size of a voxel is not known")
        return None
    z, y, x = (float(given[axis] or 0) * (units[axis] or 1) for axis in "ZYX")
    return parse_voxel_size([z, y, x], f"PhysicalSize of {path}")
