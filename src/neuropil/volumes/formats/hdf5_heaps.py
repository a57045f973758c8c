"""Detect damaged global heaps (of strings) in HDF5 files, in which the HDF5 library loops for ever."""

from __future__ import annotations

import struct
from pathlib import Path

from neuropil.errors import NeuropilError

_HEAP = b"GCOL\x01\x00\x00\x00"
"""How a heap begins: its signature, version 1 and three reserved bytes; its size follows (HDF5 format, III.E)."""

_LOOKED_THROUGH = 16 * 1024
"""Bytes at both ends of a file that are looked through. Attributes lie before or after the voxels of an array; few
bytes, because opening a large volume must stay cheap."""


def check_heaps(path: Path) -> None:
    """Refuse a file with a heap in which the HDF5 library would loop for ever.

    Raises:
        NeuropilError: there is such a heap.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        for start in {0, max(0, size - _LOOKED_THROUGH)}:
            file.seek(start)
            if _endless(file.read(_LOOKED_THROUGH)):
                raise NeuropilError(f"cannot open {path}: damaged (a heap of strings with free space of size 0)")


def _endless(part: bytes) -> bool:
    """Whether a heap in these bytes has free space of size 0: HDF5 would step from there to the same place again."""
    at = part.find(_HEAP)
    while 0 <= at <= len(part) - 16:
        (size,) = struct.unpack_from("<Q", part, at + 8)
        here, end = at + 16, min(at + size, len(part))
        while here + 16 <= end:
            index, _, _, length = struct.unpack_from("<HHIQ", part, here)
            if index == length == 0:
                return True
            here += 16 + -(-length // 8) * 8 if index else length
        at = part.find(_HEAP, max(here, at + 16))
    return False
