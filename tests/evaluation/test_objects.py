"""The worst objects are those that cost most VI; the places and merges named are where it went wrong."""

import json

import numpy as np
import pytest

from neuropil import synthetic
from neuropil.errors import NeuropilError
from neuropil.evaluation import contingency, evaluate, objects, placing
from neuropil.evaluation.blame import Cut
from neuropil.evaluation.contact import most_central
from neuropil.evaluation.curve import merge_effects
from neuropil.evaluation.objects import Piece, worst_errors
from neuropil.geometry import Box
from neuropil.segmentation import MergeTree, agglomerate, watershed
from neuropil.volumes import Metadata, Volume, array_volume, write_volume
from reference.tree import PlainTree, random_tree, slow_cut


def tubes(shape=(6, 20, 40)):
    """Three neurons side by side along y: 1, 2, 3, with background between them and unlabelled margins."""
    labels = np.zeros(shape, np.uint16)
    for number, start in enumerate((1, 8, 15), start=1):
        labels[:, start : start + 4, 1:-1] = number
    return labels


def test_finds_the_split_and_the_merge_and_where():
    labels = tubes()
    seg = labels.astype(np.int64) * 10
    seg[:, :7, 30:] *= 7  # neuron 1 is cut at x = 30
    seg[seg == 30] = 20  # neurons 2 and 3 are one segment
    worst = worst_errors(seg, labels)
    [split], [merge] = worst.splits, worst.merges
    assert (split.id, merge.id) == (1, 20)
    assert split.pieces == (Piece(10, 6 * 4 * 29), Piece(70, 6 * 4 * 9))
    assert split.position[2] == 30
    assert labels[split.position] == 1
    assert merge.pieces[0].voxels == merge.pieces[1].voxels == 6 * 4 * 38
    assert labels[merge.position] == 3  # they do not touch: the middle of the second one
    assert split.score is None


def test_their_costs_add_up_to_vi():
    rng = np.random.default_rng(1)
    labels, seg = rng.integers(0, 9, (4, 9, 9)), rng.integers(0, 7, (4, 9, 9))
    worst, scores = worst_errors(seg, labels, count=1000), evaluate(seg, labels)
    assert sum(e.bits for e in worst.splits) == pytest.approx(evaluate(seg, labels, components=True).voi_split)
    background = labels[(seg == 0) & (labels > 0)]  # segment 0 merges, too, but is no segment to look at
    share = np.unique(background, return_counts=True)[1]
    lost = (share * np.log2(share.sum() / share)).sum() / (labels > 0).sum()
    assert sum(e.bits for e in worst.merges) == pytest.approx(scores.voi_merge - lost)
    for errors in (worst.splits, worst.merges):
        assert [e.bits for e in errors] == sorted((e.bits for e in errors), reverse=True)
    assert [e.id for e in worst_errors(seg, labels, count=2).splits] == [e.id for e in worst.splits[:2]]


def test_a_neuron_that_the_box_cuts_apart_is_no_mistake():
    labels = np.zeros((3, 20, 30), np.uint16)
    labels[:, 2:8, :] = labels[:, 12:18, :] = 7  # two arms of one neuron, which meet outside of the box
    seg = np.zeros(labels.shape, np.uint32)
    seg[:, 2:8, :], seg[:, 12:18, :20], seg[:, 12:18, 20:] = 1, 2, 3
    assert evaluate(seg, labels).voi_split > evaluate(seg, labels, components=True).voi_split > 0
    [split] = worst_errors(seg, labels).splits
    assert (split.id, {piece.id for piece in split.pieces}) == (7, {2, 3})
    seg[seg == 3] = 2
    assert worst_errors(seg, labels).splits == ()


def test_positions_are_in_voxels_of_the_image():
    labels = tubes()
    seg = labels.astype(np.int64)
    seg[:, :7, 30:] *= 7
    placed = [array_volume(array, Metadata(origin=(50, 100, 0))) for array in (seg, labels)]
    box = Box((52, 100, 10), (55, 120, 40))
    [split] = worst_errors(*placed, box=box).splits
    assert split.position[2] == 30
    assert labels[tuple(np.subtract(split.position, (50, 100, 0)))] == 1
    assert split.voxels == 3 * 4 * 29


def test_crumbs_are_counted_not_listed():
    labels = np.ones((1, 5, 8), int)
    [split] = worst_errors(np.arange(1, 41).reshape(1, 5, 8), labels).splits
    assert (len(split.pieces), split.more) == (12, 28)


def test_effects_of_merges_equal_counting_pairs():
    rng = np.random.default_rng(2)
    tree, fragments = random_tree(rng, 15, 12, 10**6), rng.integers(0, 16, (3, 6, 6))
    labels = rng.integers(0, 4, fragments.shape)
    right, wrong = merge_effects(tree, contingency(fragments, labels))
    for k in range(len(tree.a)):
        before = slow_cut(PlainTree(tree.a[:k], tree.b[:k], tree.score[:k], 15), fragments, -1)
        a, b = (
            before == before[fragments == f][0] if (fragments == f).any() else fragments < 0
            for f in (tree.a[k], tree.b[k])
        )
        one, other = labels[a & (labels > 0)], labels[b & (labels > 0)]
        together = int((one[:, None] == other[None, :]).sum())
        assert (right[k], wrong[k]) == (together, len(one) * len(other) - together)


def test_names_the_guilty_merge():
    """Fragments: neuron 1 in halves (1, 2), neuron 2 whole (3). Merged too eagerly, then too timidly."""
    labels = np.repeat([[[1, 1, 1, 1, 2, 2, 2, 2]]], 4, axis=1)
    fragments = np.repeat([[[1, 1, 2, 2, 3, 3, 3, 3]]], 4, axis=1)
    tree = MergeTree(np.array([2, 1]), np.array([3, 2]), np.array([0.8, 0.6]), fragments=3)
    eager = Cut(tree, fragments, 0.5)
    [merge] = worst_errors(tree.segment(fragments, 0.5), labels, cut=eager).merges
    assert merge.score == 0.8  # 2 with 3: 8 × 16 pairs; then 1 with both: 8 × 16 wrong pairs, too, but 64 right ones
    assert merge.position[2] == 3
    timid = Cut(tree, fragments, 0.7)
    [split] = worst_errors(tree.segment(fragments, 0.7), labels, cut=timid).splits
    assert split.score == 0.6
    never = Cut(MergeTree(tree.a[:1], tree.b[:1], tree.score[:1], fragments=3), fragments, 0.7)
    assert worst_errors(tree.segment(fragments, 0.7), labels, cut=never).splits[0].score is None


def test_on_a_real_tree():
    """Undoing what is blamed helps: without the merge named, the segment's neurons are less merged."""
    labels = synthetic.neuropil((8, 80, 90), seed=3)[1]
    affinities = synthetic.affinities(labels, seed=3)
    fragments = watershed(affinities)
    tree = agglomerate(affinities, fragments)
    threshold = 0.05  # merges too much
    worst = worst_errors(tree.segment(fragments, threshold), labels, cut=Cut(tree, fragments, threshold), count=3)
    for merge in worst.merges:
        assert merge.score >= threshold
        kept = ~(tree.score == merge.score)
        without = MergeTree(tree.a[kept], tree.b[kept], tree.score[kept], tree.fragments)
        assert (
            evaluate(without.segment(fragments, threshold), labels).voi_merge
            < evaluate(tree.segment(fragments, threshold), labels).voi_merge
        )
    for split in worst.splits:
        assert split.score is None or split.score < threshold
    json.dumps(worst.to_json())


def test_most_central_is_inside():
    ring = np.ones((1, 9, 9), bool)
    ring[0, 2:-2, 2:-2] = False
    assert ring[most_central(np.argwhere(ring))]


@pytest.mark.parametrize("slab", [1, 3 * 60 * 70])
def test_section_by_section_is_the_same(slab, monkeypatch, tmp_path):
    """A place that meets its neighbour across the border of what is read at once is found, too."""
    labels = synthetic.neuropil((9, 60, 70), seed=5)[1]
    affinities = synthetic.affinities(labels, seed=5, noise=0.7)
    fragments = watershed(affinities)
    seg = agglomerate(affinities, fragments).segment(fragments, 0.3)
    seg[4:][labels[4:] == labels[4, 30, 35]] += 10**6
    monkeypatch.setattr(objects, "_LARGEST", 0)  # connected parts need the box in memory
    whole = worst_errors(seg, labels)
    for name, array in (("seg", seg), ("labels", labels)):
        write_volume(tmp_path / f"{name}.h5", array)
    boxes, read = [], Volume.read
    monkeypatch.setattr(placing, "_SLAB", slab)
    monkeypatch.setattr(Volume, "read", lambda self, box=None: boxes.append(box) or read(self, box))
    assert worst_errors(tmp_path / "seg.h5", tmp_path / "labels.h5") == whole
    assert max(box.shape[0] for box in boxes) == (3 if slab == 1 else 5)


def test_nothing_wrong_and_nothing_to_judge():
    labels = tubes()
    assert worst_errors(labels, labels).splits == worst_errors(labels, labels).merges == ()
    with pytest.raises(NeuropilError, match="nothing to judge"):
        worst_errors(labels, labels * 0)
