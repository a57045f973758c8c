"""Graphs and trees made by hand, stored, damaged: what kernels could not use is refused where it comes in."""

from dataclasses import replace

import numpy as np
import pytest

import neuropil
from neuropil import LOGIT8, NeuropilError
from neuropil.segmentation import (
    MergeTree,
    RegionGraph,
    agglomerate_graph,
    merge_by_size,
    signed_graph,
)


def small_labels(shape):
    """Blocks of two sections, two rows and two columns."""
    z, y, x = np.indices(shape)
    return 1 + z // 2 * 100 + y // 2 * 10 + x // 2


def some_affinities(shape=(3, 4, 5, 6)):
    return np.random.default_rng(0).integers(0, 5, shape) / 4


def some_graph():
    fragments = small_labels((4, 5, 6))
    graph = neuropil.region_graph(some_affinities(), fragments, histograms=True)
    return fragments, graph, agglomerate_graph(graph)


@pytest.mark.parametrize("other", [(2, 2, 2), (9, 9, 9)])
def test_a_graph_of_another_volume_is_refused(other):
    """Its fragments are not the tree's: there would be no memory where it points."""
    _, graph, tree = some_graph()
    elsewhere = np.arange(1, np.prod(other) + 1).reshape(other)
    strange = neuropil.region_graph(some_affinities((3, *other)), elsewhere)
    assert strange.nodes != graph.nodes
    with pytest.raises(NeuropilError, match="that the tree was made from"):
        tree.segment(small_labels((4, 5, 6)), 0.9, 20, strange)


TREES = {
    "beyond the fragments": lambda t: {"b": t.b + 10**9},
    "below the first": lambda t: {"a": t.a * 0},
    "with itself": lambda t: {"b": t.a},
    "shorter": lambda t: {"a": t.a[:2]},
    "no integers": lambda t: {"a": t.a / 2},
    "lists": lambda t: {"a": t.a.tolist()},
    "texts": lambda t: {"score": t.score.astype(str)},
    "tables": lambda t: {name: getattr(t, name)[None] for name in ("a", "b", "score")},
    "a part of a fragment": lambda t: {"fragments": 2000.5},
    "no order": lambda t: {"score": t.score[::-1]},
    "NaN": lambda t: {"score": t.score * np.nan},
    "negative": lambda t: {"fragments": -3},
    "few ids": lambda t: {"ids": np.array([7], np.uint64)},
}
GRAPHS = {
    "beyond the nodes": lambda g: {"b": g.b + np.uint32(10**9)},
    "fewer nodes": lambda g: {"nodes": 2},
    "below the first": lambda g: {"a": g.a * 0},
    "shorter": lambda g: {"count": g.count[:1]},
    "no faces": lambda g: {"count": g.count * 0},
    "sums too large": lambda g: {"sum": g.sum << np.uint64(20)},
    "no such code": lambda g: {"encoding": LOGIT8},
    "another type": lambda g: {"max": g.max.astype(float)},
    "few ids": lambda g: {"ids": np.array([7], np.uint64)},
    "histograms elsewhere": lambda g: {"bin_start": g.bin_start + np.uint64(10**9)},
    "histograms cut off": lambda g: {"bin_code": g.bin_code[:1]},
    "histograms of fewer faces": lambda g: {"bin_count": g.bin_count * 0},
}


@pytest.mark.parametrize("change", TREES.values(), ids=TREES.keys())
def test_a_tree_is_checked_where_it_is_made(change):
    tree = some_graph()[2]
    with pytest.raises(NeuropilError):
        replace(tree, **change(tree))


@pytest.mark.parametrize("change", GRAPHS.values(), ids=GRAPHS.keys())
def test_a_stored_graph_is_checked(change, tmp_path):
    graph = some_graph()[1]
    graph.save(tmp_path / "graph.npz")
    RegionGraph.load(tmp_path / "graph.npz")
    replace(graph, **change(graph)).save(tmp_path / "graph.npz")
    with pytest.raises(NeuropilError, match=r"saved region graph .* in .*graph\.npz"):
        RegionGraph.load(tmp_path / "graph.npz")


HAND_MADE = {
    **GRAPHS,
    "out of order": lambda g: {name: getattr(g, name)[::-1].copy() for name in ("a", "b")},
    "a pair twice": lambda g: {"a": g.a * 0 + g.a[0], "b": g.b * 0 + g.b[0]},
    "turned": lambda g: {"a": g.b, "b": g.a},
    "NaN": lambda g: {"sum": g.sum * np.nan},
    "lists": lambda g: {"a": g.a.tolist()},
    "big-endian": lambda g: {"key": g.key.astype(">u8")},
    "keys beyond the nodes' type": lambda g: {"key": g.key + np.uint64(1 << 32)},
    "ids in disorder": lambda g: {"ids": np.arange(g.nodes, 0, -1, dtype=np.uint64)},
}
UNSEEN_BY_MEANS = [name for name in HAND_MADE if "histograms" in name or name == "no such code"]
UNORDERED = ("out of order", "a pair twice")


@pytest.mark.parametrize("name", HAND_MADE)
def test_a_graph_made_by_hand_is_checked_where_it_merges(name):
    fragments, graph, tree = some_graph()
    wrong = replace(graph, **HAND_MADE[name](graph))
    if name != "sums too large":
        with pytest.raises(NeuropilError):
            agglomerate_graph(wrong, "q50")
    if name in UNSEEN_BY_MEANS:
        return
    with pytest.raises(NeuropilError):
        agglomerate_graph(wrong)
    with pytest.raises(NeuropilError):
        tree.segment(fragments, 0.9, 20, wrong)
    if name not in UNORDERED:
        with pytest.raises(NeuropilError):
            merge_by_size(wrong, np.zeros(wrong.nodes + 1, int), score="mean")


@pytest.mark.parametrize(
    "change",
    [
        lambda g: {"count": g.count * 0},
        lambda g: {"sum": g.sum << 25},
        lambda g: {"sum": g.sum * np.nan},
        lambda g: {"a": g.b, "b": g.a},
        lambda g: {"b": g.a},
        lambda g: {"a": g.a * 0},
        lambda g: {"rank": g.rank[:1]},
        lambda g: {"voxel": g.voxel.astype(float)},
    ],
)
@pytest.mark.parametrize("linkage", ["abs_max", "mean", "constrained_mean"])
def test_a_signed_graph_made_by_hand_is_checked(change, linkage):
    """One that counted no edges was divided by zero, which ends the interpreter."""
    graph = signed_graph(some_affinities(), small_labels((4, 5, 6)))
    with pytest.raises(NeuropilError, match="signed graph"):
        replace(graph, **change(graph)).clusters(linkage)


@pytest.mark.parametrize("kind", [MergeTree, RegionGraph])
def test_a_folder_is_made_or_the_file_is_named(kind, tmp_path):
    _, graph, tree = some_graph()
    stored = tree if kind is MergeTree else graph
    stored.save(tmp_path / "new" / "folder" / "stored.npz")
    assert len(kind.load(tmp_path / "new" / "folder" / "stored.npz")) == len(stored)
    (tmp_path / "file").write_text("")
    with pytest.raises(NeuropilError, match="cannot write"):
        stored.save(tmp_path / "file" / "stored.npz")
    with pytest.raises(NeuropilError, match="cannot write"):
        stored.save(tmp_path / "new")


@pytest.mark.parametrize("kind", [MergeTree, RegionGraph])
def test_damaged_files_are_named(kind, tmp_path):
    path = tmp_path / "stored.npz"
    _, graph, tree = some_graph()
    (tree if kind is MergeTree else graph).save(path)
    whole = path.read_bytes()
    damaged = [whole[: len(whole) // 2], whole[:150] + b"damage" + whole[156:], b""]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(NeuropilError, match=r"expected a saved .* in .*stored\.npz"):
            kind.load(path)
    np.save(path.with_suffix(".npy"), np.zeros(3))
    with pytest.raises(NeuropilError, match="expected a saved"):
        kind.load(path.with_suffix(".npy"))
