"""No input takes more than E log E steps to merge, and the trees of the worst inputs stay what they are."""

import hashlib
import json
from math import log2
from pathlib import Path

import numpy as np
import pytest

import neuropil
from block_runs import by_blocks
from neuropil import _native
from neuropil.config import SegmentConfig
from neuropil.volumes import LOGIT8, Metadata
from reference.hostile import CASES

SCORES = ("mean", "max", "min", "q50", "q99")
LEVELS = {"low": 1e-4, "high": 0.9999}
MANY = 1 << 14
FEW = 1 << 12
TREES = json.loads((Path(__file__).parent / "hostile_trees.json").read_text())
"""Digests of fragments, tree, and segmentation at 0.5 with a minimum size of 30 voxels, of FEW voxels."""


def made(name, n):
    codes, fragments = CASES[name](n)
    if fragments is None:
        fragments = neuropil.watershed(codes, encoding=LOGIT8, **LEVELS)
    return codes, fragments, neuropil.region_graph(codes, fragments, encoding=LOGIT8, histograms=True)


def digest(*arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()[:16]


def most_steps(graph, score="mean"):
    """A few steps for every region and edge, times the levels of a binary tree of them; where a quantile is the score,
    two histograms of 256 codes may be added up each time."""
    things = len(graph) + graph.nodes + 1000
    return things * (8 * log2(things) + 512 * score.startswith("q"))


def steps_of(call, *arguments, **options):
    """What a call returns, and the steps that kernels took for it."""
    before = _native.operations()
    result = call(*arguments, **options)
    return result, _native.operations() - before


@pytest.mark.parametrize("name", CASES)
def test_steps_of_trees_and_of_minimum_sizes(name):
    codes, fragments, graph = made(name, MANY)
    assert steps_of(neuropil.region_graph, codes, fragments, encoding=LOGIT8)[1] < most_steps(graph)
    for score in SCORES:
        for threads in (1, 3):
            options = {"encoding": LOGIT8, "threads": threads, "block": (8, 16, 64)}
            tree, taken = steps_of(neuropil.agglomerate, codes, fragments, score, **options)
            assert len(tree) / 2 < taken < most_steps(graph, score), (score, threads)
        for min_size in (30, 3000):
            taken = steps_of(tree.segment, fragments, 0.5, min_size, graph)[1]
            assert taken < most_steps(graph, score), (score, min_size)


BY_BLOCKS = [name for name in CASES if CASES[name](FEW)[1] is None]


@pytest.mark.parametrize(("name", "score"), [(name, SCORES[n % 5]) for n, name in enumerate(BY_BLOCKS)])
def test_steps_by_blocks(name, score, tmp_path):
    codes, _, graph = made(name, FEW)
    block = tuple(max(1, n // 2) for n in codes.shape[1:])
    meant = Metadata(encoding=LOGIT8, offsets=neuropil.NEAREST)
    config = SegmentConfig(score=score, threshold=0.5, min_size=30, **LEVELS)
    assert steps_of(by_blocks, tmp_path, codes, meant, config, block)[1] < 2 * most_steps(graph, score)


@pytest.mark.parametrize("name", CASES)
def test_trees_stay_what_they_are(name):
    """The same tree on 1 to 16 threads, in any blocks: bit for bit what an earlier program made."""
    codes, fragments, graph = made(name, FEW)
    ways = [(1, (99, 99, 4096)), (3, (1, 7, 5)), (8, (1, 1, 1)), (16, (3, 5, 16))]
    for score in SCORES:
        for threads, block in ways:
            tree = neuropil.agglomerate(codes, fragments, score, encoding=LOGIT8, threads=threads, block=block)
            found = digest(fragments), digest(tree.a, tree.b, tree.score)
            assert list(found) == TREES[f"{name}|{score}"][:2], (threads, block)
        assert digest(tree.segment(fragments, 0.5, 30, graph)) == TREES[f"{name}|{score}"][2]


def test_threads_and_blocks_do_not_show_in_fragments():
    for name in CASES:
        codes, fragments = CASES[name](FEW)
        if fragments is None:
            for threads in range(1, 17):
                found = neuropil.watershed(codes, encoding=LOGIT8, threads=threads, **LEVELS)
                assert digest(found) == TREES[f"{name}|mean"][0], (name, threads)
