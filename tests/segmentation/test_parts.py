"""A volume worked on in blocks, up any tree of blocks, has the graph and the tree of the whole volume."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuropil
from neuropil import Box, NeuropilError
from neuropil.geometry import blocks
from neuropil.segmentation import (
    add_graphs,
    frozen_fragments,
    merge_part,
    merge_tree,
    part_graph,
    with_halo,
)
from reference import agglomeration as slow
from reference.affinity_cases import cases

scores = st.sampled_from(sorted(slow.SCORES))
block_shapes = st.tuples(*[st.integers(1, 6)] * 3)


def meaning(case):
    return {"offsets": case.offsets, "encoding": case.encoding}


def graphs_of(case, fragments, block, histograms=True):
    whole = Box.whole(fragments.shape)
    for box in blocks(whole, block):
        around = with_halo(box, whole.shape).slices
        yield (
            box,
            part_graph(
                case.array[(slice(None), *around)],
                fragments[around],
                box,
                whole.shape,
                histograms=histograms,
                **meaning(case),
            ),
        )


def halo_of(fragments, box):
    return fragments[with_halo(box, fragments.shape).slices]


@settings(max_examples=25)
@given(cases(largest=4), block_shapes, st.booleans())
def test_graphs_of_blocks_add_up_to_the_whole(case, block, each_voxel):
    fragments = neuropil.watershed(case.array, low=0, high=1.1, **meaning(case))
    if each_voxel:
        fragments = np.arange(1, fragments.size + 1).reshape(fragments.shape)
    whole = neuropil.region_graph(case.array, fragments, histograms=True, **meaning(case))
    parts = [graph for _, graph in graphs_of(case, fragments, block)]
    assert sum(int(part.count.sum()) for part in parts) == whole.count.sum()
    added = add_graphs(parts)
    for mine, theirs in zip((*added.columns, *added.bins), (*whole.columns, *whole.bins), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def climb(case, fragments, score, rng, threshold=None):
    """Leaves of random size, parents of two to four neighbours along one axis, up to the whole; merges of all."""
    shape = fragments.shape
    block = tuple(int(n) for n in rng.integers(1, 5, 3))
    level = {}
    merges = []
    for box, graph in graphs_of(case, fragments, block):
        done = merge_part(graph, frozen_fragments(halo_of(fragments, box), box, shape), score, threshold=threshold)
        merges.append(done.merges)
        level[box] = done.rest
    while len(level) > 1:
        axis, step = int(rng.integers(3)), int(rng.integers(2, 5))
        starts = sorted({box.start[axis] for box in level})
        group = {start: starts[i // step * step] for i, start in enumerate(starts)}
        families = {}
        for box in level:
            start = tuple(group[s] if a == axis else s for a, s in enumerate(box.start))
            families.setdefault(start, []).append(box)
        parents = {}
        for start, children in families.items():
            box = Box(start, tuple(max(child.stop[a] for child in children) for a in range(3)))
            frozen = rng.permutation(frozen_fragments(halo_of(fragments, box), box, shape))
            done = merge_part([level[child] for child in children], frozen, score, threshold=threshold)
            merges.append(done.merges)
            parents[box] = done.rest
        level = parents
    assert threshold is not None or all(len(rest) == 0 for rest in level.values())
    rng.shuffle(merges)
    return merges


@settings(max_examples=60)
@given(cases(largest=6), scores, st.integers(0, 2**32), st.booleans())
def test_any_tree_of_blocks_gives_the_tree_of_the_whole(case, score, seed, each_voxel):
    fragments = neuropil.watershed(case.array, low=0, high=1.1, **meaning(case))
    if each_voxel:
        fragments = np.arange(1, fragments.size + 1).reshape(fragments.shape)
    whole = neuropil.agglomerate(case.array, fragments, score, **meaning(case))
    merges = climb(case, fragments, score, np.random.default_rng(seed))
    encoding = neuropil.region_graph(case.array, fragments, **meaning(case)).encoding
    tree = merge_tree(merges, whole.fragments, encoding, score)
    for name in ("a", "b", "score"):
        np.testing.assert_array_equal(getattr(tree, name), getattr(whole, name))
        assert getattr(tree, name).dtype == getattr(whole, name).dtype
    assert (tree.fragments, tree.pooling) == (whole.fragments, whole.pooling)


@settings(max_examples=50)
@given(cases(largest=6), scores, st.integers(0, 2**32), st.sampled_from((0.0, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1)))
def test_merging_may_stop_at_a_threshold(case, score, seed, threshold):
    fragments = np.arange(1, case.codes[0].size + 1).reshape(case.shape)
    whole = neuropil.agglomerate(case.array, fragments, score, **meaning(case))
    merges = climb(case, fragments, score, np.random.default_rng(seed), threshold)
    encoding = neuropil.region_graph(case.array, fragments, **meaning(case)).encoding
    tree = merge_tree(merges, whole.fragments, encoding, score)
    reached = whole.score >= threshold
    np.testing.assert_array_equal(tree.a, whole.a[reached])
    np.testing.assert_array_equal(tree.b, whole.b[reached])
    np.testing.assert_array_equal(tree.score, whole.score[reached])


def test_what_is_left_of_a_part_is_small_when_merging_stops():
    codes = np.random.default_rng(0).integers(0, 255, (3, 10, 20, 20), np.uint8)
    fragments = np.arange(1, 4001).reshape(10, 20, 20)
    box, shape = Box((0, 0, 0), (10, 20, 20)), (20, 20, 20)
    around = np.zeros((3, 11, 20, 20), np.uint8)
    around[:, :10] = codes
    graph = part_graph(around, np.pad(fragments, ((0, 1), (0, 0), (0, 0))), box, shape)
    done = merge_part(graph, fragments[-1].ravel(), threshold=0.8)
    assert 0 < len(done.rest) < len(graph) / 5
    name = np.zeros(4001, np.uint64)
    name[done.names.astype(int)] = done.regions
    left = set(done.rest.a.tolist()) | set(done.rest.b.tolist())
    assert left <= set(name.tolist())
    assert len(set(done.regions.tolist())) == len(done.names) - len(done.merges)


def test_names_of_any_size():
    far = np.arange(2**64 - 8, 2**64, dtype=np.uint64).reshape(2, 2, 2)
    affinities = np.random.default_rng(2).random((3, 2, 2, 2))
    graph = part_graph(affinities, far, Box.whole((2, 2, 2)), (2, 2, 2))
    near = part_graph(affinities, np.arange(1, 9).reshape(2, 2, 2), Box.whole((2, 2, 2)), (2, 2, 2))
    done, plain = merge_part(graph, []), merge_part(near, [])
    np.testing.assert_array_equal(done.merges.a - far[0, 0, 0], plain.merges.a - np.uint64(1))
    assert done.regions.tolist() == [2**64 - 8] * 8


def test_keys_count_in_the_whole_volume():
    """Far out in a volume of 10^15 voxels, where a face's index needs more than 32 bits."""
    shape, box = (100_000, 100_000, 100_000), Box((99_999, 99_999, 50_000), (100_000, 100_000, 50_001))
    labels = np.zeros((2, 2, 3), np.uint64)
    labels[1, 1] = 5, 6, 6
    graph = part_graph(np.full((3, 2, 2, 3), 0.5), labels, box, shape)
    lower = (99_999 * 100_000 + 99_999) * 100_000 + 49_999
    assert graph.key.tolist() == [3 * lower + 2]


def test_bad_input_is_refused():
    box, shape = Box((0, 0, 1), (1, 1, 2)), (1, 1, 3)
    with pytest.raises(NeuropilError, match="0:1,0:1,0:3"):
        part_graph(np.zeros((3, 1, 1, 1)), np.zeros((1, 1, 1), int), box, shape)
    with pytest.raises(NeuropilError, match="inside the volume"):
        frozen_fragments(np.zeros((1, 1, 1), int), Box((0, 0, 0), (1, 1, 4)), shape)
    with pytest.raises(NeuropilError, match="64 bits"):
        part_graph(np.zeros((3, 1, 1, 1)), np.zeros((1, 1, 1), int), box, (1 << 22, 1 << 22, 1 << 22))
    with pytest.raises(NeuropilError, match="at least one graph"):
        merge_part([], [])
    graph = part_graph(np.zeros((3, 1, 1, 3)), np.array([[[1, 2, 3]]]), box, shape)
    with pytest.raises(NeuropilError, match="histograms"):
        merge_part(graph, [], "q50")
    with pytest.raises(NeuropilError, match="NaN"):
        merge_part(graph, [], threshold=np.nan)
    other = part_graph(np.zeros((3, 1, 1, 3), np.uint8), np.array([[[1, 2, 3]]]), box, shape)
    with pytest.raises(NeuropilError, match="encoding"):
        add_graphs([graph, other])
