"""The tree of blocks covers the volume at every level, and every face between blocks becomes an inner one once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuropil import Box, NeuropilError
from neuropil.blockwise import BlockTree

triples = st.tuples(*[st.integers(1, 9)] * 3)


@given(triples, triples)
def test_every_level_covers_the_volume_once(shape, block):
    tree = BlockTree(shape, block)
    for level in range(tree.levels):
        boxes = [tree.box((level, i)) for i in range(tree.count(level))]
        assert sum(box.size for box in boxes) == Box.whole(shape).size
        assert min(box.size for box in boxes) > 0
    assert tree.box(tree.root) == Box.whole(shape)
    assert tree.outer(tree.root) == 0


@given(triples, triples)
def test_children_make_up_their_parent(shape, block):
    tree = BlockTree(shape, block)
    for level in range(1, tree.levels):
        for node in [(level, i) for i in range(tree.count(level))]:
            children = tree.children(node)
            assert sum(tree.box(child).size for child in children) == tree.box(node).size
            assert all(tree.parent(child) == node and tree.box(node).contains(tree.box(child)) for child in children)


@given(triples, triples)
def test_every_inner_face_belongs_to_one_block(shape, block):
    tree = BlockTree(shape, block)
    found = [
        face
        for level in range(1, tree.levels)
        for i in range(tree.count(level))
        for face in tree.inner_faces((level, i))
    ]
    leaves = [(0, i) for i in range(tree.count(0))]
    assert sorted(found) == sorted((leaf, a) for leaf in leaves for a in range(3) if tree.before(leaf, a) is not None)
    for level in range(1, tree.levels):
        for node in [(level, i) for i in range(tree.count(level))]:
            for leaf, axis in tree.inner_faces(node):
                before = tree.before(leaf, axis)
                assert tree.box(node).contains(tree.box(leaf))
                assert tree.box(node).contains(tree.box(before))
                above = [
                    next(c for c in tree.children(node) if tree.box(c).contains(tree.box(b))) for b in (leaf, before)
                ]
                assert above[0] != above[1], "the face lies between two children, not inside one"


@given(triples, triples)
def test_outer_faces_are_those_with_voxels_behind(shape, block):
    tree, whole = BlockTree(shape, block), Box.whole(shape)
    for level in range(tree.levels):
        for node in [(level, i) for i in range(tree.count(level))]:
            box = tree.box(node)
            behind = [
                box.start[a] > 0 if side == 0 else box.stop[a] < whole.stop[a] for a in range(3) for side in (0, 1)
            ]
            assert tree.outer(node) == sum(bit << i for i, bit in enumerate(behind))


def test_a_block_without_voxels_is_refused():
    with pytest.raises(NeuropilError, match="at least one voxel"):
        BlockTree((4, 4, 4), (2, 0, 2))
