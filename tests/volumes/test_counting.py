"""Labels are counted as a loop over all voxels counts them, and images are told from labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from neuropil import synthetic
from neuropil.errors import NeuropilError
from neuropil.volumes import Metadata, array_volume
from neuropil.volumes.counting import BETWEEN, count_labels, looks_like_image, looks_like_labels, refuse_image

shapes = arrays.array_shapes(min_dims=3, max_dims=3, max_side=6)


@given(arrays.arrays(np.uint8, shapes, elements=st.sampled_from([0, 0, 0, 1, 7])))
def test_counts_are_those_of_a_loop(array):
    volume = array_volume(array, Metadata(origin=(3, 4, 5)))
    found = count_labels(volume, volume.box)
    places = np.argwhere(array) + np.array((3, 4, 5))
    assert found.voxels == len(places)
    if len(places):
        assert found.box.start == tuple(places.min(0))
        assert found.box.stop == tuple(places.max(0) + 1)
        for axis, along in enumerate(found.along):
            expected = np.bincount(places[:, axis] - found.box.start[axis], minlength=found.box.shape[axis])
            assert np.array_equal(along, expected)
    else:
        assert found.box.size == 0


def test_zeros_far_from_any_id_are_counted():
    array = np.zeros((1, 2 * BETWEEN + 11, 2 * BETWEEN + 11), np.uint8)
    array[0, 0, 0] = array[0, -1, -1] = 1
    near = [(y, x) for y, x in np.ndindex(array.shape[1:]) if min(max(y, x), 2 * BETWEEN + 10 - min(y, x)) <= BETWEEN]
    volume = array_volume(array)
    assert count_labels(volume, volume.box).far_zeros == pytest.approx(1 - (len(near) - 2) / (array.size - 2))


def test_what_the_mask_leaves_out_is_not_counted():
    volume = array_volume(np.ones((4, 3, 3), np.uint8))
    mask = array_volume(np.repeat(np.array([0, 1, 1, 0], np.uint8), 9).reshape(4, 3, 3))
    assert str(count_labels(volume, volume.box, mask).box) == "1:3,0:3,0:3"


def test_tissue_and_its_truth_are_told_apart():
    image, labels = (array_volume(array) for array in synthetic.neuropil((4, 96, 96), seed=3))
    small = array_volume(labels.read().astype(np.uint8))
    assert [looks_like_image(v) for v in (image, labels, small)] == [True, False, False]
    assert [looks_like_labels(v) for v in (image, labels, small)] == [False, True, True]
    assert refuse_image(small) is small
    for array in (np.repeat(np.arange(400, dtype=np.uint16), 6).reshape(1, 40, 60), np.zeros((1, 5, 1), np.uint8)):
        assert not looks_like_image(array_volume(array))
    floats = array_volume(labels.read().astype(np.float32))
    assert refuse_image(floats) is floats
    with pytest.raises(NeuropilError, match="looks like an image"):
        refuse_image(image)
