import numpy as np
import torch

from neuropil.augment import Symmetry, apply_symmetry, draw_symmetry


def test_sixteen_different_symmetries_of_a_square_patch():
    patch = torch.arange(2 * 3 * 3).reshape(2, 3, 3)
    seen = {
        tuple(apply_symmetry(patch, Symmetry(z, y, x, t)).flatten().tolist())
        for z in (False, True)
        for y in (False, True)
        for x in (False, True)
        for t in (False, True)
    }
    assert len(seen) == 16


def test_all_are_drawn_and_each_can_be_switched_off():
    rng = np.random.default_rng(0)
    assert len({draw_symmetry(rng) for _ in range(400)}) == 16
    assert {draw_symmetry(rng, flip=False) for _ in range(50)} == {
        Symmetry(False, False, False, False),
        Symmetry(False, False, False, True),
    }
    assert not any(draw_symmetry(rng, transpose=False).transpose for _ in range(50))
