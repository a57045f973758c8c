"""Metadata of TIFF files: our own JSON, and the voxel sizes that ImageJ and OME write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from neuropil.geometry import VoxelSize
from neuropil.volumes.metadata import JSON, Metadata, nanometres

RESERVED = ("shape", "axes", "truncated")
"""Keys that tifffile itself keeps in the image description."""


def read_metadata(file: Any, path: str) -> Metadata:
    """The metadata of an open file: from the JSON of its image description, else a voxel size of OME or ImageJ."""
    if file.is_ome:
        return Metadata(voxel_size=_ome_voxel_size(file.ome_metadata))
    if file.is_imagej:
        resolution = [file.pages.first.tags.get(f"{axis}Resolution") for axis in "YX"]
        return Metadata(voxel_size=_imagej_voxel_size(file.imagej_metadata or {}, resolution))
    return Metadata.from_attributes(parse_description(file.pages.first.description), path)


def description(metadata: Metadata) -> dict[str, JSON]:
    """What goes into the image description besides what tifffile keeps there."""
    return {key: value for key, value in metadata.to_attributes().items() if key not in RESERVED}


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


def _imagej_voxel_size(imagej: Mapping[str, Any], resolution: list[Any]) -> VoxelSize | None:
    """ImageJ stores pixels per unit along y and x as fractions, and the spacing of sections in that unit."""
    unit, spacing = nanometres(imagej.get("unit")), imagej.get("spacing")
    if unit is None or spacing is None or None in resolution:
        return None
    (up, over), (right, across) = (tag.value for tag in resolution)
    if not (spacing > 0 and up > 0 and right > 0):
        return None
    return (spacing * unit, over / up * unit, across / right * unit)


def _ome_voxel_size(xml: str) -> VoxelSize | None:
    """OME-XML has PhysicalSizeZ, Y and X on Pixels, in µm where no unit is given."""
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return None
    pixels = root.find(".//{*}Pixels")
    if pixels is None:
        return None
    sizes = []
    for axis in "ZYX":
        unit = nanometres(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        size = pixels.get(f"PhysicalSize{axis}")
        if unit is None or size is None:
            return None
        sizes.append(float(size) * unit)
    return (sizes[0], sizes[1], sizes[2])
