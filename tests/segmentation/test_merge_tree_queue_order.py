"""Merging in the order of a queue: the same partitions as greedy merging but for ties, and ties as one would queue."""

import heapq

import numpy as np
import pytest

from neuropil import NeuropilError, region_graph
from neuropil.segmentation import agglomerate_graph, agglomerate_in_queue_order, start_with_largest


def graph_of(seed, levels, shape=(4, 8, 9)):
    rng = np.random.default_rng(seed)
    affinities = (rng.integers(0, levels, (3, *shape)) * (255 // levels)).astype(np.uint8)
    fragments = rng.permutation(np.prod(shape)).reshape(shape) // 4 + 1
    return region_graph(affinities, fragments.astype(np.uint32), histograms=True)


def slow(graph, code_of):
    """First in, first out among equals: a list of edges, each looked at again when it comes to the front."""
    faces = [
        np.repeat(graph.bin_code[s:e], graph.bin_count[s:e].astype(int)).tolist()
        for s, e in zip(graph.bin_start[:-1], graph.bin_start[1:], strict=True)
    ]
    ends = [[int(a), int(b)] for a, b in zip(graph.a, graph.b, strict=True)]
    code, stale, gone = [code_of(sorted(f)) for f in faces], [False] * len(faces), [False] * len(faces)
    queue = [(-c, e, e) for e, c in enumerate(code)]
    heapq.heapify(queue)
    arrived, merges = len(queue), []
    while queue:
        _, _, e = heapq.heappop(queue)
        if gone[e]:
            continue
        if stale[e]:
            stale[e], code[e] = False, code_of(sorted(faces[e]))
            heapq.heappush(queue, (-code[e], arrived, e))
            arrived += 1
            continue
        a, b = sorted(ends[e])
        merges.append((a, b, code[e]))
        gone[e] = True
        at_a = {sum(ends[k]) - a: k for k in range(len(ends)) if not gone[k] and a in ends[k]}
        for k in [k for k in range(len(ends)) if not gone[k] and b in ends[k]]:
            other = sum(ends[k]) - b
            ends[k] = [a, other]
            if (mine := at_a.get(other)) is not None:
                stays, goes = (mine, k) if code[k] < code[mine] else (k, mine)
                faces[stays] += faces[goes]
                stale[stays], gone[goes] = True, True
    return merges


SCORES = {
    "max": lambda f: f[-1],
    "min": lambda f: f[0],
    "q50": lambda f: f[min(len(f) - 1, len(f) // 2)],
    "q85": lambda f: f[min(len(f) - 1, len(f) * 85 // 100)],
}


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("levels", [2, 5])
def test_first_in_first_out_is_its_slow_description(score, levels):
    graph = graph_of(1, levels)
    tree = agglomerate_in_queue_order(graph, score, "bins")
    expected = slow(graph, SCORES[score])
    assert list(zip(tree.a.tolist(), tree.b.tolist(), strict=True)) == [merge[:2] for merge in expected]
    np.testing.assert_allclose(tree.score * 255, [merge[2] for merge in expected])


@pytest.mark.parametrize("queue", ["heap", "bins"])
@pytest.mark.parametrize("score", ["max", "q30"])
def test_without_ties_the_queue_does_not_matter(score, queue):
    """Every pair touches in one face, and all faces differ."""
    codes = np.random.default_rng(0).permutation(200).astype(np.uint8)[None, None]
    affinities = np.stack([codes, codes, codes])
    graph = start_with_largest(region_graph(affinities, np.arange(1, 201, dtype=np.uint32)[None, None]))
    one, other = agglomerate_graph(graph, score), agglomerate_in_queue_order(graph, score, queue)
    for name in ("a", "b", "score"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_means_have_no_codes():
    with pytest.raises(NeuropilError, match="expected the score max, min or qNN, got 'mean'"):
        agglomerate_in_queue_order(graph_of(2, 3), "mean")
