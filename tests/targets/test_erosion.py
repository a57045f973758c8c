import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuropil import NeuropilError
from neuropil.targets import erode_inside, erode_labels, erode_volume
from reference.targets import erode

SMALL = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7)


@given(hnp.arrays(np.int32, SMALL, elements=st.integers(0, 3)), st.integers(0, 3))
def test_equals_reference(labels, steps):
    assert np.array_equal(erode_labels(torch.from_numpy(labels), steps).numpy(), erode(labels, steps))


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


def test_erosion_in_all_planes_knows_no_direction():
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(0, 4, (9, 9, 9)).repeat(3, 0).repeat(3, 1).repeat(3, 2).astype(np.int32))
    eroded = erode_volume(labels, 1, 0)
    for order in ((1, 0, 2), (2, 1, 0), (1, 2, 0)):
        turned = erode_volume(labels.permute(order).contiguous(), 1, 0)
        assert torch.equal(turned, eroded.permute(order))
    # A voxel stays exactly where no plane through it shows two neurons within the window.
    padded = np.pad(labels.numpy(), 1)
    for z, y, x in rng.integers(0, 27, (300, 3)):
        cube = padded[z : z + 3, y : y + 3, x : x + 3]
        planes = [np.setdiff1d(np.unique(p), [0]) for p in (cube[1], cube[:, 1], cube[:, :, 1])]
        whole = all(len(ids) < 2 for ids in planes)
        assert eroded[z, y, x] == (labels[z, y, x] if whole else 0)
    assert torch.equal(erode_volume(labels, 1, 2), eroded[:, 2:-2, 2:-2])
