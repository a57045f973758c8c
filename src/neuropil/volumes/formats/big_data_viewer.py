"""Voxel sizes from the XML file that BigDataViewer writes next to an HDF5 file or N5 folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from neuropil.errors import tell
from neuropil.volumes.formats.groups import Group

_CELLS = re.compile(r"t\d{5}/s(\d{2,})/(\d+)/cells")
_LEVEL = re.compile(r"setup(\d+)/timepoint\d+/s\d+")


def setup_of(file: Any, container: str, name: str) -> Iterator[Group]:
    """The voxel size of an HDF5 array from the XML, as attributes of a group above it. The XML is used if it names the
    file, and its setup has the size of the array.

    Args:
        file: the open ``h5py.File``.
        container: path of the file.
        name: of the array.
    """
    found = _CELLS.fullmatch(name)
    if found is None:
        return
    try:
        rates = [float(n) for n in file[f"s{found[1]}/resolutions"][...][int(found[2])]]
    except (KeyError, IndexError, TypeError, ValueError):
        return
    yield from _setup(container, "hdf5", int(found[1]), name, file[name].shape[::-1], rates, rates)


def n5_setup_of(container: str, name: str, shape: Sequence[int], factors: Sequence[float]) -> Iterator[Group]:
    """The same for an N5 dataset, x, y, z, downsampled by ``factors``; the voxel size is that of the finest level."""
    found = None if "://" in container else _LEVEL.fullmatch(name)
    if found is not None:
        yield from _setup(container, "n5", int(found[1]), name, shape, factors, [1.0] * 3)


def _setup(
    container: str,
    tag: str,
    number: int,
    name: str,
    shape: Sequence[int],
    factors: Sequence[float],
    rates: Sequence[float],
) -> Iterator[Group]:
    """The voxel size of a setup times ``rates``, for an array x, y, z that was downsampled by ``factors``."""
    place = Path(container).with_suffix(".xml")
    try:
        root = ElementTree.parse(place).getroot()
        names = [Path(str(one.text).strip()).name for one in root.iter(tag)]
        setup = next(one for one in root.iter("ViewSetup") if int(one.findtext("id", "-1")) == number)
        size, voxel = (_numbers(setup.findtext(path)) for path in ("size", "voxelSize/size"))
        whole = [n // round(rate) for n, rate in zip(size, factors, strict=True)]
    except (OSError, ElementTree.ParseError, StopIteration, TypeError, ValueError):
        return
    if Path(container).name not in names or len(voxel) != 3:
        return
    if any(abs(n - m) > 1 for n, m in zip(whole, shape, strict=False)):
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
