import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from neuropil import Box, NeuropilError
from neuropil.inference.tiling import Axis, axis, choose_tile, lay_tiles


@given(st.integers(1, 90), st.integers(1, 40), st.integers(0, 20), st.integers(-9, 9), st.sampled_from([1, 4, 8]))
def test_weights_of_every_edge_add_up_to_exactly_one(size, tile, overlap, offset, multiple):
    overlap = max(overlap, abs(offset))
    assume(tile >= size or tile > overlap)
    line = axis(size, tile, overlap, multiple)
    weights = line.weights(offset)
    total = np.zeros(size, np.float32)
    for start, one in zip(line.starts, weights, strict=True):
        total[start : start + line.length] += one
    edges = [v for v in range(size) if 0 <= v + offset < size]
    expected = np.zeros(size, np.float32)
    expected[edges] = 1
    np.testing.assert_array_equal(total, expected)
    assert (weights >= 0).all()
    # An edge counts only where both of its voxels lie in the tile.
    inside = [v for v in range(line.length) if 0 <= v + offset < line.length]
    assert not np.delete(weights, inside, axis=1).any()
    for i in range(len(line.starts)):
        start, stop = line.support(i, [offset])
        outside = np.ones(line.length, bool)
        outside[start - line.starts[i] : stop - line.starts[i]] = False
        assert not weights[i][outside].any()


@given(st.integers(1, 200), st.integers(1, 60), st.integers(0, 30), st.sampled_from([1, 8]))
def test_tiles_lie_inside_the_axis_and_overlap_enough(size, tile, overlap, multiple):
    assume(tile >= size or tile > overlap)
    line = axis(size, tile, overlap, multiple)
    assert line.length <= max(tile, 1)
    assert line.starts[0] == 0
    assert line.starts[-1] + line.length == size
    steps = np.diff(line.starts)
    assert (steps > 0).all()
    assert (steps <= line.length - overlap).all()


def test_the_bump_is_the_published_one():
    """exp(-[x (1 - x)]^-1.5), x = (i + 1) / (n + 1), of two tiles divided by their sum, to the nearest 1/256."""
    line = Axis(30, 20, (0, 10))
    x = np.arange(1, 21) / 21
    bump = np.exp(-((x * (1 - x)) ** -1.5))
    expected = bump[10:] / (bump[10:] + bump[:10])
    np.testing.assert_allclose(line.weights(0)[0][10:], expected, atol=0.5 / 256)


def test_tiles_too_small_for_the_longest_offset_are_refused():
    offsets = ((0, 0, -1), (0, 0, -27))
    assert lay_tiles(Box.whole((4, 40, 100)), (4, 40, 64), (0, 0, 0), offsets).counts == (1, 1, 2)
    with pytest.raises(NeuropilError, match="longest offset kept there is 27"):
        lay_tiles(Box.whole((4, 40, 100)), (4, 40, 27), (0, 0, 0), offsets)


@pytest.mark.parametrize(
    "shape", [(10, 1024, 1024), (100, 1024, 1024), (512, 512, 512), (3, 7, 9), (1, 50_000, 60_000)]
)
def test_the_chosen_tile_fits_and_wastes_little(shape):
    multiple, nearest = (1, 8, 8), ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
    tile = choose_tile(shape, 3_000_000, (4, 32, 32), multiple)
    assert np.prod(tile) <= 3_000_000
    tiling = lay_tiles(Box.whole(shape), tile, (4, 32, 32), nearest, multiple)
    assert tiling.overhead < 1.45
    assert all(start % m == 0 for a, m in zip(tiling.axes, multiple, strict=True) for start in a.starts)
    assert tiling.tile(tuple(n - 1 for n in tiling.counts)).stop == shape


def test_no_memory_still_gives_a_tile():
    tile = choose_tile((100, 1000, 1000), 1, (4, 32, 32), (1, 8, 8))
    assert all(t > o for t, o in zip(tile, (4, 32, 32), strict=True))
