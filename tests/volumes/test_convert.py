"""From any format to any other, and what a container holds."""

from itertools import product

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from typer.testing import CliRunner

from neuropil.cli import app
from neuropil.errors import NeuropilError, Note
from neuropil.geometry import Box
from neuropil.volumes import (
    LOGIT8,
    Metadata,
    array_volume,
    convert,
    convert_volume,
    list_arrays,
    open_volume,
    write_volume,
)
from neuropil.volumes.convert import Voxels

FORMATS = ["a.h5/x", "a.tif", "a.zarr", "zarr2://a.zarr/y", "a.n5", "precomputed://p", "a.ome.zarr"]
FULL = Metadata((30.0, 6.0, 6.5), (60, 0, 7), ((-1, 0, 0), (0, -9, 0)), LOGIT8, {"threshold": 0.3})


def at(folder, name):
    prefix, _, rest = name.rpartition("://")
    return f"{prefix}://{folder}/{rest}" if prefix else f"{folder}/{name}"


@pytest.mark.parametrize(("source", "target"), list(product(FORMATS, FORMATS)))
def test_any_to_any(tmp_path, source, target, monkeypatch):
    monkeypatch.setattr(convert, "SLAB_BYTES", 4000)  # many small parts
    array = np.random.default_rng(0).integers(0, 255, (2, 5, 33, 47)).astype("u1")
    write_volume(at(tmp_path / "from", source), array, FULL)
    convert_volume(open_volume(at(tmp_path / "from", source)), at(tmp_path / "to", target))
    copy = open_volume(at(tmp_path / "to", target))
    assert copy.metadata == FULL
    assert (copy.read() == array).all()


def test_a_box_of_it(tmp_path):
    array = np.random.default_rng(0).integers(0, 2**63, (5, 33, 47)).astype("u8")
    write_volume(tmp_path / "a.h5", array, Metadata(origin=(10, 0, 0)))
    convert_volume(
        open_volume(tmp_path / "a.h5"), tmp_path / "b.tif", box=Box((11, 2, 3), (13, 30, 4)), voxel_size=(3, 2, 1)
    )
    copy = open_volume(tmp_path / "b.tif")
    assert copy.metadata == Metadata(voxel_size=(3, 2, 1), origin=(11, 2, 3))
    assert (copy.read() == array[1:3, 2:30, 3:4]).all()
    with pytest.raises(NeuropilError, match="leaves"):
        convert_volume(open_volume(tmp_path / "a.h5"), tmp_path / "c.tif", box=Box((0, 0, 0), (1, 1, 1)))
    assert not (tmp_path / "c.tif").exists()


def test_within_one_file(tmp_path):
    write_volume(tmp_path / "a.h5/raw", np.ones((2, 3, 4), "u1"))
    with open_volume(tmp_path / "a.h5/raw") as volume:
        convert_volume(volume, tmp_path / "a.h5/copy")
    assert set(list_arrays(tmp_path / "a.h5")) == {"raw", "copy"}
    with open_volume(tmp_path / "a.h5/raw") as volume:
        convert_volume(volume, tmp_path / "a.h5/raw", voxel_size=(1, 1, 1))  # onto itself
    assert open_volume(tmp_path / "a.h5/raw").metadata.voxel_size == (1, 1, 1)


@pytest.mark.parametrize(
    ("chunks", "source", "voxel"),
    [
        ((32, 128, 128), (10, 256, 256), 1),
        (None, (1, 4096, 4096), 8),
        ((32, 128, 128), (1, 9000, 9000), 8),
        (None, None, 1),
    ],
)
def test_parts_are_whole_chunks_that_fit_in_memory(chunks, source, voxel):
    shape = (1000, 9000, 9000)
    part = convert.part_shape(shape, chunks, source, voxel)
    assert all(p % c == 0 for p, c in zip(part, chunks or (1, 1, 1), strict=True))
    assert np.prod(part) * voxel <= convert.SLAB_BYTES
    assert np.prod(part) * voxel > convert.SLAB_BYTES / 8


@pytest.mark.parametrize("name", FORMATS)
def test_what_a_container_holds(tmp_path, name):
    write_volume(at(tmp_path, name), np.zeros((3, 4, 5), "u2"), Metadata(voxel_size=(3, 2, 1)))
    expected = {"a.h5/x": "x", "zarr2://a.zarr/y": "y", "precomputed://p": "1_2_3", "a.ome.zarr": "0"}.get(name, "")
    container = at(tmp_path, name).removesuffix("/x").removesuffix("/y")
    assert {key: str(value) for key, value in list_arrays(container).items()} == {expected: "3×4×5 uint16"}


@pytest.mark.parametrize(
    ("voxels", "array", "expected"),
    [
        (Voxels(scale_range=(20000, 20255)), np.arange(19990, 20270), np.clip(np.arange(-10, 270), 0, 255)),
        (Voxels(dtype="uint16"), np.array([0, 7, 65535], np.int64), np.array([0, 7, 65535])),
        (Voxels(kind="segmentation"), np.array([0, 7, 200], np.uint8), np.array([0, 7, 200])),
        (Voxels(dtype="uint8"), np.array([0.0, 7.0]), np.array([0, 7])),
        (Voxels(dtype="float64"), np.array([0, 2**60, 2**63], np.uint64), np.array([0.0, 2.0**60, 2.0**63])),
        (Voxels(dtype="float32"), np.array([0.1, -np.inf]), np.array([0.1, -np.inf], np.float32)),
    ],
)
def test_voxels_become_what_is_asked_for(tmp_path, voxels, array, expected):
    volume = array_volume(array[np.newaxis, np.newaxis])
    convert_volume(volume, tmp_path / "a.h5", voxels=voxels)
    copy = open_volume(tmp_path / "a.h5")
    assert copy.read()[0, 0].tolist() == expected.tolist()
    assert copy.dtype == (voxels.dtype or ("uint32" if voxels.kind else "uint8"))


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("uint8", 256),
        ("uint8", -1),
        ("uint16", 0.5),
        ("uint16", np.nan),
        ("int8", np.uint64(2**63)),
        ("uint64", 2.0**64),
        ("int64", 2.0**63),
        ("float64", 2**53 + 1),
        ("float64", -(2**53) - 1),
        ("float64", np.uint64(2**64 - 1)),
        ("float32", np.int32(2**24 + 1)),
        ("float16", np.uint16(65535)),
        ("float16", np.uint16(2049)),
        ("float32", 1e39),
        ("float16", np.float32(1e5)),
        ("bool", 2),
    ],
)
def test_nothing_is_cut_in_silence(tmp_path, dtype, value):
    array = np.full((1, 1, 3), value)
    with pytest.raises(NeuropilError, match="cannot hold"):
        convert_volume(array_volume(array), tmp_path / "a.h5", voxels=Voxels(dtype=dtype))
    assert not list(tmp_path.iterdir())


def test_not_labelled_becomes_0_and_is_told(tmp_path):
    labels = array_volume(np.array([[[-1, 7, 2**40]]]))
    with pytest.warns(Note, match="-1 in an array in memory means not labelled; it is 0"):
        convert_volume(labels, tmp_path / "a.precomputed", voxels=Voxels(kind="segmentation"))
    assert open_volume(tmp_path / "a.precomputed").read().tolist() == [[[0, 7, 2**40]]]
    with pytest.raises(NeuropilError, match="--type segmentation makes -1"):
        convert_volume(labels, tmp_path / "b.h5", voxels=Voxels(dtype="uint64"))
    with pytest.raises(NeuropilError, match=r"cannot hold -2.*another --dtype$"):
        convert_volume(array_volume(np.array([[[-2]]])), tmp_path / "b.h5", voxels=Voxels(kind="segmentation"))


def test_a_range_has_no_place_for_nan(tmp_path):
    volume = array_volume(np.array([[[0.0, np.nan, 2.0]]], np.float32))
    with pytest.raises(NeuropilError, match="cannot hold nan"):
        convert_volume(volume, tmp_path / "a.h5", voxels=Voxels(scale_range=(0, 2)))
    convert_volume(volume, tmp_path / "b.h5", voxels=Voxels("float32", scale_range=(0, 2)))
    with h5py.File(tmp_path / "b.h5") as file:
        np.testing.assert_array_equal(next(iter(file.values()))[0, 0], [0, np.nan, 1])


def stored_xyz(folder, array, form):
    """The array with its axes turned to x, y, z, in a file that does not name them, by the format's own library."""
    turned = np.ascontiguousarray(array.T)
    if form == "h5":
        with h5py.File(folder / "a.h5", "w") as file:
            file["main"] = turned
            file["main"].attrs["resolution"] = (6, 7, 30)
    elif form == "npy":
        np.save(folder / "a.npy", turned)
    elif form == "tif":
        tifffile.imwrite(folder / "a.tif", turned, photometric="minisblack")
    else:
        stored = zarr.open_array(folder / "a.zarr", mode="w", shape=turned.shape, dtype=turned.dtype, chunks=(4, 4, 4))
        stored[:] = turned
        stored.attrs["resolution"] = [6, 7, 30]
    return folder / f"a.{form}"


@pytest.mark.parametrize("form", ["h5", "npy", "tif", "zarr"])
def test_axes_are_named_by_the_user(tmp_path, form):
    array = np.random.default_rng(0).integers(0, 255, (4, 6, 9), np.uint8)
    source = stored_xyz(tmp_path, array, form)
    done = CliRunner().invoke(app, ["convert", str(source), str(tmp_path / "b.h5"), "--axes", "xyz"])
    assert done.exit_code == 0, done.output
    found = open_volume(tmp_path / "b.h5")
    np.testing.assert_array_equal(found.read(), array)
    assert found.metadata.voxel_size == ((30, 7, 6) if form in ("h5", "zarr") else None)


def test_axes_that_do_not_fit_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((5, 4, 6, 9), np.uint8))
    for axes, told in (
        ("xyz", "names 3 axes, but"),
        ("tzyx", "expected axes z, y, x and at most one of channels"),
        ("zzyx", "each of t, c, z, y, x at most once"),
        ("abc", "each of t, c, z, y, x at most once"),
    ):
        with pytest.raises(NeuropilError, match=told):
            open_volume(tmp_path / "a.npy", axes=axes)
    assert open_volume(tmp_path / "a.npy", axes="x,c,y,z").shape == (4, 9, 6, 5)
    write_volume(tmp_path / "a.precomputed", np.zeros((5, 4, 6), np.uint8))
    with pytest.raises(NeuropilError, match="says itself which axes it has"):
        open_volume(tmp_path / "a.precomputed", axes="xyz")
