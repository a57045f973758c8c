"""Regions as intervals, against sets of fragments."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neuropil.segmentation import MergeTree
from neuropil.segmentation.edited_cut import Dendrogram


@st.composite
def trees(draw):
    """A random tree of up to 30 fragments, which need not all be joined."""
    count = draw(st.integers(1, 30))
    chance = np.random.default_rng(draw(st.integers(0, 2**32)))
    names = list(range(1, count + 1))
    a, b = [], []
    for _ in range(draw(st.integers(0, count - 1))):
        u, v = sorted(chance.choice(len(names), 2, replace=False))
        a.append(names[u])
        b.append(names.pop(v))
    return MergeTree(np.array(a, np.int64), np.array(b, np.int64), np.linspace(1, 0, len(a)), count)


def regions(tree):
    """The fragments of both sides of each merge, slowly."""
    now = {f: {f} for f in range(1, tree.fragments + 1)}
    found = []
    for a, b in zip(tree.a.tolist(), tree.b.tolist(), strict=True):
        found.append((set(now[a]), set(now[b])))
        now[a] |= now.pop(b)
    return found


@given(trees())
def test_intervals_are_the_regions(tree):
    layout = Dendrogram.of(tree)
    assert sorted(layout.leaf.tolist()) == list(range(1, tree.fragments + 1))
    for i, (one, other) in enumerate(regions(tree)):
        assert set(layout.leaf[layout.start[i] : layout.middle[i]].tolist()) == one
        assert set(layout.leaf[layout.middle[i] : layout.end[i]].tolist()) == other


@given(trees(), st.integers(0, 2**32))
def test_sums_common_merges_and_uniform_regions(tree, seed):
    layout, known = Dendrogram.of(tree), regions(tree)
    value = np.random.default_rng(seed).integers(0, 3, tree.fragments + 1)
    left, right = layout.sums(value)
    uniform = layout.uniform(value)
    for i, (one, other) in enumerate(known):
        assert left[i] == sum(value[f] for f in one)
        assert right[i] == sum(value[f] for f in other)
        assert uniform[i] == (len({int(value[f]) for f in one | other}) == 1)
    pairs = [(u, v) for u in range(1, tree.fragments + 1) for v in range(1, tree.fragments + 1) if u != v]
    if pairs:
        u, v = np.array(pairs).T
        wanted = [next((i for i, (s, t) in enumerate(known) if {a, b} <= s | t), len(known)) for a, b in pairs]
        assert layout.common_merge(u, v).tolist() == wanted
