"""A recipe for one's own data fits that data, whatever its voxels are like."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from neuropil.config import check_trainable
from neuropil.errors import NeuropilError
from neuropil.geometry import Box
from neuropil.pipeline.own_data import downsampling, flat_levels, new_recipe, offsets_for, patch_for, split
from neuropil.volumes import Metadata, write_volume

sizes = st.tuples(st.floats(4, 60), st.floats(3, 40), st.floats(3, 40))
shapes = st.tuples(st.integers(16, 600), st.integers(16, 2000), st.integers(16, 2000))


@given(sizes)
def test_voxels_become_rounder_level_by_level(size):
    factors = downsampling(size)
    before, now = max(size) / min(size), list(size)
    for factor in factors:
        now = [n * f for n, f in zip(now, factor, strict=True)]
        assert max(factor) == 2
    assert max(now) / min(now) <= max(before, 2)
    assert flat_levels(size, factors) <= len(factors) + 1


@given(sizes, shapes)
def test_patch_split_and_offsets_fit_the_volume(size, shape):
    factors = downsampling(size)
    try:
        patch, axis = patch_for(size, shape, factors)
    except NeuropilError:
        assume(False)
    step = np.prod(factors, axis=0)
    assert all(p % s == 0 for p, s in zip(patch, step, strict=True))
    region = Box.at((5, 6, 7), shape)
    train, validation, test = split(region, axis, patch)
    for box in (train, validation):
        assert all(n >= p for n, p in zip(box.shape, patch, strict=True))
    for box in (train, validation, test):
        assert region.contains(box)
        assert box.size
    assert train.intersect(validation).size == train.intersect(test).size == 0
    assert test == validation or test.intersect(validation).size == 0
    offsets = offsets_for(size, patch)
    assert len(set(offsets)) == len(offsets)
    assert all(abs(o) <= max(p // 2, 1) for offset in offsets for o, p in zip(offset, patch, strict=True))


def test_the_usual_data_get_the_usual_choices():
    assert patch_for((30, 6, 6), (80, 1024, 1024), downsampling((30, 6, 6))) == ((16, 144, 144), 0)
    assert flat_levels((40, 4, 4), downsampling((40, 4, 4))) == 2
    assert patch_for((8, 8, 8), (520, 520, 520), downsampling((8, 8, 8))) == ((72, 72, 72), 0)


def test_a_recipe_names_what_it_read(tmp_path):
    write_volume(tmp_path / "i.h5", np.zeros((60, 64, 64), np.uint8), Metadata(voxel_size=(8, 8, 8)))
    write_volume(tmp_path / "l.h5", np.ones((60, 64, 64), np.uint16))
    recipe = new_recipe(f"{tmp_path}/i.h5", f"{tmp_path}/l.h5", minutes=3)
    check_trainable(recipe.config)
    assert recipe.config.model.anisotropic_levels == 0
    assert recipe.config.training.minutes == 3
    assert "60, 64, 64" in recipe.reasons[0]


@pytest.mark.parametrize(
    ("image", "labels", "settings", "says"),
    [
        (np.zeros((9, 32, 32), np.uint8), np.ones((8, 32, 32), np.uint8), {}, "--box"),
        (np.zeros((9, 32, 32), np.uint8), np.ones((9, 32, 32), np.float32), {}, "integer ids"),
        (np.zeros((3, 9, 32, 32), np.uint8), np.ones((9, 32, 32), np.uint8), {}, "expected an image"),
        (np.zeros((9, 32, 32), np.uint8), np.ones((9, 32, 32), np.uint8), {"voxel_size": None}, "--voxel-size"),
        (np.zeros((1, 32, 32), np.uint8), np.ones((1, 32, 32), np.uint8), {}, "label more"),
        (np.zeros((9, 32, 32), np.uint8), np.ones((8, 32, 32), np.uint8), {"box": "0:9,:,:"}, "inside"),
    ],
    ids=["shapes", "float labels", "4-D image", "voxel size", "too small", "box outside"],
)
def test_what_does_not_fit_is_refused(tmp_path, image, labels, settings, says):
    write_volume(tmp_path / "i.h5", image)
    write_volume(tmp_path / "l.h5", labels)
    with pytest.raises(NeuropilError, match=says):
        new_recipe(f"{tmp_path}/i.h5", f"{tmp_path}/l.h5", **{"voxel_size": (30.0, 6.0, 6.0), **settings})
