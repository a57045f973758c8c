"""Zarr as other programs write it: every voxel, place and size as meant, or refused by name."""

import json

import pytest
import zarr

from foreign import IMAGE, same
from neuropil.errors import NeuropilError, Note
from neuropil.volumes import open_volume


def test_nested_zarr_2_without_a_separator(tmp_path):
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=IMAGE.shape, chunks=(2, 10, 10), dtype="u1", zarr_format=2,
        chunk_key_encoding={"name": "v2", "separator": "/"},
    )  # fmt: skip
    array[:] = IMAGE
    described = json.loads((tmp_path / "a.zarr/.zarray").read_text())
    del described["dimension_separator"]
    (tmp_path / "a.zarr/.zarray").write_text(json.dumps(described))
    same(tmp_path / "a.zarr", IMAGE)


@pytest.mark.parametrize("form", [2, 3])
def test_chunks_of_other_names_than_described_are_refused(tmp_path, form):
    array = zarr.create_array(tmp_path / "a.zarr", shape=IMAGE.shape, chunks=(2, 10, 10), dtype="u1", zarr_format=form)
    array[:] = IMAGE
    name = ".zarray" if form == 2 else "zarr.json"
    described = json.loads((tmp_path / "a.zarr" / name).read_text())
    if form == 2:
        described["dimension_separator"] = "/"
    else:
        described["chunk_key_encoding"] = {"name": "default", "configuration": {"separator": "."}}
    (tmp_path / "a.zarr" / name).write_text(json.dumps(described))
    with pytest.raises(NeuropilError, match="its chunks disagree"):
        open_volume(tmp_path / "a.zarr")


@pytest.mark.parametrize("form", [2, 3])
def test_absent_chunks_of_zarr_are_counted(tmp_path, form):
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=IMAGE.shape, chunks=(2, 10, 10), dtype="u1", zarr_format=form, fill_value=7
    )
    array[:2, :10, :10] = IMAGE[:2, :10, :10]
    with pytest.warns(Note, match="11 of 12 chunks"):
        assert open_volume(tmp_path / "a.zarr").read()[3, 19, 29] == 7


@pytest.mark.parametrize("axes", ["zyx", "xyz"])
def test_zarr_of_funlib(tmp_path, axes):
    """Attributes as funlib.persistence 0.7 writes them: in the order of its axes, in its units."""
    order = ["zyx".index(axis) for axis in axes]
    array = zarr.create_array(tmp_path / "a.zarr/raw", shape=[IMAGE.shape[i] for i in order], dtype="u1", zarr_format=2)
    array[:] = IMAGE.transpose(order)
    array.attrs.update({
        "axis_names": list(axes), "voxel_size": [(40, 5, 4)[i] for i in order], "units": ["nm"] * 3,
        "offset": [(80, 0, 4)[i] for i in order],
    })  # fmt: skip
    same(tmp_path / "a.zarr/raw", IMAGE, voxel_size=(40, 5, 4), origin=(2, 0, 1))


def test_a_level_of_a_pyramid_begins_between_voxels(tmp_path):
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    for level, factor in (("s0", 1), ("s1", 2)):
        group.create_array(level, shape=(4, 20, 30), dtype="u1", chunks=(4, 20, 30))[:] = IMAGE
        size = [40, 4 * factor, 4 * factor]
        shift = [0, 2 * (factor - 1), 2 * (factor - 1)]
        steps = [{"type": "scale", "scale": size}, {"type": "translation", "translation": shift}]
        group.attrs.setdefault("multiscales", [{
            "axes": [{"name": n, "type": "space", "unit": "nanometer"} for n in "zyx"], "datasets": [],
        }])  # fmt: skip
        images = group.attrs["multiscales"]
        images[0]["datasets"].append({"path": level, "coordinateTransformations": steps})
        group.attrs["multiscales"] = images
    with pytest.warns(Note, match="begins between voxels"):
        volume = open_volume(tmp_path / "a.zarr/s1")
    assert volume.metadata.voxel_size == (40, 8, 8)
    assert volume.metadata.position == pytest.approx((0, 2, 2))
    assert volume.metadata.start == (0, 0, 0)
    from neuropil.volumes import convert_volume

    for name in ("b.h5", "b.zarr", "b.ome.zarr", "b.n5", "b.tif"):
        convert_volume(volume, tmp_path / name)
        assert open_volume(tmp_path / name).metadata.position == pytest.approx((0, 2, 2)), name


def test_images_and_labels_of_other_kinds_are_refused_by_name(tmp_path):
    system = {"name": "physical", "axes": [{"name": axis, "type": "space"} for axis in "zyx"]}
    scale = {"type": "scale", "scale": [40, 4, 4], "input": "0", "output": "physical"}
    image = {"coordinateSystems": [system], "datasets": [{"path": "0", "coordinateTransformations": [scale]}]}
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    group.attrs["ome"] = {"version": "0.6", "multiscales": [image]}
    group.create_array("0", data=IMAGE)
    for path in ("a.zarr", "a.zarr/0"):
        with pytest.raises(NeuropilError, match=r"expected OME-Zarr 0\.4 or 0\.5, got 0\.6, with coordinateSystems"):
            open_volume(tmp_path / path)
    zarr.create_array(tmp_path / "b.zarr", data=IMAGE, zarr_format=2, attributes={"isLabelMultiset": True})
    with pytest.raises(NeuropilError, match=r"a label multiset of Paintera, in .*b\.zarr"):
        open_volume(tmp_path / "b.zarr")


def test_the_finest_level_is_opened_wherever_it_stands(tmp_path):
    levels = []
    for name, factor in (("0", 2), ("1", 1)):
        zarr.create_array(tmp_path / "a.zarr", name=name, data=IMAGE[:, ::factor, ::factor], zarr_format=2)
        steps = [{"type": "scale", "scale": [40, 5 * factor, 4 * factor]}]
        levels.append({"path": name, "coordinateTransformations": steps})
    axes = [{"name": n, "type": "space", "unit": "nanometer"} for n in "zyx"]
    group = zarr.open_group(tmp_path / "a.zarr", mode="a", zarr_format=2)
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": levels}]
    same(tmp_path / "a.zarr", IMAGE, voxel_size=(40, 5, 4))


def test_of_several_images_in_a_group_none_is_chosen(tmp_path):
    images = []
    for name in ("seg", "em"):
        zarr.create_array(tmp_path / "a.zarr", name=name, data=IMAGE)
        images.append({"name": name, "axes": ["z", "y", "x"], "datasets": [{"path": name}]})
    zarr.open_group(tmp_path / "a.zarr", mode="a").attrs["ome"] = {"version": "0.5", "multiscales": images}
    with pytest.raises(NeuropilError, match=r"a\.zarr holds 2 images, em, seg; name one"):
        open_volume(tmp_path / "a.zarr")
    same(tmp_path / "a.zarr/em", IMAGE)


def test_chunks_of_several_sizes_are_refused_by_name(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=IMAGE)
    described = json.loads((tmp_path / "a.zarr/zarr.json").read_text())
    described["chunk_grid"] = {"name": "rectangular", "configuration": {"chunk_shape": [[1, 3], 20, 30]}}
    (tmp_path / "a.zarr/zarr.json").write_text(json.dumps(described))
    with pytest.raises(NeuropilError, match="a grid of the kind rectangular"):
        open_volume(tmp_path / "a.zarr")
