"""Coordinates along the axes, as netCDF and xarray keep them: voxel size and place, or told."""

import h5py
import numpy as np
import pytest
import zarr

from foreign import IMAGE, same
from neuropil.errors import NeuropilError, Note
from neuropil.volumes import open_volume

AXES = {"z": 80 + 40.0 * np.arange(4), "y": 5.0 * np.arange(20), "x": 8 + 4.0 * np.arange(30)}


def write(folder, form, axes=AXES, units="nm", order="zyx", attributes=()):
    """A data variable with its coordinates, in HDF5 as netCDF lays it out, or in Zarr as xarray does."""
    stored = IMAGE.transpose(["zyx".index(axis) for axis in order])
    if form == "h5":
        with h5py.File(folder / "a.h5", "w") as file:
            data = file.create_dataset("raw", data=stored)
            data.attrs.update(dict(attributes))
            for number, axis in enumerate(order):
                file[axis] = axes[axis]
                file[axis].make_scale(axis)
                if units:
                    file[axis].attrs["units"] = units
                data.dims[number].attach_scale(file[axis])
        return folder / "a.h5/raw"
    form = int(form[-1])
    group = zarr.create_group(folder / "a.zarr", zarr_format=form)
    for name, values, dims in [("raw", stored, list(order)), *((axis, axes[axis], [axis]) for axis in order)]:
        array = group.create_array(
            name, shape=values.shape, dtype=values.dtype, chunks=values.shape,
            dimension_names=dims if form == 3 else None,
        )  # fmt: skip
        array[:] = values
        if form == 2:
            array.attrs["_ARRAY_DIMENSIONS"] = dims
        array.attrs.update(dict(attributes) if name == "raw" else {"units": units} if units else {})
    return folder / "a.zarr/raw"


FORMS = ["h5", "zarr2", "zarr3"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("order", ["zyx", "xyz"])
@pytest.mark.parametrize("attributes", [{}, {"units": "counts"}])
def test_size_and_place_by_coordinates(tmp_path, form, order, attributes):
    path = write(tmp_path, form, order=order, attributes=attributes)
    found = same(path, IMAGE, voxel_size=(40, 5, 4), origin=(2, 0, 2))
    assert found.found_in == "attribute resolution of the coordinates of its axes"


@pytest.mark.parametrize("form", FORMS)
def test_units_of_coordinates(tmp_path, form):
    axes = {axis: values / 1000 for axis, values in AXES.items()}
    same(write(tmp_path, form, axes, units="um"), IMAGE, voxel_size=(40, 5, 4), origin=(2, 0, 2))
    (tmp_path / "b").mkdir()
    same(write(tmp_path / "b", form, axes, units=""), IMAGE, voxel_size=None)
    (tmp_path / "c").mkdir()
    with pytest.raises(NeuropilError, match="furlong"):
        open_volume(write(tmp_path / "c", form, axes, units="furlong"))


@pytest.mark.parametrize("form", FORMS)
def test_uneven_coordinates_are_told(tmp_path, form):
    path = write(tmp_path, form, AXES | {"z": np.array([0.0, 40, 90, 130])})
    with pytest.warns(Note, match="no even steps"):
        assert open_volume(path).metadata.voxel_size is None


@pytest.mark.parametrize("form", FORMS)
def test_a_size_of_the_array_counts_more(tmp_path, form):
    same(write(tmp_path, form, attributes={"resolution": [30, 6, 6]}), IMAGE, voxel_size=(30, 6, 6), origin=None)
