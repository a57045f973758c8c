"""OME-XML of TIFF files: find and parse it, and check that the files it names are the right ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from neuropil.errors import NeuropilError, tell
from neuropil.geometry import VoxelSize
from neuropil.volumes.allowances import check_inside
from neuropil.volumes.units import nanometres


def read_ome(file: Any, path: str) -> str:
    """The OME-XML of a file: its image description, or the companion file that this names; "" without OME-XML.

    Raises:
        NeuropilError: the companion file does not exist, or lies outside of the folder.
    """
    text = str(file.pages.first.description)
    if not text[-10:].strip().endswith("OME>"):
        return ""
    named = re.search(r"<(?:\w+:)?BinaryOnly\b[^>]*\bMetadataFile\s*=\s*[\"']([^\"']+)", text)
    if named is None:
        return text
    return check_inside(path, named[1], "the companion that its OME-XML names").read_text(encoding="utf-8")


def parse_ome(text: str, path: str) -> ElementTree.Element:
    """The Pixels element of the one image in OME-XML.

    Raises:
        NeuropilError: the XML cannot be parsed, or describes several images, or none.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise NeuropilError(f"cannot read the OME-XML of {path}: {error}; is it damaged?") from None
    images = root.findall("{*}Image")
    if len(images) > 1:
        names = ", ".join(str(image.get("Name") or image.get("ID")) for image in images[:10])
        raise NeuropilError(
            f"expected one image, got {len(images)} ({names}), in the OME-XML of {path}; write the one that you mean "
            "to a file of its own, as `bfconvert -series N` does"
        )
    pixels = root.find("{*}Image/{*}Pixels")
    if pixels is None:
        raise NeuropilError(f"expected an image in the OME-XML of {path}, got none; is its companion missing?")
    return pixels


_TYPES = {"float": "f4", "double": "f8", "bit": "u1", "complex": "c8", "double-complex": "c16"}
"""OME names of types that differ from NumPy's."""


def check_content(text: str, dtype: np.dtype[Any], path: str) -> None:
    """Refuse pages of another type than OME-XML says, and report a stage position, which is not used.

    Raises:
        NeuropilError: the types differ.
    """
    pixels = parse_ome(text, path)
    told = str(pixels.get("Type"))
    expected = np.dtype(_TYPES.get(told, told if re.fullmatch(r"u?int(8|16|32)", told) else "V"))
    if expected != np.dtype("V") and expected != (np.dtype("u1") if dtype.kind == "b" else dtype):
        raise NeuropilError(f"expected values of type {told} by its OME-XML, got {dtype}, in {path}; correct one")
    if any(
        plane.get(f"Position{axis}") not in (None, "0", "0.0") for plane in pixels.findall("{*}Plane") for axis in "XY"
    ):
        tell(f"{path}: the stage position that its OME-XML gives is not used")


def section_number(text: str, path: str) -> int | None:
    """The section number of a file, if OME-XML lists one file per section; None where it does not list this file.

    Raises:
        NeuropilError: the file is of a channel or time other than the first.
    """
    pixels, own = parse_ome(text, path), _identifier(text)
    files = list(_named(pixels))
    here = [data for data, name, uuid in files if uuid == own or name.lower() == Path(path).name.lower()]
    if len(here) != 1 or len(files) < 2:
        return None
    channel, time = (here[0].get(key, "0") for key in ("FirstC", "FirstT"))
    if (channel, time) != ("0", "0"):
        raise NeuropilError(
            f"expected sections of one channel and time, got channel {channel} and time {time}, by the OME-XML of "
            f"{path}; name the files of one"
        )
    return int(here[0].get("FirstZ", "0"))


def check_files(text: str, path: str) -> None:
    """Refuse files whose UUID differs from the one in OME-XML: they were renamed or replaced."""
    import tifffile

    expected: dict[str, str] = {}
    own = _identifier(text)
    for _, name, uuid in _named(parse_ome(text, path)):
        if uuid == own or not uuid:
            continue  # this file, even if it was renamed
        if expected.setdefault(name, uuid) != uuid:
            raise NeuropilError(f"two identifiers of the file {name} in the OME-XML of {path}; correct it there")
    for name, uuid in expected.items():
        place = check_inside(path, name, "a file that its OME-XML names")
        with tifffile.TiffFile(place, is_ome=False) as other:
            found = _identifier(str(other.pages.first.description))
        if found is not None and found != uuid:
            raise NeuropilError(
                f"expected the file {uuid} under the name {name}, got {found}, by the OME-XML of {path}; was it "
                "renamed or replaced?"
            )


def _identifier(text: str) -> str | None:
    """The UUID of the file that holds this OME-XML, or this reference to a companion file."""
    found = re.search(r"<(?:\w+:)?(?:OME|BinaryOnly)\b[^>]*\bUUID\s*=\s*[\"']([^\"']+)", text)
    return None if found is None else found[1]


def ome_voxel_size(pixels: ElementTree.Element, path: str) -> tuple[VoxelSize | None, dict[str, float]]:
    """Voxel size in nm, None unless known along all axes; and the known sizes by axis (``"ZYX"``). A PhysicalSize
    without a unit is in µm."""
    known: dict[str, float] = {}
    for axis in "ZYX":
        size, unit = pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")
        length = nanometres(unit, f"the OME-XML of {path}")
        if size is None or length is None:
            continue
        try:
            known[axis] = float(size) * length
        except ValueError:
            known[axis] = -1.0
        if not 0 < known[axis] < float("inf"):
            raise NeuropilError(f"expected PhysicalSize{axis} above 0, got {size!r}, in the OME-XML of {path}")
    return ((known["Z"], known["Y"], known["X"]) if len(known) == 3 else None), known


def _named(pixels: ElementTree.Element) -> Iterator[tuple[ElementTree.Element, str, str]]:
    """Each TiffData element with a file name, with that name and the UUID of the file."""
    for data in pixels.findall("{*}TiffData"):
        uuid = data.find("{*}UUID")
        if uuid is not None and uuid.get("FileName"):
            yield data, str(uuid.get("FileName")), (uuid.text or "").strip()
