"""Synthetic affinities: exact without noise, plausible with it."""

import numpy as np
import pytest

from neuropil import NeuropilError, synthetic

OFFSETS = ((-1, 0, 0), (0, 1, 0), (0, 0, -3), (2, -1, 4), (-9, 0, 0), (0, 0, 40))


@pytest.fixture(scope="module")
def labels():
    return synthetic.neuropil((7, 40, 36), seed=2)[1]


def test_without_noise_they_are_the_definition(labels):
    exact = synthetic.affinities(labels, OFFSETS, noise=0)
    expected = np.zeros_like(exact)
    for e, offset in enumerate(OFFSETS):
        for v in np.ndindex(labels.shape):
            u = tuple(a + d for a, d in zip(v, offset, strict=True))
            if all(0 <= a < n for a, n in zip(u, labels.shape, strict=True)):
                expected[(e, *v)] = labels[v] == labels[u] and labels[v] > 0
    np.testing.assert_array_equal(exact, expected)


@pytest.mark.parametrize("noise", [1.0, 2.0])
def test_with_noise_they_still_tell_most_edges_apart(labels, noise):
    exact = synthetic.affinities(labels, noise=0) > 0
    noisy = synthetic.affinities(labels, seed=1, noise=noise)
    assert noisy.dtype == np.float32
    assert noisy.min() >= 0
    assert noisy.max() <= 1
    assert 0.9 < ((noisy > 0.5) == exact).mean() < 0.999


def test_edges_that_leave_the_volume_are_zero(labels):
    noisy = synthetic.affinities(labels, "-1,0,0;0,0,3")
    assert not noisy[0, 0].any()
    assert not noisy[1, :, :, -3:].any()
    assert noisy[0, 1:].all()


def test_a_seed_gives_one_array(labels):
    np.testing.assert_array_equal(synthetic.affinities(labels, seed=3), synthetic.affinities(labels, seed=3))
    assert (synthetic.affinities(labels, seed=3) != synthetic.affinities(labels, seed=4)).any()


def test_labels_need_three_axes():
    with pytest.raises(NeuropilError, match=r"\[z, y, x\]"):
        synthetic.affinities(np.zeros((4, 4), np.uint32))
