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


@pytest.mark.parametrize("threads", [1, 3])
def test_the_result_takes_the_place_of_labels_of_its_dtype_only_when_asked(threads):
    labels = np.random.default_rng(0).integers(0, 200, (3, 40, 1700)).astype(np.uint32)
    kept, lut = labels.copy(), np.arange(201, dtype=np.uint32)[::-1].copy()
    wider = relabelled(labels, lut.astype(np.uint64), threads, overwrite=True)
    assert not np.shares_memory(relabelled(labels, lut, threads), labels)
    np.testing.assert_array_equal(labels, kept)
    found = relabelled(labels, lut, threads, overwrite=True)
    assert np.shares_memory(found, labels)
    np.testing.assert_array_equal(found, lut[kept])
    np.testing.assert_array_equal(wider, found)


def test_labels_that_may_not_be_written_stay():
    labels = np.array([[[2, 0]]], np.uint32)
    labels.flags.writeable = False
    assert relabelled(labels, np.array([0, 5, 7], np.uint32), overwrite=True).tolist() == [[[7, 0]]]
    assert labels.tolist() == [[[2, 0]]]
