"""What groups above an array say of it: honoured from any level up to the top of the store, or told."""

import pytest
import zarr

from foreign import IMAGE, same

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
