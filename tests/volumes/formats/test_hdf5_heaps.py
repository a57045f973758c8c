"""Damaged heaps of strings in HDF5 files."""

import struct
from pathlib import Path

import h5py
import numpy as np
import pytest

import neuropil
from neuropil.errors import NeuropilError
from neuropil.volumes.formats import hdf5_heaps
from neuropil.volumes.formats.hdf5_heaps import check_heaps


def strings(path: Path) -> bytes:
    """Write a file with strings in a heap, as h5py does."""
    with h5py.File(path, "w") as file:
        array = file.create_dataset("main", data=np.zeros((8, 8, 8), np.uint8))
        array.attrs["axis_names"] = ["z", "y", "x"]
        array.attrs["units"] = ["nm", "nm", "nm"]
    return path.read_bytes()


def heap(bytes_: bytes) -> int:
    at = bytes_.find(b"GCOL")
    assert at > 0
    return at


def test_whole_heaps_pass(tmp_path: Path) -> None:
    strings(tmp_path / "a.h5")
    check_heaps(tmp_path / "a.h5")
    assert neuropil.open_volume(str(tmp_path / "a.h5/main")).shape == (8, 8, 8)


@pytest.mark.parametrize("objects", [0, 2, 5])
def test_free_space_of_no_size_is_told(tmp_path: Path, objects: int) -> None:
    """HDF5 2.0 reads it for ever: only kill -9 would end that."""
    whole = strings(tmp_path / "a.h5")
    here = heap(whole) + 16
    for _ in range(objects):
        (length,) = struct.unpack_from("<Q", whole, here + 8)
        here += 16 + (length + 7) // 8 * 8
    (tmp_path / "a.h5").write_bytes(whole[:here] + bytes(64) + whole[here + 64 :])
    with pytest.raises(NeuropilError, match="heap of strings"):
        neuropil.open_volume(str(tmp_path / "a.h5/main"))


def test_linked_files_are_looked_through(tmp_path: Path) -> None:
    whole = strings(tmp_path / "other.h5")
    at = heap(whole) + 16
    (tmp_path / "other.h5").write_bytes(whole[:at] + bytes(64) + whole[at + 64 :])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["main"] = h5py.ExternalLink("other.h5", "main")
    with pytest.raises(NeuropilError, match="heap of strings"):
        neuropil.open_volume(str(tmp_path / "a.h5/main"))


def test_both_ends_of_a_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_heaps, "_LOOKED_THROUGH", 4096)
    whole = strings(tmp_path / "a.h5")
    at = heap(whole)
    broken = whole[at : at + 16] + bytes(64)
    for bytes_ in (broken + bytes(40_000), bytes(40_000) + broken):
        (tmp_path / "a.h5").write_bytes(bytes_)
        with pytest.raises(NeuropilError, match="heap of strings"):
            check_heaps(tmp_path / "a.h5")


def test_voxels_that_look_like_a_heap(tmp_path: Path) -> None:
    """A heap that claims more than there is, or ends early, is not read past the end."""
    for size in (0, 15, 17, 4096, 2**63):
        (tmp_path / "a.h5").write_bytes(b"GCOL\x01\0\0\0" + struct.pack("<Q", size) + b"\x01\0\0\0\0\0\0\0\xff\xff")
        check_heaps(tmp_path / "a.h5")
