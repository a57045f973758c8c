"""Masks of any voxel size that divides, and skipped sections, laid over affinities and labels."""

import pickle

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from neuropil import NEAREST, Box, NeuropilError
from neuropil.errors import Note
from neuropil.volumes import Metadata, Tissue, array_volume, in_tissue, open_volume, write_volume
from neuropil.volumes.scored import Scored, scored_labels
from neuropil.volumes.skipping import choose_tissue
from neuropil.volumes.tissue import tissue_map

SIZE = (30.0, 6.0, 6.0)
SHAPE = (6, 20, 24)
LONG = ((-1, 0, 0), (0, 0, 1), (2, -3, 0))


@pytest.fixture
def blob():
    """A ragged piece of tissue, at the image's voxels."""
    rng = np.random.default_rng(0)
    blob = rng.random(SHAPE) < 0.9
    blob[:, :7] = False
    return blob


def slow_edges(affinities, blob, offsets):
    """Edges that touch the outside set to 0, one by one."""
    found = affinities.copy()
    for channel, offset in enumerate(offsets):
        for v in np.ndindex(*blob.shape):
            u = tuple(np.add(v, offset))
            there = all(0 <= a < n for a, n in zip(u, blob.shape, strict=True)) and blob[u]
            if not (blob[v] and there):
                found[channel][v] = 0
    return found


def h5_mask(path, mask, size, **attributes):
    with h5py.File(path, "w") as file:
        file["mask"] = mask.astype(np.uint8)
        file["mask"].attrs["resolution"] = size
        file["mask"].attrs.update(attributes)
    return str(path)


@pytest.mark.parametrize("origin", [(0, 0, 0), (50, 4, 8)])
def test_edges_that_touch_the_outside_are_zero(tmp_path, blob, origin):
    affinities = np.random.default_rng(1).random((3, *SHAPE)).astype(np.float32)
    volume = array_volume(affinities, Metadata(SIZE, origin, LONG))
    offset = np.multiply(origin, SIZE)
    tissue = Tissue(h5_mask(tmp_path / "m.h5", blob, SIZE, offset=offset))
    found = in_tissue(volume, tissue)
    expected = slow_edges(affinities, blob, LONG)
    np.testing.assert_array_equal(found.read(), expected)
    box = Box((1, 3, 2), (4, 17, 21)).shift(origin)
    np.testing.assert_array_equal(found.read(box), expected[(..., *box.relative_to(origin).slices)])
    assert affinities.all()  # what was handed in is not touched
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.read(), expected)


@pytest.mark.parametrize("times", [(1, 2, 4), (2, 5, 3), (1, 4, 8)])
def test_a_mask_of_larger_voxels(tmp_path, times):
    coarse = np.random.default_rng(2).random([-(-n // t) for n, t in zip(SHAPE, times, strict=True)]) < 0.6
    fine = coarse.repeat(times[0], 0).repeat(times[1], 1).repeat(times[2], 2)[:6, :20, :24]
    path = h5_mask(tmp_path / "m.h5", coarse, np.multiply(SIZE, times))
    labels = array_volume(np.ones(SHAPE, np.uint16), Metadata(SIZE))
    np.testing.assert_array_equal(in_tissue(labels, Tissue(path)).read(), fine)
    part = array_volume(np.ones((2, 9, 10), np.uint16), Metadata(SIZE, (3, 6, 11)))
    np.testing.assert_array_equal(in_tissue(part, Tissue(path)).read(), fine[3:5, 6:15, 11:21])


def test_a_mask_of_smaller_voxels_counts_where_all_of_them_do(tmp_path):
    fine = np.ones((6, 40, 48), bool)
    fine[:, 5, 7] = False
    fine[2:4, :20] = False
    path = h5_mask(tmp_path / "m.h5", fine, (30, 3, 3))
    expected = fine.reshape(6, 20, 2, 24, 2).all(axis=(2, 4))
    labels = array_volume(np.ones(SHAPE, np.uint8), Metadata(SIZE))
    np.testing.assert_array_equal(in_tissue(labels, Tissue(path)).read(), expected)


def test_a_level_of_an_ome_pyramid_lies_where_its_translation_says(tmp_path):
    """Written by zarr; the first coarse voxel's middle is stored, at half of its voxels but one."""
    coarse = np.arange(6 * 5 * 6).reshape(6, 5, 6) % 3 > 0
    group = zarr.open_group(tmp_path / "m.zarr", mode="w", zarr_format=2)
    group.create_array("s2", data=coarse.astype(np.uint8), chunks=(6, 5, 6))
    axes = [{"name": n, "type": "space", "unit": "nanometer"} for n in "zyx"]
    moves = [{"type": "scale", "scale": [30, 24, 24]}, {"type": "translation", "translation": [0, 9, 9]}]
    level = {"path": "s2", "coordinateTransformations": moves}
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [level]}]
    labels = array_volume(np.ones(SHAPE, np.uint8), Metadata(SIZE))
    with pytest.warns(Note, match="begins between voxels"):
        found = in_tissue(labels, Tissue(str(tmp_path / "m.zarr/s2"))).read()
    np.testing.assert_array_equal(found, coarse.repeat(4, 1).repeat(4, 2))


def test_without_voxel_sizes_the_shapes_decide(tmp_path):
    coarse = np.random.default_rng(4).random((6, 10, 8)) < 0.5
    tifffile.imwrite(tmp_path / "m.tif", coarse.astype(np.uint8) * 255)
    labels = array_volume(np.ones(SHAPE, np.uint8))
    with pytest.warns(Note, match="1 × 2 × 3 voxels, by the shapes"):
        found = in_tissue(labels, Tissue(str(tmp_path / "m.tif"))).read()
    np.testing.assert_array_equal(found, coarse.repeat(2, 1).repeat(3, 2))
    tifffile.imwrite(tmp_path / "m.tif", np.ones((6, 11, 8), np.uint8))
    with pytest.raises(NeuropilError, match="a voxel size is missing"):
        in_tissue(labels, Tissue(str(tmp_path / "m.tif")))


def test_masks_that_do_not_fit_are_refused(tmp_path):
    labels = array_volume(np.ones(SHAPE, np.uint8), Metadata(SIZE))
    for size, told in (((30, 9, 9), "a whole number of times"), ((30, 6.5, 6), "a whole number of times")):
        with pytest.raises(NeuropilError, match=told):
            in_tissue(labels, Tissue(h5_mask(tmp_path / "m.h5", np.ones(SHAPE), size)))
    far = h5_mask(tmp_path / "far.h5", np.ones(SHAPE), SIZE, offset=(3000, 0, 0))
    with pytest.raises(NeuropilError, match="covers 100:106"):
        in_tissue(labels, Tissue(far))
    with pytest.raises(NeuropilError, match="leaves no voxel"):
        choose_tissue(labels, h5_mask(tmp_path / "m.h5", np.zeros(SHAPE), SIZE), None)


def test_what_a_mask_does_not_cover_is_outside_and_said(tmp_path):
    path = h5_mask(tmp_path / "m.h5", np.ones((6, 10, 24)), SIZE)
    labels = array_volume(np.ones(SHAPE, np.uint8), Metadata(SIZE))
    tissue, (line,) = choose_tissue(labels, path, None)
    assert "50.0 % of 0:6,0:20,0:24 is tissue; it covers 0:6,0:10,0:24, beyond which nothing counts" in line
    found = in_tissue(labels, tissue).read()
    assert found[:, :10].all()
    assert not found[:, 10:].any()
    assert tissue_map(labels, tissue).inside(Box((-1, -1, -1), (7, 21, 25))).sum() == 6 * 10 * 24


def test_sections_are_named_and_checked():
    image = array_volume(np.ones((20, 4, 4), np.uint8), Metadata(origin=(100, 0, 0)))
    tissue, lines = choose_tissue(image, None, "103,110-112,400")
    assert tissue == Tissue(skipped=(103, 110, 111, 112))
    assert lines == [
        "sections left out: 103, 110, 111, 112 (as asked)",
        "1 of the sections named are not among those of 100:120,0:4,0:4",
    ]
    for text in ("x", "3-1", "", "1,,2", "5"):
        with pytest.raises(NeuropilError, match="--skip-sections"):
            choose_tissue(image, None, text)


def test_auto_finds_the_image_that_affinities_and_segmentations_name(tmp_path):
    stack = np.random.default_rng(0).integers(60, 200, (1, 40, 40)).repeat(12, 0).astype(np.uint8)
    stack += np.arange(12, dtype=np.uint8)[:, None, None]
    stack[4] = 0
    tifffile.imwrite(tmp_path / "image.tif", stack)
    made = {"made_by": {"image": str(tmp_path / "image.tif")}}
    write_volume(
        tmp_path / "a.h5", np.ones((3, 6, 40, 40), np.uint8), Metadata(origin=(3, 0, 0), offsets=NEAREST, extra=made)
    )
    segments = {"affinities": str(tmp_path / "a.h5/main"), "segment": {}}
    write_volume(tmp_path / "s.h5", np.ones((6, 40, 40), np.uint8), Metadata(origin=(3, 0, 0), extra=segments))
    for name in ("image.tif", "a.h5", "s.h5"):
        tissue, lines = choose_tissue(open_volume(tmp_path / name), None, "auto")
        assert tissue == Tissue(skipped=(4,)), name
        assert "section 4 is left out: black" in lines[0]
    (tmp_path / "image.tif").unlink()
    with pytest.raises(NeuropilError, match="names none that is still there"):
        choose_tissue(open_volume(tmp_path / "s.h5"), None, "auto")
    stored = Metadata(origin=(3, 0, 0), offsets=NEAREST, extra=made | {"tissue": Tissue(skipped=(1, 5)).to_json()})
    write_volume(tmp_path / "a.h5", np.ones((3, 6, 40, 40), np.uint8), stored)
    tissue, lines = choose_tissue(open_volume(tmp_path / "s.h5"), None, "auto")
    assert tissue == Tissue(skipped=(5,))
    assert "as stored with" in lines[0]


def test_labels_are_scored_as_plain_values_say(tmp_path, blob):
    labels = np.random.default_rng(3).integers(-1, 5, SHAPE)
    write_volume(tmp_path / "t.h5", labels, Metadata(SIZE))
    tissue = Tissue(h5_mask(tmp_path / "m.h5", blob, SIZE), (2,))
    scored = scored_labels(open_volume(tmp_path / "t.h5"), [3], tissue)
    how = Scored.of(scored)
    assert how == Scored((3,), tissue)
    expected = np.where(blob & (labels > 0) & (labels != 3), labels, 0)
    expected[2] = 0
    for volume in (scored, how.open(str(tmp_path / "t.h5"))):
        np.testing.assert_array_equal(volume.read(), expected)
