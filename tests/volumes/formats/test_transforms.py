"""COSEM's transform and n5-viewer's pixelResolution, of arrays and of groups, in all formats that have attributes."""

import json

import h5py
import numpy as np
import pytest
import zarr

from foreign import IMAGE, same
from neuropil.errors import NeuropilError, Note
from neuropil.volumes import open_volume

NM = {"units": ["nm"] * 3}
COSEM = {"axes": ["z", "y", "x"], "scale": [40.0, 5.0, 4.0], "translate": [80.0, 0.0, 4.0], "order": "C", **NM}
TURNED = {"axes": ["x", "y", "z"], "scale": [4.0, 5.0, 40.0], "translate": [4.0, 0.0, 80.0], "order": "F", **NM}
SAME = {"dimensions": [0.04, 0.04, 0.04], "unit": "um"}
MULTISCALES = {"multiscales": [{"name": "em", "datasets": [{"path": "s0", "transform": COSEM}]}]}


def write(folder, form, voxels, own, group):
    """An array em/s0 with its attributes and those of its group."""
    if form == "h5":
        with h5py.File(folder / "a.h5", "w") as file:
            file["em/s0"] = voxels
            for place, values in (("em/s0", own), ("em", group)):
                plain = {key: json.dumps(value) for key, value in values.items()}
                file[place].attrs.update(plain)
        return folder / "a.h5/em/s0"
    top = zarr.create_group(folder / "a.zarr", zarr_format=int(form[-1]))
    em = top.create_group("em", attributes=group)
    em.create_array("s0", data=voxels).attrs.update(own)
    return folder / "a.zarr/em/s0"


FORMS = ["h5", "zarr2", "zarr3"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("transform", [COSEM, TURNED])
@pytest.mark.parametrize("place", ["own", "group"])
def test_a_transform_says_size_and_place(tmp_path, form, transform, place):
    own, group = ({"transform": transform}, {}) if place == "own" else ({}, {"transform": transform})
    same(write(tmp_path, form, IMAGE, own, group), IMAGE, voxel_size=(40, 5, 4), origin=(2, 0, 1))


@pytest.mark.parametrize("form", FORMS)
def test_a_level_has_the_transform_that_its_group_gives_it(tmp_path, form):
    same(write(tmp_path, form, IMAGE, {}, MULTISCALES), IMAGE, voxel_size=(40, 5, 4), origin=(2, 0, 1))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", ["own", "group"])
def test_pixels_of_one_size_are_read_others_told(tmp_path, form, place):
    for name, size, told in (("a", SAME, False), ("b", {"dimensions": [4, 5, 40], "unit": "nm"}, True)):
        (tmp_path / name).mkdir()
        values = ({"pixelResolution": size}, {})
        path = write(tmp_path / name, form, IMAGE, *(values if place == "own" else values[::-1]))
        if told:
            with pytest.warns(Note, match="pixelResolution .* not used"):
                same(path, IMAGE, voxel_size=None)
        else:
            same(path, IMAGE, voxel_size=(40, 40, 40))


@pytest.mark.parametrize("form", FORMS)
def test_a_transform_names_the_axes_where_nothing_else_does(tmp_path, form):
    plain = {key: value for key, value in TURNED.items() if key != "order"}
    path = write(tmp_path, form, IMAGE.transpose(2, 1, 0), {"transform": plain}, {})
    same(path, IMAGE, voxel_size=(40, 5, 4), origin=(2, 0, 1))


@pytest.mark.parametrize("form", FORMS)
def test_names_of_axes_and_a_transform(tmp_path, form):
    own = {"transform": COSEM, "axis_names": ["x", "y", "z"]}
    path = write(tmp_path, form, IMAGE.transpose(2, 1, 0), own, {})
    same(path, IMAGE, voxel_size=(40, 5, 4), origin=(2, 0, 1))


@pytest.mark.parametrize("form", FORMS)
def test_a_transform_and_another_size_are_told(tmp_path, form):
    path = write(tmp_path, form, IMAGE, {"transform": COSEM, "resolution": [8.0, 8.0, 8.0]}, {})
    with pytest.warns(Note, match="which is used"):
        same(path, IMAGE, voxel_size=(40, 5, 4))


@pytest.mark.parametrize("form", FORMS)
def test_a_transform_of_other_axes_is_refused(tmp_path, form):
    path = write(tmp_path, form, IMAGE, {"transform": COSEM | {"axes": ["a", "b", "c"]}}, {})
    with pytest.raises(NeuropilError, match="transform of axes z, y, x"):
        open_volume(path)


def test_units_of_the_dimensions_of_tensorstore(tmp_path):
    import tensorstore as ts

    for name, channels, units in (
        ("a", (), ["40 nm", "0.005 um", "4 nm"]),
        ("b", (2,), [None, "40 nm", "5 nm", "4 nm"]),
    ):
        array = ts.open(
            {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{tmp_path}/{name}.zarr"}},
            shape=[*channels, *IMAGE.shape], dtype="uint8", create=True, dimension_units=units,
        ).result()  # fmt: skip
        array[...] = IMAGE
        expected = IMAGE if not channels else np.stack([IMAGE] * 2)
        same(tmp_path / f"{name}.zarr", expected, voxel_size=(40, 5, 4))
