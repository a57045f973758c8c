"""Passes over all voxels equal NumPy's."""

import numpy as np
import pytest

from neuropil.segmentation.codes import count_labels, largest_label, relabelled


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64])
@pytest.mark.parametrize("shape", [(0,), (7,), (3, 40, 1700)])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_passes_equal_those_of_numpy(dtype, shape, threads):
    labels = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    assert largest_label(labels, threads) == labels.max(initial=0)
    np.testing.assert_array_equal(count_labels(labels, 201, threads), np.bincount(labels.reshape(-1), minlength=201))
    for name in (np.uint32, np.uint64):
        lut = np.arange(201, dtype=name)[::-1]
        found = relabelled(labels, lut, threads)
        assert found.dtype == name
        np.testing.assert_array_equal(found, lut[labels])
