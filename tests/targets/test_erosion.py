import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuropil import NeuropilError
from neuropil.targets import erode_inside, erode_labels
from reference.targets import erode

SMALL = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7)


@settings(max_examples=150, deadline=None)
@given(hnp.arrays(np.int32, SMALL, elements=st.integers(0, 3)), st.integers(0, 3))
def test_equals_reference(labels, steps):
    assert np.array_equal(erode_labels(torch.from_numpy(labels), steps).numpy(), erode(labels, steps))


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.int32, (2, 9, 12), elements=st.integers(0, 3)), st.integers(0, 3), st.integers(0, 3))
def test_the_inside_of_what_is_eroded(labels, steps, margin):
    inside = (..., slice(margin, 9 - margin), slice(margin, 12 - margin))
    got = erode_inside(torch.from_numpy(labels), steps, margin)
    assert np.array_equal(got.numpy(), erode(labels, steps)[inside])
    assert got.is_contiguous()


def test_background_does_not_erode_its_neighbours():
    labels = torch.tensor([[[0, 0, 1, 1, 0]]], dtype=torch.int32)
    assert torch.equal(erode_labels(labels, 2), labels)


def test_largest_id_of_the_type_is_an_ordinary_id():
    top = torch.iinfo(torch.int32).max
    labels = torch.tensor([[[top - 1, top - 1, top - 1, 3, 3]]], dtype=torch.int32)
    assert erode_labels(labels, 1).tolist() == [[[top - 1, top - 1, 0, 0, 3]]]


def test_negative_ids_are_background_and_stay():
    assert erode_labels(torch.tensor([[-5, -5, 1, 1, 2]]), 1).tolist() == [[-5, -5, 1, 0, 0]]


def test_leaves_the_input_alone():
    labels = torch.tensor([[[1, 2]]], dtype=torch.int32)
    erode_labels(labels, 1)
    assert labels.tolist() == [[[1, 2]]]


@pytest.mark.parametrize("labels", [torch.zeros(1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8)])
def test_refuses_other_dtypes(labels):
    with pytest.raises(NeuropilError, match="signed integer"):
        erode_labels(labels, 1)
