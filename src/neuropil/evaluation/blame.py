"""Find the merge behind an error: the one that joined two neurons, or the one that would have joined a split neuron."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neuropil.evaluation.contact import bounds, middle_of_contact, within
from neuropil.evaluation.curve import merge_effects
from neuropil.evaluation.placing import Placed, Readable, read_box
from neuropil.evaluation.table import contingency
from neuropil.geometry import Triple
from neuropil.segmentation import MergeTree
from neuropil.volumes import as_volume


@dataclass(frozen=True)
class Cut:
    """Where a segmentation comes from: a merge tree, the fragments it merges, and the threshold."""

    tree: MergeTree
    fragments: Readable
    """``[z, y, x]``, placed like the segmentation."""
    threshold: float


class Blame:
    """Finds the merges behind the errors of one segmentation. Reads the whole box into memory."""

    def __init__(self, cut: Cut, placed: Placed) -> None:
        self._tree, self._threshold, self._box = cut.tree, cut.threshold, placed.box
        self._segmentation = segmentation = read_box(placed.segmentation, placed.box)
        labels = read_box(placed.labels, placed.box)
        fragments = read_box(as_volume(cut.fragments), placed.box)
        self._nodes = cut.tree.nodes(fragments)
        self._table = contingency(self._nodes, labels).without_truth(0)
        # A fragment lies in one segment only, also after a minimum size or edits.
        inside = contingency(segmentation, self._nodes)
        self._segment_of = np.zeros(cut.tree.fragments + 1, np.uint64)
        self._segment_of[inside.truth.astype(np.intp)] = inside.segment
        _, self._wrong = merge_effects(cut.tree, contingency(fragments, labels))
        self._into = np.arange(cut.tree.fragments + 1)
        self._when = np.full(cut.tree.fragments + 1, len(cut.tree))
        self._into[cut.tree.b] = cut.tree.a
        self._when[cut.tree.b] = np.arange(len(cut.tree))

    def worst_merge_in(self, segment: int) -> tuple[float | None, Triple | None]:
        """(score, voxel) of the merge within a segment that joined the most pairs of voxels of different neurons.

        Both are None if no merge did."""
        tree = self._tree
        a, b = tree.a.astype(np.intp), tree.b.astype(np.intp)
        here = (self._segment_of[a] == segment) & (self._segment_of[b] == segment) & (tree.score >= self._threshold)
        merges = np.flatnonzero(here & (self._wrong > 0))
        if not len(merges):
            return None, None
        worst = int(merges[self._wrong[merges].argmax()])
        before = MergeTree(tree.a[:worst], tree.b[:worst], tree.score[:worst], tree.fragments, tree.ids, tree.pooling)
        regions = before.cut(-np.inf)
        part = bounds(self._segmentation == segment)
        region = regions[self._nodes[part]]
        place = middle_of_contact(region == regions[a[worst]], region == regions[b[worst]])
        return float(tree.score[worst]), within(place, part, self._box.start) if place else None

    def joining(self, truth: int, one: int, other: int) -> float | None:
        """The score at which two pieces of a neuron, in segments ``one`` and ``other``, are joined; None if never."""
        f, g = (self._largest_fragment(truth, segment) for segment in (one, other))
        score = None
        while f != g:
            if self._when[f] > self._when[g]:
                f, g = g, f
            if self._when[f] == len(self._tree):
                return None  # two roots: never joined
            score, f = float(self._tree.score[self._when[f]]), int(self._into[f])
        return score

    def _largest_fragment(self, truth: int, segment: int) -> int:
        table = self._table
        here = (table.truth == truth) & (self._segment_of[table.segment.astype(np.intp)] == segment)
        return int(table.segment[here][table.count[here].argmax()])
