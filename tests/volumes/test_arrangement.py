"""Arrays of other axes and orders: every voxel, place and size as meant, or refused by name."""

import json
import warnings

import h5py
import pytest
import tifffile
import zarr

from foreign import numbers, same
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
    with pytest.raises(NeuropilError, match=r"axes z, y, x.*t \(3\)"):
        open_volume(tmp_path / "a.h5/series")
    with pytest.raises(NeuropilError, match="looks like channels"):
        open_volume(tmp_path / "a.h5/last")
    with pytest.warns(Note, match="left out 1 last axis"):
        assert open_volume(tmp_path / "a.h5/one").shape == (4, 20, 30)
