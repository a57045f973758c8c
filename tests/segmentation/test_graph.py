"""The region graph equals its slow description."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuropil
from neuropil import NeuropilError
from neuropil.segmentation import MergeTree, agglomerate_graph
from neuropil.segmentation.graph import coordinate_sums
from neuropil.segmentation.scores import fixed_point
from neuropil.volumes import LINEAR8, LOGIT8, LOGIT16
from reference.affinity_cases import cases_with_fragments
from reference.region_graph import region_graph as slow_region_graph


@given(cases_with_fragments(), st.integers(1, 8))
def test_equals_the_reference(drawn, threads):
    case, fragments = drawn
    slow = slow_region_graph(case.codes, fragments, list(case.offsets))
    graph = neuropil.region_graph(
        case.array, fragments, offsets=case.offsets, encoding=case.encoding, histograms=True, threads=threads
    )
    table, scale = fixed_point(case.encoding or (LINEAR8 if case.array.dtype == np.uint8 else LOGIT16))
    assert list(zip(graph.a.tolist(), graph.b.tolist(), strict=True)) == sorted(slow)
    for i, pair in enumerate(sorted(slow)):
        faces, codes = zip(*slow[pair], strict=True)
        assert graph.count[i] == len(faces)
        assert graph.sum[i] == sum(int(table[code]) for code in codes)
        assert graph.key[i] == max(faces)
        assert (graph.min[i], graph.max[i]) == (min(codes), max(codes))
        bins = slice(graph.bin_start[i], graph.bin_start[i + 1])
        assert np.repeat(graph.bin_code[bins], graph.bin_count[bins].astype(int)).tolist() == sorted(codes)
        assert graph.mean[i] == pytest.approx(np.mean(case.table[list(codes)]), abs=1e-9)
    assert scale == table[-1]


@pytest.mark.parametrize("encoding", [LOGIT8, LOGIT16, LINEAR8])
def test_fixed_point_tells_every_code_apart(encoding):
    table, scale = fixed_point(encoding)
    assert (np.diff(table.astype(np.int64)) > 0).all()
    np.testing.assert_allclose(table / scale, encoding.table, atol=1e-9)


def test_ids_of_any_size():
    affinities = np.random.default_rng(0).random((3, 4, 5, 6))
    fragments = np.random.default_rng(1).integers(0, 30, (4, 5, 6))
    far = np.array([0, *range(2**64 - 29, 2**64)], np.uint64)[fragments]
    graph = neuropil.region_graph(affinities, fragments)
    sparse = neuropil.region_graph(affinities, far)
    np.testing.assert_array_equal(sparse.ids[sparse.a - 1], np.unique(far)[1:][graph.a - 1])
    np.testing.assert_array_equal(sparse.sum, graph.sum)


def test_saved_and_loaded(tmp_path):
    affinities = np.random.default_rng(0).random((3, 4, 5, 6))
    graph = neuropil.region_graph(affinities, neuropil.watershed(affinities))
    graph.save(tmp_path / "graph.npz")
    again = neuropil.RegionGraph.load(tmp_path / "graph.npz")
    assert len(again) == len(graph) > 0
    for before, after in zip(graph.columns, again.columns, strict=True):
        np.testing.assert_array_equal(before, after)
    (tmp_path / "text").write_text("no graph")
    with pytest.raises(NeuropilError, match="region graph"):
        neuropil.RegionGraph.load(tmp_path / "text")


def test_saved_with_histograms_and_ids_it_still_gives_the_tree(tmp_path):
    affinities = np.random.default_rng(0).integers(0, 5, (3, 4, 5, 6)) / 4
    far = np.arange(2**64 - 120, 2**64, dtype=np.uint64).reshape(4, 5, 6)
    graph = neuropil.region_graph(affinities, far, histograms=True)
    graph.save(tmp_path / "graph.npz")
    again = neuropil.RegionGraph.load(tmp_path / "graph.npz")
    assert (again.nodes, again.encoding) == (graph.nodes, graph.encoding)
    tree, same = agglomerate_graph(graph, "q25"), agglomerate_graph(again, "q25")
    same.save(tmp_path / "tree.npz")
    np.testing.assert_array_equal(MergeTree.load(tmp_path / "tree.npz").segment(far, 0.5), tree.segment(far, 0.5))


@pytest.mark.parametrize("fragments", [np.zeros((2, 2, 3), int), np.zeros((2, 2, 2)), -np.ones((2, 2, 2), int)])
def test_bad_fragments_are_refused(fragments):
    with pytest.raises(NeuropilError, match="fragments"):
        neuropil.region_graph(np.zeros((3, 2, 2, 2)), fragments)


@given(
    st.tuples(st.integers(0, 9), *[st.integers(1, 9)] * 2), st.integers(1, 5), st.tuples(*[st.integers(0, 99)] * 3),
    st.integers(0, 2**32),
)  # fmt: skip
def test_sums_of_coordinates(shape, count, start, seed):
    labels = np.random.default_rng(seed).integers(0, count, shape)
    slow = [(np.argwhere(labels == n) + start).sum(0) for n in range(count)]
    assert coordinate_sums(labels, count, start).T.tolist() == np.reshape(slow, (count, 3)).tolist()


def test_sums_of_coordinates_of_many_sections():
    labels = np.random.default_rng(0).integers(0, 4, (5, 1200, 1200), np.uint8)
    z, y, x = (np.bincount(labels.ravel(), weights=c.ravel()) for c in np.indices(labels.shape))
    assert coordinate_sums(labels, 4, (0, 0, 0)).tolist() == np.stack([z, y, x]).astype(int).tolist()
