"""Fragments of blocks, united across borders, are those of the whole volume."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuropil
from neuropil import Box, NeuropilError
from neuropil.geometry import blocks
from neuropil.segmentation import unions_across, unite_names, watershed_block, with_halo
from reference.affinity_cases import cases


def stitched(array, block, **options):
    """The volume's fragments from its blocks' alone, numbered by first voxels."""
    shape = array.shape[1:]
    parts = {}
    offset = {}
    firsts = [np.zeros(1, np.uint64)]
    count = 0
    for box in blocks(Box.whole(shape), block):
        part = watershed_block(array[(slice(None), *with_halo(box, shape).slices)], box, shape, **options)
        parts[box.start], offset[box.start] = (box, part), count
        firsts.append(part.first)
        count += len(part.first)
    pairs = [np.zeros((0, 2), np.uint64)]
    for start, (box, part) in parts.items():
        for axis in range(3):
            behind = tuple(box.stop[a] if a == axis else s for a, s in enumerate(start))
            assert (part.borders[2 * axis + 1] is None) == (behind not in parts)
            if behind in parts:
                united = unions_across(part.borders[2 * axis + 1], parts[behind][1].borders[2 * axis])
                pairs.append(united + np.array([offset[start], offset[behind]], np.uint64))
    names, smallest = unite_names(np.concatenate(pairs))
    name = np.arange(count + 1)
    name[names.astype(int)] = smallest
    first = np.full(count + 1, np.prod(shape) + 1, np.int64)
    np.minimum.at(first, name, np.concatenate(firsts).astype(np.int64))
    own = np.unique(name[1:])
    number = np.zeros(count + 1, int)
    number[own[np.argsort(first[own])]] = np.arange(1, len(own) + 1)
    whole = np.zeros(shape, int)
    for start, (box, part) in parts.items():
        lut = np.concatenate([[0], number[name[1 + offset[start] :]]])
        whole[box.slices] = lut[part.fragments]
    return whole


@settings(max_examples=100)
@given(
    cases(largest=6),
    st.tuples(*[st.integers(1, 7)] * 3),
    st.sampled_from((0.0, 1e-4, 0.3, 0.5)),
    st.sampled_from((0.6, 0.9999, 1.0, 2.0)),
)
def test_any_blocks_give_the_fragments_of_the_whole(case, block, low, high):
    options = {"low": low, "high": high, "offsets": case.offsets, "encoding": case.encoding}
    whole = neuropil.watershed(case.array, **options)
    np.testing.assert_array_equal(stitched(case.array, block, **options), whole)


@settings(max_examples=30)
@given(cases(largest=6), st.tuples(*[st.integers(1, 7)] * 3))
def test_first_voxels_and_order(case, block):
    shape = case.shape
    for box in blocks(Box.whole(shape), block):
        part = watershed_block(
            case.array[(slice(None), *with_halo(box, shape).slices)],
            box,
            shape,
            offsets=case.offsets,
            encoding=case.encoding,
        )
        ids, first = np.unique(part.fragments, return_index=True)
        place = np.unravel_index(first[ids > 0], box.shape)
        linear = np.ravel_multi_index([p + s for p, s in zip(place, box.start, strict=True)], shape)
        np.testing.assert_array_equal(part.first, linear)
        assert (np.diff(linear) > 0).all()


@pytest.mark.parametrize("block", [(3, 11, 64), (9, 1, 80), (4, 40, 7)])
def test_larger_volumes_full_of_ties(block):
    codes = np.random.default_rng(1).integers(0, 4, (3, 9, 40, 70), np.uint8) * 60
    np.testing.assert_array_equal(
        stitched(codes, block, low=0.2, high=0.7), neuropil.watershed(codes, low=0.2, high=0.7)
    )


def test_bad_input_is_refused():
    box, shape = Box((0, 0, 1), (1, 1, 2)), (1, 1, 3)
    with pytest.raises(NeuropilError, match="0:1,0:1,0:3"):
        watershed_block(np.zeros((3, 1, 1, 1)), box, shape)
    with pytest.raises(NeuropilError, match="low"):
        watershed_block(np.zeros((3, 1, 1, 3)), box, shape, low=0.5, high=0.5)
    part = watershed_block(np.full((3, 1, 1, 3), 0.5), box, shape)
    other = watershed_block(np.full((3, 2, 1, 2), 0.5), Box((0, 0, 0), (2, 1, 1)), (2, 1, 2))
    with pytest.raises(NeuropilError, match="equal sides"):
        unions_across(other.borders[5], part.borders[4])
