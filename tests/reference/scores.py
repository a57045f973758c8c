"""The definitions of the scores, spelled out over voxels and pairs of voxels."""

from fractions import Fraction
from itertools import combinations
from math import log2

from reference.contingency import slow_contingency


def slow_scores(segmentation, labels):
    """Adapted Rand (SNEMI3D variant, as fractions), Rand index and VI of a small volume."""
    table = slow_contingency(segmentation, labels)
    n = sum(table.values())
    c = sum(count for (t, s), count in table.items() if t and not s)
    truths, segments, segments_and_0 = {}, {}, {}
    for (t, s), count in table.items():
        if t:
            truths[t] = truths.get(t, 0) + count
            segments_and_0[s] = segments_and_0.get(s, 0) + count
            if s:
                segments[s] = segments.get(s, 0) + count
    both = sum(count**2 for (t, s), count in table.items() if t and s) + Fraction(c, n)
    precision = both / (sum(s**2 for s in segments.values()) + Fraction(c, n))
    recall = both / sum(t**2 for t in truths.values())
    scored = sum(truths.values())
    inside = {pair: count for pair, count in table.items() if pair[0]}
    return {
        "adapted_rand_error": 1 - 2 * precision * recall / (precision + recall),
        "adapted_rand_precision": precision,
        "adapted_rand_recall": recall,
        "rand_index": slow_rand_index(segmentation, labels),
        "voi_split": sum(count / scored * log2(truths[t] / count) for (t, s), count in inside.items()),
        "voi_merge": sum(count / scored * log2(segments_and_0[s] / count) for (t, s), count in inside.items()),
    }


def slow_rand_index(segmentation, labels):
    """Every pair of voxels with truth > 0, one by one."""
    voxels = [(t, s) for t, s in zip(labels.ravel().tolist(), segmentation.ravel().tolist(), strict=True) if t]
    agree = [(t == u) == (s == v) for (t, s), (u, v) in combinations(voxels, 2)]
    return sum(agree) / len(agree) if agree else 1.0
