"""The mutex watershed equals its slow description, ties included, and mwatershed where there are no ties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuropil
from neuropil import NeuropilError
from neuropil.volumes import LOGIT16
from reference.affinity_cases import cases
from reference.mutex_watershed import mutex_watershed as slow_mutex_watershed

NINE = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (-2, 0, 0), (0, -3, 0), (0, 0, -3), (-1, -2, 2), (0, 4, 0), (0, 0, 5))


@given(
    cases(largest=4),
    st.sampled_from((-0.5, -0.25, (-0.5, -0.25, -0.75, -0.5, -0.2))),
    st.sampled_from(((1, 1, 1), (1, 2, 2), (2, 1, 3))),
    st.sampled_from(("nothing", "mask", "seeds", "both")),
    st.integers(1, 8),
)
def test_equals_the_reference(case, bias, strides, extra, threads):
    rng = np.random.default_rng(case.codes.sum())
    mask = rng.random(case.shape) < 0.8 if extra in ("mask", "both") else None
    seeds = rng.integers(0, 4, case.shape) * (rng.random(case.shape) < 0.3) if extra in ("seeds", "both") else None
    biases = np.broadcast_to(bias, len(case.offsets))
    slow = slow_mutex_watershed(case.values, case.offsets, biases, strides, mask, seeds)
    chosen = {"bias": bias, "strides": strides, "mask": mask, "seeds": seeds}
    fast = neuropil.mutex_watershed(case.array, case.offsets, **chosen, encoding=case.encoding, threads=threads)
    np.testing.assert_array_equal(fast, slow)


@pytest.mark.parametrize("seed", range(5))
def test_same_partition_as_mwatershed(seed):
    mwatershed = pytest.importorskip("mwatershed")
    rng = np.random.default_rng(seed)
    # No two weights alike: all codes differ and are even, so that none is the mirror of another about 0.5.
    codes = (10000 + 4 * rng.permutation(9 * 6 * 14 * 15)).astype(np.uint16).reshape(9, 6, 14, 15)
    theirs = mwatershed.agglom(LOGIT16.table[codes] - 0.5, [list(o) for o in NINE])
    alone = np.arange(theirs.size).reshape(theirs.shape) + theirs.max() + 1
    theirs = np.where(theirs == 0, alone, theirs)  # it calls every voxel that stays alone 0
    ours = neuropil.mutex_watershed(codes, NINE, encoding=LOGIT16)
    pairs = np.unique(np.stack([theirs.ravel(), ours.ravel()]), axis=1)
    assert len(np.unique(theirs)) == len(np.unique(ours)) == pairs.shape[1] > 20


@pytest.mark.parametrize("threads", range(1, 9))
def test_larger_volumes_do_not_depend_on_threads(threads):
    codes = np.random.default_rng(1).integers(0, 5, (9, 6, 30, 40), np.uint8) * 60
    one = neuropil.mutex_watershed(codes, NINE, threads=1)
    np.testing.assert_array_equal(neuropil.mutex_watershed(codes, NINE, threads=threads), one)


def test_bad_input_is_refused():
    affinities = np.zeros((2, 2, 2, 2))
    offsets = [(0, 0, -1), (0, 0, -2)]
    with pytest.raises(NeuropilError, match="offsets"):
        neuropil.mutex_watershed(np.zeros((4, 2, 2, 2)))
    with pytest.raises(NeuropilError, match="bias"):
        neuropil.mutex_watershed(affinities, offsets, bias=[0.5])
    with pytest.raises(NeuropilError, match="bias"):
        neuropil.mutex_watershed(affinities, offsets, bias=np.nan)
    with pytest.raises(NeuropilError, match="strides"):
        neuropil.mutex_watershed(affinities, offsets, strides=(1, 0, 1))
    with pytest.raises(NeuropilError, match="mask"):
        neuropil.mutex_watershed(affinities, offsets, mask=np.ones((2, 2, 3)))
    with pytest.raises(NeuropilError, match="seeds"):
        neuropil.mutex_watershed(affinities, offsets, seeds=np.ones((2, 2, 3), int))
