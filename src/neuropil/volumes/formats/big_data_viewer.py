"""BigDataViewer: the XML file beside an HDF5 file, which says how large its voxels are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from neuropil.errors import tell
from neuropil.volumes.formats.groups import Group

_CELLS = re.compile(r"t\d{5}/s(\d{2,})/(\d+)/cells")


def setup_of(file: Any, container: str, name: str) -> Iterator[Group]:
    """What the XML says of an array, as a group above it would. It counts where it names the file, and its setup has
    the size of the array.

    Args:
        file: that is open, of h5py.
        container: path of the file.
        name: of the array.
    """
    found, place = _CELLS.fullmatch(name), Path(container).with_suffix(".xml")
    if found is None or not place.is_file():
        return
    number, level = int(found[1]), int(found[2])
    try:
        root = ElementTree.parse(place).getroot()
        names = [str(one.text).strip() for one in root.iter("hdf5")]
        setup = next(one for one in root.iter("ViewSetup") if int(one.findtext("id", "-1")) == number)
        size, voxel = (_numbers(setup.findtext(path)) for path in ("size", "voxelSize/size"))
        rates = [[float(n) for n in row] for row in file[f"s{found[1]}/resolutions"][...]][level]
    except (ElementTree.ParseError, StopIteration, KeyError, IndexError, TypeError, ValueError):
        return
    whole = [n // round(rate) for n, rate in zip(size, rates, strict=False)]
    if Path(container).name not in [Path(one).name for one in names] or len(voxel) != 3:
        return
    if any(abs(n - m) > 1 for n, m in zip(whole, file[name].shape[::-1], strict=False)):
        tell(f"{place} gives {container}/{name} a size of {size} (x, y, z), which it does not have; not used")
        return
    transform = {
        "axes": ["z", "y", "x"],
        "scale": [n * rate for n, rate in zip(voxel, rates, strict=True)][::-1],
        "translate": [n * (rate - 1) / 2 for n, rate in zip(voxel, rates, strict=True)][::-1],
        "units": [setup.findtext("voxelSize/unit") or "pixel"] * 3,
    }
    if any(len(one.findall("ViewTransform")) > 1 for one in root.iter("ViewRegistration")):
        tell(f"{place}: its registrations, which move views, are not used")
    yield Group(str(place), "", name, {"transform": transform}, list)


def _numbers(text: str | None) -> list[float]:
    return [float(n) for n in (text or "").split()]
