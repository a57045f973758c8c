import numpy as np
import pytest

from neuropil import NeuropilError, agglomerate, region_graph, watershed, write_volume
from neuropil.segmentation import MergeTree


def random_affinities(seed=0):
    return np.random.default_rng(seed).integers(0, 9, (3, 3, 8, 8)) / np.float32(8)


def test_paths_are_opened(tmp_path):
    affinities = random_affinities()
    write_volume(tmp_path / "a.h5", affinities)
    fragments = watershed(tmp_path / "a.h5")
    assert np.array_equal(fragments, watershed(affinities))
    write_volume(tmp_path / "f.h5", fragments)
    tree = agglomerate(str(tmp_path / "a.h5"), tmp_path / "f.h5")
    assert np.array_equal(tree.segment(tmp_path / "f.h5", 0.5), tree.segment(fragments, 0.5))
    with pytest.raises(NeuropilError, match="no such file"):
        watershed(tmp_path / "missing.h5")


@pytest.mark.parametrize("score", ["mean", "max", "min", "q75"])
def test_small_segments_are_pooled_as_the_tree_was(score, tmp_path):
    """A tree that was saved and loaded still knows its score; the mean gives other segments."""
    affinities = random_affinities(3)
    fragments = watershed(affinities, low=0.3)
    graph = region_graph(affinities, fragments, histograms=True)
    tree = agglomerate(affinities, fragments, score)
    tree.save(tmp_path / "tree.npz")
    again = MergeTree.load(tmp_path / "tree.npz")
    assert again.pooling == tree.pooling == score
    assert np.array_equal(again.segment(fragments, 0.9, 20, graph), tree.segment(fragments, 0.9, 20, graph))


def test_a_threshold_is_a_number():
    tree = MergeTree(np.array([1]), np.array([2]), np.array([0.7]), fragments=2)
    with pytest.raises(NeuropilError, match="NaN"):
        tree.cut(float("nan"))
