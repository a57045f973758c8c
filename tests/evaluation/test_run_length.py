"""Run lengths of lines whose every error is known, and of real labels."""

import sys

import numpy as np
import pytest

from neuropil import synthetic
from neuropil.errors import NeuropilError
from neuropil.evaluation import placing
from neuropil.evaluation.run_length import Skeleton, expected_run_length, run_length, skeletonize
from neuropil.geometry import Box
from neuropil.volumes import Metadata, array_volume

SIZE = (30, 10, 10)


def line(number, y, length=11, start=0):
    """A skeleton along x in section 0."""
    nodes = np.array([(0, y, start + x) for x in range(length)])
    return Skeleton(number, nodes, np.array([(x, x + 1) for x in range(length - 1)]))


def two():
    """Two neurons of 11 voxels: 100 nm of skeleton each."""
    return np.repeat([[[1], [2]]], 11, axis=2), [line(1, 0), line(2, 1)]


def score(seg, labels, skeletons, **more):
    return expected_run_length(np.asarray(seg), labels, skeletons, voxel_size=SIZE, **more)


def test_perfect():
    labels, skeletons = two()
    found = score(labels + 6, labels, skeletons)
    assert (found.erl, found.truth, found.nerl, found.correct) == (100, 100, 1, 1)


def test_split():
    """Neuron 1 breaks into 40 nm and 50 nm, 10 nm are lost between; ERL = (40² + 50² + 100²) / 200."""
    labels, skeletons = two()
    seg = labels.copy()
    seg[0, 0, 5:] = 3
    found = score(seg, labels, skeletons)
    assert found.erl == pytest.approx((40**2 + 50**2 + 100**2) / 200)
    assert (found.split, found.correct) == (pytest.approx(0.05), pytest.approx(0.95))


def test_merge_costs_both_neurons():
    labels, skeletons = two()
    seg = np.ones_like(labels)
    seg[0, 1, :5] = 2
    found = score(seg, labels, skeletons)
    assert found.erl == pytest.approx(40**2 / 200)
    assert (found.merged, found.split) == (pytest.approx(0.75), pytest.approx(0.05))


def test_a_stray_node_merges_nothing_unless_it_shall():
    labels, skeletons = two()
    seg = labels.copy()
    seg[0, 1, 10] = 1
    assert score(seg, labels, skeletons).merged == 0
    assert score(seg, labels, skeletons, stray=0).merged == pytest.approx(0.5)


def test_omission():
    labels, skeletons = two()
    seg = labels.copy()
    seg[0, 0, 3] = 0
    found = score(seg, labels, skeletons)
    assert found.omitted == pytest.approx(0.1)
    assert found.erl == pytest.approx((80**2 + 100**2) / 200)  # 20 and 60 nm of one segment count as one run


def test_merging_into_unlabelled_tissue_counts():
    labels, skeletons = two()
    labels = np.concatenate([labels, np.zeros((1, 3, 11), int)], axis=1)
    labels[0, 2] = 9  # an object without a skeleton
    seg = labels.copy()
    seg[0, 2:] = 1
    found = score(seg, labels, skeletons)
    assert found.merged == pytest.approx(0.5)
    assert score(seg, labels, skeletons, unlabelled=0.8).merged == 0


def test_only_what_is_in_the_box():
    labels, skeletons = two()
    moved = [Skeleton(s.id, s.nodes + np.array((50, 0, 0)), s.edges) for s in skeletons]
    placed = array_volume(labels, Metadata(origin=(50, 0, 0), voxel_size=SIZE))
    found = expected_run_length(placed, placed, moved, box=Box((50, 0, 0), (51, 2, 6)))
    assert (found.erl, found.truth) == (50, 50)
    with pytest.raises(NeuropilError, match="no skeleton has an edge inside"):
        expected_run_length(placed, placed, skeletons)


def test_slab_by_slab_is_the_same(monkeypatch):
    """A skeleton that winds through all sections, of which one is read at a time."""
    labels = np.ones((6, 4, 11), int)
    nodes = np.array([(z, 1, x) for z in range(6) for x in range(11)])
    walk = Skeleton(1, nodes, np.array([(n, n + 1) for n in range(65)]))
    seg = np.random.default_rng(0).integers(0, 4, labels.shape)
    whole = score(seg, labels, [walk])
    monkeypatch.setattr(placing, "_SLAB", 1)
    assert score(seg, labels, [walk]) == whole


def test_skeletons_need_kimimaro(monkeypatch):
    monkeypatch.setitem(sys.modules, "kimimaro", None)
    with pytest.raises(NeuropilError, match=r"pip install 'neuropil\[mesh\]'"):
        run_length(*[np.ones((2, 3, 4), int)] * 2, voxel_size=SIZE)


def test_needs_a_voxel_size():
    labels, skeletons = two()
    with pytest.raises(NeuropilError, match="how large a voxel is"):
        expected_run_length(labels, labels, skeletons)


def test_skeletons_of_labels():
    pytest.importorskip("kimimaro")
    labels = array_volume(synthetic.neuropil((12, 120, 130), seed=5)[1], Metadata((30, 6, 6), (7, 0, 0)))
    skeletons = skeletonize(labels)
    assert len(skeletons) > 5
    for skeleton in skeletons:
        here = labels.read()[tuple((skeleton.nodes - (7, 0, 0)).T)]
        assert set(here.tolist()) == {skeleton.id}
    perfect = expected_run_length(labels, labels, skeletons)
    assert perfect.nerl == pytest.approx(1)
    assert perfect.correct == pytest.approx(1)
    halves = labels.read().astype(np.int64) * 2
    halves[6:] += halves[6:] > 0
    cut = expected_run_length(array_volume(halves, labels.metadata), labels, skeletons)
    assert 0.3 < cut.nerl < 1
    assert cut.split > 0
