import itertools

import pytest

from neuropil import NeuropilError
from neuropil.augment import Symmetry
from neuropil.inference.symmetries import symmetries


def test_views_are_different_begin_with_none_and_contain_each_other():
    sets = [symmetries(n) for n in (1, 4, 8, 16, 48)]
    assert all(found[0] == Symmetry(False, False, False) for found in sets)
    assert [len(set(found)) for found in sets] == [1, 4, 8, 16, 48]
    assert all(set(a) < set(b) for a, b in itertools.pairwise(sets))
    assert not any(view.flip_z for view in sets[2])
    assert all(view.axes[0] == 0 for view in sets[3])
    with pytest.raises(NeuropilError, match="1, 4, 8, 16 or 48"):
        symmetries(2)
