"""HDF5 files, as written here and as others write them."""

import h5py
import numpy as np
import pytest

from neuropil.errors import NeuropilError
from neuropil.geometry import Box
from neuropil.volumes import LOGIT8, Metadata, create_volume, open_volume, write_volume

FULL = Metadata(
    voxel_size=(30.0, 6.0, 6.5),
    origin=(60, 0, 7),
    offsets=((-1, 0, 0), (0, -9, 0)),
    encoding=LOGIT8,
    extra={"threshold": 0.3, "made": {"by": "test", "steps": [1, 2]}, "note": "a", "flag": True},
)


def numbers(shape, dtype, seed=0):
    return np.random.default_rng(seed).integers(0, min(np.iinfo(dtype).max, 2**63 - 1), shape).astype(dtype)


def test_metadata_and_voxels_come_back(tmp_path):
    array = numbers((2, 5, 33, 130), np.uint8)
    write_volume(tmp_path / "a.h5", array, FULL)
    volume = open_volume(tmp_path / "a.h5")
    assert volume.metadata == FULL
    assert volume.path == f"{tmp_path}/a.h5/main"
    assert volume.box == Box((60, 0, 7), (65, 33, 137))
    assert (volume.read() == array).all()
    box = Box((61, 3, 10), (64, 20, 137))
    assert (volume.read(box) == array[:, 1:4, 3:20, 3:]).all()


def test_attributes_are_readable_by_others(tmp_path):
    write_volume(tmp_path / "a.h5/aff", np.zeros((2, 3, 4, 5), np.uint8), FULL)
    with h5py.File(tmp_path / "a.h5") as file:
        attributes = file["aff"].attrs
        assert attributes["voxel_size"].tolist() == [30, 6, 6.5]
        assert attributes["offsets"].tolist() == [[-1, 0, 0], [0, -9, 0]]
        assert attributes["origin"].tolist() == [60, 0, 7]


@pytest.mark.parametrize("key", ["voxel_size", "voxel_size_nm", "resolution"])
def test_voxel_sizes_of_others(tmp_path, key):
    with h5py.File(tmp_path / "a.hdf", "w") as file:
        file["volumes/raw"] = np.zeros((2, 3, 4), "u1")
        file["volumes/raw"].attrs[key] = np.array([40, 4, 4])
        file["volumes/raw"].attrs["offset"] = (80.0, 4.0, 0.0)
    volume = open_volume(tmp_path / "a.hdf")
    assert volume.metadata.voxel_size == (40, 4, 4)
    assert volume.metadata.origin == (2, 1, 0)


@pytest.mark.parametrize("dtype", ["u1", ">u2", ">u8", "<u8", "i4", "f2", ">f4", "f8", "?"])
def test_dtypes_come_back_native(tmp_path, dtype):
    array = (numbers((3, 4, 5), np.uint8) % 2).astype(dtype)
    write_volume(tmp_path / "a.h5", array)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["x"] = array  # with its byte order
    for name in ("a.h5", "b.h5"):
        volume = open_volume(tmp_path / name)
        assert volume.dtype.isnative
        assert volume.read().dtype == array.dtype.newbyteorder("=")
        assert (volume.read() == array).all()


def test_the_largest_ids(tmp_path):
    array = np.array([[[0, 1, 2**64 - 1, 2**63, 2**53 + 1]]], np.uint64)
    write_volume(tmp_path / "a.h5", array)
    assert open_volume(tmp_path / "a.h5").read().tolist() == array.tolist()


def test_any_memory_layout(tmp_path):
    array = numbers((6, 8, 10), np.uint16)
    for view in (array.T, array[::2, ::-1], np.asfortranarray(array)):
        write_volume(tmp_path / "a.h5", view)
        assert (open_volume(tmp_path / "a.h5").read() == view).all()


def test_a_section_is_a_volume(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.arange(12).reshape(3, 4)
        file["y"] = np.arange(12).reshape(1, 1, 1, 3, 4)
        file["y"].attrs["voxel_size"] = 8
    with open_volume(tmp_path / "a.h5/x", "r+") as volume:
        assert volume.shape == (1, 3, 4)
        volume.write(Box((0, 1, 0), (1, 2, 4)), np.full((1, 1, 4), 7))
        assert volume.read().tolist() == [[[0, 1, 2, 3], [7] * 4, [8, 9, 10, 11]]]
    with open_volume(tmp_path / "a.h5/y", "r+") as volume:
        assert volume.shape == (1, 3, 4)
        assert volume.metadata.voxel_size == (8, 8, 8)
        volume.write(volume.box, volume.read() + 1)
        assert volume.read().sum() == 78


def test_boxes_written_by_hand_and_odd_remainders(tmp_path):
    array = numbers((7, 33, 45), np.uint32)
    with create_volume(tmp_path / "a.h5/g/x", array.shape, "u4", Metadata(origin=(1, 2, 3)), chunks=(4, 16, 64)) as new:
        assert new.chunks == (4, 16, 45)
        for z in range(0, 7, 4):
            box = Box((1 + z, 2, 3), (min(5 + z, 8), 35, 48))
            new.write(box, array[z : z + 4])
    assert (open_volume(tmp_path / "a.h5").read() == array).all()


def test_other_arrays_of_the_file_stay(tmp_path):
    path = tmp_path / "a.h5"
    write_volume(path / "volumes/raw", np.ones((2, 3, 4), "u1"), Metadata(voxel_size=(1, 2, 3)))
    write_volume(path / "volumes/labels", np.ones((2, 3, 4), "u8"))
    write_volume(path, np.zeros((1, 2, 3), "u1"))
    write_volume(path / "volumes/labels", np.full((1, 1, 1), 9, "u8"))
    assert open_volume(path / "volumes/raw").metadata.voxel_size == (1, 2, 3)
    assert open_volume(path / "volumes/labels").read().tolist() == [[[9]]]
    assert open_volume(path / "main").shape == (1, 2, 3)
    with pytest.raises(NeuropilError, match="group"):
        write_volume(path / "volumes", np.zeros((1, 2, 3)))
    with pytest.raises(NeuropilError, match="cannot hold"):
        write_volume(path / "main/deeper", np.zeros((1, 2, 3)))
    assert open_volume(path / "main").shape == (1, 2, 3)


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.h5"
    write_volume(path, np.ones((2, 3, 4), "u1"))
    with pytest.raises(KeyError, match="mine"), create_volume(path, (2, 3, 4), "u1"):
        raise KeyError("mine")
    with pytest.raises(OSError, match="also mine"), create_volume(path, (2, 3, 4), "u1"):
        raise OSError("also mine")
    assert open_volume(path).read().sum() == 24
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_truncated_and_foreign_files(tmp_path):
    whole = tmp_path / "a.h5"
    write_volume(whole, numbers((8, 64, 64), np.uint8))
    for keep in (0, 5, 100, whole.stat().st_size - 1):
        (tmp_path / "b.h5").write_bytes(whole.read_bytes()[:keep])
        with pytest.raises(NeuropilError, match=r"b\.h5: damaged, truncated or no HDF5"):
            open_volume(tmp_path / "b.h5")


def test_several_arrays_are_listed(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["volumes/raw"] = np.zeros((2, 3, 4), "u1")
        file["volumes/labels/ids"] = np.zeros((2, 3, 4), "u8")
        file["points"] = np.zeros((5, 3))
    with pytest.raises(NeuropilError, match=r"volumes/labels/ids \(2×3×4 uint64\), volumes/raw \(2×3×4 uint8\)"):
        open_volume(tmp_path / "a.h5")
    with pytest.raises(NeuropilError, match=r"did you mean volumes/raw\?"):
        open_volume(tmp_path / "a.h5/volumes/row")
    assert open_volume(tmp_path / "a.h5/volumes/labels").dtype == np.uint64  # the only array in there
    assert open_volume(tmp_path / "a.h5/points").shape == (1, 5, 3)


def test_what_is_no_volume(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["line"] = np.zeros(5)
        file["five"] = np.zeros((2, 2, 2, 2, 2))
        file["empty"] = np.zeros((3, 0, 4))
        file["complex"] = np.zeros((3, 1, 4), complex)
        file["text"] = "words"
    for name, message in [
        ("line", "3 axes"),
        ("five", "3 axes"),
        ("empty", "empty"),
        ("complex", "real"),
        ("text", "axes"),
    ]:
        with pytest.raises(NeuropilError, match=rf"{message}.*a\.h5/{name}"):
            open_volume(tmp_path / f"a.h5/{name}")
    with h5py.File(tmp_path / "none.h5", "w"):
        pass
    with pytest.raises(NeuropilError, match="no array in"):
        open_volume(tmp_path / "none.h5")


@pytest.mark.parametrize("room", [100, 5_000, 200_000, 1_000_000])
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, full_disk, room):
    array = np.random.default_rng(0).random((16, 128, 128))
    with full_disk(room), pytest.raises(NeuropilError, match=r"cannot write .*a\.h5"):
        write_volume(tmp_path / "a.h5", array)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_when_closing(tmp_path, full_disk):
    write_volume(tmp_path / "a.h5", np.zeros((16, 128, 128)))
    volume = open_volume(tmp_path / "a.h5", "r+")
    volume.write(volume.box, np.random.default_rng(0).random((16, 128, 128)))  # stays in the cache
    with full_disk((tmp_path / "a.h5").stat().st_size), pytest.raises(NeuropilError, match="cannot write"):
        volume.close()
    volume.close()
