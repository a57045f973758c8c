"""MRC files, as electron microscopes and tomography write them; lengths in Å."""

from __future__ import annotations

import struct
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.arrangement import Arrangement, arrange
from neuropil.volumes.formats.base import Format, Location, list_one, stamp_file
from neuropil.volumes.formats.packaged import damage_told, read_only_file
from neuropil.volumes.metadata import Metadata, parse_voxel_size
from neuropil.volumes.volume import ArrayStore, Mode, Volume, arranged

_MODES = {0: "bytes", 1: "int16", 2: "float32", 6: "uint16", 12: "float16"}
_KNOWN_MODES = {*_MODES, 4}
_STAMPS = {b"\x44\x44": "<", b"\x44\x41": "<", b"\x11\x11": ">"}
"""Modes and machine stamps by which mrcfile finds the byte order."""
_IMOD = 1146047817
"""The stamp of IMOD, before its flags in the header."""
_SIGNED, _STANDARD_ORIGIN, _HALF_BYTES = 1, 4, 16
"""Flags of IMOD: bytes are signed; the origin has the sign of the standard; a byte holds two values."""
_ALIKE = 0.01
"""Share by which two lengths that mean the same may differ."""


def open_mrc(location: Location, mode: Mode = "r") -> Volume:
    """Open an MRC file as a memory map; lengths in its header are in Å.

    Integers are signed, as in MRC2014, unless the header says otherwise: by a largest value beyond the signed type, or,
    for bytes, by IMOD's flags. The position is that of ``origin``, else of ``nxstart``, ``nystart`` and ``nzstart``.
    """
    path = read_only_file(location, mode, "mrcfile")
    import mrcfile

    _check_length(path)
    with damage_told(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with mrcfile.open(path, header_only=True, permissive=True) as file:
            _check_header(file.header, path)
        warnings.simplefilter("error", RuntimeWarning)  # a file that is longer than its header says
        with mrcfile.mmap(path, mode="r", permissive=False) as file:
            array, header = file.data, file.header
            size = [_length(header, axis) for axis in "zyx"]
            microscope = _microscope_pixel(file)
            _check_montage(file, path)
    order = [int(header[axis]) for axis in ("maps", "mapr", "mapc")]  # which axis sections, rows, columns are
    if sorted(order) != [1, 2, 3]:
        raise NeuropilError(f"expected axes 1, 2, 3 in any order, got {order}, in the header of {path}")
    array = array[np.newaxis] if array.ndim == 2 else array
    if array.dtype.kind == "i" and not _signed(header, array.dtype, path):
        array = array.view(array.dtype.str.replace("i", "u"))
    names = ["t"] * (array.ndim - 3) + ["xyz"[n - 1] for n in order]  # several volumes are no channels
    arrangement = arrange(array.shape, names, path)
    metadata = _metadata(header, size, arrangement, path)
    if int(header.ispg) == 0 and int(header.mz) == 1 < array.shape[0] and metadata.voxel_size is not None:
        tell(
            f"{path} is a stack of pictures, each {size[0]:g} nm thick by its header; if that is the thickness of the "
            "whole stack, give --voxel-size to `neuropil convert`"
        )
    _check_pixel(metadata, microscope, path)
    return Volume(path, arranged(ArrayStore(array), arrangement), metadata, "r")


def _check_length(path: str) -> None:
    """Refuse an extended header that is longer than the file: mrcfile would allocate memory for it."""
    with Path(path).open("rb") as file:
        head = file.read(216)
    if len(head) < 216:
        return  # mrcfile reports it
    order = _STAMPS.get(head[212:214], "<")
    if struct.unpack_from(f"{order}i", head, 12)[0] not in _KNOWN_MODES:
        other = ">" if order == "<" else "<"
        order = other if struct.unpack_from(f"{other}i", head, 12)[0] in _KNOWN_MODES else order
    (length,) = struct.unpack_from(f"{order}i", head, 92)
    if length > Path(path).stat().st_size:
        raise NeuropilError(f"{path} says that its extended header has {length:,} bytes, more than the file: damaged")


def _check_header(header: Any, path: str) -> None:
    """Refuse modes that are not read, and cells whose axes are not at right angles."""
    mode = int(header.mode)
    if mode not in _MODES or (mode == 0 and (_flags(header) or 0) & _HALF_BYTES):
        known = ", ".join(f"{number} ({name})" for number, name in _MODES.items())
        found = f"mode {mode}" if mode not in _MODES else "bytes that hold two values"
        raise NeuropilError(f"expected mode {known}, got {found}, in {path}; convert it, with `newstack` of IMOD")
    angles = [float(header.cellb[name]) for name in ("alpha", "beta", "gamma")]
    if any(angles) and any(abs(angle - 90) > _ALIKE for angle in angles):
        raise NeuropilError(f"expected axes at right angles, got {angles}, in the header of {path}; resample it")


def _flags(header: Any) -> int | None:
    """IMOD's flags; None in a file without its stamp."""
    stamp, flags = struct.unpack(f"{_order(header)}ii", header.extra2.tobytes()[40:48])
    return int(flags) if stamp == _IMOD else None


def _order(header: Any) -> str:
    """The byte order of a file, as struct and NumPy write it."""
    order = header.mode.dtype.byteorder
    return ("<" if sys.byteorder == "little" else ">") if order == "=" else str(order)


def _signed(header: Any, dtype: np.dtype[Any], path: str) -> bool:
    """Whether integers are signed. Before MRC2014 most bytes were unsigned without saying so, and some microscopes
    store unsigned 16-bit numbers as signed ones."""
    flags = _flags(header) if dtype == np.int8 else None
    if flags is not None:
        return bool(flags & _SIGNED)
    least, most, limit = float(header.dmin), float(header.dmax), np.iinfo(dtype).max
    if limit < most <= 2 * limit + 1 and least >= 0:
        what = "bytes" if dtype == np.int8 else "numbers of 16 bits"
        tell(f"{path}: its header has values up to {most:g}, so its {what} are read as unsigned")
        return False
    if dtype == np.int8 and int(header.nversion) == 0 and not (least <= most and (least < 0 or least < most)):
        tell(f"{path} does not say whether its bytes are signed; they are read as signed, as in MRC2014")
    return True


def _length(header: Any, axis: str) -> float:
    """Voxel size along an axis in nm; 0 where the header does not say it."""
    count = int(header[f"m{axis}"])
    return float(header.cella[axis]) / count / 10 if count > 0 else 0.0


def _metadata(header: Any, size: list[float], arrangement: Arrangement, path: str) -> Metadata:
    if not min(size) > 0:
        if max(size) > 0:
            tell(f"{path} gives {', '.join(f'{n:g}' for n in size)} nm (z, y, x), so the voxel size is not known")
        return Metadata()
    flags = _flags(header)
    sign = -1 if flags is not None and not flags & _STANDARD_ORIGIN and int(header.nversion) == 0 else 1
    place = [sign * float(header.origin[axis]) / 10 for axis in "zyx"]
    # The starts count sections, rows and columns, whichever axes these are.
    first = arrangement.zyx([0] * (len(arrangement.stored) - 3) + [int(header[f"n{axis}start"]) for axis in "zyx"])
    starts = [n * one for n, one in zip(first or [0] * 3, size, strict=True)]
    if any(place) and any(starts) and any(abs(a - b) > _ALIKE * n for a, b, n in zip(place, starts, size, strict=True)):
        raise NeuropilError(
            f"expected one place, got the origin {_listed(place)} nm and a start at {_listed(starts)} nm (z, y, x), "
            f"in the header of {path}; set one to 0"
        )
    at = [n + 0.0 for n in (place if any(place) else starts)]
    return Metadata().placed(parse_voxel_size(size, "voxel_size"), at, path, "the header")


def _listed(numbers: list[float]) -> str:
    return ", ".join(f"{n:g}" for n in numbers)


def _microscope_pixel(file: Any) -> tuple[float, float] | None:
    """Pixel size along y and x in nm, from the extended header of FEI microscopes; None where there is none."""
    if bytes(file.header.exttyp) not in (b"FEI1", b"FEI2"):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one that it cannot read is None
        rows = file.indexed_extended_header
    if rows is None or not len(rows):
        return None
    y, x = (float(rows[0][f"Pixel size {axis}"]) * 1e9 for axis in "YX")  # m
    return (y, x) if min(y, x) > 0 else None


def _check_montage(file: Any, path: str) -> None:
    """Refuse sections that SerialEM has placed side by side, as pieces of a montage."""
    order = _order(file.header)
    width, kinds = struct.unpack(f"{order}hh", file.header.extra2.tobytes()[16:20])
    if bytes(file.header.exttyp) != b"SERI" or not kinds & 2 or width < 6 + 2 * (kinds & 1):
        return
    rows = np.frombuffer(file.extended_header.tobytes()[: width * int(file.header.nz)], np.uint8)
    pieces = rows.reshape(-1, width)[:, 2 * (kinds & 1) :][:, :4].copy().view(f"{order}i2")  # x, y
    if len(np.unique(pieces, axis=0)) > 1:
        raise NeuropilError(
            f"expected sections over each other, got pieces of a montage, in the extended header of {path}; join them, "
            "with `blendmont` of IMOD"
        )


def _check_pixel(metadata: Metadata, microscope: tuple[float, float] | None, path: str) -> None:
    """Refuse a header with another pixel size than the extended header of the microscope."""
    if microscope is None:
        return
    told = " × ".join(f"{n:.4g}" for n in microscope)
    if metadata.voxel_size is None:
        tell(
            f"{path} has pixels of {told} nm (y, x), but no thickness of sections, so the size of a voxel is not known"
        )
        return
    if any(abs(a - b) > _ALIKE * max(a, b) for a, b in zip(metadata.voxel_size[1:], microscope, strict=True)):
        by = " × ".join(f"{n:.4g}" for n in metadata.voxel_size[1:])
        raise NeuropilError(
            f"expected one pixel size, got {by} nm (y, x) in the header and {told} nm in the extended header of "
            f"{path}; correct one"
        )


FORMAT = Format(
    name="mrc", title="MRC", open=open_mrc, list=list_one, stamp=stamp_file,
    suffixes=(".mrc", ".rec", ".map", ".st", ".mrcs", ".ali", ".preali", ".join", ".ccp4"),
)  # fmt: skip
