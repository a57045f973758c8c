import itertools

import numpy as np
import pytest
import torch

from neuropil.augment import Symmetry, apply_symmetry, draw_symmetry, inverse, readings, turn_affinities, turned
from neuropil.augment.geometry import Reading, edges_inside
from neuropil.geometry import NEAREST
from neuropil.targets import affinity_targets

FLIPS = list(itertools.product((False, True), repeat=3))
CUBE = [Symmetry(*flips, axes) for flips in FLIPS for axes in itertools.permutations(range(3))]
SWAP = (0, 2, 1)


def test_sixteen_different_symmetries_of_a_square_patch_and_48_of_a_cube():
    patch, cube = torch.arange(2 * 3 * 3).reshape(2, 3, 3), torch.arange(27).reshape(3, 3, 3)
    sections = [s for s in CUBE if s.axes[0] == 0]
    assert len({tuple(apply_symmetry(patch, s).flatten().tolist()) for s in sections}) == 16
    assert len({tuple(apply_symmetry(cube, s).flatten().tolist()) for s in CUBE}) == 48


def test_all_are_drawn_and_each_can_be_switched_off():
    rng = np.random.default_rng(0)
    assert len({draw_symmetry(rng) for _ in range(400)}) == 16
    assert {draw_symmetry(rng, flip=False) for _ in range(50)} == {
        Symmetry(False, False, False),
        Symmetry(False, False, False, SWAP),
    }
    assert not any(draw_symmetry(rng, transpose=False).axes == SWAP for _ in range(50))
    assert {draw_symmetry(rng, cube=True) for _ in range(1500)} == set(CUBE)
    assert len({draw_symmetry(rng, flip=False, cube=True) for _ in range(200)}) == 6


@pytest.mark.parametrize("view", CUBE, ids=str)
def test_the_inverse_undoes(view):
    x = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert torch.equal(apply_symmetry(apply_symmetry(x, view), inverse(view)), x)
    assert inverse(inverse(view)) == view


@pytest.mark.parametrize("view", CUBE, ids=str)
def test_an_offset_turns_as_the_two_voxels_it_joins(view):
    """Mark a voxel and its partner, show them, and read the offset off the picture."""
    offset = (1, -2, 3)
    marks = torch.zeros(2, 5, 9, 9)
    marks[0, 2, 4, 4] = marks[1, 3, 2, 7] = 1
    a, b = (apply_symmetry(m, view).nonzero()[0] for m in marks)
    assert turned(offset, view) == tuple((b - a).tolist())


def test_where_a_view_holds_an_edge():
    swap = Symmetry(False, False, False, SWAP)
    assert readings(swap, NEAREST, NEAREST) == (Reading(0, (0, 0, 0)), Reading(2, (0, 0, 0)), Reading(1, (0, 0, 0)))
    flip_z = Symmetry(True, False, False)
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


@pytest.mark.parametrize("view", CUBE, ids=str)
def test_turned_affinities_are_those_of_turned_labels(view):
    labels = torch.from_numpy(np.random.default_rng(1).integers(0, 3, (5, 6, 7)).astype(np.int32))
    held = (*NEAREST, (-2, 0, 0), (0, -2, 0), (0, 0, -2), (1, -2, 3))
    wanted = (*NEAREST, (0, 0, -2), (2, 0, 0), (1, -2, 3))
    expected, inside = affinity_targets(apply_symmetry(labels, view).contiguous(), wanted)
    found, known = turn_affinities(affinity_targets(labels, held)[0], held, wanted, view)
    # The slanted edge is known only where the view leaves it in place, at one of its ends or the other.
    there = turned((1, -2, 3), inverse(view)) in ((1, -2, 3), (-1, 2, -3))
    assert known == (True,) * 5 + (there,)
    assert torch.equal(found, expected & inside & torch.tensor(known)[:, None, None, None])
