"""The watershed with a search of plateaus equals its slow description and what zwatershed and waterz gave."""

import numpy as np
import pytest

from neuropil import NeuropilError
from neuropil.segmentation import basin_graph, basins, spanning_tree
from recorded import CLASSIC, needs_classic
from reference.basins import basins as slow_basins


@pytest.mark.parametrize("scan", ["zyx", "xyz"])
@pytest.mark.parametrize("levels", [3, 5, 200])
@pytest.mark.parametrize("shape", [(3, 7, 6), (1, 9, 8), (5, 1, 4), (1, 1, 1)])
def test_equals_the_reference(shape, levels, scan):
    """With few levels nearly everything is a plateau."""
    rng = np.random.default_rng(levels)
    for _ in range(5):
        affinities = (rng.integers(0, levels, (3, *shape)) / (levels - 1)).astype(np.float32)
        found = basins(affinities, low=0.2, high=0.9, scan=scan)
        np.testing.assert_array_equal(found, slow_basins(affinities, 0.2, 0.9, scan))


@needs_classic
def test_basins_of_waterz_id_by_id():
    affinities = np.load(CLASSIC / "affinities.npz")["affinities"]
    np.testing.assert_array_equal(
        basins(affinities, low=0.005, high=0.995), np.load(CLASSIC / "waterz.npz")["fragments"]
    )


def test_bytes_are_their_share_of_255():
    codes = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 6), np.uint8)
    np.testing.assert_array_equal(basins(codes, low=0.4), basins(codes / np.float32(255), low=0.4))


def test_graph_has_the_largest_affinity_of_each_pair():
    rng = np.random.default_rng(1)
    affinities, ids = rng.integers(0, 5, (3, 3, 4, 5)).astype(np.float32) / 4, rng.integers(0, 6, (3, 4, 5))
    best = {}
    for axis, values in enumerate(affinities):
        for voxel in np.ndindex(ids.shape):
            before = tuple(v - (a == axis) for a, v in enumerate(voxel))
            pair = tuple(sorted((ids[voxel], ids[before]))) if min(before) >= 0 else (0, 0)
            if 0 < pair[0] < pair[1]:
                best[pair] = max(best.get(pair, 0), values[voxel])
    rows = sorted(((value, *pair) for pair, value in best.items()), reverse=True)
    assert basin_graph(affinities, ids).tolist() == [[a, b, value] for value, a, b in rows]


def test_tree_connects_what_the_graph_connects_towards_the_smallest():
    graph = np.array([[4, 5, 0.9], [1, 2, 0.8], [2, 3, 0.7], [1, 3, 0.6], [5, 6, 0.5]], np.float32)
    assert spanning_tree(graph, 8)[:, :2].tolist() == [[5, 4], [2, 1], [3, 2], [6, 5]]
    assert spanning_tree(graph[:0], 1).shape == (0, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: basins(np.zeros((2, 1, 1, 2))), r"\[3, z, y, x\]"),
        (lambda: basins(np.zeros((3, 1, 1, 2), np.uint16)), "floats or uint8, got uint16"),
        (lambda: basins(np.full((3, 1, 1, 2), np.nan)), "NaN"),
        (lambda: basins(np.full((3, 1, 1, 2), 1.1)), "from 0 to 1"),
        (lambda: basins(np.zeros((3, 1, 1, 2)), low=0.9, high=0.1), "low 0.9 and high 0.1"),
        (lambda: basins(np.zeros((3, 1, 1, 2)), scan="yxz"), "'yxz'"),
        (lambda: basin_graph(np.zeros((3, 1, 1, 2)), np.ones((1, 1, 3), int)), r"\(1, 1, 2\)"),
        (lambda: basin_graph(np.zeros((3, 1, 1, 2)), np.full((1, 1, 2), 1 << 24)), "ids up to 16777215"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(NeuropilError, match=message):
        call()
