"""Merging with frozen regions up any tree of boxes makes the merges of the whole volume; edges wait in files."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuropil
from neuropil import Box, _native
from neuropil.blockwise import BlockTree, segment_blocks
from neuropil.blockwise.edges import Edges, levels_of, merge
from neuropil.blockwise.merging import key_in_volume
from neuropil.config import SegmentConfig
from neuropil.geometry import blocks
from neuropil.segmentation.codes import face_codes
from neuropil.segmentation.scores import Score, fixed_point
from neuropil.volumes import open_volume, write_volume
from reference import agglomeration as slow
from reference.affinity_cases import cases

scores = st.sampled_from(sorted(slow.SCORES))
block_shapes = volume_shapes = st.tuples(*[st.integers(1, 6)] * 3)


def meaning(case):
    return {"offsets": case.offsets, "encoding": case.encoding}


def fragments_of(case, each_voxel):
    if each_voxel:
        return np.arange(1, case.codes[0].size + 1).reshape(case.shape)
    return neuropil.watershed(case.array, low=0, high=1.1, **meaning(case))


def grown(box, shape):
    return box.grow((1, 1, 1)).intersect(Box.whole(shape))


def edges_of_blocks(case, fragments, block, histograms=True):
    """Each block and the edges of the faces whose upper voxel it holds, between the volume's fragments."""
    for box in blocks(Box.whole(fragments.shape), block):
        around = grown(box, fragments.shape)
        faces = face_codes(case.array[(slice(None), *around.slices)], *meaning(case).values())
        inner = box.relative_to(around.start)
        labels = np.ascontiguousarray(fragments[around.slices], np.uint64)
        table = fixed_point(faces.encoding)[0]
        columns, bins = _native.part_graph(*faces.arguments, labels, table, inner.start, inner.stop, histograms)
        a, b, count, total, key, *extremes = columns
        key = key_in_volume(key, around, fragments.shape)
        yield box, faces.encoding, Edges.of((a, b, count, total, key, *extremes), bins)


def added(parts):
    """Count, sum, key, max, min and histogram of each pair, pooled in the plainest way."""
    found = {}
    for part in parts:
        for i in range(len(part)):
            count, total, key, largest, smallest = (int(column[i]) for column in part.columns[2:])
            codes = slice(int(part.bin_start[i]), int(part.bin_start[i + 1]))
            bins = dict(zip(part.bin_code[codes].tolist(), part.bin_count[codes].tolist(), strict=True))
            pair = (int(part.a[i]), int(part.b[i]))
            c, s, k, high, low, known = found.get(pair, (0, 0, 0, 0, 1 << 16, {}))
            pooled = {code: known.get(code, 0) + bins.get(code, 0) for code in {*known, *bins}}
            found[pair] = (c + count, s + total, max(k, key), max(high, largest), min(low, smallest), pooled)
    return found


@given(cases(largest=4), block_shapes, st.booleans())
def test_graphs_of_blocks_add_up_to_the_whole(case, block, each_voxel):
    fragments = fragments_of(case, each_voxel)
    whole = neuropil.region_graph(case.array, fragments, histograms=True, **meaning(case))
    parts = [edges for _, _, edges in edges_of_blocks(case, fragments, block)]
    assert added(parts) == added([Edges.of(whole.columns, whole.bins)])


def frozen_in(fragments, box):
    """Fragments with a voxel in the box, or before it, that has a neighbour on the other side of the box's faces."""
    around = grown(box, fragments.shape)
    inner, labels = box.relative_to(around.start), fragments[around.slices]
    found = set()
    for axis in range(3):
        inside = list(inner.slices)
        for first, last in ((0, inner.start[axis] + 1), (inner.stop[axis] - 1, around.shape[axis])):
            if last - first == 2:  # else the volume ends here
                inside[axis] = slice(first, last)
                found |= set(labels[tuple(inside)].ravel().tolist())
    return found


def merged(edges, frozen, score, encoding, threshold, rng):
    """What merging makes of edges between names: (score, a, b) of each merge, and the edges left."""
    names = np.unique(np.concatenate([edges.a, edges.b]))
    held = np.array([rng.integers(1, 9) if name in frozen else 0 for name in names.tolist()], np.uint8)
    a, b = (np.searchsorted(names, ends).astype(np.uint64) for ends in (edges.a, edges.b))
    columns = [a, b, *edges.columns[2:]]
    first, second, found, rest, waits = merge(columns, edges.bins, held, Score.parse(score), encoding, threshold)
    assert not columns, "the list is emptied"
    assert (waits[held > 0] == held[held > 0]).all()
    assert set(waits.tolist()) <= {0, *held.tolist()}, "whoever waits for a frozen region has its number"
    assert (waits[np.concatenate([rest.a, rest.b]).astype(int)] > 0).all()
    pairs = list(zip(rest.a.tolist(), rest.b.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    gone = set()
    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        assert one < other
        assert not {one, other} & gone, "a merge comes after those that it needs"
        gone.add(other)
    named = Edges.of((names[rest.a.astype(int)], names[rest.b.astype(int)], *rest.columns[2:]), rest.bins)
    return list(zip(found.tolist(), names[first].tolist(), names[second].tolist(), strict=True)), named


def climb(case, fragments, score, rng, threshold=0.0):
    """Leaves of random size, parents of two to four neighbours along one axis, up to the whole; merges of all."""
    level, merges = {}, []
    for box, encoding, edges in edges_of_blocks(case, fragments, tuple(int(n) for n in rng.integers(1, 5, 3))):
        done, level[box] = merged(edges, frozen_in(fragments, box), score, encoding, threshold, rng)
        merges += done
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
            edges = Edges.joined(level[child] for child in rng.permutation(np.array(children, object)))
            done, parents[box] = merged(edges, frozen_in(fragments, box), score, encoding, threshold, rng)
            merges += done
        level = parents
    assert all(len(rest) == 0 for rest in level.values())
    return sorted(merges)


def merges_of(tree, threshold=0.0):
    reached = tree.score >= threshold
    return sorted(zip(*(column[reached].tolist() for column in (tree.score, tree.a, tree.b)), strict=True))


@given(cases(largest=6), scores, st.integers(0, 2**32), st.booleans())
def test_any_tree_of_boxes_gives_the_merges_of_the_whole(case, score, seed, each_voxel):
    fragments = fragments_of(case, each_voxel)
    whole = neuropil.agglomerate(case.array, fragments, score, **meaning(case))
    assert climb(case, fragments, score, np.random.default_rng(seed)) == merges_of(whole)


@given(cases(largest=6), scores, st.integers(0, 2**32), st.sampled_from((0.0, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1)))
def test_merging_may_stop_at_a_threshold(case, score, seed, threshold):
    fragments = fragments_of(case, True)
    whole = neuropil.agglomerate(case.array, fragments, score, **meaning(case))
    assert climb(case, fragments, score, np.random.default_rng(seed), threshold) == merges_of(whole, threshold)


def test_what_is_left_of_a_part_is_small_when_merging_stops():
    codes = np.random.default_rng(0).integers(0, 255, (3, 10, 20, 20), np.uint8)
    fragments = np.arange(1, 4001).reshape(10, 20, 20)
    graph = neuropil.region_graph(codes, fragments)
    frozen, rng = set(fragments[-1].ravel().tolist()), np.random.default_rng(1)
    merges, rest = merged(Edges.of(graph.columns, graph.bins), frozen, "mean", graph.encoding, 0.8, rng)
    assert 0 < len(rest) < len(graph) / 5
    assert not {b for _, _, b in merges} & {*rest.a.tolist(), *rest.b.tolist()}


def test_keys_count_in_the_whole_volume():
    """Far out in a volume of 10^15 voxels, where a face's index needs more than 32 bits."""
    shape, around = (100_000, 100_000, 100_000), Box((99_998, 99_998, 49_999), (100_000, 100_000, 50_002))
    lower = (99_999 * 100_000 + 99_999) * 100_000 + 49_999
    assert key_in_volume(np.array([3 * 9 + 2]), around, shape).tolist() == [3 * lower + 2]


def inside(tree, level, box):
    """The block of a level that holds all of a box, if one does."""
    return [node for i in range(tree.count(level)) if tree.box(node := (level, i)).contains(box)]


@given(volume_shapes, st.tuples(*[st.integers(1, 3)] * 3))
def test_a_face_is_met_in_the_first_block_that_holds_both_sides(shape, block):
    tree = BlockTree(shape, block)
    facing = {(level, i): [] for level in range(tree.levels) for i in range(tree.count(level))}
    for node in facing:
        for side in range(6):
            if not tree.outer(node) >> side & 1:
                continue
            level = tree.meets(node, side)
            around = tree.box(node).grow(tuple(int(axis == side // 2) for axis in range(3)))
            seen = around.start if side % 2 == 0 else around.stop
            step = tuple(seen[axis] if axis == side // 2 else tree.box(node).start[axis] for axis in range(3))
            last = tuple(s - (side % 2) if axis == side // 2 else s for axis, s in enumerate(step))
            holds = [n for n in inside(tree, level, tree.box(node)) if tree.box(n).contains(_voxel(last))]
            assert len(holds) == 1
            assert not [n for n in inside(tree, level - 1, tree.box(node)) if tree.box(n).contains(_voxel(last))]
            facing[holds[0]].append(node)
            assert levels_of(tree, node, np.array([0, 1 << side], np.uint8)).tolist() == [0, level]
    for node, found in facing.items():
        assert tree.facing(node) == sorted(set(found))


def _voxel(place):
    return Box.at(place, (1, 1, 1))


@pytest.mark.parametrize("score", ["mean", "q50"])
def test_no_edges_are_kept_that_nobody_needs(tmp_path, score):
    rng = np.random.default_rng(2)
    write_volume(tmp_path / "a.zarr", (rng.integers(0, 9, (3, 8, 16, 24)) * 28).astype(np.uint8))
    kept = {}

    def progress(step, done, total):
        if done == total:
            folder = tmp_path / "s.zarr.blocks"
            kept[step] = sorted({path.parts[-3] for path in folder.glob("*/[ea][dc]*/*/*.npz")})
        if step.startswith("ids"):
            raise KeyboardInterrupt

    config = SegmentConfig(score=score, threshold=0.5)
    with pytest.raises(KeyboardInterrupt):
        segment_blocks(
            open_volume(tmp_path / "a.zarr"), tmp_path / "s.zarr", config, block=(4, 4, 6), progress=progress
        )
    across = {f"across{axis}-0" for axis in range(3)}
    assert set(kept["faces"]) == across | {f"edges{level}-0" for level in range(1, 6)}
    for level, axis in enumerate((0, 1, 2, 1, 2), 1):
        left = set(kept[f"merging, level {level}"])
        waiting = {name for name in left if name.startswith("edges")}
        assert min((int(name[5]) for name in waiting), default=6) == level + 1
        assert max((int(name[-1]) for name in waiting), default=0) <= level
        across -= set() if axis in (1, 2) and level < 4 else {f"across{axis}-0"}
        assert left - waiting == across
    assert segment_blocks(open_volume(tmp_path / "a.zarr"), tmp_path / "s.zarr", config, block=(4, 4, 6)) > 0


def test_a_kernel_refuses_a_score_that_it_does_not_know():
    """Taken as a quantile of 0 %, an unknown score would give a tree without an error."""
    codes = np.random.default_rng(0).integers(0, 255, (3, 4, 6, 6), np.uint8)
    graph = neuropil.region_graph(codes, np.arange(1, 145, dtype=np.uint64).reshape(4, 6, 6))
    columns = [graph.a.astype(np.uint64), graph.b.astype(np.uint64), *graph.columns[2:]]
    with pytest.raises(ValueError, match="expected mean, max, min or quantile, got cubic"):
        merge(columns, graph.bins, np.zeros(graph.nodes + 1, np.uint8), Score("cubic"), graph.encoding, 0.0)
