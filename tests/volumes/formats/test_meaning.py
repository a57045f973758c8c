"""Numbers that mean something else than what is stored: as meant, or refused by name."""

import json

import h5py
import numpy as np
import pytest
import zarr

from foreign import IMAGE, same, write_n5
from neuropil.errors import NeuropilError, Note
from neuropil.volumes import open_volume


def write(folder, form, array, attributes):
    """An array by the other library; its path."""
    path = folder / f"a.{form}"
    if form == "h5":
        with h5py.File(path, "w") as file:
            file["raw"] = array
            file["raw"].attrs.update(attributes)
    elif form == "n5":
        write_n5(path, array.astype(array.dtype.newbyteorder("=")), attributes)
    else:
        zarr.create_array(path, data=array).attrs.update(attributes)
    return path


@pytest.mark.parametrize("form", ["h5", "zarr", "n5"])
@pytest.mark.parametrize("key", ["scale_factor", "add_offset"])
def test_packed_numbers_are_refused(tmp_path, form, key):
    plain = {"scale_factor": 1.0, "add_offset": 0.0}
    same(write(tmp_path, form, IMAGE, plain), IMAGE)
    (tmp_path / "b").mkdir()
    path = write(tmp_path / "b", form, IMAGE, plain | {key: 2.0})
    with pytest.raises(NeuropilError, match=f"attribute {key} = 2"):
        open_volume(path)


@pytest.mark.parametrize("form", ["h5", "zarr", "n5"])
@pytest.mark.parametrize(
    ("stored", "said", "meant"), [("i1", "true", "u1"), ("u2", "false", "i2"), (">i2", "true", "u2")]
)
def test_sign_as_meant(tmp_path, form, stored, said, meant):
    array = (IMAGE.astype("u2") * 200).astype(stored)
    path = write(tmp_path, form, array, {"_Unsigned": said})
    same(path, array.astype(array.dtype.newbyteorder("=")).view(meant))
    assert open_volume(path).dtype == np.dtype(meant)


def test_white_is_zero(tmp_path):
    path = write(tmp_path, "h5", IMAGE, {"CLASS": "IMAGE", "IMAGE_WHITE_IS_ZERO": np.uint8(1)})
    with pytest.raises(NeuropilError, match="0 is white"):
        open_volume(path)


def test_big_data_viewer_keeps_uint16_as_int16(tmp_path):
    array = IMAGE.astype("u2") * 200
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["t00000/s00/0/cells"] = array.view("i2")
    with pytest.warns(Note, match="BigDataViewer"):
        same(tmp_path / "a.h5/t00000/s00/0/cells", array)


def test_imaris_is_refused(tmp_path):
    name = "DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Data"
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file[name] = IMAGE
    with pytest.raises(NeuropilError, match="an array of Imaris"):
        open_volume(tmp_path / f"a.h5/{name}")


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({"transform": [[4, 0, 0], [0, 4, 0], [0, 0, 40]]}, "attribute transform"),
        ({"pixelResolution": {"dimensions": [4, 4, 40], "unit": "nm"}}, "attribute pixelResolution"),
        ({"PhysicalSizeX": 4}, "attribute PhysicalSizeX"),
        ({"affine": [[4, 0], [0, 4]]}, "attribute affine"),
        ({"zyx_resolution": [40, 4, 4]}, "attribute zyx_resolution"),
        ({"bounding_box": [[1, 2, 3], [5, 22, 33]]}, "attribute bounding_box"),
        ({"axistags": json.dumps({"axes": [{"key": k, "resolution": 4} for k in "zyx"]})}, "x with the resolution 4"),
    ],
)
def test_voxel_sizes_of_others_are_told(tmp_path, attributes, told):
    with pytest.warns(Note, match=f"{told}.* not used"):
        same(write(tmp_path, "zarr", IMAGE, attributes), IMAGE, voxel_size=None)


@pytest.mark.parametrize("form", ["h5", "zarr", "n5"])
@pytest.mark.parametrize(
    "key", ["RescaleSlope", "scl_inter", "intercept", "ScalingFactor", "_FillValue", "missing_value", "valid_max"]
)
def test_numbers_that_others_would_change_are_told(tmp_path, form, key):
    with pytest.warns(Note, match=f"the attribute {key} = 200"):
        same(write(tmp_path, form, IMAGE, {key: 200, "slope": 1.0}), IMAGE)


def test_a_picture_in_colour_is_no_stack(tmp_path):
    said = {"CLASS": np.bytes_("IMAGE"), "IMAGE_SUBCLASS": np.bytes_("IMAGE_TRUECOLOR")}
    with pytest.raises(NeuropilError, match="IMAGE_TRUECOLOR"):
        open_volume(write(tmp_path, "h5", IMAGE[:3], said))
