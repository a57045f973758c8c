import itertools

import pytest
import torch

from neuropil import NEAREST, NeuropilError
from neuropil.augment import Symmetry, apply_symmetry
from neuropil.inference.symmetries import Reading, edges_inside, readings, symmetries, turned, undone

ALL = [Symmetry(*flags) for flags in itertools.product((False, True), repeat=4)]


@pytest.mark.parametrize("view", ALL, ids=str)
def test_undoing_is_the_inverse_of_showing(view):
    x = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert torch.equal(undone(apply_symmetry(x, view), view), x)


@pytest.mark.parametrize("view", ALL, ids=str)
def test_an_offset_turns_as_the_two_voxels_it_joins(view):
    """Mark a voxel and its partner, show them, and read the offset off the picture."""
    offset = (1, -2, 3)
    marks = torch.zeros(2, 5, 9, 9)
    marks[0, 2, 4, 4] = marks[1, 3, 2, 7] = 1
    a, b = (apply_symmetry(m, view).nonzero()[0] for m in marks)
    assert turned(offset, view) == tuple((b - a).tolist())


def test_views_are_different_begin_with_none_and_contain_each_other():
    sets = [symmetries(n) for n in (1, 4, 8, 16)]
    assert all(found[0] == Symmetry(False, False, False, False) for found in sets)
    assert [len(set(found)) for found in sets] == [1, 4, 8, 16]
    assert all(set(a) < set(b) for a, b in itertools.pairwise(sets))
    assert not any(view.flip_z for view in sets[2])
    with pytest.raises(NeuropilError, match="1, 4, 8 or 16"):
        symmetries(2)


def test_where_a_view_holds_an_edge():
    swap = Symmetry(False, False, False, True)
    assert readings(swap, NEAREST, NEAREST) == (Reading(0, (0, 0, 0)), Reading(2, (0, 0, 0)), Reading(1, (0, 0, 0)))
    flip_z = Symmetry(True, False, False, False)
    assert readings(flip_z, ((-3, 0, 0),), ((-3, 0, 0),)) == (Reading(0, (-3, 0, 0)),)
    long_y = ((0, -9, 0),)
    assert readings(swap, long_y, long_y) == (None,)


@pytest.mark.parametrize("offset", [(0, 0, 0), (1, -2, 3), (-5, 0, 0), (9, -9, 9)], ids=str)
def test_edges_inside_are_those_whose_partner_is(offset):
    shape = (4, 5, 6)
    found = torch.zeros(shape, dtype=torch.bool)
    found[edges_inside(offset, shape)] = True
    for v in itertools.product(*map(range, shape)):
        assert found[v] == all(0 <= a + o < n for a, o, n in zip(v, offset, shape, strict=True))
