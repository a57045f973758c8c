"""Signed clusters of fragments equal their slow description, and bioimage-cpp's GASP where there are no ties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuropil
from neuropil import Box, NeuropilError
from neuropil.geometry import blocks
from neuropil.segmentation import (
    add_signed_graphs,
    cluster_fragments,
    signed_graph,
    signed_part_graph,
    within_reach,
)
from neuropil.volumes import LOGIT16
from reference.affinity_cases import cases, cases_with_fragments
from reference.signed import clusters as slow_clusters
from reference.signed import exact_mean, signed_edges

linkages = st.sampled_from(("abs_max", "mean", "constrained_mean"))
biases = st.sampled_from((-0.5, -0.25, (-0.5, -0.25, -0.75, -0.5, -0.2)))


@given(cases_with_fragments(), linkages, biases, st.sampled_from(((1, 1, 1), (2, 1, 3))), st.integers(1, 8))
def test_equals_the_reference(drawn, linkage, bias, strides, threads):
    case, fragments = drawn
    per_channel = np.broadcast_to(bias, len(case.offsets))
    slow = signed_edges(case.values, fragments, case.offsets, per_channel, strides)
    graph = signed_graph(
        case.array, fragments, case.offsets, bias=bias, strides=strides, encoding=case.encoding, threads=threads
    )
    assert list(zip(graph.a.tolist(), graph.b.tolist(), strict=True)) == sorted(slow)
    assert graph.count.tolist() == [len(slow[pair]) for pair in sorted(slow)]
    assert graph.sum.tolist() == [exact_mean(slow[pair]) * len(slow[pair]) for pair in sorted(slow)]
    names, smallest = graph.clusters(linkage)
    assert dict(zip(names.tolist(), smallest.tolist(), strict=True)) == slow_clusters(slow, linkage)


@given(cases(largest=4), biases)
def test_on_single_voxels_it_is_the_mutex_watershed(case, bias):
    voxels = np.arange(1, case.codes[0].size + 1).reshape(case.shape)
    graph = signed_graph(case.array, voxels, case.offsets, bias=bias, encoding=case.encoding)
    mutex = neuropil.mutex_watershed(case.array, case.offsets, bias=bias, encoding=case.encoding)
    np.testing.assert_array_equal(cluster_fragments(graph, voxels), mutex)


@given(cases_with_fragments(), st.tuples(*[st.integers(1, 4)] * 3), st.sampled_from(((1, 1, 1), (2, 1, 3))))
def test_graphs_of_blocks_add_up_to_the_whole(drawn, block, strides):
    case, fragments = drawn
    options = {"strides": strides, "encoding": case.encoding}
    whole = signed_graph(case.array, fragments, case.offsets, **options)
    parts = []
    for box in blocks(Box.whole(case.shape), block):
        around = within_reach(box, case.shape, case.offsets).slices
        array = case.array[(slice(None), *around)]
        parts.append(signed_part_graph(array, fragments[around], box, case.shape, case.offsets, **options))
    for mine, theirs in zip(add_signed_graphs(parts).columns, whole.columns, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("linkage", ["mean", "abs_max"])
@pytest.mark.parametrize("seed", range(3))
def test_same_clusters_as_bioimage_cpp(linkage, seed):
    bic = pytest.importorskip("bioimage_cpp")
    rng = np.random.default_rng(seed)
    shape = (6, 14, 15)
    codes = (10000 + 4 * rng.permutation(3 * 6 * 14 * 15)).astype(np.uint16).reshape(3, *shape)  # no two alike
    fragments = np.arange(1, codes[0].size + 1).reshape(shape) // 3 + 1
    graph = signed_graph(codes, fragments, neuropil.NEAREST, encoding=LOGIT16)
    peer = bic.graph.UndirectedGraph(int(fragments.max()) + 1)
    peer.insert_edges(np.stack([graph.a, graph.b], 1))
    weights = graph.mean if linkage == "mean" else _strongest(codes, fragments)
    policy = bic.graph.agglomeration.GaspClusterPolicy(linkage=linkage)
    theirs = policy.optimize(peer, weights, edge_sizes=graph.count.astype(float))
    ours = np.unique(cluster_fragments(graph, fragments.reshape(-1, 1, 1), linkage))
    per_fragment = cluster_fragments(graph, np.arange(1, fragments.max() + 1).reshape(-1, 1, 1), linkage).ravel()
    pairs = np.unique(np.stack([theirs[1:], per_fragment]), axis=1)
    assert 10 < len(ours) == len(np.unique(theirs[1:])) == pairs.shape[1]


def _strongest(codes, fragments):
    """The weight of largest size of every pair, in the order of the graph's edges."""
    slow = signed_edges(LOGIT16.table[codes], fragments, neuropil.NEAREST, (-0.5, -0.5, -0.5))
    return np.array([max(slow[pair], key=lambda edge: abs(edge[0]))[0] for pair in sorted(slow)])


def test_names_of_any_size_and_fragments_without_edges():
    far = np.array([[[2**64 - 1, 2**64 - 5, 0, 7]]], np.uint64)
    graph = signed_graph(np.full((1, 1, 1, 4), 0.9), far, [(0, 0, -1)])
    assert graph.a.tolist() == [2**64 - 5]
    assert cluster_fragments(graph, far).tolist() == [[[2, 2, 0, 1]]]


def test_bad_input_is_refused():
    affinities, fragments = np.full((1, 1, 1, 4), 0.9), np.array([[[1, 2, 3, 4]]])
    graph = signed_graph(affinities, fragments, [(0, 0, -1)])
    with pytest.raises(NeuropilError, match="linkage"):
        graph.clusters("sum")
    with pytest.raises(NeuropilError, match="strides"):
        signed_graph(affinities, fragments, [(0, 0, -1)], strides=(0, 1, 1))
    with pytest.raises(NeuropilError, match="bias"):
        signed_graph(affinities, fragments, [(0, 0, -1)], bias=(0.1, 0.2))
    with pytest.raises(NeuropilError, match="same bias"):
        add_signed_graphs([graph, signed_graph(affinities, fragments, [(0, 0, -1)], bias=-0.4)])
    with pytest.raises(NeuropilError, match="0:1,0:1,0:3"):
        signed_part_graph(affinities, fragments, Box((0, 0, 0), (1, 1, 2)), (1, 1, 4), [(0, 0, -1)])
    with pytest.raises(NeuropilError, match="at least one"):
        add_signed_graphs([])
