"""Connected pieces equal scikit-image's."""

import numpy as np
import pytest

from neuropil.synthetic import micrograph


@pytest.mark.parametrize("seed", range(20))
def test_pieces_equal_the_reference(seed, monkeypatch):
    measure = pytest.importorskip("skimage.measure")
    monkeypatch.setattr(micrograph, "_SMALLEST", 1)
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, rng.integers(1, 12, 3)).astype(np.uint32)
    named = micrograph.one_piece_each(labels)
    reference = measure.label(labels, connectivity=1, background=0)
    pairs = np.unique(np.stack([named.ravel(), reference.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(named)) == len(np.unique(reference))
    np.testing.assert_array_equal(named > 0, labels > 0)
    _, first = np.unique(named[named > 0], return_index=True)
    assert (np.diff(first) > 0).all(), "ids are in scan order"


def test_small_pieces_become_background():
    labels = np.ones((1, 8, 10), np.uint32)
    labels[0, :, 5] = 0  # 40 voxels on the left, 32 on the right
    named = micrograph.one_piece_each(labels)
    assert (named[..., :5] == 1).all()
    assert not named[..., 5:].any()
