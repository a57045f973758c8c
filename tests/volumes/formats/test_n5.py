"""N5 as other programs write it: every voxel, place and size as meant, or refused by name."""

import json
import warnings
from contextlib import suppress

import pytest
import zarr

from foreign import IMAGE, same, write_n5
from neuropil.errors import NeuropilError, Note
from neuropil.volumes import open_volume


@pytest.mark.parametrize(
    ("attributes", "group", "size", "origin"),
    [
        ({"resolution": [4, 5, 40], "offset": [8, 10, 120]}, None, (40, 5, 4), (3, 2, 2)),
        ({"resolution": [4, 5, 40], "units": ["nm", "nm", "nm"]}, None, (40, 5, 4), None),
        (
            {"resolution": [0.004, 0.005, 0.04], "units": ["um"] * 3, "offset": [0.008, 0, 0]},
            None, (40, 5, 4), (0, 0, 2),
        ),
        ({"pixelResolution": {"dimensions": [4, 5, 40], "unit": "nm"}}, None, (40, 5, 4), None),
        ({"pixelResolution": [4, 5, 40]}, None, (40, 5, 4), None),
        (
            {"transform": {"axes": ["z", "y", "x"], "scale": [40, 5, 4], "translate": [80, 0, 4], "units": ["nm"] * 3}},
            None, (40, 5, 4), (2, 0, 1),
        ),
        (
            {"transform": {"axes": ["x", "y", "z"], "scale": [4, 5, 40], "translate": [4, 0, 80], "units": ["nm"] * 3}},
            None, (40, 5, 4), (2, 0, 1),
        ),
        ({}, {"resolution": [4, 5, 40], "units": ["nm"] * 3}, (40, 5, 4), None),
        (
            {"downsamplingFactors": [3, 3, 1]}, {"pixelResolution": {"dimensions": [4, 5, 40], "unit": "nm"}},
            (40, 15, 12), None,
        ),
        (
            {}, {"multiscales": [{"datasets": [{"path": "s0", "transform": {
                "axes": ["z", "y", "x"], "scale": [40, 5, 4], "translate": [40, 0, 0], "units": ["nm"] * 3}}]}]},
            (40, 5, 4), (1, 0, 0),
        ),
    ],
)  # fmt: skip
def test_n5_counts_x_y_z_in_all_attributes(tmp_path, attributes, group, size, origin):
    write_n5(tmp_path / "a.n5/s0", IMAGE, attributes, group)
    metadata = same(tmp_path / "a.n5/s0", IMAGE, voxel_size=size)
    if "downsamplingFactors" in attributes:
        assert metadata.position == pytest.approx((0, 5, 4))
    else:
        assert metadata.origin == origin


NM = {"resolution": [4, 5, 40]}
PIXELS = {"pixelResolution": {"dimensions": [4, 5, 40], "unit": "nm"}}


@pytest.mark.parametrize(
    ("attributes", "size", "origin"),
    [
        ({"voxel_size": [4, 5, 40]}, (40, 5, 4), None),
        ({"voxel_size": [4, 5, 40], "axes": ["x", "y", "z"]}, (40, 5, 4), None),
        ({"voxel_size": [0.004, 0.005, 0.04], "units": ["um"] * 3, "offset": [0.008, 0, 0]}, (40, 5, 4), (0, 0, 2)),
        ({"voxel_size_nm": [4, 5, 40], "origin": [1, 2, 3]}, (40, 5, 4), (3, 2, 1)),
        ({"voxel_size": [40, 5, 4], "axes": ["z", "y", "x"]}, (40, 5, 4), None),
        ({**PIXELS, "offset": [8, 0, 40]}, (40, 5, 4), (1, 0, 2)),
        ({"pixelResolution": {"dimensions": [0.4, 0.5, 4], "unit": "angstrom"}}, (0.4, 0.05, 0.04), None),
    ],
)
def test_sizes_of_others_are_x_y_z(tmp_path, attributes, size, origin):
    turned = attributes.get("axes") == ["z", "y", "x"]
    write_n5(tmp_path / "a.n5/raw", IMAGE.T if turned else IMAGE, attributes)
    same(tmp_path / "a.n5/raw", IMAGE, voxel_size=size, origin=origin)


def pyramid(folder, levels, group=None, above=None):
    """Levels s0, s1 … of a pyramid with their attributes, and those of the groups above."""
    for level, attributes in enumerate(levels):
        factor = 2**level
        voxels = IMAGE[:, ::factor, ::factor]
        write_n5(folder / f"a.n5/setup/raw/s{level}", voxels, attributes)
    for place, values in (("setup/raw", group), ("setup", above)):
        if values is not None:
            (folder / "a.n5" / place / "attributes.json").write_text(json.dumps(values))
    return folder / "a.n5/setup/raw"


HALF = {"downsamplingFactors": [2, 2, 1]}
COARSE = {"resolution": [8, 10, 40]}


@pytest.mark.parametrize(
    ("levels", "group", "above"),
    [
        ([{}, HALF], NM | {"multiScale": True}, None),
        ([{}, HALF], PIXELS, None),
        ([{}, {}], PIXELS | {"scales": [[1, 1, 1], [2, 2, 1]]}, None),
        ([{}, {}], NM | {"multiScale": True}, {"downsamplingFactors": [[1, 1, 1], [2, 2, 1]]}),
        ([{}, HALF], {"multiScale": True}, NM),
        ([PIXELS, PIXELS | HALF], None, None),  # as n5-spark writes them
        ([NM, COARSE | HALF], None, None),
        ([NM, NM | HALF], None, None),
        ([{}, HALF], {"transform": {"axes": ["z", "y", "x"], "scale": [40, 5, 4], "units": ["nm"] * 3}}, None),
        ([NM, COARSE], NM, None),
    ],
)
def test_levels_of_pyramids(tmp_path, levels, group, above):
    path = pyramid(tmp_path, levels, group, above)
    same(path / "s0", IMAGE, voxel_size=(40, 5, 4), origin=None)
    found = same(path / "s1", IMAGE[:, ::2, ::2], voxel_size=(40, 10, 8))
    own = "resolution" in levels[1] and levels[1]["resolution"] == COARSE["resolution"]
    assert found.position == pytest.approx((0, 0, 0) if own else (0, 2.5, 2))


@pytest.mark.parametrize(
    ("own", "size", "meant"),
    [(PIXELS | HALF, (40, 10, 8), "the finest level"), (COARSE | HALF, (40, 10, 8), "its own voxels")],
)
def test_a_level_without_the_finest_one_is_told(tmp_path, own, size, meant):
    write_n5(tmp_path / "a.n5/s1", IMAGE, own)
    with pytest.warns(Note, match=f"taken as the size of {meant}"):
        same(tmp_path / "a.n5/s1", IMAGE, voxel_size=size)


@pytest.mark.parametrize(
    ("levels", "group", "message"),
    [
        ([NM, {"resolution": [3, 3, 40]} | HALF], None, "neither with nor without"),
        ([{}, {"downsamplingFactors": [2, 2]}], NM, "for the same axes"),
        ([{}, {"downsamplingFactors": "half"}], NM, "positive numbers"),
    ],
)
def test_levels_that_contradict_each_other_are_refused(tmp_path, levels, group, message):
    with pytest.raises(NeuropilError, match=message):
        open_volume(pyramid(tmp_path, levels, group) / "s1")


def test_a_size_above_levels_that_do_not_say_theirs_is_told(tmp_path):
    path = pyramid(tmp_path, [{}, {}], NM)
    with pytest.warns(Note, match="different shapes"):
        same(path / "s1", IMAGE[:, ::2, ::2], voxel_size=None)


def test_two_sizes_are_told(tmp_path):
    write_n5(tmp_path / "a.n5/raw", IMAGE, NM | {"pixelResolution": {"dimensions": [8, 10, 40], "unit": "nm"}})
    with pytest.warns(Note, match="which is used, and the pixelResolution"):
        same(tmp_path / "a.n5/raw", IMAGE, voxel_size=(40, 5, 4))


def test_axes_as_numpy_counts_them(tmp_path):
    """As zarr-python and xarray write them into N5."""
    write_n5(tmp_path / "a.n5", IMAGE, {"_ARRAY_DIMENSIONS": ["z", "y", "x"]})
    same(tmp_path / "a.n5", IMAGE)
    write_n5(tmp_path / "b.n5", IMAGE, {"axis_names": ["z", "y", "x"]})
    with pytest.raises(NeuropilError, match="axis_names z, y, x, but N5 counts x first"):
        open_volume(tmp_path / "b.n5")
    assert (open_volume(tmp_path / "b.n5", axes="xyz").read() == IMAGE).all()
    write_n5(tmp_path / "c.n5", IMAGE, {"axis_names": ["x", "y", "z"], "_ARRAY_DIMENSIONS": ["x", "y", "z"]})
    with pytest.raises(NeuropilError, match="and in another place"):
        open_volume(tmp_path / "c.n5")


def test_a_block_that_is_too_small_is_refused(tmp_path):
    write_n5(tmp_path / "a.n5", IMAGE, {})
    about = json.loads((tmp_path / "a.n5/attributes.json").read_text())
    (tmp_path / "a.n5/attributes.json").write_text(json.dumps(about | {"blockSize": [40, 20, 4]}))
    same(tmp_path / "a.n5", IMAGE)  # the last block may end where the dataset ends
    (tmp_path / "a.n5/attributes.json").write_text(
        json.dumps(about | {"dimensions": [50, 20, 4], "blockSize": [40, 20, 4]})
    )
    with (
        pytest.warns(Note, match="missing"),
        pytest.raises(NeuropilError, match=r"expected 40 × 20 × 4 .*got 30 × 20 × 4"),
    ):
        open_volume(tmp_path / "a.n5").read()


FOREIGN = [
    {"resolution": {"x": 4, "y": 5, "z": 40}}, {"resolution": "8bit"}, {"resolution": [4, 5]}, {"resolution": []},
    {"voxel_size": "small"}, {"voxel_size": [4, 5]}, {"offset": "none"}, {"offset": [1, 2]}, {"origin": "lab"},
    {"origin": [1, 2]}, {"units": 5}, {"units": ["nm", "nm"]}, {"unit": {"x": "nm"}}, {"pixelResolution": "high"},
    {"pixelResolution": [4, 5]}, {"pixelResolution": {"unit": "um"}}, {"transform": [[1, 0, 0, 0]]},
    {"transform": "none"}, {"transform": {"scale": "x"}}, {"transform": {"scale": 4}},
    {"transform": {"axes": ["a", "b", "c"], "scale": [1, 1, 1]}}, {"downsamplingFactors": "none"},
    {"downsamplingFactors": [2, 2]}, {"multiscales": "none"}, {"multiscales": {"a": 1}},
    {"multiscales": [{"datasets": None}]}, {"axes": 5}, {"axes": [{"x": 1}]}, {"axis_names": 5}, {"encoding": "gzip"},
    {"offsets": [1]}, {"scales": 5}, {"multiScale": "no"},
]  # fmt: skip


@pytest.mark.parametrize("place", ["own", "group"])
@pytest.mark.parametrize("attributes", FOREIGN, ids=lambda one: json.dumps(one)[:40])
@pytest.mark.filterwarnings("ignore")
def test_attributes_of_others_never_crash(tmp_path, attributes, place):
    write_n5(
        tmp_path / "a.n5/raw", IMAGE, attributes if place == "own" else {}, attributes if place == "group" else None
    )
    with suppress(NeuropilError):
        assert open_volume(tmp_path / "a.n5/raw").shape == IMAGE.shape


def test_several_ids_per_voxel_are_refused_by_name(tmp_path):
    write_n5(tmp_path / "a.n5", IMAGE, {"isLabelMultiset": True})
    with pytest.raises(NeuropilError, match=r"a label multiset of Paintera, in .*a\.n5"):
        open_volume(tmp_path / "a.n5")


@pytest.mark.parametrize(
    "attributes", [{"resolution": "8bit"}, {"resolution": {"x": 4}}, {"resolution": [4, 5]}, {"axes": 5}, {"units": 5}]
)
@pytest.mark.filterwarnings("ignore")
def test_attributes_of_others_are_left_alone(tmp_path, attributes):
    write_n5(tmp_path / "a.n5/raw", IMAGE, attributes)
    same(tmp_path / "a.n5/raw", IMAGE, voxel_size=None)


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_in_a_folder_called_n5_is_named(tmp_path, version):
    zarr.open_group(tmp_path / "a.n5", mode="w", zarr_format=version).create_array("raw", data=IMAGE)
    for path in ("a.n5", "a.n5/raw"):
        with pytest.raises(NeuropilError, match=rf"got Zarr .*; write zarr://.*{path}$"):
            open_volume(tmp_path / path)
    assert (open_volume(f"zarr://{tmp_path}/a.n5/raw").read() == IMAGE).all()


@pytest.mark.parametrize("units", [{}, {"units": ["nm"] * 3}])
def test_sizes_of_big_data_viewer_have_the_unit_of_its_xml(tmp_path, units):
    group = {"resolution": [4, 5, 40], "multiScale": True, "saved_completely": True} | units
    write_n5(tmp_path / "a.n5/setup0/timepoint0/s0", IMAGE, {"downsamplingFactors": [1, 1, 1]}, group)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        same(tmp_path / "a.n5/setup0/timepoint0/s0", IMAGE, voxel_size=(40, 5, 4))
    assert any("taken as nm" in str(one.message) for one in told) == (not units)
