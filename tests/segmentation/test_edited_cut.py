"""Joins and separations: what they change, what they leave, what contradicts."""

from dataclasses import replace

import networkx
import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from neuropil import _native
from neuropil.errors import NeuropilError
from neuropil.segmentation import merge_tree
from neuropil.segmentation.edited_cut import EditedCut, segments_of
from neuropil.segmentation.edits import Edit
from neuropil.volumes import Metadata, array_volume


def cut_of(affinities, threshold=0.5):
    made = merge_tree(affinities)
    return made, EditedCut(made.tree, made.graph, made.sizes, made.cut(threshold), threshold)


def noise(seed, shape=(4, 12, 12)):
    return np.random.default_rng(seed).random((3, *shape)) ** 0.5


@given(st.integers(2, 12), st.integers(0, 2**32))
def test_minimum_cut_against_networkx(nodes, seed):
    chance = np.random.default_rng(seed)
    graph = networkx.gnm_random_graph(nodes, 2 * nodes, seed=int(seed % 1000))
    graph.add_edge(0, nodes - 1)
    for u, v in graph.edges:
        graph[u][v]["capacity"] = int(chance.integers(0, 9))
    u, v = np.array(graph.edges).T.astype(np.int64)
    capacity = np.array([graph[a][b]["capacity"] for a, b in graph.edges], np.int64)
    side = _native.minimum_cut(nodes, *map(np.ascontiguousarray, (u, v)), capacity, 0, nodes - 1)
    assert (side[0], side[-1]) == (1, 0)
    assert capacity[side[u] != side[v]].sum() == networkx.minimum_cut_value(graph, 0, nodes - 1)


@given(st.integers(0, 2**32))
def test_only_the_segments_of_the_points_change(seed):
    _, cut = cut_of(noise(seed))
    before = cut.lut.copy()
    chance = np.random.default_rng(seed)
    a, b = chance.choice(np.arange(1, len(before)), 2, replace=False).tolist()
    cut.separate(a, b)
    assert cut.lut[a] != cut.lut[b]
    same = before != before[a]
    assert np.array_equal(cut.lut[same], before[same])
    joined = before.copy()
    _, cut = cut_of(noise(seed))
    cut.join(a, b)
    joined[joined == max(before[a], before[b])] = min(before[a], before[b])
    assert np.array_equal(cut.lut, joined)


def test_later_merges_follow_the_side_that_they_fit():
    affinities = np.full((3, 1, 1, 8), 0.0)
    affinities[2, 0, 0, 1:] = [0.99995, 0.9, 0.99995, 0.6, 0.99995, 0.8, 0.99995]
    made, cut = cut_of(affinities)
    assert set(cut.lut[1:].tolist()) == {1}
    fragments = made.nodes.reshape(-1)
    cut.separate(int(fragments[0]), int(fragments[7]))
    assert cut.lut[fragments].tolist() == [1, 1, 1, 1, 2, 2, 2, 2]


def edit(number, kind, a, b):
    return Edit(number, "now", "me", kind, a, b)


def strip():
    affinities = np.zeros((3, 1, 1, 6))
    affinities[2, 0, 0, 1:] = [0.9, 0.2, 0.9, 0.2, 0.9]
    return cut_of(affinities)


def test_contradictions_name_both_lines():
    made, cut = strip()
    edits = [edit(1, "separate", (0, 0, 0), (0, 0, 2)), edit(2, "join", (0, 0, 1), (0, 0, 3))]
    with pytest.raises(NeuropilError, match=r"line 3: join .*contradicts line 2: separate"):
        cut.apply(edits, made.fragments)
    made, cut = strip()
    edits = [edit(1, "join", (0, 0, 0), (0, 0, 2)), edit(2, "separate", (0, 0, 1), (0, 0, 3))]
    with pytest.raises(NeuropilError, match=r"line 3: separate .*contradicts line 2: join"):
        cut.apply(edits, made.fragments)


def test_points_are_those_of_the_whole_volume():
    affinities = np.zeros((3, 1, 1, 4))
    affinities[2, 0, 0, 1:] = [0.9, 0.2, 0.9]
    made = merge_tree(array_volume(affinities, Metadata(origin=(5, 6, 7))))
    for point, wrong in (((5, 6, 8), None), ((0, 0, 0), "inside the volume"), ((5, 6, 11), "inside the volume")):
        cut = EditedCut(made.tree, made.graph, made.sizes, made.cut(0.5), 0.5)
        edits = [edit(1, "join", point, (5, 6, 10))]
        if wrong:
            with pytest.raises(NeuropilError, match=wrong):
                cut.apply(edits, made.fragments)
        else:
            cut.apply(edits, made.fragments)
            assert set(cut.lut[1:].tolist()) == {1}


def test_background_and_one_fragment_are_refused():
    affinities = np.zeros((3, 1, 1, 4))
    affinities[2, 0, 0, 1] = 0.9
    made, cut = cut_of(affinities)
    with pytest.raises(NeuropilError, match="background"):
        cut.apply([edit(1, "join", (0, 0, 0), (0, 0, 3))], made.fragments)
    with pytest.raises(NeuropilError, match="both points lie in fragment"):
        cut.apply([edit(1, "separate", (0, 0, 0), (0, 0, 1))], made.fragments)


def test_a_fragment_without_a_segment_is_background():
    """A minimum size drops segments without neighbours; joined to one of these, a segment would be lost."""
    made, cut = strip()
    cut.lut[1] = 0
    with pytest.raises(NeuropilError, match=r"line 2: join .* background; choose one inside a segment"):
        cut.apply([edit(1, "join", (0, 0, 0), (0, 0, 3))], made.fragments)


def test_an_id_that_the_type_cannot_hold_is_refused():
    affinities = np.zeros((3, 1, 1, 4))
    affinities[2, 0, 0, 1:] = [0.99995, 0.6, 0.99995]
    made = merge_tree(affinities)
    lut = np.array([0, 255, 255], np.uint8)
    cut = EditedCut(made.tree, made.graph, made.sizes, lut, 0.5)
    with pytest.raises(NeuropilError, match=r"line 2: separate .* needs the id 256, which uint8 cannot hold"):
        cut.apply([edit(1, "separate", (0, 0, 0), (0, 0, 3))], made.fragments)
    assert cut.lut.tolist() == lut.tolist()


@given(st.integers(0, 2**32))
def test_edges_between_divisible_segments_are_enough(seed):
    """Whatever is decided, in whatever order, no other edge is looked at."""
    made, whole = cut_of(noise(seed, (3, 8, 8)))
    chance = np.random.default_rng(seed)
    kinds = chance.choice(["join", "separate"], 6).tolist()
    ends = [chance.choice(np.arange(1, len(whole.lut)), 2, replace=False).tolist() for _ in kinds]
    decisions = [(edit(i + 1, kind, None, None), *ends[i]) for i, kind in enumerate(kinds)]
    chosen = whole.divisible(decisions)
    kept = chosen[made.graph.a] & chosen[made.graph.b]
    graph = replace(made.graph, **{name: getattr(made.graph, name)[kept] for name in ("a", "b", "sum")})
    part = EditedCut(made.tree, graph, made.sizes, whole.lut, 0.5)
    said = []
    for cut in (whole, part):
        try:
            cut.follow(decisions)
            said.append("")
        except NeuropilError as error:
            said.append(str(error))
    assert said[0] == said[1]
    assert np.array_equal(whole.lut, part.lut)
    assert chosen[[f for e, a, b in decisions if e.kind == "separate" for f in (a, b)]].all()


@given(st.integers(0, 2**32))
def test_the_order_of_equal_merges_does_not_show(seed):
    """By blocks they come in another order; those of different regions may change places."""
    made, cut = cut_of(np.floor(noise(seed, (3, 8, 8)) * 5) / 5)
    chance, tree = np.random.default_rng(seed), made.tree
    a, b = tree.a.copy(), tree.b.copy()
    for i in chance.integers(0, max(len(a) - 1, 1), 20 * len(a)):
        if i + 1 < len(a) and tree.score[i] == tree.score[i + 1] and len({a[i], b[i], a[i + 1], b[i + 1]}) == 4:
            a[[i, i + 1]], b[[i, i + 1]] = a[[i + 1, i]], b[[i + 1, i]]
    other = EditedCut(replace(tree, a=a, b=b), made.graph, made.sizes, made.cut(0.5), 0.5)
    segment = np.bincount(cut.lut[1:]).argmax()
    inside = np.flatnonzero(cut.lut == segment)
    for _ in range(4 if len(inside) > 1 else 0):
        u, v = chance.choice(inside, 2, replace=False).tolist()
        cut.separate(u, v)
        other.separate(u, v)
        assert np.array_equal(cut.lut, other.lut)
    event("other order" if not np.array_equal(a, tree.a) else "same order")


def test_a_segmentation_of_other_fragments_is_refused():
    fragments = array_volume(np.array([[[1, 1, 2]]]))
    assert segments_of(fragments, array_volume(np.array([[[9, 9, 4]]])), 2).tolist() == [0, 9, 4]
    with pytest.raises(NeuropilError, match="no segmentation of these fragments"):
        segments_of(fragments, array_volume(np.array([[[9, 8, 4]]])), 2)
    with pytest.raises(NeuropilError, match="expected a segmentation of"):
        segments_of(fragments, array_volume(np.array([[[9, 9]]])), 2)
