"""Shapes for a voxel size: they fit the volume, whatever its shape."""

from math import prod

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from neuropil.errors import NeuropilError
from neuropil.geometry import Box
from neuropil.pipeline.own_shapes import (
    SMALLEST,
    cube_for,
    downsampling,
    flat_levels,
    min_size_for,
    offsets_for,
    patch_for,
    split,
    step_of,
)

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


@given(size=st.tuples(*[st.floats(1, 1000)] * 3))
def test_pieces_of_the_same_volume_are_small_whatever_the_voxels(size):
    found = min_size_for(size)
    assert found >= 1
    assert found == 1 or SMALLEST / 2 <= found * prod(size) <= SMALLEST * 2


@given(shape=st.tuples(*[st.integers(20, 400)] * 3), stem=st.sampled_from([(1, 1, 1), (2, 2, 2)]))
def test_cubes_and_their_split_fit_the_volume(shape, stem):
    factors = (stem, *downsampling((8, 8, 8)))
    try:
        patch, axis = cube_for((8, 8, 8), shape, factors)
    except NeuropilError:
        assume(False)
    least = step_of(factors)[axis]
    assert len(set(patch)) == 1
    train, validation, test = split(Box.whole(shape), axis, patch, least=least)
    assert all(n >= p for n, p in zip(train.shape, patch, strict=True))
    assert validation.shape[axis] >= least
    assert validation.shape[axis] % least == 0
    assert test.size > 0
