"""The interface that every format shares."""

import json
import pickle

import h5py
import numpy as np
import pytest

from neuropil.errors import NeuropilError
from neuropil.geometry import Box
from neuropil.volumes import (
    LOGIT8,
    Metadata,
    array_volume,
    as_volume,
    create_volume,
    open_volume,
    write_volume,
)


def test_an_array_is_a_volume_and_is_not_copied():
    array = np.arange(24).reshape(2, 3, 4)
    volume = as_volume(array)
    volume.write(Box((0, 0, 0), (1, 1, 1)), np.full((1, 1, 1), 99))
    assert array[0, 0, 0] == 99
    assert as_volume(volume) is volume
    assert array_volume(np.zeros((5, 6))).shape == (1, 5, 6)
    assert array_volume(array.astype(">i4").T).read().flags.c_contiguous
    assert array_volume(array.astype(">i4")).read().dtype == "=i4"


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), "3 axes"),
        (np.zeros((1, 1, 1, 1, 1)), "3 axes"),
        (np.zeros((2, 0, 3)), "empty"),
        (np.zeros((2, 1, 3), complex), "real"),
        (np.zeros((2, 1, 3), object), "real"),
        (np.zeros((2, 1, 3), np.longdouble), "at most 8 bytes"),
    ],
)
def test_what_is_no_volume(array, message, tmp_path):
    with pytest.raises(NeuropilError, match=message):
        as_volume(array)
    with pytest.raises(NeuropilError, match=message):
        write_volume(tmp_path / "a.h5", array)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("far", [2**62, -(2**62), 10**400])
def test_a_place_that_no_library_can_count_is_refused(far):
    with pytest.raises(NeuropilError, match="expected an origin less than"):
        array_volume(np.zeros((1, 1, 1)), Metadata(origin=(0, 0, far)))


def test_a_damaged_precomputed_place_is_refused(tmp_path):
    write_volume(tmp_path / "a.precomputed", np.zeros((2, 4, 4), np.uint8), Metadata(voxel_size=(1, 1, 1)))
    info = tmp_path / "a.precomputed" / "info"
    told = json.loads(info.read_text())
    told["scales"][0]["voxel_offset"] = [0, 0, 1e308]
    info.write_text(json.dumps(told))
    with pytest.raises(NeuropilError, match="expected an origin less than"):
        open_volume(tmp_path / "a.precomputed")


def test_offsets_count_channels():
    offsets = ((-1, 0, 0), (0, -1, 0))
    assert array_volume(np.zeros((2, 1, 2, 3)), Metadata(offsets=offsets)).metadata.offsets == offsets
    for shape in [(3, 1, 2, 3), (2, 2, 3)]:
        with pytest.raises(NeuropilError, match="one channel per offset, got 2 offsets"):
            array_volume(np.zeros(shape), Metadata(offsets=offsets))


def test_boxes_and_arrays_must_fit(tmp_path):
    write_volume(tmp_path / "a.h5", np.zeros((4, 5, 6), "u2"), Metadata(origin=(10, 0, 0)))
    with open_volume(tmp_path / "a.h5", "r+") as volume:
        for box in [Box((0, 0, 0), (4, 5, 6)), Box((9, 0, 0), (11, 1, 1)), Box((13, 0, 0), (15, 1, 1))]:
            with pytest.raises(NeuropilError, match=r"leaves .*a\.h5/main, which holds 10:14,0:5,0:6"):
                volume.read(box)
            with pytest.raises(NeuropilError, match="leaves"):
                volume.write(box, np.zeros(box.shape, "u2"))
        with pytest.raises(NeuropilError, match=r"expected an array of shape \(1, 1, 2\)"):
            volume.write(Box((10, 0, 0), (11, 1, 2)), np.zeros((1, 2, 1), "u2"))
        with pytest.raises(NeuropilError, match="cannot hold every uint32"):
            volume.write(Box((10, 0, 0), (11, 1, 2)), np.zeros((1, 1, 2), "u4"))
        volume.write(Box((10, 0, 0), (11, 1, 2)), np.full((1, 1, 2), 7, "u1"))
        assert volume.read().sum() == 14


@pytest.mark.parametrize("name", ["a.h5", "a.tif", "a.zarr", "zarr2://a.zarr", "a.n5", "precomputed://p", "s/*.png"])
def test_pickled_for_another_process(tmp_path, name):
    prefix, _, rest = name.rpartition("://")
    write_volume(
        f"{prefix}://{tmp_path}/{rest}" if prefix else tmp_path / rest, np.arange(60, dtype="u1").reshape(3, 4, 5)
    )
    volume = open_volume(f"{prefix}://{tmp_path}/{rest}" if prefix else tmp_path / rest)
    assert pickle.loads(pickle.dumps(volume)).read().tolist() == volume.read().tolist()
    memory = pickle.loads(pickle.dumps(array_volume(volume.read(), Metadata(origin=(1, 2, 3)))))
    assert memory.box.start == (1, 2, 3)
    assert memory.read().sum() == volume.read().sum()


UNWRITABLE = ["a.h5", "a.tif", "a.png", "s/*.tif", "a.zarr", "zarr2://a.zarr", "a.n5", "precomputed://p"]


@pytest.mark.parametrize("name", UNWRITABLE)
@pytest.mark.parametrize("folder", ["/proc/self/nowhere", "file/inside"])
def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch, name, folder):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.chdir(tmp_path)
    prefix, _, rest = name.rpartition("://")
    path = f"{prefix}://{folder}/{rest}" if prefix else f"{folder}/{rest}"
    with pytest.raises(NeuropilError, match=rf"cannot write.*{folder.split('/')[-1]}"):
        write_volume(path, np.zeros((1, 2, 3), "u1"))


@pytest.mark.parametrize("name", UNWRITABLE)
def test_folders_are_made(tmp_path, name):
    prefix, _, rest = name.rpartition("://")
    path = f"{prefix}://{tmp_path}/new/deep/{rest}" if prefix else f"{tmp_path}/new/deep/{rest}"
    write_volume(path, np.ones((1, 2, 3), "u1"))
    assert open_volume(path).read().sum() == 6


def test_a_name_that_is_taken_by_another_kind(tmp_path):
    (tmp_path / "a.h5").mkdir()
    (tmp_path / "a.tif").mkdir()
    (tmp_path / "a.zarr").write_text("a file")
    for name, message in [("a.h5", "folder"), ("a.tif", "folder"), ("a.zarr", "is a file")]:
        with pytest.raises(NeuropilError, match=message):
            write_volume(tmp_path / name, np.zeros((1, 2, 3), "u1"))
    with pytest.raises(NeuropilError, match="not a zip file"):  # as a Zarr store in one file would be
        open_volume(tmp_path / "a.zarr")


def test_attributes_that_cannot_be_read_name_the_array(tmp_path):
    for key, value, message in [
        ("voxel_size", [1, 2], "three positive numbers"),
        ("voxel_size", "large", "three positive numbers"),
        ("voxel_size", [0, 1, 1], "three positive numbers"),
        ("offsets", [[0, 0, 0]], "join different voxels"),
        ("encoding", '{"kind": "log"}', "encoding kind"),
    ]:
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["main"] = np.zeros((1, 1, 2, 3), "u1")
            file["main"].attrs[key] = value
        with pytest.raises(NeuropilError, match=rf"{message}.*a\.h5/main"):
            open_volume(tmp_path / "a.h5")


@pytest.mark.parametrize("name", ["a.h5", "a.tif", "a.zarr", "a.n5", "a.precomputed"])
def test_any_extra_metadata(tmp_path, name):
    extra = {
        "threshold": 0.25,
        "list": [1, [2.5, None], {"deep": {"é": "ü"}}],
        "ragged": [[1], [2, 3]],
        "row": [1, 2, 3],
        "reals": [0.5, 1.5],
        "mixed": [1, 2.5],
        "none": [],
        "nested": {},
        "text": "plain",
        "flag": False,
        "big": 2**53,
        "words": ["a", "b"],
    }
    write_volume(tmp_path / name, np.zeros((1, 1, 2, 3), "u1"), Metadata(encoding=LOGIT8, extra=extra))
    assert open_volume(tmp_path / name).metadata == Metadata(encoding=LOGIT8, extra=extra)


def test_nothing_is_left_after_a_refused_dtype(tmp_path):
    with (
        pytest.raises(NeuropilError, match="cannot hold every"),
        create_volume(tmp_path / "a.zarr", (2, 3, 4), "u1") as v,
    ):
        v.write(v.box, np.zeros((2, 3, 4), "u2"))
    assert list(tmp_path.iterdir()) == []
