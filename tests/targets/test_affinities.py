import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import neuropil
from neuropil import NeuropilError, affinities_from_labels
from neuropil.targets import affinity_targets
from reference.targets import affinities

SMALL = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=5)
OFFSET = st.tuples(*[st.integers(-6, 6)] * 3).filter(any)


def edge(offset):
    """(1, 0, 0) and (-1, 0, 0) name the same edges, and the same edges twice are refused."""
    return max(offset, tuple(-step for step in offset))


@given(st.data(), hnp.arrays(np.uint64, SMALL, elements=st.sampled_from([0, 1, 2, 2**64 - 1])))
def test_equals_reference(data, labels):
    offsets = data.draw(st.lists(OFFSET, min_size=1, max_size=4, unique_by=edge))
    mask = data.draw(hnp.arrays(bool, labels.shape))
    got = affinities_from_labels(labels, offsets, mask)
    values, validity = affinities(labels, offsets, mask)
    assert np.array_equal(got.values, values)
    assert np.array_equal(got.validity, validity)


@pytest.mark.parametrize("dtype", ["u1", ">u2", "i4", ">i8", "u8"])
def test_any_integer_dtype_and_order(dtype):
    labels = np.array([[[1, 1, 2], [0, 2, 2]]], dtype=dtype)[:, ::-1]
    expected = affinities_from_labels(np.ascontiguousarray(labels).astype(np.uint64))
    assert np.array_equal(affinities_from_labels(labels).values, expected.values)


def test_a_batch_is_each_sample_alone():
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (3, 4, 5, 6)))
    offsets = [(-1, 0, 0), (0, 2, -1)]
    together = affinity_targets(labels, offsets)
    for i, alone in enumerate(affinity_targets(one, offsets) for one in labels):
        assert torch.equal(together[0][i], alone[0])
        assert torch.equal(together[1][i], alone[1])


def test_an_offset_longer_than_the_volume_is_nowhere_valid():
    values, validity = affinities_from_labels(np.ones((2, 3, 4), np.uint8), [(0, 0, 4), (-5, 0, 0)])
    assert not values.any()
    assert not validity.any()


@pytest.mark.parametrize(
    ("labels", "message"),
    [(np.zeros(2, int), "z, y, x"), (np.zeros((1, 2, 2)), "integers")],
    ids=["one axis", "floats"],
)
def test_refuses(labels, message):
    with pytest.raises(NeuropilError, match=message):
        affinities_from_labels(labels)


def test_one_section_has_two_directions_and_segments_back():
    labels = np.zeros((6, 8), np.uint16)
    labels[:3], labels[3:, :4], labels[3:, 4:] = 7, 5, 9
    mask = np.arange(8) < 6 + np.zeros((6, 1), int)
    got = affinities_from_labels(labels, mask=mask)
    same = affinities_from_labels(labels[None], [(0, -1, 0), (0, 0, -1)], mask[None])
    assert got.values.shape == (2, 1, 6, 8)
    assert np.array_equal(got.values, same.values)
    assert np.array_equal(got.validity, same.validity)
    back = neuropil.watershed(affinities_from_labels(labels).values)
    assert np.array_equal(back[0], np.select([labels == 7, labels == 5], [1, 2], 3))


def test_refuses_a_mask_of_another_shape():
    with pytest.raises(NeuropilError, match="mask"):
        affinities_from_labels(np.zeros((2, 2, 2), int), mask=np.ones((2, 2, 3)))
