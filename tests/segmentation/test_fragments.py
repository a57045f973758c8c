"""The watershed equals its slow description, whatever the volume, the offsets, the type and the number of threads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuropil
from neuropil import NeuropilError, _native
from reference.affinity_cases import cases
from reference.watershed import watershed as slow_watershed


@given(cases(), st.sampled_from((0.0, 1e-4, 0.3, 0.5)), st.sampled_from((0.6, 0.9999, 1.0, 2.0)), st.integers(1, 8))
def test_equals_the_reference(case, low, high, threads):
    slow = slow_watershed(case.values, low, high, list(case.offsets))
    fast = neuropil.watershed(
        case.array, low=low, high=high, offsets=case.offsets, encoding=case.encoding, threads=threads
    )
    np.testing.assert_array_equal(fast, slow)
    assert fast.dtype == np.uint32


@pytest.mark.parametrize("threads", range(1, 9))
def test_larger_volumes_do_not_depend_on_threads(threads):
    codes = np.random.default_rng(1).integers(0, 4, (3, 9, 40, 70), np.uint8) * 60
    one = neuropil.watershed(codes, threads=1)
    np.testing.assert_array_equal(neuropil.watershed(codes, threads=threads), one)


def test_ties_go_to_lower_x_first():
    affinities = np.zeros((3, 2, 2, 3))
    affinities[0, 1, 0, 1] = affinities[1, 0, 1, 1] = affinities[2, 0, 0, 1] = affinities[2, 0, 0, 2] = 0.5
    fragments = neuropil.watershed(affinities)
    assert fragments[0, 0, 0] == fragments[0, 0, 1] == fragments[0, 0, 2]  # −x before +x, +y and +z: all in one here
    affinities[2, 0, 0, 1] = 0.7
    assert neuropil.watershed(affinities)[1, 0, 1] == neuropil.watershed(affinities)[0, 0, 1]  # a voxel's only face


def test_faces_that_leave_the_volume_are_ignored():
    inner = np.random.default_rng(2).random((3, 3, 4, 5))
    expected = neuropil.watershed(inner)
    for axis in range(3):
        border = [axis, slice(None), slice(None), slice(None)]
        border[1 + axis] = 0
        inner[tuple(border)] = 1.0
    np.testing.assert_array_equal(neuropil.watershed(inner), expected)


def test_a_volume_brings_its_own_offsets_and_encoding():
    p = np.random.default_rng(3).random((3, 3, 4, 5))
    metadata = neuropil.Metadata(offsets=((0, 0, -1), (1, 0, 0), (0, -1, 0)), encoding=neuropil.LOGIT8)
    volume = neuropil.array_volume(neuropil.LOGIT8.encode(p), metadata)
    decoded = neuropil.LOGIT8.table[neuropil.LOGIT8.encode(p)]
    slow = slow_watershed(decoded, 1e-4, 0.9999, list(metadata.offsets))
    np.testing.assert_array_equal(neuropil.watershed(volume), slow)


@pytest.mark.parametrize("dtype", [">f4", "<f8", "f2"])
@pytest.mark.parametrize("layout", ["fortran", "strided", "read-only"])
def test_any_layout_and_byte_order(dtype, layout):
    p = (np.random.default_rng(4).integers(0, 5, (3, 4, 5, 6)) / 4).astype(dtype)
    laid = {"fortran": np.asfortranarray(p), "strided": np.repeat(p, 2, axis=3)[..., ::2], "read-only": p.copy()}[
        layout
    ]
    laid.flags.writeable = False
    np.testing.assert_array_equal(neuropil.watershed(laid), neuropil.watershed(p.astype("f4")))


@pytest.mark.parametrize("shape", [(0, 4, 4), (1, 1, 1), (1, 1, 5), (5, 1, 1), (3, 0, 2), (1, 7, 7)])
def test_thin_and_empty_volumes(shape):
    fragments = neuropil.watershed(np.full((3, *shape), 0.5), threads=3)
    assert fragments.shape == shape
    assert fragments.max(initial=0) == (fragments.size > 1)  # one fragment of all voxels; a lone voxel has no face


def test_one_section_needs_no_channel_between_sections():
    p = np.random.default_rng(5).random((2, 1, 6, 6))
    three = np.concatenate([np.zeros((1, 1, 6, 6)), p])
    fragments = neuropil.watershed(p, offsets=[(0, -1, 0), (0, 0, -1)])
    np.testing.assert_array_equal(fragments, neuropil.watershed(three))


BAD = {
    "nan": (np.full((3, 2, 2, 2), np.nan), {}, "NaN"),
    "infinite": (np.full((3, 2, 2, 2), np.inf), {}, r"\[0, 1\]"),
    "above one": (np.full((3, 2, 2, 2), 1.5, np.float32), {}, r"\[0, 1\]"),
    "negative": (np.full((3, 2, 2, 2), -0.1), {}, r"\[0, 1\]"),
    "integers": (np.zeros((3, 2, 2, 2), np.int64), {}, "int64"),
    "no encoding": (np.zeros((3, 2, 2, 2), np.uint16), {}, "encoding"),
    "wrong encoding": (np.zeros((3, 2, 2, 2), np.uint16), {"encoding": neuropil.LOGIT8}, "uint8"),
    "three axes": (np.zeros((3, 2, 2)), {}, "four axes"),
    "five channels": (np.zeros((5, 2, 2, 2)), {}, "offsets"),
    "no nearest": (np.zeros((3, 2, 2, 2)), {"offsets": [(-1, 0, 0), (0, -1, 0), (0, 0, -2)]}, "axis x"),
    "two offsets": (np.zeros((3, 2, 2, 2)), {"offsets": [(-1, 0, 0), (0, -1, 0)]}, "2 for 3"),
    "low above high": (np.zeros((3, 2, 2, 2)), {"low": 0.5, "high": 0.5}, "low"),
    "negative low": (np.zeros((3, 2, 2, 2)), {"low": -1}, "low"),
    "no threads": (np.zeros((3, 2, 2, 2)), {"threads": 0}, "threads"),
}


@pytest.mark.parametrize(("array", "options", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused(array, options, message):
    with pytest.raises(NeuropilError, match=message):
        neuropil.watershed(array, **options)


def test_volumes_with_64_bit_indices_give_the_same_fragments():
    codes = np.random.default_rng(6).integers(0, 6, (3, 6, 7, 8), np.uint8) * 50
    wide = np.empty(codes.shape[1:], np.uint64)
    assert _native.watershed(*codes, 0, 0, 254, wide, 3) == wide.max()
    np.testing.assert_array_equal(wide, neuropil.watershed(codes, high=1.0))
