"""Damaged sections of a real-looking stack, and none where nothing is wrong."""

import numpy as np
import pytest

from neuropil import synthetic
from neuropil.volumes import Metadata, array_volume
from neuropil.volumes.damage import bad_sections


@pytest.fixture(scope="module")
def stack():
    return synthetic.neuropil((12, 128, 128), seed=3)[0]


def found(array):
    return {one.z: one.why.split(":")[0] for one in bad_sections(array_volume(array, Metadata(origin=(50, 0, 0))))}


def test_nothing_is_wrong_with_good_tissue(stack):
    assert found(stack) == {}
    assert found(stack.astype(np.uint16) * 100) == {}


def test_each_kind_is_named(stack):
    array = stack.copy()
    array[2] = 0
    array[4] = 255
    array[6, :100] = 0
    array[8] = array[7]
    array[10] = np.random.default_rng(0).permuted(array[10].ravel()).reshape(array[10].shape)
    kinds = {52: "black", 54: "white", 56: "black", 58: "repeated", 60: "unlike both neighbours"}
    assert found(array) == kinds


def test_a_black_margin_all_along_is_no_damage(stack):
    array = stack.copy()
    array[:, :80] = 0
    assert found(array) == {}
