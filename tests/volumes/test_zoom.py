"""Volumes on another grid: what scipy.ndimage.zoom makes of the whole, box by box."""

import numpy as np
import pytest
from scipy import ndimage

from neuropil import Metadata, NeuropilError
from neuropil.geometry import Box
from neuropil.volumes import array_volume
from neuropil.volumes.zoom import zoomed

FACTORS = [(1.0, 2.0, 2.0), (2.0, 2.0, 2.0), (1.0, 2.0, 1.0), (1.0, 0.25, 0.25), (1.5, 0.7, 1.3)]


@pytest.mark.parametrize("factors", FACTORS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_grey_values_are_those_of_scipy(factors, dtype):
    array = (np.random.default_rng(0).random((5, 12, 13)) * 250).astype(dtype)
    found = zoomed(array_volume(array), factors).read()
    expected = ndimage.zoom(array, factors, order=1)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(found.astype(float), expected.astype(float), atol=1e-3 if dtype == np.float32 else 1)
    assert (found != expected).mean() < (1 if dtype == np.float32 else 0.01)


@pytest.mark.parametrize("factors", FACTORS)
def test_ids_are_those_of_the_nearest_voxel(factors):
    ids = np.random.default_rng(1).integers(0, 2**40, (5, 12, 13)).astype(np.uint64)
    found = zoomed(array_volume(ids), factors, nearest=True).read()
    expected = ndimage.zoom(np.arange(ids.size).reshape(ids.shape), factors, order=0)
    np.testing.assert_array_equal(found, ids.ravel()[expected])


def test_boxes_are_parts_of_the_whole_and_voxels_smaller():
    array = np.random.default_rng(2).integers(0, 256, (4, 9, 10)).astype(np.uint8)
    volume = zoomed(array_volume(array, Metadata(voxel_size=(30.0, 6.0, 6.0))), (1, 2, 2))
    box = Box((1, 3, 5), (3, 8, 20))
    np.testing.assert_array_equal(volume.read(box), volume.read()[box.slices])
    assert volume.metadata.voxel_size == (30, 3, 3)
    assert zoomed(volume, (1.0, 1.0, 1.0)) is volume


def test_what_cannot_be_is_refused():
    with pytest.raises(NeuropilError, match="factors above 0"):
        zoomed(array_volume(np.zeros((2, 3, 4))), (1, 0, 1))
    with pytest.raises(NeuropilError, match=r"a volume \[z, y, x\]"):
        zoomed(array_volume(np.zeros((3, 2, 3, 4))), (1, 2, 1))
