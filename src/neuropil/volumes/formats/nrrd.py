"""NRRD files, which count x, y, z."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.allowances import check_inside
from neuropil.volumes.formats.base import Format, Location, list_one, stamp_file
from neuropil.volumes.formats.packaged import damage_told, presented, read_only_file
from neuropil.volumes.metadata import Metadata, parse_voxel_size
from neuropil.volumes.units import nanometres
from neuropil.volumes.volume import Mode, Volume


def open_nrrd(location: Location, mode: Mode = "r") -> Volume:
    """An NRRD file, which counts x, y, z; voxel size of its space directions or spacings."""
    path = read_only_file(location, mode, "nrrd")
    import nrrd

    with damage_told(path):
        first = nrrd.read_header(path)
    _check_data_file(path, str(first.get("data file") or first.get("datafile") or ""))
    with damage_told(path):
        array, header = nrrd.read(path, index_order="C")  # z, y, x
    names = _nrrd_names(array.ndim, _kinds(header))
    if array.ndim == 3 and "c" in (names or []):
        raise NeuropilError(f"expected a volume z, y, x, got a section in colour, in {path}; make it grey")
    return presented(path, array, names, _nrrd_metadata(header, path))


def _check_data_file(path: str, named: str) -> None:
    """Voxels that lie in a file of their own follow the rule of all formats: inside the folder, else asked for."""
    if named.startswith("LIST") or "%" in named:
        raise NeuropilError(f"expected voxels in one file, got {named!r}, in {path}; join the files first")
    if named:
        check_inside(path, named, "the data file")


def _kinds(header: Any) -> list[str]:
    """The kind of each axis, last one first; where none is written, axes without a direction in space hold channels."""
    if "kinds" in header:
        return [str(kind) for kind in header["kinds"]][::-1]
    directions = header.get("space directions")
    if directions is None:
        return []
    known = [row is not None and bool(np.isfinite(np.asarray(row, float)).all()) for row in directions]
    return ["space" if one else "vector" for one in known][::-1]


def _nrrd_names(ndim: int, kinds: Sequence[str]) -> list[str] | None:
    space = iter("zyx")
    if len(kinds) != ndim:
        return list("zyx") if ndim == 3 else None
    return [next(space, "?") if kind in ("domain", "space") else "t" if kind == "time" else "c" for kind in kinds]


def _nrrd_metadata(header: Any, path: str) -> Metadata:
    directions = header.get("space directions")
    if directions is not None:
        rows = np.asarray([row for row in np.atleast_2d(directions) if np.isfinite(row).all()], float)
        if rows.shape != (3, 3) or np.count_nonzero(np.abs(rows) > 1e-6 * np.abs(rows).max()) != 3:
            raise NeuropilError(f"expected space directions along x, y, z, got {rows.tolist()}, in {path}; resample it")
        if not all(np.abs(row).argmax() == axis for axis, row in enumerate(rows)):
            raise NeuropilError(f"expected axes in the order x, y, z, got {rows.tolist()}, in {path}")
        sizes = np.abs(rows).max(axis=1)
    else:
        sizes = np.asarray(header.get("spacings", [np.nan] * 3), float)[-3:]
    units = header.get("space units") or header.get("units")
    if not np.isfinite(sizes).all() or len(sizes) != 3:
        return Metadata()
    if units is None:
        tell(f"{path} has a spacing but no unit, so the size of a voxel in nm is not known")
        return Metadata()
    lengths = [nanometres(unit, f"the units of {path}") for unit in list(units)[-3:]]
    if None in lengths:
        return Metadata()
    size = [float(n) * (unit or 1) for n, unit in zip(sizes, lengths, strict=True)][::-1]
    origin = np.asarray(header.get("space origin", [0.0] * 3), float)
    place = [float(n) * (unit or 1) for n, unit in zip(origin, lengths, strict=True)][::-1]
    return Metadata().placed(parse_voxel_size(size, "space directions"), place, path, "the header")


FORMAT = Format(
    name="nrrd", title="NRRD", suffixes=(".nrrd",), open=open_nrrd, list=list_one, stamp=stamp_file,
    signatures=(b"NRRD000",),
)  # fmt: skip
