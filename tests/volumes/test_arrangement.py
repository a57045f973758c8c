"""Arrays of other axes and orders: every voxel, place and size as meant, or refused by name."""

import json
import warnings

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from foreign import numbers, same, write_n5
from neuropil.errors import NeuropilError, Note
from neuropil.volumes import open_volume

ORDERS = ["zyx", "xyz", "yxz", "zyxc", "xyzc", "czyx", "tzyxc", "zcyx"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "how", ["axistags", "labels", "dimension_names", "_ARRAY_DIMENSIONS", "axis_names", "ome", "tiff"]
)
@pytest.mark.parametrize("channels", [1, 2])
def test_named_axes_are_turned(tmp_path, order, how, channels):
    lengths = {"t": 1, "c": channels, "z": 4, "y": 20, "x": 30}
    stored = numbers([lengths[axis] for axis in order], "u2")
    expected = stored.transpose([order.index(axis) for axis in "tczyx" if axis in order])
    expected = expected[0] if "t" in order else expected
    if channels == 1 and "c" in order and not (order == "czyx" and how != "ome"):
        expected = expected[0]
    path = write_named(tmp_path, order, how, stored)
    if path is None:
        pytest.skip("tifffile writes pages y, x only")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(path, expected)


def write_named(folder, order, how, stored):
    if how in ("axistags", "labels"):
        with h5py.File(folder / "a.h5", "w") as file:
            data = file.create_dataset("exported_data", data=stored)
            if how == "axistags":
                data.attrs["axistags"] = json.dumps({"axes": [{"key": axis, "typeFlags": 2} for axis in order]})
            else:
                for axis, name in enumerate(order):
                    data.dims[axis].label = name
        return folder / "a.h5"
    if how == "tiff":
        if not order.endswith("yx"):
            return None
        tifffile.imwrite(folder / "a.tif", stored, metadata={"axes": order.upper()}, photometric="minisblack")
        return folder / "a.tif"
    form = 3 if how == "dimension_names" else 2
    names = {"dimension_names": list(order)} if form == 3 else {}
    group = zarr.create_group(folder / "a.zarr", zarr_format=form)
    array = group.create_array("s0", shape=stored.shape, dtype="u2", chunks=stored.shape, **names)
    array[:] = stored
    if how == "ome":
        steps = [{"type": "scale", "scale": [1.0] * len(order)}]
        image = {"axes": [{"name": n} for n in order], "datasets": [{"path": "s0", "coordinateTransformations": steps}]}
        group.attrs["multiscales"] = [image]
    elif form == 2:
        array.attrs[how] = list(order)
    return folder / "a.zarr/s0"


def test_a_series_in_time_and_channels_in_the_end_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["series"] = numbers((3, 4, 20, 30))
        file["series"].attrs["axistags"] = json.dumps({"axes": [{"key": axis} for axis in "tzyx"]})
        file["last"] = numbers((80, 80, 90, 3))
        file["one"] = numbers((4, 20, 30, 1))
        file["five"] = numbers((1, 1, 4, 20, 30))
    with pytest.raises(NeuropilError, match=r"axes z, y, x.*t \(3\)"):
        open_volume(tmp_path / "a.h5/series")
    with pytest.raises(NeuropilError, match="looks like channels"):
        open_volume(tmp_path / "a.h5/last")
    with pytest.warns(Note, match="left out 1 last axis"):
        assert open_volume(tmp_path / "a.h5/one").shape == (4, 20, 30)
    with pytest.warns(Note, match="left out 2 first axes"):
        assert open_volume(tmp_path / "a.h5/five").shape == (4, 20, 30)


def write_names(folder, how, stored, names):
    """An array whose axes are named in one of the ways that files have."""
    if how == "attribute":
        array = zarr.create_array(folder / "a.zarr", shape=stored.shape, dtype="u1", zarr_format=2)
        array[:] = stored
        array.attrs["axis_names"] = names
        return folder / "a.zarr"
    if how == "dimension_names":
        array = zarr.create_array(folder / "a.zarr", shape=stored.shape, dtype="u1", dimension_names=names)
        array[:] = stored
        return folder / "a.zarr"
    if how == "n5":
        write_n5(folder / "a.n5/raw", stored, {"axes": names[::-1]})
        return folder / "a.n5/raw"
    with h5py.File(folder / "a.h5", "w") as file:
        data = file.create_dataset("raw", data=stored)
        for axis, name in enumerate(names):
            if how == "labels":
                data.dims[axis].label = name
            else:  # dimension scales, as netCDF has them
                scale = file.create_dataset(f"{axis}/{name}", data=np.arange(stored.shape[axis]))
                scale.make_scale(name)
                data.dims[axis].attach_scale(scale)
    return folder / "a.h5/raw"


HOW = ["attribute", "dimension_names", "labels", "scales", "n5"]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["X", "Y", "Z"], (2, 1, 0)),
        (["dim_x", "dim_y", "dim_z"], (2, 1, 0)),
        (["x_axis", "y_axis", "z_axis"], (2, 1, 0)),
        (["Rows", "Columns", "Slices"], (2, 0, 1)),
        (["y", "x", "section"], (2, 0, 1)),
        (["dim_0", "dim_1", "dim_2"], (0, 1, 2)),
        (["phony_dim_0", "phony_dim_1", "phony_dim_2"], (0, 1, 2)),
        (["d0", "d1", "d2"], (0, 1, 2)),
        (["c0^", "d0", "d1", "d2"], (0, 1, 2, 3)),
        (["d0", "d1", "d2", "c0^"], (3, 0, 1, 2)),
        (["dim_0", "y", "x"], (0, 1, 2)),
    ],
)
def test_names_that_are_clear_are_known(tmp_path, how, names, order):
    stored = numbers((2, 4, 20, 30)[-len(names) :])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(write_names(tmp_path, how, stored, names), stored.transpose(order))


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    "names",
    [
        ["X", "Z", "slice"], ["a", "b", "c"], ["lambda", "y", "x"], ["z", "dim_1", "dim_2"], ["i", "j", "k"],
        ["z", "y", "time"], ["wavelength", "z", "y", "x"],
    ],
)  # fmt: skip
def test_other_names_are_refused_with_a_way_out(tmp_path, how, names):
    stored = numbers((2, 4, 20, 30)[-len(names) :])
    path = write_names(tmp_path, how, stored, names)
    with pytest.raises(NeuropilError, match=f"{names[0]}.*{names[-1]}.* --axes "):
        open_volume(path)
    order = list("czyx"[-len(names) :])
    given = order[::-1] if how == "n5" else order
    assert (open_volume(path, axes="".join(given)).read() == stored).all()


@pytest.mark.parametrize("names", [["z", "y"], ["z", "y", "x", "x"], "depth", ["q", "r"], {"first": "z"}])
def test_names_that_do_not_fit_are_refused(tmp_path, names):
    path = write_names(tmp_path, "attribute", numbers((4, 20, 30)), names)
    with pytest.raises(NeuropilError, match=r"names its axes.* --axes "):
        open_volume(path)


@pytest.mark.parametrize("names", ["xyz", "x, y, z", "X Y Z", '["x", "y", "z"]', [{"name": n} for n in "xyz"]])
@pytest.mark.parametrize("key", ["axes", "axis_names", "dims"])
def test_names_in_other_forms(tmp_path, key, names):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = numbers((4, 20, 30))
        file["raw"].attrs[key] = names if isinstance(names, str) else json.dumps(names)
    with pytest.warns(Note, match="read as z, y, x"):
        same(tmp_path / "a.h5", numbers((4, 20, 30)).T)


def test_names_that_contradict_each_other_are_refused(tmp_path):
    path = write_names(tmp_path, "labels", numbers((4, 20, 30)), "zyx")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["raw"].attrs["axis_names"] = list("xyz")
    with pytest.raises(NeuropilError, match=r"x, y, z .*z, y, x.* --axes "):
        open_volume(path)
    assert open_volume(path, axes="zyx").shape == (4, 20, 30)
