"""A unit of length that is not known is refused by its name, in every format that has units."""

import json
import warnings

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from foreign import IMAGE, write_n5
from neuropil.errors import NeuropilError
from neuropil.volumes import open_volume


def attributes_of_hdf5(folder, unit):
    with h5py.File(folder / "a.h5", "w") as file:
        file["raw"] = IMAGE
        file["raw"].attrs.update({"resolution": [40.0, 5, 4], "units": unit})
    return folder / "a.h5"


def one_of_three(folder, unit):
    with h5py.File(folder / "a.h5", "w") as file:
        file["raw"] = IMAGE
        file["raw"].attrs.update({"voxel_size": [40.0, 5, 4], "units": json.dumps(["nm", "nm", unit])})
    return folder / "a.h5"


def attributes_of_a_group(folder, unit):
    with h5py.File(folder / "a.h5", "w") as file:
        file["v/raw"] = IMAGE
        file["v"].attrs.update({"resolution": [40.0, 5, 4], "unit": np.bytes_(unit)})
    return folder / "a.h5"


def attributes_of_zarr(folder, unit):
    array = zarr.create_array(folder / "a.zarr", data=IMAGE)
    array.attrs.update({"voxel_size": [40, 5, 4], "units": [unit] * 3})
    return folder / "a.zarr"


def ome_zarr(folder, unit, axes="zyx", lengths=IMAGE.shape):
    group = zarr.create_group(folder / "a.zarr")
    group.create_array("s0", shape=lengths, dtype="u1", chunks=lengths)[:] = 1
    named = [{"name": axis, "type": "space", "unit": unit} for axis in axes]
    steps = [{"type": "scale", "scale": [4.0] * len(axes)}]
    levels = [{"path": "s0", "coordinateTransformations": steps}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": named, "datasets": levels}]}
    return folder / "a.zarr"


def ome_zarr_section(folder, unit):
    return ome_zarr(folder, unit, "yx", (20, 30))


def n5(folder, attributes, group=None):
    write_n5(folder / "a.n5/s0", IMAGE, attributes, group)
    return folder / "a.n5/s0"


def n5_units(folder, unit):
    return n5(folder, {"resolution": [4, 5, 40], "units": [unit] * 3})


def n5_pixels(folder, unit):
    return n5(folder, {"pixelResolution": {"dimensions": [4, 5, 40], "unit": unit}})


def n5_group(folder, unit):
    return n5(folder, {}, {"pixelResolution": {"dimensions": [4, 5, 40], "unit": unit}})


def n5_transform(folder, unit):
    return n5(folder, {"transform": {"axes": ["z", "y", "x"], "scale": [40, 5, 4], "units": [unit] * 3}})


def imagej(folder, unit):
    metadata = {"spacing": 40.0, "unit": unit}
    tifffile.imwrite(folder / "a.tif", IMAGE, imagej=True, resolution=(0.25, 0.2), metadata=metadata)
    return folder / "a.tif"


def ome_tiff(folder, unit):
    sizes = {f"PhysicalSize{axis}": 4.0 for axis in "XYZ"}
    sizes |= {f"PhysicalSize{axis}Unit": "nm" for axis in "XYZ"}
    tifffile.imwrite(folder / "a.ome.tif", IMAGE, metadata={"axes": "ZYX", **sizes})
    whole = (folder / "a.ome.tif").read_bytes()
    with tifffile.TiffFile(folder / "a.ome.tif") as file:
        text = file.pages[0].description
    turned = text.replace('"nm"', f'"{unit[-2:]}"')
    assert turned != text
    (folder / "a.ome.tif").write_bytes(whole.replace(text.encode(), turned.encode()))
    return folder / "a.ome.tif"


def nrrd(folder, unit):
    writer = pytest.importorskip("nrrd")
    header = {"space dimension": 3, "space directions": np.diag([4.0, 5, 40]), "space units": [unit] * 3}
    writer.write(str(folder / "a.nrrd"), IMAGE.T, header)
    return folder / "a.nrrd"


WRITERS = [
    attributes_of_hdf5, one_of_three, attributes_of_a_group, attributes_of_zarr, ome_zarr, ome_zarr_section, n5_units,
    n5_pixels, n5_group, n5_transform, imagej, ome_tiff, nrrd,
]  # fmt: skip


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("unit", ["furlong", "inches"])
def test_an_unknown_unit_is_refused_by_name(tmp_path, write, unit):
    path = write(tmp_path, unit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(NeuropilError, match=f"expected a unit of length.*{unit[-2:]}"):
            open_volume(path)
