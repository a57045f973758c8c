"""Check what a TIFF says about its values and pages, such as palettes, scales, orientation and order."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.formats.base import Colour
from neuropil.volumes.formats.pictures import turned_away

_WHITE_IS_ZERO, _PALETTE = 0, 3  # values of the tag PhotometricInterpretation
_FRAMES = ("shaped", "imagej")
"""Kinds of files in which tifffile takes all pages to be like the first, and reads only its tags."""
_ROLE = re.compile(r'role="(scale|offset)"[^>]*>\s*([-+.\deE]+)\s*<')
_GROUND = {33550: "the size of pixels", 33922: "their place", 34264: "their place", 42113: "a value for no data"}
"""Tags of GeoTIFF and GDAL that are reported, and what they mean."""
_REDUCED_OR_MASK = 1 | 4  # bits of NewSubfileType
_UNDEFINED = 4  # of SampleFormat
_GRAYS = (_WHITE_IS_ZERO, 1, 2, _PALETTE)  # and RGB, which some write for a single value


def check_counts(file: Any, series: list[Any], shape: Sequence[int], path: str) -> None:
    """Refuse a file with another number of pages than its image description says.

    Raises:
        NeuropilError: the numbers differ.
    """
    kind = series[0].kind
    if any(one.is_multifile for one in series):
        return
    used = sum(len(one.pages) for one in series)
    if used < len(file.pages):
        raise NeuropilError(
            f"expected as many pages as its description ({kind}) has, {used}, got {len(file.pages)}, in {path}; "
            "correct the description, or save the file again"
        )
    told = (file.imagej_metadata or {}).get("images") if file.is_imagej else None
    if isinstance(told, int) and told > math.prod(shape[:-2]):
        raise NeuropilError(
            f"expected {told} sections, as ImageJ's description has them, got {math.prod(shape[:-2])}, in {path}; is "
            "it truncated?"
        )


def check_values(file: Any, series: list[Any], path: str, colour: Colour) -> bool:
    """Refuse values that are not plain grey ones. Returns whether they must be inverted: 0 is white, and
    ``colour="image"`` asks for brightness.

    Raises:
        NeuropilError: a palette; rotated or mirrored pixels; other kinds of values; a scale or offset of GDAL; 0 for
            white without ``colour="image"``; pages that differ from the first.
    """
    key = series[0].keyframe
    pages = [page for one in series for page in ([one.keyframe] if one.kind in _FRAMES else one.pages)]
    for page in pages:
        check_page(page, key, path)
    _check_order(pages, path)
    if key.sampleformat == _UNDEFINED:
        raise NeuropilError(
            f"expected numbers, got values of an undefined kind (SampleFormat 4), in {path}; save it again as numbers"
        )
    described = key.tags.get("GDAL_METADATA")
    for role, value in _ROLE.findall("" if described is None else str(described.value)):
        if float(value) != (role == "scale"):
            raise NeuropilError(
                f"{path} has the {role} {value} of GDAL: its stored numbers must be scaled, which is not done here; "
                "apply it first, with `gdal_translate -unscale`"
            )
    for tag, meaning in _GROUND.items():
        if tag in key.tags:
            tell(f"{path} has the {key.tags[tag].name} {key.tags[tag].value} of GDAL, {meaning}, which is not used")
    if file.is_imagej and any(name in (file.imagej_metadata or {}) for name in ("cf", "c0", "c1")):
        tell(f"{path}: ImageJ's calibration of its values is not applied; they are read as they are stored")
    if key.samplesperpixel == 1 and key.photometric not in _GRAYS:
        name = getattr(key.photometric, "name", key.photometric)
        raise NeuropilError(f"expected gray values, got values of the kind {name}, in {path}; save it as gray values")
    if key.photometric == _PALETTE and not _is_gray(key.colormap):
        if not file.is_imagej:
            raise NeuropilError(
                f"expected gray values, got a palette of colours, whose numbers may be ids or not, in {path}; save it "
                "as gray values, or as RGB"
            )
        tell(f"{path} is shown in colours by a table of ImageJ; its values are read as they are stored")
    if key.photometric != _WHITE_IS_ZERO or _is_bool_of_tifffile(file, key, path):
        return False
    if colour != "image" or key.dtype.kind not in "bu":
        raise NeuropilError(
            f"expected 0 to be black, got 0 for white, in {path}; `neuropil convert --type image` inverts unsigned "
            "values; if they are ids or a mask, save them with 0 for black"
        )
    return True


def _is_bool_of_tifffile(file: Any, key: Any, path: str) -> bool:
    """Whether these are booleans written by tifffile, which marks them as 0 for white by default."""
    if key.bitspersample != 1 or not (file.is_shaped or str(key.software).startswith("tifffile")):
        return False
    tell(f"{path} says that 0 is white, as tifffile writes it for booleans; 1 is read as True, as in tifffile")
    return True


def check_page(page: Any, first: Any, path: str) -> None:
    """Refuse a page with rotated or mirrored pixels, a reduced copy or mask of another page, and a page that differs
    from the first in the meaning of 0 or in resolution.

    Raises:
        NeuropilError: the page is one of these.
    """
    if page is None or page != page.keyframe:
        return  # the page has no tags of its own
    orientation = page.tags.get("Orientation")
    if orientation is not None and orientation.value not in (0, 1):
        raise turned_away(int(orientation.value), path)
    if page.subfiletype & _REDUCED_OR_MASK:
        raise NeuropilError(
            f"expected sections, got a reduced copy or a mask of another page (page {page.index}), in {path}; "
            "leave it out"
        )
    for name, one, other in (
        ("PhotometricInterpretation", first.photometric, page.photometric),
        ("resolution", _resolution(first), _resolution(page)),
    ):
        if one != other:
            raise NeuropilError(
                f"expected pages that are alike, got {name} {one} and {other} (page {page.index}), in "
                f"{path}; split them"
            )


def _resolution(page: Any) -> tuple[float, float] | None:
    """Pixels per unit along x and y, to three digits; None where they are not known."""
    tags = [page.tags.get(f"{axis}Resolution") for axis in "XY"]
    if None in tags or not all(min(tag.value) > 0 for tag in tags):
        return None
    per = 2.54 if getattr(page.tags.get("ResolutionUnit"), "value", 2) == 3 else 1.0  # from cm to inch
    x, y = (float(f"{tag.value[0] / tag.value[1] * per:.3g}") for tag in tags)
    return (x, y)


def _check_order(pages: list[Any], path: str) -> None:
    """Refuse pages whose numbers (tag PageNumber) are not in ascending order."""
    tags = [page.tags.get("PageNumber") for page in pages if page is not None and page == page.keyframe]
    numbers = [tag.value[0] for tag in tags if tag is not None and isinstance(tag.value, tuple)]
    if len(set(numbers)) == len(pages) and numbers != sorted(numbers):
        raise NeuropilError(f"expected pages in the order of their numbers, got {numbers[:10]}, in {path}; sort them")


def _is_gray(colormap: Any) -> bool:
    """Whether a palette `[3, n]` is the ramp from black to white."""
    ramp = np.linspace(0, 255, colormap.shape[1])
    return bool((np.abs(np.asarray(colormap) / 257 - ramp) < 1).all())
