"""Questions against a slow enumeration of contacts and merges."""

import numpy as np
import pytest

from neuropil.config import SegmentConfig
from neuropil.proofreading.candidates import LIKELY, STRONG, proofreading_of
from neuropil.volumes import Metadata, array_volume


def noise(seed, shape=(6, 24, 24)):
    array = np.random.default_rng(seed).random((3, *shape)) ** 0.4
    return array_volume(array, Metadata(voxel_size=(30, 6, 6), origin=(10, 20, 30)))


THRESHOLD = 0.7
"""At which noise has questions of both kinds."""


def questioned(affinities):
    state = proofreading_of(affinities, settings=SegmentConfig(threshold=THRESHOLD))
    state.smallest = 20
    assert set(state.candidates().join.tolist()) == {True, False}
    return state


def faces(segmentation):
    """All pairs of neighbouring voxels in different segments, with the axis and the upper voxel."""
    for axis in range(3):
        n = segmentation.shape[axis]
        low, high = segmentation.take(range(n - 1), axis), segmentation.take(range(1, n), axis)
        for at in np.argwhere((low != high) & (low > 0) & (high > 0)):
            upper = at + np.eye(3, dtype=int)[axis]
            yield tuple(sorted((int(low[tuple(at)]), int(high[tuple(at)])))), axis, tuple(upper)


def directions(found, i, small, large):
    """Angle and distances at the contact of a question from the voxels of its two sides, in nm."""
    nm = np.array((30, 6, 6))
    at = np.array(np.unravel_index(int(found.key[i]) // 3, small.shape)) * nm
    to, on = at - np.argwhere(small).mean(0) * nm, np.argwhere(large).mean(0) * nm - at
    cosine = to @ on / (np.linalg.norm(to) * np.linalg.norm(on))
    roots = [np.cbrt(side.sum() * nm.prod()) for side in (small, large)]
    return pytest.approx([cosine, np.linalg.norm(to) / roots[0], np.linalg.norm(on) / roots[1]])


@pytest.mark.parametrize("seed", range(3))
def test_join_questions_are_the_contacts_of_large_segments(seed):
    affinities = noise(seed)
    state = questioned(affinities)
    segmentation = state.cut.lut[state.cut.tree.nodes(state.fragments.read())]
    sizes = np.bincount(segmentation.ravel())
    array, pooled = affinities.read(), {}
    for pair, axis, upper in faces(segmentation):
        pooled.setdefault(pair, []).append(array[axis][upper])
    wanted = {pair: values for pair, values in pooled.items() if min(sizes[list(pair)]) >= 20}
    outer = np.zeros(len(sizes), int)
    for axis in range(3):
        for at in (0, -1):
            outer[np.unique(segmentation.take(at, axis))] += 1
    mean = {pair: np.mean(values) for pair, values in pooled.items()}
    found = state.candidates()
    found = found.take(np.flatnonzero(found.join))
    assert [(int(a), int(b)) for a, b in zip(found.id_a, found.id_b, strict=True)] == sorted(wanted)
    for i, pair in enumerate(sorted(wanted)):
        assert found.contact[i] == len(wanted[pair])
        assert found.mean[i] == pytest.approx(mean[pair], abs=1e-3)
        assert found.likely[i] == (np.array(wanted[pair]) > LIKELY).sum()
        assert found.strong[i] == (np.array(wanted[pair]) > STRONG).sum()
        small, large = pair if sizes[pair[0]] <= sizes[pair[1]] else pair[::-1]
        assert (found.outer_small[i], found.outer_large[i]) == (outer[small], outer[large])
        assert [found.straight[i], found.reach_small[i], found.reach_large[i]] == directions(
            found, i, segmentation == small, segmentation == large
        )
        assert found.best[i] == pytest.approx(max(m for p, m in mean.items() if small in p), abs=1e-3)
        assert (found.side_a[i], found.side_b[i]) == tuple(sizes[list(pair)])
        points = state.points(int(found.key[i]))
        assert state.fragments.box.start == (10, 20, 30)
        labels = {int(segmentation[tuple(np.subtract(p, (10, 20, 30)))]) for p in points}
        assert labels == set(pair)


@pytest.mark.parametrize("size", [None, (30, 6, 6)])
def test_a_question_stands_at_the_edge_nearest_to_the_middle_of_its_contact(size):
    """In nm, over the edges between its fragments: each weighs as many faces as it has, at its last face."""
    state = questioned(array_volume(noise(1).read(), Metadata(voxel_size=size)))
    found, graph, layout = state.candidates(), state.cut.graph, state.cut.layout
    ends = state.cut.lut[graph.a], state.cut.lut[graph.b]
    common = layout.common_merge(graph.a, graph.b)
    places = np.stack(np.unravel_index((graph.key // 3).astype(int), (6, 24, 24)), axis=1) * np.array(size or (1, 1, 1))
    for i in range(len(found)):
        of_pair = np.minimum(*ends) == min(found.id_a[i], found.id_b[i])
        of_pair &= np.maximum(*ends) == max(found.id_a[i], found.id_b[i])
        rows = np.flatnonzero(of_pair if found.join[i] else common == found.merge[i])
        assert found.contact[i] == graph.count[rows].sum()
        middle = np.average(places[rows], axis=0, weights=graph.count[rows])
        distance = np.linalg.norm(places[rows] - middle, axis=1)
        nearest = rows[distance < distance.min() + 1e-9]
        assert found.key[i] in graph.key[nearest]


@pytest.mark.parametrize("seed", range(3))
def test_separate_questions_are_the_merges_of_large_pieces(seed):
    state = questioned(noise(seed))
    tree, found = state.cut.tree, state.candidates()
    found = found.take(np.flatnonzero(~found.join))
    members = {f: [f] for f in range(1, tree.fragments + 1)}
    nodes, wanted, outer, sides_of = state.fragments.read(), [], [], []
    for i, (a, b) in enumerate(zip(tree.a.tolist(), tree.b.tolist(), strict=True)):
        sides = [int(state.cut.sizes[members[n]].sum()) for n in (a, b)]
        if tree.score[i] >= THRESHOLD and min(sides) >= 20:
            wanted.append((i, *sides))
            masks = [np.isin(nodes, members[n]) for n in ((a, b) if sides[0] <= sides[1] else (b, a))]
            sides_of.append(masks)
            outer.append([sum(m.take(at, axis).any() for axis in range(3) for at in (0, -1)) for m in masks])
        members[a] += members.pop(b)
    assert list(zip(found.merge.tolist(), found.side_a.tolist(), found.side_b.tolist(), strict=True)) == wanted
    assert np.stack([found.outer_small, found.outer_large], axis=1).tolist() == outer
    for i, masks in enumerate(sides_of):
        assert [found.straight[i], found.reach_small[i], found.reach_large[i]] == directions(found, i, *masks)
    assert found.mean == pytest.approx(tree.score[[i for i, *_ in wanted]], abs=1e-3)


def test_a_tube_cut_across_goes_straight_on_and_tubes_side_by_side_do_not():
    """Two halves of one tube touch at an end; two whole tubes touch along their sides."""
    fragments = np.zeros((3, 12, 80), int)
    fragments[:, :6, :40], fragments[:, :6, 40:], fragments[:, 6:] = 1, 2, 3
    affinities = np.where(np.diff(fragments, axis=0, prepend=0) == 0, 0.9, 0.4)[None].repeat(3, 0)
    for axis in (1, 2):
        affinities[axis] = np.where(np.diff(fragments, axis=axis, prepend=0) == 0, 0.9, 0.4)
    state = proofreading_of(affinities, settings=SegmentConfig(threshold=0.7))
    state.smallest = 10
    found = state.candidates()
    assert found.straight[(found.id_a == 1) & (found.id_b == 2)] > 0.95
    assert (found.straight[found.id_b == 3] < 0.7).all()


def test_a_decided_question_is_not_asked_again():
    state = questioned(noise(1))
    found = state.candidates()
    graph = state.cut.graph
    for row in (0, len(found) - 1):
        edge = int(state.edge_of(found.key[row : row + 1])[0])
        state.decided_pairs.append((int(graph.a[edge]), int(graph.b[edge])))
    again = state.candidates()
    assert len(again) == len(found) - 2
    assert set(again.key.tolist()) == set(found.key.tolist()) - {int(found.key[0]), int(found.key[-1])}
