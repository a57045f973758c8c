"""Cut a merge tree by relabelling the whole volume once per merge."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class PlainTree:
    a: np.ndarray
    b: np.ndarray
    score: np.ndarray
    fragments: int
    ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))


def random_tree(rng, fragments, merges, levels):
    """Merges of fragments 1 … n that are not yet together, by descending score, with ties where levels are few."""
    names, pairs = list(range(fragments + 1)), []
    for a, b in rng.integers(1, fragments + 1, (20 * merges, 2)).tolist():
        if names[a] != names[b] and len(pairs) < merges:
            pairs.append((a, b))
            names = [names[a] if name == names[b] else name for name in names]
    score = np.sort(rng.integers(0, levels + 1, len(pairs)) / levels)[::-1]
    a, b = np.array(pairs, np.uint32).reshape(-1, 2).T
    return PlainTree(a, b, score, fragments)


def slow_cut(tree, fragments, threshold):
    """The segmentation at a threshold: merge while the score is at least that."""
    seg, place = fragments.copy(), {}
    for a, b, score in zip(tree.a.tolist(), tree.b.tolist(), tree.score.tolist(), strict=True):
        while a in place:
            a = place[a]
        while b in place:
            b = place[b]
        if score >= threshold and a != b:
            seg[seg == b] = a
            place[b] = a
    return seg
