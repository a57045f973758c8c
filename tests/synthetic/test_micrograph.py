"""Synthetic volumes look like tissue to whoever measures them, and are the same again for the same seed."""

import numpy as np
import pytest

from neuropil import NeuropilError, synthetic


@pytest.fixture(scope="module")
def volume():
    return synthetic.neuropil((13, 90, 110), seed=4)


def test_shapes_and_types(volume):
    image, labels = volume
    assert (image.shape, image.dtype) == ((13, 90, 110), np.uint8)
    assert (labels.shape, labels.dtype) == ((13, 90, 110), np.uint32)


def test_a_seed_gives_one_volume_and_another_seed_another(volume):
    image, labels = synthetic.neuropil((13, 90, 110), seed=4)
    np.testing.assert_array_equal(image, volume[0])
    np.testing.assert_array_equal(labels, volume[1])
    assert (synthetic.neuropil((13, 90, 110), seed=5)[1] != labels).any()


def test_membranes_are_dark_thin_and_everywhere(volume):
    image, labels = volume
    assert 0.12 < (labels == 0).mean() < 0.4
    assert image[labels == 0].mean() + 40 < image[labels > 0].mean()
    # In a section no two neurites touch without a membrane between them.
    for axis in (1, 2):
        one, other = np.take(labels, range(89), axis), np.take(labels, range(1, 90), axis)
        assert ((one != other) & (one > 0) & (other > 0)).mean() < 0.002


def test_neurites_run_through_sections_and_none_rules(volume):
    _, labels = volume
    sizes = np.bincount(labels.ravel())[1:]
    assert len(sizes) > 15
    assert sizes.min() >= 40
    assert ((sizes / sizes.sum()) ** 2).sum() < 0.3
    one, next_one = labels[:-1], labels[1:]
    inside = (one > 0) & (next_one > 0)
    assert (one == next_one)[inside].mean() > 0.8


def test_intensity_alone_does_not_give_the_truth_away(volume):
    """Organelles are as dark as membranes, and membranes are faint in places: a threshold must fail."""
    image, labels = volume
    membrane = labels == 0
    for threshold in range(60, 140, 10):
        found = image < threshold
        overlap = (found & membrane).sum() / (found | membrane).sum()
        assert overlap < 0.75


def test_every_id_is_one_piece(volume):
    measure = pytest.importorskip("skimage.measure")
    _, labels = volume
    _, pieces = measure.label(labels, connectivity=1, background=0, return_num=True)
    assert pieces == labels.max()
    assert set(np.unique(labels)) == set(range(labels.max() + 1))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 64, 64), (5, 7, 3), (3, 17, 33)])
def test_any_size(shape):
    image, labels = synthetic.neuropil(shape)
    assert image.shape == labels.shape == shape


@pytest.mark.parametrize("shape", [(0, 5, 5), (5, 5), (1, 2, 3, 4)])
def test_no_other_size(shape):
    with pytest.raises(NeuropilError, match="three positive sizes"):
        synthetic.neuropil(shape)
