"""Damaged sections of a real-looking stack, and none where nothing is wrong."""

import tracemalloc

import numpy as np
import pytest

from neuropil import synthetic
from neuropil.volumes import Metadata, array_volume
from neuropil.volumes.damage import bad_sections
from neuropil.volumes.volume import ArrayStore, Volume


class FileStore(ArrayStore):
    """As of a file: what is read is a new array."""

    def read(self, index):
        return super().read(index).copy()


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


def test_values_of_other_types_are_at_the_ends_that_occur(stack):
    array = stack.astype(np.float32) * 10 + 100
    array[3] = array.min()
    array[5, :100] = array.max()
    array[8] = array.max()
    assert found(array) == {53: "black", 55: "saturated", 58: "white"}


@pytest.mark.parametrize("black", [3, 20])
def test_sections_are_compared_across_damaged_ones(black):
    rng = np.random.default_rng(0)
    texture = rng.integers(50, 150, (64, 64))
    array = (texture + rng.integers(0, 50, (60, 64, 64))).astype(np.uint8)
    array[10 : 10 + black] = 0
    array[10 + black + 1] = rng.permuted(texture.ravel()).reshape(texture.shape)  # one good section lies between
    kinds = found(array)
    assert sorted(kinds) == [*range(60, 60 + black), 60 + black + 1]
    assert kinds[60 + black + 1] == "unlike both neighbours"


def test_memory_does_not_grow_with_the_number_of_sections():
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 200, (1, 64, 64), np.uint8)

    def peak(sections):
        volume = Volume("a.h5", FileStore(np.broadcast_to(texture, (sections, 64, 64))))
        bad_sections(volume)
        tracemalloc.start()
        bad_sections(volume)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(400) < peak(40) + 400 * 1500  # of the 400 × 4096 bytes that all sections have
