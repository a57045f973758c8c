"""Metadata of TIFF files: our own JSON, and the voxel sizes of ImageJ, OME and microscopes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from neuropil.errors import tell
from neuropil.volumes.attributes import tell_unused
from neuropil.volumes.formats.tiff_ome import ome_voxel_size, parse_ome, read_ome
from neuropil.volumes.marks import is_marked, marked
from neuropil.volumes.metadata import JSON, Metadata
from neuropil.volumes.units import USUAL, nanometres

RESERVED = ("shape", "axes", "truncated")
"""Keys that tifffile itself keeps in the image description."""

_CENTIMETRE, _INCH = 1e7, 2.54e7  # nm, and their numbers as ResolutionUnit
_UNITS = {2: _INCH, 3: _CENTIMETRE}

Pixel = tuple[float, float]
"""nm along y and x."""


def read_metadata(file: Any, path: str) -> tuple[Metadata, Pixel | None]:
    """The metadata of an open ``tifffile.TiffFile``: a voxel size of OME or ImageJ, else the JSON of its image
    description; and the pixel size, None where that is not known."""
    ome = read_ome(file, path)
    tags = [file.pages.first.tags.get(f"{axis}Resolution") for axis in "YX"]
    if ome:
        size, known = ome_voxel_size(parse_ome(ome, path), path)
        if size is None and known:
            tell(f"{path}: OME gives a physical size of {', '.join(known)} only, so the size of a voxel is not known")
        pixel = (known["Y"], known["X"]) if {"Y", "X"} <= set(known) else None
        return Metadata(voxel_size=size, found_in="OME-XML"), pixel
    if file.is_imagej:
        return _of_imagej(file.imagej_metadata or {}, tags, path)
    return _of_description(file, tags, path)


def _of_description(file: Any, tags: list[Any], path: str) -> tuple[Metadata, Pixel | None]:
    """Metadata from the JSON of the image description; pixel size from tags of a microscope, or the resolution."""
    described = parse_description(file.pages.first.description)
    found = Metadata.from_attributes(described, path)
    # tifffile may write ImageJ's keys into its JSON.
    of_imagej = found.voxel_size is None and {"spacing", "unit"} <= set(described)
    tell_unused({key: value for key, value in described.items() if not (of_imagej and key == "spacing")}, path)
    if of_imagej:
        sized, pixel = _of_imagej(described, tags, path)
        return replace(found, voxel_size=sized.voxel_size, found_in=sized.found_in), pixel
    pixel = _microscope_pixel(file, path)
    if pixel is None:
        unit = file.pages.first.tags.get("ResolutionUnit")
        per = _fractions(tags)
        length = _UNITS.get(int(unit.value) if unit is not None else 2)
        pixel = None if per is None or length is None else (length * per[0], length * per[1])
    if found.voxel_size is None:
        tell_pixel(pixel, path)
    return found, pixel


def tell_pixel(pixel: Pixel | None, path: str) -> None:
    """Report that the pixel size is known, but not the voxel size; sizes of screens and printers are ignored."""
    if pixel is not None and max(pixel) <= USUAL[1]:
        by = " × ".join(f"{n:.4g}" for n in pixel)
        tell(f"{path} has pixels of {by} nm (y, x), but no thickness of sections, so the size of a voxel is not known")


def _microscope_pixel(file: Any, path: str) -> Pixel | None:
    """Pixel size from the private tags of FEI and Zeiss microscopes; None where there is none."""
    if file.is_fei:
        scan = (file.fei_metadata or {}).get("Scan") or {}
        high, wide = (scan.get(f"Pixel{side}") for side in ("Height", "Width"))  # m
        if isinstance(high, float) and isinstance(wide, float) and min(high, wide) > 0:
            return (high * 1e9, wide * 1e9)
    if file.is_sem:
        for key in ("ap_image_pixel_size", "ap_pixel_size"):
            _, size, unit = (*(file.sem_metadata or {}).get(key, ()), None, None, None)[:3]
            length = None if unit is None else nanometres(unit, f"{key} of {path}")
            if isinstance(size, float | int) and size > 0 and length is not None:
                return (size * length, size * length)
    return None


def _fractions(tags: list[Any]) -> Pixel | None:
    """Units per pixel along y and x, from the resolution tags; None where they are missing or 0."""
    if None in tags:
        return None
    (up, over), (right, across) = (tag.value for tag in tags)
    return (over / up, across / right) if min(up, over, right, across) > 0 else None


def description(metadata: Metadata) -> dict[str, JSON]:
    """Our attributes for the image description, without the keys that tifffile uses."""
    return {key: value for key, value in marked(metadata.to_attributes()).items() if key not in RESERVED}


def parse_description(text: str) -> dict[str, JSON]:
    """The JSON object of an image description, without the keys that tifffile uses; empty for any other text.

    >>> parse_description('{"shape": [2, 3, 4], "voxel_size": [30, 6, 6]}')
    {'voxel_size': [30, 6, 6]}
    """
    try:
        found = json.loads(text) if text[:1] == "{" else {}
    except json.JSONDecodeError:
        return {}
    return {key: value for key, value in found.items() if key not in RESERVED}


def made_here(path: Path) -> bool:
    """Whether neuropil wrote a TIFF file; version 0.1 left no mark and is recognised by its attributes."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            found = parse_description(file.pages.first.description)
    except (OSError, ValueError, tifffile.TiffFileError):
        return False
    return is_marked(found) or bool(found.keys() & {"voxel_size", "offsets", "encoding", "origin"})


def _of_imagej(imagej: Mapping[str, Any], tags: list[Any], path: str) -> tuple[Metadata, Pixel | None]:
    """Voxel and pixel size of ImageJ, which stores pixels per unit along y and x as fractions, and the spacing of
    sections in that unit; y and z may have units of their own."""
    names = [imagej.get(f"{axis}unit", imagej.get("unit")) for axis in "zy"] + [imagej.get("unit")]
    deep, high, wide = (nanometres(name, f"ImageJ's unit of {path}") for name in names)
    if any(key in imagej for key in ("xorigin", "yorigin", "zorigin")):
        tell(f"{path}: ImageJ's origin, the pixel that it counts from, is not used")
    per = _fractions(tags)
    if imagej.get("unit") is None and imagej.get("spacing") not in (None, 1, 1.0):
        tell(f"{path}: ImageJ gives a spacing of {imagej['spacing']} but no unit, so the size of a voxel is not known")
    if high is None or wide is None or per is None:
        return Metadata(), None
    pixel = (per[0] * high, per[1] * wide)
    spacing = imagej.get("spacing")
    if deep is None or not isinstance(spacing, int | float) or not spacing > 0:
        told = f"a spacing of {spacing}" if deep is not None and spacing is not None else "no spacing of sections"
        tell(f"{path}: ImageJ gives a unit but {told}, so the size of a voxel is not known")
        return Metadata(), pixel
    return Metadata(voxel_size=(spacing * deep, *pixel), found_in="ImageJ's description"), pixel
