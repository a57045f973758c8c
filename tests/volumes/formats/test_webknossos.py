"""Datasets of WEBKNOSSOS: the size of voxels and the order of axes that its file beside the arrays says."""

import json
import warnings

import pytest
import zarr

from foreign import IMAGE, same, write_n5
from neuropil.errors import Note

LAYER = {
    "name": "color", "category": "color",
    "mags": [
        {"mag": [1, 1, 1], "path": "./color/1", "axisOrder": {"c": 0, "x": 1, "y": 2, "z": 3}},
        {"mag": [2, 2, 1], "path": "color/2-2-1"},
    ],
}  # fmt: skip
SCALES = [
    {"factor": [4, 5, 40], "unit": "nanometer"},
    {"factor": [0.004, 0.005, 0.04], "unit": "micrometer"},
    [4, 5, 40],
]


def describe(folder, scale=SCALES[0], layer=LAYER):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "datasource-properties.json").write_text(json.dumps({"dataLayers": [layer], "scale": scale}))


@pytest.mark.parametrize("form", [2, 3])
@pytest.mark.parametrize("scale", SCALES)
def test_zarr_of_webknossos(tmp_path, form, scale):
    """c, x, y, z, which the arrays themselves do not say."""
    describe(tmp_path, scale)
    fine, coarse = IMAGE, IMAGE[:, ::2, ::2]
    for mag, voxels in (("1", fine), ("2-2-1", coarse)):
        zarr.create_array(tmp_path / "color" / mag, data=voxels.T[None], zarr_format=form)
    same(tmp_path / "color/1", fine, voxel_size=(40, 5, 4))
    assert same(tmp_path / "color/2-2-1", coarse, voxel_size=(40, 10, 8)).position == pytest.approx((0, 2.5, 2))


def test_n5_beside_the_file(tmp_path):
    describe(tmp_path)
    write_n5(tmp_path / "color/4-4-1", IMAGE, {})
    same(f"n5://{tmp_path}/color/4-4-1", IMAGE, voxel_size=(40, 20, 16))


def test_what_an_array_says_itself_counts_and_other_arrays_do_not(tmp_path):
    describe(tmp_path)
    own = {"resolution": [30, 6, 6], "axis_names": ["z", "y", "x"]}
    zarr.create_array(tmp_path / "color/1", data=IMAGE).attrs.update(own)
    zarr.create_array(tmp_path / "other/1", data=IMAGE)
    same(tmp_path / "color/1", IMAGE, voxel_size=(30, 6, 6))
    same(tmp_path / "other/1", IMAGE, voxel_size=None)


@pytest.mark.parametrize("form", ["zarr", "n5"])
@pytest.mark.parametrize(("corner", "told"), [((2, 4, 0), "0:4,4:20,2:30"), ((0, 0, 0), None)])
def test_a_box_around_the_voxels_is_told(tmp_path, form, corner, told):
    sides = dict(
        zip(("width", "height", "depth"), (n - a for n, a in zip((30, 20, 4), corner, strict=True)), strict=True)
    )
    describe(tmp_path, layer=LAYER | {"boundingBox": {"topLeft": corner, **sides}})
    if form == "n5":
        write_n5(tmp_path / "color/1", IMAGE, {})
    else:
        zarr.create_array(tmp_path / "color/1", data=IMAGE.T[None])
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always", Note)
        same(f"{form}://{tmp_path}/color/1", IMAGE)
    found = [str(one.message) for one in notes if "WEBKNOSSOS" in str(one.message)]
    assert [told in one for one in found] == ([] if told is None else [True])
