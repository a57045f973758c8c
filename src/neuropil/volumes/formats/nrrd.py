"""NRRD files, whose axes are x, y, z; read only."""

from __future__ import annotations

import bz2
import io
import re
import zlib
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError, tell
from neuropil.memory import expect_memory
from neuropil.volumes.allowances import check_inside
from neuropil.volumes.arrangement import Arrangement, arrange
from neuropil.volumes.formats.base import Format, Location, list_one, stamp_file
from neuropil.volumes.formats.packaged import damage_told, directed, read_only_file
from neuropil.volumes.metadata import Metadata, parse_voxel_size
from neuropil.volumes.naming import kind
from neuropil.volumes.units import nanometres
from neuropil.volumes.volume import ArrayStore, Mode, Volume, arranged

_ENCODINGS = ("raw", "gzip", "gz", "bzip2", "bz2", "ascii", "text", "txt")

_HEAD = 1 << 16  # bytes that a header may have before its field of files
_LONGEST = 8  # bytes of a value
_UNPACK: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": lambda packed, most: zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(packed, most),
    "bzip2": lambda packed, most: bz2.BZ2Decompressor().decompress(packed, most),
}
_UNPACK |= {"gz": _UNPACK["gzip"], "bz2": _UNPACK["bzip2"]}

_FIELDS = (
    *("space", "space dimension", "space directions", "space origin", "space units", "spacings", "units", "labels"),
    *("kinds", "centerings", "axis mins", "axis maxs", "data file", "old min", "old max"),
)
"""Fields that are read here; they are accepted in this spelling only."""


def open_nrrd(location: Location, mode: Mode = "r") -> Volume:
    """Open an NRRD file. Voxel size from `space directions`, else `spacings`; position from `space origin`, else `axis
    mins`."""
    path = read_only_file(location, mode, "nrrd")
    import nrrd

    _check_one_file(path)
    with damage_told(path):
        first = nrrd.read_header(path)
    _check_spelling(first, path)
    _check_packing(first, path)
    _check_data_file(path, str(first.get("data file") or first.get("datafile") or ""))
    with damage_told(path):
        array, header = _read(path)
    names = _names(array.ndim, header, path)
    if array.ndim == 3 and "c" in (names or []):
        raise NeuropilError(f"expected a volume z, y, x, got a section in colour, in {path}; make it grey")
    if "old min" in header or "old max" in header:
        tell(f"{path} says that its values were scaled from old min to old max; they are read as stored")
    arrangement = arrange(array.shape, names, path)
    metadata = _metadata(header, arrangement, path)
    return Volume(path, arranged(ArrayStore(array), arrangement), metadata, "r")


def _check_spelling(header: Any, path: str) -> None:
    """Refuse fields in capitals, and two spellings of one field: pynrrd would ignore them."""
    found: dict[str, str] = {}
    for key in header:
        known = next((one for one in _FIELDS if one.replace(" ", "") == key.replace(" ", "").lower()), None)
        if known is None:
            continue
        if key not in (known, known.replace(" ", "")) or known in found:
            raise NeuropilError(f"expected the field {known!r} once, in small letters, got {key!r}, in {path}")
        found[known] = key


def _check_packing(header: Any, path: str) -> None:
    """Refuse values that are no numbers, and encodings that pynrrd does not have."""
    if str(header.get("type")) == "block":
        raise NeuropilError(f"expected numbers, got blocks of bytes, in {path}; store them as a type of numbers")
    if str(header.get("encoding")).lower() not in _ENCODINGS:
        known = ", ".join(_ENCODINGS)
        raise NeuropilError(
            f"expected an encoding of {known}, got {header.get('encoding')}, in {path}; write it as one"
        )


def _field(header: Any, name: str) -> Any:
    """The value of a field, whose name may also be written without spaces; None where it is missing."""
    return header.get(name, header.get(name.replace(" ", "")))


def _read(path: str) -> tuple[npt.NDArray[Any], Any]:
    """The array in C order, z y x, and the header. Data are decompressed only up to the size in the header: pynrrd
    would decompress a longer file completely."""
    import nrrd

    with Path(path).open("rb") as file:
        header = nrrd.read_header(file)
        count = prod(int(n) for n in header["sizes"])
        expect_memory(count, f"reading {path}", "store it in parts")
        unpack = _UNPACK.get(header["encoding"])
        if unpack is None:
            return nrrd.read_data(header, file, path, index_order="C"), header
        skipped = [_field(header, name) for name in ("byte skip", "line skip")]
        if any(skipped):
            raise NeuropilError(
                f"expected compressed voxels from the start of the data, got a skip, in {path}; save it again without"
            )
        named = _field(header, "data file")
        packed = file.read() if named is None else (Path(path).parent / named).read_bytes()
    plain = unpack(packed, count * _LONGEST + 1)
    attached = {key: value for key, value in header.items() if key.replace(" ", "") != "datafile"}
    array = nrrd.read_data({**attached, "encoding": "raw"}, io.BytesIO(plain), index_order="C")
    if array.nbytes != len(plain):
        raise NeuropilError(
            f"expected {array.nbytes} bytes of voxels, got {len(plain)} or more, in {path}; is it damaged?"
        )
    return array, header


def _check_one_file(path: str) -> None:
    """Refuse voxels in several files, which pynrrd does not read correctly."""
    with Path(path).open("rb") as file:
        named = re.search(rb"^data ?file: *(LIST.*|.*%.*)$", file.read(_HEAD).partition(b"\n\n")[0], re.M | re.I)
    if named is not None:
        told = named[1].decode(errors="replace").strip()
        raise NeuropilError(f"expected voxels in one file, got {told!r}, in {path}; join the files first")


def _check_data_file(path: str, named: str) -> None:
    """Refuse a data file outside of the folder, without ``--allow-outside``."""
    if named:
        check_inside(path, named, "the data file")


def _kinds(header: Any) -> list[str]:
    """The kind of each axis, in stored order; where kinds are missing, axes without a space direction are channels."""
    if "kinds" in header:
        return [str(kind) for kind in header["kinds"]]
    directions = _field(header, "space directions")
    if directions is None:
        return []
    known = [row is not None and bool(np.isfinite(np.asarray(row, float)).all()) for row in directions]
    return ["space" if one else "vector" for one in known]


def _names(ndim: int, header: Any, path: str) -> list[str] | None:
    """Names of the axes in C order: their labels, or x, y, z for those in space."""
    labels = [str(label).strip() for label in header.get("labels", [])]
    if any(labels):
        if len(labels) == ndim and all(kind(label) in "tczyx" for label in labels):
            return labels[::-1]
        if any(kind(label) in "tczyx" for label in labels):
            raise NeuropilError(
                f"expected a label for each axis (x, y, z, or channel), got {labels}, in {path}; correct them there"
            )
        tell(f"{path}: its labels {', '.join(labels)} are not known names of axes; read as x, y, z")
    kinds = _kinds(header)
    space = iter("xyz")
    if len(kinds) != ndim:
        return list("zyx") if ndim == 3 else None
    names = [next(space, "?") if one in ("domain", "space") else "t" if one == "time" else "c" for one in kinds]
    return names[::-1]


def _metadata(header: Any, arrangement: Arrangement, path: str) -> Metadata:
    if len(arrangement.stored) == 2:
        if any(_field(header, name) is not None for name in ("space directions", "spacings", "axis mins")):
            tell(f"{path} is one section of unknown thickness, so the size of a voxel is not known")
        return Metadata()
    directions = _field(header, "space directions")
    units = _field(header, "units")
    if directions is not None:
        size, place = _in_space(header, arrangement, path)
        units = _field(header, "space units") or units
        units = None if units is None else list(units)[::-1]
    else:
        size, place = _on_axes(header, arrangement, path)
        units = None if units is None else arrangement.zyx(list(units)[::-1])
    if size is None:
        return Metadata()
    found, letters = Metadata(), "" if directions is None else str(_field(header, "space") or "")
    lengths = [nanometres(unit, f"the units of {path}") for unit in units or ()]
    if len(lengths) != 3 or None in lengths:
        counted = f"counts its spacing in {', '.join(map(str, units))}" if units else "has a spacing but no unit"
        tell(f"{path} {counted}, so the size of a voxel in nm is not known")
    else:
        nm = np.asarray(lengths, float)
        sizes = parse_voxel_size((np.abs(size) * nm).tolist(), "the spacing")
        found = found.placed(sizes, (place * nm).tolist(), path, "the header")
    return directed(found, size, letters, path)


def _in_space(header: Any, arrangement: Arrangement, path: str) -> tuple[Any, Any]:
    """Signed voxel size and position, z y x, from `space directions`; these must be parallel to the axes."""
    given = _field(header, "space directions")
    rows = [None if row is None or not np.isfinite(row).all() else np.asarray(row, float) for row in given][::-1]
    turned = arrangement.zyx(rows) if len(rows) == len(arrangement.stored) else None
    if turned is None or any(row is None or row.shape != (3,) for row in turned):
        raise NeuropilError(f"expected space directions along x, y, z, got {_plain(given)}, in {path}; resample it")
    matrix = np.asarray(turned)[:, ::-1]  # z, y, x both ways
    if np.count_nonzero(np.abs(matrix) > 1e-6 * np.abs(matrix).max()) != 3:
        raise NeuropilError(f"expected space directions along x, y, z, got {_plain(given)}, in {path}; resample it")
    if not all(np.abs(row).argmax() == axis for axis, row in enumerate(matrix)):
        raise NeuropilError(f"expected axes in the order x, y, z, got {_plain(given)}, in {path}")
    if any(_field(header, name) is not None for name in ("spacings", "axis mins", "axis maxs")):
        raise NeuropilError(f"expected space directions or spacings, got both, in {path}; leave one out")
    origin = _field(header, "space origin")
    if origin is not None and np.shape(origin) != (3,):
        raise NeuropilError(f"expected space origin as three numbers, got {np.asarray(origin).tolist()}, in {path}")
    return np.diag(matrix), np.asarray([0.0] * 3 if origin is None else origin, float)[::-1]


def _plain(rows: Any) -> list[Any]:
    return [None if row is None else np.asarray(row).tolist() for row in rows]


def _on_axes(header: Any, arrangement: Arrangement, path: str) -> tuple[Any, Any]:
    """Signed voxel size and position, z y x, from `spacings`, or from `axis mins` and `axis maxs`."""
    spacings, mins, maxs = (_on_axis(header, name, arrangement) for name in ("spacings", "axis mins", "axis maxs"))
    given = [values for values in (spacings, mins, maxs) if values is not None]
    if not given:
        return None, None
    if _field(header, "space origin") is not None:
        raise NeuropilError(f"expected space directions with the space origin, got none, in {path}; write both")
    if spacings is None or not np.isfinite(spacings).all():
        spacings = _spread(header, arrangement, mins, maxs)
    if spacings is None or not np.isfinite(np.concatenate([spacings, *given[1:]])).all() or not spacings.all():
        fields = {name: _field(header, name) for name in ("spacings", "axis mins", "axis maxs")}
        told = ", ".join(f"{name} {np.array(values).tolist()}" for name, values in fields.items() if values is not None)
        raise NeuropilError(
            f"expected a spacing for x, y and z, got {told}, in {path}; write `spacings`, "
            "or `centerings` with `axis mins` and `axis maxs`"
        )
    spread = _spread(header, arrangement, mins, maxs)
    if spread is not None and not np.allclose(spread, spacings, rtol=1e-3):
        raise NeuropilError(
            f"expected the spacings of axis mins and maxs, {spread.tolist()} (z, y, x), got {spacings.tolist()}, "
            f"in {path}; correct one"
        )
    return spacings, np.zeros(3) if mins is None else mins


def _on_axis(header: Any, name: str, arrangement: Arrangement) -> npt.NDArray[np.float64] | None:
    values = _field(header, name)
    turned = None if values is None else arrangement.zyx(list(values)[::-1])
    if values is not None and turned is None:
        return np.full(3, np.nan)
    return None if turned is None else np.asarray(turned, float)


def _spread(header: Any, arrangement: Arrangement, mins: Any, maxs: Any) -> Any:
    """The spacing from `axis mins` and `axis maxs`, which are borders (cell) or centres (node) of the end voxels."""
    centred = arrangement.zyx(list(header.get("centerings", []))[::-1])
    if mins is None or maxs is None or centred is None or not set(centred) <= {"cell", "node"}:
        return None
    counts = [n - (kind == "node") for n, kind in zip(arrangement.shape[-3:], centred, strict=True)]
    return None if min(counts) < 1 else (maxs - mins) / counts


FORMAT = Format(
    name="nrrd", title="NRRD", suffixes=(".nrrd", ".nhdr"), open=open_nrrd, list=list_one, stamp=stamp_file,
    signatures=(b"NRRD000",),
)  # fmt: skip
