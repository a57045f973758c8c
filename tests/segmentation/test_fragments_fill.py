"""Filling of background equals its slow description."""

import numpy as np
from hypothesis import given

import neuropil
from reference.affinity_cases import cases_with_fragments
from reference.watershed import fill_background as slow_fill


@given(cases_with_fragments())
def test_equals_the_reference(drawn):
    case, labels = drawn
    labels = np.where(labels > 2, 0, labels)
    before = labels.copy()
    filled = neuropil.fill_background(case.array, labels, offsets=case.offsets, encoding=case.encoding)
    np.testing.assert_array_equal(filled, slow_fill(case.values, labels, list(case.offsets)))
    np.testing.assert_array_equal(labels, before)
