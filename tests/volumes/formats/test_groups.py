"""What groups above an array say of it: honoured from any level up to the top of the store, or told."""

import h5py
import numpy as np
import pytest
import zarr

from foreign import IMAGE, same
from neuropil.errors import NeuropilError, Note
from neuropil.volumes import open_volume

SHIFT = (80.0, 0.0, 4.0)


def write_image(folder, form, path, axes="zyx"):
    """An OME-Zarr image of one level, whose array lies at ``path`` below the group that describes it."""
    group = zarr.create_group(folder, zarr_format=form)
    order = ["zyx".index(axis) for axis in axes]
    stored = IMAGE.transpose(order)
    group.create_array(path, shape=stored.shape, dtype="u1", chunks=stored.shape)[:] = stored
    steps = [{"type": "scale", "scale": [(40, 5, 4)[i] for i in order]}]
    steps += [{"type": "translation", "translation": [SHIFT[i] for i in order]}]
    image = {
        "axes": [{"name": n, "type": "space", "unit": "nanometer"} for n in axes],
        "datasets": [{"path": path, "coordinateTransformations": steps}],
    }
    inside = {"version": "0.5", "multiscales": [image]}
    group.attrs.update({"ome": inside} if form == 3 else {"multiscales": [image | {"version": "0.4"}]})


@pytest.mark.parametrize("form", [2, 3])
@pytest.mark.parametrize(("store", "path"), [("a.zarr", "0/0"), ("a.zarr", "s/c/image"), ("plain", "0/0")])
def test_ome_zarr_levels_below_the_group(tmp_path, form, store, path):
    """As multiscale-spatial-image writes them; also where the array itself is what is opened, by its own folder."""
    write_image(tmp_path / store, form, path, "xyz")
    for opened in (tmp_path / store, tmp_path / store / path):
        same(opened, IMAGE, voxel_size=(40, 5, 4), origin=(2, 0, 1))
    same(f"zarr://{tmp_path}/{store}/{path}", IMAGE, voxel_size=(40, 5, 4), origin=(2, 0, 1))


def test_ome_zarr_of_a_store_inside_another(tmp_path):
    """The path stops at the first name that ends in .zarr; what describes the image lies above it."""
    write_image(tmp_path / "group", 3, "b.zarr/0")
    same(tmp_path / "group/b.zarr/0", IMAGE, voxel_size=(40, 5, 4), origin=(2, 0, 1))


def test_two_ome_images_that_describe_one_array_are_told(tmp_path):
    write_image(tmp_path / "a.zarr", 3, "b/0")
    steps = [{"type": "scale", "scale": [80.0, 5.0, 4.0]}]
    inner = {"axes": [{"name": n, "type": "space", "unit": "nanometer"} for n in "zyx"]}
    inner["datasets"] = [{"path": "0", "coordinateTransformations": steps}]
    group = zarr.open_group(tmp_path / "a.zarr")["b"]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [inner]}
    with pytest.warns(Note, match="described by an OME image .* otherwise by one of"):
        same(tmp_path / "a.zarr/b/0", IMAGE, voxel_size=(80, 5, 4), origin=None)


@pytest.mark.parametrize("own", [{"resolution": [40, 5, 4], "offset": [0, 0, 0]}, {"origin": [0, 0, 0]}])
def test_a_place_of_zero_beside_another_translation_is_refused(tmp_path, own):
    write_image(tmp_path / "a.zarr", 3, "0")
    zarr.open_array(tmp_path / "a.zarr/0").attrs.update(own)
    with pytest.raises(NeuropilError, match=r"begins at 0, 0, 0 nm .* and at 80, 0, 4 nm"):
        open_volume(tmp_path / "a.zarr/0")


def write_in_group(folder, form, arrays, groups):
    """Arrays by name with their attributes, and attributes of groups, in HDF5 or Zarr."""
    if form == "h5":
        with h5py.File(folder / "a.h5", "w") as file:
            for name, (voxels, attributes) in arrays.items():
                file.create_dataset(name, data=voxels).attrs.update(attributes)
            for name, attributes in groups.items():
                file[name or "/"].attrs.update(attributes)
        return folder / "a.h5"
    top = zarr.create_group(folder / "a.zarr", zarr_format=int(form[-1]))
    for name, (voxels, attributes) in arrays.items():
        array = top.create_array(name, shape=voxels.shape, dtype=voxels.dtype, chunks=voxels.shape)
        array[:] = voxels
        array.attrs.update(attributes)
    for name, attributes in groups.items():
        (top[name] if name else top).attrs.update(attributes)
    return folder / "a.zarr"


FORMS = ["h5", "zarr2", "zarr3"]
SIZE = {"resolution": [40.0, 5.0, 4.0]}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("own", "groups", "size", "origin"),
    [
        ({}, {"v": SIZE}, (40, 5, 4), None),
        ({}, {"": SIZE}, (40, 5, 4), None),
        ({}, {"v": SIZE | {"offset": [80, 0, 4]}}, (40, 5, 4), (2, 0, 1)),
        ({}, {"v": {"resolution": [0.04, 0.005, 0.004], "units": "um", "offset": [0.08, 0, 0]}}, (40, 5, 4), (2, 0, 0)),
        ({"offset": [80, 0, 4]}, {"v": SIZE}, (40, 5, 4), (2, 0, 1)),
        ({"offset": [80, 0, 4]}, {"v": SIZE | {"offset": [0, 0, 0]}}, (40, 5, 4), (2, 0, 1)),
        ({"voxel_size": [0.04, 0.005, 0.004]}, {"v": {"units": ["um"] * 3}}, (40, 5, 4), None),
        (SIZE, {"v": {"offset": [80, 0, 4]}}, (40, 5, 4), (2, 0, 1)),
        (SIZE, {"": {"resolution": [1, 1, 1]}}, (40, 5, 4), None),
        ({}, {"v": SIZE, "": {"resolution": [1, 1, 1]}}, (40, 5, 4), None),
        ({}, {"v": {"offset": [80, 0, 4]}, "": SIZE}, (40, 5, 4), (2, 0, 1)),
        ({}, {"v": {"offset": [80, 0, 4]}}, None, None),
        ({}, {"v": {"element_size_um": [0.04, 0.005, 0.004]}}, (40, 5, 4), None),
        ({}, {"v": {"resolution": "high", "offset": "none"}}, None, None),
    ],
)  # fmt: skip
def test_size_and_place_of_the_group(tmp_path, form, own, groups, size, origin):
    path = write_in_group(tmp_path, form, {"v/raw": (IMAGE, own), "other": (IMAGE[:1], SIZE)}, groups)
    same(path / "v/raw", IMAGE, voxel_size=size, origin=origin)


@pytest.mark.parametrize("form", FORMS)
def test_axes_of_the_group(tmp_path, form):
    named = {"axis_names": ["x", "y", "z"], "voxel_size": [4, 5, 40]}
    path = write_in_group(tmp_path, form, {"v/raw": (IMAGE.T, {})}, {"v": named})
    found = same(path / "v/raw", IMAGE, voxel_size=(40, 5, 4))
    assert found.found_in == f"attribute voxel_size of the group {path}/v"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("arrays", "group", "told"),
    [
        ({"v/raw": (IMAGE, {}), "v/s1": (IMAGE[:, ::2, ::2], {})}, SIZE, "different shapes"),
        ({"v/raw": (IMAGE, {"units": "um"})}, SIZE | {"units": "nm"}, "units"),
        ({"v/raw": (IMAGE, {"resolution": [80, 10, 8]})}, SIZE | {"offset": [80, 0, 4]}, "offset"),
    ],
)
def test_what_the_group_leaves_open_is_told(tmp_path, form, arrays, group, told):
    path = write_in_group(tmp_path, form, arrays, {"v": group})
    with pytest.warns(Note, match=f"group .*v .*{told}"):
        metadata = same(path / "v/raw", IMAGE, origin=None)
    assert metadata.voxel_size in (None, (80, 10, 8))


def test_ome_axes_by_their_type(tmp_path):
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_array("0", shape=(4, 20, 30, 2), dtype="u1", chunks=(4, 20, 30, 2))[:] = np.stack(
        [IMAGE, IMAGE + 1], -1
    )
    axes = [{"name": n, "type": "space", "unit": "nanometer"} for n in "zyx"]
    axes.append({"name": "detector", "type": "channel"})
    steps = [{"type": "scale", "scale": [40, 5, 4, 1]}]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    same(tmp_path / "a.zarr", np.stack([IMAGE, IMAGE + 1]), voxel_size=(40, 5, 4))


@pytest.mark.parametrize("size", [[4, 5, 40], [40, 5, 4]])
def test_an_array_and_its_ome_group_say_one_size(tmp_path, size):
    write_image(tmp_path / "a.zarr", 3, "0")
    zarr.open_array(tmp_path / "a.zarr/0").attrs["resolution"] = size
    if size[0] == 40:
        same(tmp_path / "a.zarr/0", IMAGE, voxel_size=(40, 5, 4))
    else:
        with pytest.raises(
            NeuropilError, match=r"4 × 5 × 40 nm .*attribute resolution.* 40 × 5 × 4 nm by the OME scale"
        ):
            open_volume(tmp_path / "a.zarr/0")


@pytest.mark.parametrize(
    ("own", "start"),
    [
        ({"resolution": [40, 5, 4]}, SHIFT),  # the place is from the group
        ({"origin": [2, 0, 1]}, SHIFT),
        ({"origin": [3, 0, 0]}, None),
        ({"resolution": [40, 5, 4], "offset": [800, 0, 0]}, None),
    ],
)
def test_an_array_and_its_ome_group_say_one_place(tmp_path, own, start):
    write_image(tmp_path / "a.zarr", 3, "0")
    zarr.open_array(tmp_path / "a.zarr/0").attrs.update(own)
    if start is not None:
        same(tmp_path / "a.zarr/0", IMAGE, position=start)
    else:
        with pytest.raises(NeuropilError, match=r"begins at .* by its origin or offset, and at 80, 0, 4 nm by the OME"):
            open_volume(tmp_path / "a.zarr/0")


def test_two_images_that_describe_one_array_differently_are_refused(tmp_path):
    write_image(tmp_path / "a.zarr", 2, "0")
    group = zarr.open_group(tmp_path / "a.zarr")
    image = group.attrs["multiscales"][0]
    group.attrs["multiscales"] = [image, image]
    same(tmp_path / "a.zarr/0", IMAGE, voxel_size=(40, 5, 4))
    other = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [30, 6, 6]}]}
    group.attrs["multiscales"] = [image, image | {"datasets": [other]}]
    with pytest.raises(NeuropilError, match="two multiscales of its group give 0 different"):
        open_volume(tmp_path / "a.zarr/0")


@pytest.mark.parametrize("consolidated", [True, False])
def test_a_server_may_not_tell_what_a_group_holds(tmp_path, server, consolidated):
    """Then a size of the group counts, with a line; where it tells, it is as in a folder."""
    arrays = {"v/raw": (IMAGE, {}), "v/s1": (IMAGE[:, ::2, ::2], {})}
    path = write_in_group(tmp_path, "zarr3", arrays, {"v": SIZE})
    if consolidated:
        zarr.consolidate_metadata(path)
    told, size = ("different shapes", None) if consolidated else ("cannot be checked", (40, 5, 4))
    with pytest.warns(Note, match=told):
        volume = open_volume(f"{server}/a.zarr/v/s1")
    assert volume.metadata.voxel_size == size
