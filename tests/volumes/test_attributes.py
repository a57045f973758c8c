"""Attributes of other tools for axes, sizes and places: read as they are meant, refused, or told."""

import h5py
import pytest
import zarr

from foreign import IMAGE, same, write_n5
from neuropil.errors import NeuropilError, Note
from neuropil.volumes import open_volume
from neuropil.volumes.convert import convert_volume


def write(folder, form, array, attributes):
    if form == "h5":
        with h5py.File(folder / "a.h5", "w") as file:
            file["raw"] = array
            file["raw"].attrs.update(attributes)
    elif form == "n5":
        write_n5(folder / "a.n5", array, attributes)
    else:
        zarr.create_array(folder / "a.zarr", data=array).attrs.update(attributes)
    return folder / f"a.{form}"


FORMS = ["h5", "zarr", "n5"]
KEYS = [
    "dimension_order",
    "axisorder",
    "axis_order",
    "order",
    "axesOrder",
    "dim_names",
    "dimensions_names",
    "axisLabels",
    "layout",
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("key", KEYS)
def test_names_of_axes_by_any_name(tmp_path, form, key):
    names, stored = (["z", "x", "y"], IMAGE.transpose(0, 2, 1)) if form != "n5" else ("yxz", IMAGE.transpose(0, 2, 1))
    path = write(
        tmp_path, form, stored, {key: "".join(names), "resolution": [40, 4, 5] if form != "n5" else [5, 4, 40]}
    )
    same(path, IMAGE, voxel_size=(40, 5, 4))
    convert_volume(open_volume(path), str(tmp_path / "copy.zarr"))
    same(tmp_path / "copy.zarr", IMAGE, voxel_size=(40, 5, 4))


@pytest.mark.parametrize("form", ["h5", "zarr"])
def test_names_of_axes_that_contradict_each_other_are_refused(tmp_path, form):
    path = write(tmp_path, form, IMAGE, {"axis_names": ["z", "y", "x"], "dimension_order": "xyz"})
    with pytest.raises(NeuropilError, match="and in another place"):
        open_volume(path)


@pytest.mark.parametrize("key", ["axis_names", "dimension_order", "axis_order"])
def test_names_that_n5_or_numpy_may_have_counted_are_refused(tmp_path, key):
    with pytest.raises(NeuropilError, match="the order of N5 or of NumPy"):
        open_volume(write(tmp_path, "n5", IMAGE, {key: ["z", "y", "x"]}))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("attributes", "origin"),
    [
        ({"offset": [2, 0, 3], "offset_units": "voxel"}, (2, 0, 3)),
        ({"offset": [2, 0, 3], "offset_unit": ["px"] * 3}, (2, 0, 3)),
        ({"offset": [0.08, 0.0, 0.012], "offset_units": "um"}, (2, 0, 3)),
        ({"offset": [80, 0, 12]}, (2, 0, 3)),
        ({"origin": [80, 0, 12], "origin_units": "nm"}, (2, 0, 3)),
        ({"origin": [2, 0, 3], "origin_units": "voxels"}, (2, 0, 3)),
    ],
)
def test_places_have_units_of_their_own(tmp_path, form, attributes, origin):
    stored = {"resolution": [40.0, 5.0, 4.0], **attributes}
    if form == "n5":
        stored = {key: value[::-1] if isinstance(value, list) else value for key, value in stored.items()}
    same(write(tmp_path, form, IMAGE, stored), IMAGE, voxel_size=(40, 5, 4), origin=origin)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("key", ["resolution_units", "resolution_unit"])
def test_sizes_have_units_of_their_own(tmp_path, form, key):
    path = write(tmp_path, form, IMAGE, {"resolution": [0.04] * 3, key: "um", "units": "nm"})
    same(path, IMAGE, voxel_size=(40, 40, 40))
    (tmp_path / "b").mkdir()
    path = write(tmp_path / "b", form, IMAGE, {"resolution": [4] * 3, key: "furlong"})
    with pytest.raises(NeuropilError, match="furlong"):
        open_volume(path)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "key", ["voxel_offset", "translation", "voxelSize", "pixel_size_nm", "spacing", "resolution_xyz", "offset_nm"]
)
@pytest.mark.parametrize("place", ["array", "group"])
def test_what_is_not_used_is_told(tmp_path, form, key, place):
    told = {key: [4.0, 4.0, 40.0]}
    if place == "array":
        path = write(tmp_path, form, IMAGE, told)
    elif form == "n5":
        write_n5(tmp_path / "a.n5/raw", IMAGE, {}, told)
        path = tmp_path / "a.n5/raw"
    elif form == "h5":
        path = write(tmp_path, form, IMAGE, {})
        with h5py.File(path, "r+") as file:
            file.attrs.update(told)
    else:
        group = zarr.create_group(tmp_path / "a.zarr", attributes=told)
        group.create_array("raw", data=IMAGE)
        path = tmp_path / "a.zarr"
    with pytest.warns(Note, match=f"attribute {key} is .* not used"):
        same(path, IMAGE, voxel_size=None)


@pytest.mark.parametrize("form", ["h5", "zarr"])
@pytest.mark.parametrize(
    "said", [{"order": "F"}, {"ordering": "Fortran"}, {"memory_order": "column-major"}, {"fortran_order": True}]
)
def test_an_order_in_memory_is_refused_unless_the_axes_are_named(tmp_path, form, said):
    path = write(tmp_path, form, IMAGE.T, said)
    with pytest.raises(NeuropilError, match=f"the attribute {next(iter(said))} = .*--axes zyx"):
        open_volume(path)
    assert (open_volume(path, axes="xyz").read() == IMAGE).all()
    (tmp_path / "c").mkdir()
    plain = {"order": "C", "layout": "row-major", "fortran_order": False}
    same(write(tmp_path / "c", form, IMAGE, plain), IMAGE)
