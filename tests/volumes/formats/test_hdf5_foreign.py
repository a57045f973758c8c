"""HDF5 as other programs write it: every voxel, place and size as meant, or refused by name."""

import warnings

import h5py
import numpy as np
import pytest

from foreign import IMAGE, same
from neuropil.errors import NeuropilError, Note
from neuropil.volumes import open_volume


def test_element_size_um(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = IMAGE
        file["raw"].attrs["element_size_um"] = [0.03, 0.006, 0.006]
    same(tmp_path / "a.h5", IMAGE, voxel_size=(30, 6, 6))


def test_element_size_um_beside_other_axes_is_told(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = IMAGE.T
        file["raw"].attrs.update({"element_size_um": [0.03, 0.006, 0.006], "axis_names": "xyz"})
    with pytest.warns(Note, match="element_size_um is read as z, y, x"):
        same(tmp_path / "a.h5", IMAGE, voxel_size=(30, 6, 6))


def test_frames_of_velox_are_sections(tmp_path):
    with h5py.File(tmp_path / "a.emd", "w") as file:
        file[f"Data/Image/{'0123456789abcdef' * 2}/Data"] = np.moveaxis(IMAGE, 0, -1)
    with pytest.warns(Note, match="stored as y, x, frame"):
        same(tmp_path / "a.emd", IMAGE)


def test_axes_of_emd(tmp_path):
    with h5py.File(tmp_path / "a.emd", "w") as file:
        file["data/em/data"] = IMAGE.T
        file["data/em"].attrs["emd_group_type"] = 1
        for number, name in enumerate("xyz"):
            file[f"data/em/dim{number + 1}"] = np.arange(2.0)
            file[f"data/em/dim{number + 1}"].attrs["name"] = name
    same(tmp_path / "a.emd/data/em/data", IMAGE)


def test_attributes_of_others_are_left_alone(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = IMAGE
        file["raw"].attrs.update({"origin": "Zeiss", "encoding": "gzip", "offsets": 5, "resolution": "high"})
    with pytest.warns(Note, match="ignored"):
        volume = open_volume(tmp_path / "a.h5")
    assert volume.metadata.voxel_size is None
    assert volume.metadata.extra["encoding"] == "gzip"


def test_hdf5_filters_name_what_to_install(tmp_path):
    hdf5plugin = pytest.importorskip("hdf5plugin")
    for name, options in [
        ("bitshuffle", hdf5plugin.Bitshuffle()), ("lz4", hdf5plugin.LZ4()), ("zstd", hdf5plugin.Zstd()),
        ("blosc", hdf5plugin.Blosc()), ("blosc2", hdf5plugin.Blosc2()),
    ]:  # fmt: skip
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file.create_dataset("raw", data=IMAGE, chunks=IMAGE.shape, **options)
        same(tmp_path / f"{name}.h5", IMAGE)


@pytest.mark.parametrize(
    "second", [{"resolution": [4.0, 5, 40]}, {"voxel_size_nm": [4.0, 5, 40]}, {"element_size_um": [0.004, 0.005, 0.04]}]
)
def test_two_voxel_sizes_are_told(tmp_path, second):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = IMAGE
        file["raw"].attrs.update({"voxel_size": [40.0, 5, 4], **second})
    with pytest.warns(Note, match=r"40 × 5 × 4 nm .*voxel_size, which is used, and of 4 × 5 × 40 by"):
        same(tmp_path / "a.h5", IMAGE, voxel_size=(40, 5, 4))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["raw"] = IMAGE
        file["raw"].attrs.update({"voxel_size": [40.0, 5, 4], **{key: value[::-1] for key, value in second.items()}})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(tmp_path / "b.h5", IMAGE, voxel_size=(40, 5, 4))


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("offset", [float("nan"), 0, 0], "three finite numbers; ignored"),
        ("offset", [400.0, 0], "three finite numbers; ignored"),
        ("offset", 400.0, "three finite numbers; ignored"),
        ("voxel_offset", [10, 0, 0], "not used; a position is read from the attribute offset"),
        ("translation", [400.0, 0, 0], "not used; a position is read from the attribute offset"),
        ("origin", [3, 0, 0], r"begins at \[400.0, 0.0, 0.0\] nm .* by its offset, and at voxel \[3.0, 0.0, 0.0\]"),
    ],
)
def test_places_that_are_not_used_are_told(tmp_path, key, value, told):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = IMAGE
        file["raw"].attrs.update({"resolution": [40.0, 4, 4], "offset": [400.0, 0, 0], key: value})
    with pytest.warns(Note, match=told):
        open_volume(tmp_path / "a.h5")


def test_an_offset_without_a_voxel_size_is_told(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = IMAGE
        file["raw"].attrs["offset"] = [10.0, 0, 0]
    with pytest.warns(Note, match="not used without a voxel size; ignored"):
        open_volume(tmp_path / "a.h5")


def test_one_picture_in_colours_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = np.zeros((64, 70, 3), "u1")
    with pytest.raises(NeuropilError, match="64 × 70 × 3, which looks like one picture in colours"):
        open_volume(tmp_path / "a.h5")
    assert open_volume(tmp_path / "a.h5", axes="zyx").shape == (64, 70, 3)
