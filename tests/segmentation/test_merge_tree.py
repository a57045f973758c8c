"""Agglomeration equals its slow description, ties included, and waterz where there are no ties."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuropil
from neuropil import NeuropilError
from neuropil.segmentation import agglomerate_graph, segment_fragments
from neuropil.segmentation.scores import fixed_point
from neuropil.volumes import LINEAR8, LOGIT8, LOGIT16
from reference import agglomeration as slow
from reference.affinity_cases import cases_with_fragments
from reference.partitions import partition
from reference.region_graph import region_graph as slow_region_graph
from reference.silence import silent

scores = st.sampled_from(sorted(slow.SCORES))


def meaning(case):
    return case.encoding or (LINEAR8 if case.array.dtype == np.uint8 else LOGIT16)


def slow_tree(case, fragments, score):
    """The reference's merges, with scores as affinities."""
    table, scale = fixed_point(meaning(case))
    edges = slow_region_graph(case.codes, fragments, list(case.offsets))
    merges = slow.agglomerate(edges, slow.SCORES[score], table)
    if score == "mean":
        return [(a, b, float(value / int(scale))) for a, b, value in merges]
    return [(a, b, case.table[value]) for a, b, value in merges]


def columns(tree):
    return zip(tree.a.tolist(), tree.b.tolist(), tree.score.tolist(), strict=True)


def assert_same_tree(tree, merges):
    assert [(a, b) for a, b, _ in columns(tree)] == [(a, b) for a, b, _ in merges]
    np.testing.assert_allclose(tree.score, [score for *_, score in merges], rtol=1e-12)
    assert (np.diff(tree.score) <= 0).all()


@given(cases_with_fragments(), scores, st.tuples(*[st.integers(1, 4)] * 3), st.integers(1, 8))
def test_every_merge_equals_the_reference(drawn, score, block, threads):
    """However the volume is cut into blocks: the same merges, of the same regions, in the same order."""
    case, fragments = drawn
    meant = {"offsets": case.offsets, "encoding": case.encoding}
    merges = slow_tree(case, fragments, score)
    assert_same_tree(neuropil.agglomerate(case.array, fragments, score, block=block, threads=threads, **meant), merges)
    graph = neuropil.region_graph(case.array, fragments, histograms=score[0] == "q", threads=threads, **meant)
    assert_same_tree(agglomerate_graph(graph, score), merges)


@given(cases_with_fragments(), st.floats(0, 1))
def test_a_cut_makes_the_merges_that_reach_the_threshold(drawn, threshold):
    case, fragments = drawn
    tree = neuropil.agglomerate(case.array, fragments, offsets=case.offsets, encoding=case.encoding)
    name = slow.segments(np.unique(fragments).tolist(), columns(tree), threshold)
    expected = np.vectorize(name.get, otypes=[int])(fragments)
    segmentation = tree.segment(fragments, threshold)
    np.testing.assert_array_equal(partition(segmentation), partition(expected))
    np.testing.assert_array_equal(segmentation == 0, fragments == 0)


@pytest.mark.parametrize("score", ["mean", "max", "min", "q50", "q85"])
@pytest.mark.parametrize("levels", [3, 40, 250])
def test_blocks_and_threads_do_not_show_in_larger_trees(score, levels):
    rng = np.random.default_rng(levels)
    codes = (rng.integers(0, levels, (3, 12, 40, 44)) * (250 // levels)).astype(np.uint8)
    fragments = neuropil.watershed(codes, encoding=LOGIT8)
    whole = neuropil.agglomerate(codes, fragments, score, encoding=LOGIT8, block=(99, 99, 99), threads=1)
    blocks = [(3, 7, 5), (4, 9, 20), (12, 6, 6), (12, 40, 1), (1, 40, 8), (99, 20, 22), (6, 1, 44), (5, 5, 5)]
    for threads, block in enumerate(blocks, start=1):
        tree = neuropil.agglomerate(codes, fragments, score, encoding=LOGIT8, block=block, threads=threads)
        np.testing.assert_array_equal(tree.a, whole.a)
        np.testing.assert_array_equal(tree.b, whole.b)
        np.testing.assert_array_equal(tree.score, whole.score)


@given(cases_with_fragments(), scores, st.sampled_from((0.2, 0.5, 0.9, 1.1)), st.integers(2, 40))
def test_minimum_size_equals_the_reference(drawn, score, threshold, min_size):
    case, fragments = drawn
    meant = {"offsets": case.offsets, "encoding": case.encoding}
    edges = slow_region_graph(case.codes, fragments, list(case.offsets))
    tree = neuropil.agglomerate(case.array, fragments, score, **meant)
    graph = neuropil.region_graph(case.array, fragments, histograms=True, **meant)
    ids, counts = np.unique(fragments[fragments > 0], return_counts=True)
    sizes = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    name = slow.segments(sizes, columns(tree), threshold)
    table, _ = fixed_point(meaning(case))
    name = slow.absorb_small(name, sizes, edges, slow.SCORES[score], table, min_size) | {0: 0}
    expected = np.vectorize(name.get, otypes=[int])(fragments)
    segmentation = tree.segment(fragments, threshold, min_size, graph)
    np.testing.assert_array_equal(partition(segmentation), partition(expected))
    np.testing.assert_array_equal(segmentation == 0, expected == 0)
    kept, voxels = np.unique(segmentation[segmentation > 0], return_counts=True)
    assert (voxels >= min_size).all()
    np.testing.assert_array_equal(kept, np.arange(1, len(kept) + 1))


@given(
    cases_with_fragments(), scores, st.sampled_from((-1.0, 0.0, 0.2, 0.5, 0.9, 1.0, 1.1, np.inf)),
    st.sampled_from((0, 1, 2, 9, 40)), st.integers(1, 8),
)  # fmt: skip
def test_one_threshold_is_the_cut_of_the_tree(drawn, score, threshold, min_size, threads):
    """Also where fragments have large ids, and with the minimum size on the graph that merging has left."""
    case, fragments = drawn
    meant = {"offsets": case.offsets, "encoding": case.encoding}
    graph = neuropil.region_graph(case.array, fragments, histograms=True, **meant)
    expected = neuropil.agglomerate(case.array, fragments, score, **meant).segment(
        fragments, threshold, min_size, graph
    )
    options = {"min_size": min_size, "block": (2, 3, 4), "threads": threads, **meant}
    found = segment_fragments(case.array, fragments, threshold, score, **options)
    np.testing.assert_array_equal(found, expected)
    far = np.where(fragments > 0, fragments.astype(np.uint64) + 2**60, 0)
    found = segment_fragments(case.array, far, threshold, score, **options)
    np.testing.assert_array_equal(partition(found), partition(expected))
    np.testing.assert_array_equal(found == 0, expected == 0)


def test_what_is_no_threshold_or_size_is_refused():
    affinities, fragments = np.zeros((3, 1, 1, 2)), np.array([[[1, 2]]])
    with pytest.raises(NeuropilError, match="NaN"):
        segment_fragments(affinities, fragments, np.nan)
    with pytest.raises(NeuropilError, match="min_size"):
        segment_fragments(affinities, fragments, 0.5, min_size=2.5)


def waterz_mean(affinities, fragments, thresholds):
    """Segmentations of waterz at ascending scores, which are 1 - affinity."""
    waterz = pytest.importorskip("waterz")
    mean, ids = "OneMinus<MeanAffinity<RegionGraphType, ScoreValue>>", fragments.astype(np.uint64)
    with silent():
        results = waterz.agglomerate(affinities, thresholds, fragments=ids, scoring_function=mean)
        return [segmentation.copy() for segmentation in results]


def assert_same_as_waterz(codes, encoding, fragments):
    tree = neuropil.agglomerate(codes, fragments, encoding=encoding)
    assert len(np.unique(tree.score)) == len(tree)
    # waterz computes in float32: thresholds stand in the middle of wide gaps between scores.
    gaps = np.argsort(np.diff(tree.score))[: len(tree) // 4]
    cuts = np.sort((tree.score[gaps] + tree.score[gaps + 1]) / 2)[::-1][:: max(1, len(gaps) // 8)]
    theirs = waterz_mean(encoding.table[codes].astype(np.float32), fragments, (1 - cuts).tolist())
    assert len(theirs) == len(cuts) >= 5
    for threshold, their in zip(cuts, theirs, strict=True):
        np.testing.assert_array_equal(partition(tree.segment(fragments, threshold)), partition(their))


@pytest.mark.parametrize("seed", range(6))
def test_same_partition_as_waterz(seed):
    rng = np.random.default_rng(seed)
    values = rng.random((3, 10, 20, 20)) + rng.random((3, 1, 1, 20)) + rng.random((3, 1, 20, 1))
    ranks = values.ravel().argsort().argsort().reshape(values.shape)
    codes = (1 + 5 * ranks).astype(np.uint16)  # no two alike
    fragments = neuropil.watershed(codes, encoding=LOGIT16, low=0.4)
    assert_same_as_waterz(codes, LOGIT16, fragments)


@pytest.mark.parametrize("seed", range(20))
def test_same_partition_as_waterz_in_8_bits(seed):
    rng = np.random.default_rng(seed)
    codes = np.zeros((3, 3, 5, 6), np.uint8)
    inside = np.ones(codes.shape, bool)
    inside[0, 0], inside[1, :, 0], inside[2, :, :, 0] = False, False, False
    codes[inside] = rng.permutation(np.arange(1, 255))[: inside.sum()]  # no two of the 207 faces alike
    assert_same_as_waterz(codes, LOGIT8, np.arange(1, 91).reshape(3, 5, 6))


def test_saved_and_loaded(tmp_path):
    affinities = np.random.default_rng(0).random((3, 4, 5, 6))
    tree = neuropil.agglomerate(affinities, neuropil.watershed(affinities))
    tree.save(tmp_path / "tree.npz")
    again = neuropil.MergeTree.load(tmp_path / "tree.npz")
    np.testing.assert_array_equal(again.cut(0.5), tree.cut(0.5))
    assert again.fragments == tree.fragments
    with pytest.raises(NeuropilError, match="merge tree"):
        neuropil.MergeTree.load(tmp_path / "missing.npz")


def test_ids_of_any_size():
    affinities = np.random.default_rng(0).random((3, 4, 5, 6))
    fragments = np.random.default_rng(1).integers(0, 30, (4, 5, 6))
    far = np.array([0, *range(2**64 - 29, 2**64)], np.uint64)[fragments]
    near_tree, far_tree = neuropil.agglomerate(affinities, fragments), neuropil.agglomerate(affinities, far)
    np.testing.assert_array_equal(far_tree.segment(far, 0.6), near_tree.segment(fragments, 0.6))
    with pytest.raises(NeuropilError, match="not in the graph"):
        far_tree.segment(fragments, 0.6)


def test_thresholds_are_reached_not_passed():
    affinities = np.full((3, 1, 1, 2), 51, np.uint8)
    tree = neuropil.agglomerate(affinities, np.array([[[1, 2]]]))
    assert tree.score.tolist() == [0.2]
    assert [tree.cut(t)[2] for t in (0.2, 0.2000001)] == [1, 2]


def test_nothing_to_merge():
    tree = neuropil.agglomerate(np.zeros((3, 2, 2, 2)), np.zeros((2, 2, 2), np.uint32))
    assert (len(tree), tree.fragments, tree.segment(np.zeros((2, 2, 2), int), 0.5).max()) == (0, 0, 0)


def test_bad_input_is_refused():
    affinities, fragments = np.zeros((3, 1, 1, 2)), np.array([[[1, 2]]])
    with pytest.raises(NeuropilError, match="mean"):
        neuropil.agglomerate(affinities, fragments, score="average")
    tree = neuropil.agglomerate(affinities, fragments)
    with pytest.raises(NeuropilError, match="graph"):
        replace(tree, recut=None).segment(fragments, 0.5, min_size=5)  # as a tree that was loaded
    with pytest.raises(NeuropilError, match="between 0 and 1, got 50"):
        tree.segment(fragments, 50)
    with pytest.raises(NeuropilError, match="go up to 9"):
        tree.segment(fragments + 7, 0.5)


def test_graphs_with_64_bit_nodes_give_the_same_tree():
    affinities = np.random.default_rng(6).integers(0, 6, (3, 6, 7, 8), np.uint8) * 50
    fragments = neuropil.watershed(affinities, low=0.3)
    graph = neuropil.region_graph(affinities, fragments)
    wide = replace(graph, a=graph.a.astype(np.uint64), b=graph.b.astype(np.uint64))
    tree, wide_tree = agglomerate_graph(graph), agglomerate_graph(wide)
    np.testing.assert_array_equal(tree.a, wide_tree.a)
    np.testing.assert_array_equal(tree.score, wide_tree.score)
    segmentation = tree.segment(fragments, 0.5, min_size=20, graph=graph)
    np.testing.assert_array_equal(wide_tree.segment(fragments, 0.5, min_size=20, graph=wide), segmentation)
    np.testing.assert_array_equal(wide_tree.segment(fragments, 0.5, min_size=20), segmentation)


@pytest.mark.parametrize("score", ["mean", "q75"])
def test_a_minimum_size_needs_no_graph_by_hand(tmp_path, score):
    affinities = np.random.default_rng(6).integers(0, 6, (3, 6, 7, 8), np.uint8) * 50
    fragments = neuropil.watershed(affinities, low=0.3)
    graph = neuropil.region_graph(affinities, fragments, histograms=True)
    tree = neuropil.agglomerate(affinities, fragments, score)
    expected = tree.segment(fragments, 0.6, 20, graph)
    np.testing.assert_array_equal(tree.segment(fragments, 0.6, min_size=20), expected)
    with pytest.raises(NeuropilError, match="NaN"):
        tree.segment(fragments, np.nan, min_size=20)
    tree.save(tmp_path / "tree.npz")
    loaded = neuropil.MergeTree.load(tmp_path / "tree.npz")
    np.testing.assert_array_equal(loaded.segment(fragments, 0.6, 20, graph), expected)
