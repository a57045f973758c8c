"""Offsets are whole voxels, or refused."""

import numpy as np
import pytest

from neuropil import NEAREST, NeuropilError
from neuropil.geometry import Box, blocks, parse_offsets


@pytest.mark.parametrize("given", ["-1,0,0; 0,-1,0; 0,0,-1;", NEAREST, np.array(NEAREST), np.array(NEAREST, float)])
def test_the_same_offsets_however_they_are_written(given):
    assert parse_offsets(given) == NEAREST


@pytest.mark.parametrize(
    "given",
    ["", "1,0", "1.5,0,0", "a", [], [(1, 0)], [(-1.5, 0, 0)], [(float("nan"), 0, 0)], [(float("inf"), 0, 0)], 3],
)
def test_what_is_no_offsets_is_refused(given):
    with pytest.raises(NeuropilError, match="offsets are written"):
        parse_offsets(given)


@pytest.mark.parametrize("given", ["-1,0,0;-1,0,0", "-1,0,0;0,-1,0;1,0,0", [(0, 3, -1), (0, -3, 1)]])
def test_the_same_edge_twice_is_refused_with_either_sign(given):
    with pytest.raises(NeuropilError, match="different edges"):
        parse_offsets(given)


def test_edges_of_either_sign_are_taken_as_they_are():
    assert parse_offsets("1,0,0;0,-1,1;0,1,1") == ((1, 0, 0), (0, -1, 1), (0, 1, 1))


def test_blocks_of_a_huge_box_come_one_at_a_time():
    assert next(blocks(Box.whole((2**62, 2**62, 2**62)), (1, 1, 1))) == Box((0, 0, 0), (1, 1, 1))
