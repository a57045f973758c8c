"""Edges wait where they will be needed: in a file for one block of the tree, which is gone once that block is done."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuropil import Box
from neuropil.blockwise import BlockTree, segment_blocks
from neuropil.blockwise.waiting import levels_of
from neuropil.config import SegmentConfig
from neuropil.volumes import open_volume, write_volume

triples = st.tuples(*[st.integers(1, 6)] * 3)


def inside(tree, level, box):
    """The block of a level that holds all of a box, if one does."""
    return [node for i in range(tree.count(level)) if tree.box(node := (level, i)).contains(box)]


@settings(max_examples=20)
@given(triples, st.tuples(*[st.integers(1, 3)] * 3))
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

    def watch(step, done, total):
        if done == total:
            folder = tmp_path / "s.zarr.blocks"
            kept[step] = sorted({path.parts[-3] for path in folder.glob("*/[ea][dc]*/*/*.npz")})
        if step.startswith("ids"):
            raise KeyboardInterrupt

    config = SegmentConfig(score=score, threshold=0.5)
    with pytest.raises(KeyboardInterrupt):
        segment_blocks(open_volume(tmp_path / "a.zarr"), tmp_path / "s.zarr", config, block=(4, 4, 6), watch=watch)
    across = {f"across{axis}-0" for axis in range(3)}
    assert set(kept["seams"]) == across | {f"edges{level}-0" for level in range(1, 6)}
    for level, axis in enumerate((0, 1, 2, 1, 2), 1):
        left = set(kept[f"merging, level {level}"])
        waiting = {name for name in left if name.startswith("edges")}
        assert min((int(name[5]) for name in waiting), default=6) == level + 1
        assert max((int(name[-1]) for name in waiting), default=0) <= level
        across -= set() if axis in (1, 2) and level < 4 else {f"across{axis}-0"}
        assert left - waiting == across
    assert segment_blocks(open_volume(tmp_path / "a.zarr"), tmp_path / "s.zarr", config, block=(4, 4, 6)) > 0
