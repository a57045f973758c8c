"""Clusters of a signed graph as one would explain them: look at all pairs, take the strongest, pool, begin again."""

from fractions import Fraction

import numpy as np


def signed_edges(values_EZYX, fragments, offsets, bias, strides=(1, 1, 1)):
    """{(a, b): [(weight, channel, voxel), …]} with a < b, for every pair of fragments that an edge joins."""
    graph = {}
    for channel, offset in enumerate(offsets):
        for voxel in np.ndindex(fragments.shape):
            other = tuple(v + o for v, o in zip(voxel, offset, strict=True))
            if any(o < 0 or o >= n for o, n in zip(other, fragments.shape, strict=True)):
                continue
            if sum(map(abs, offset)) > 1 and any(v % s for v, s in zip(voxel, strides, strict=True)):
                continue
            a, b = int(fragments[voxel]), int(fragments[other])
            if a == b or not a or not b:
                continue
            weight = values_EZYX[(channel, *voxel)] + bias[channel]
            graph.setdefault((min(a, b), max(a, b)), []).append((weight, channel, voxel))
    return graph


def first(edges):
    """The edge that comes first in the sweep; edges without weight never come."""
    weighted = [edge for edge in edges if edge[0] != 0]
    return min(weighted, key=lambda e: (-abs(e[0]), e[1], e[2])) if weighted else None


def exact_mean(edges):
    """Over weights in units of 2**-30, as the kernel adds them."""
    return Fraction(sum(int(np.rint(weight * (1 << 30))) for weight, *_ in edges), len(edges))


def clusters(graph, linkage):
    """{node: smallest node of its cluster}."""
    name = {node: node for pair in graph for node in pair}
    excluded = set()

    def strength(pair):
        edges = graph[pair]
        front = first(edges)
        tie = (-abs(front[0]), front[1], front[2]) if front else (1,)
        if linkage == "abs_max":
            return tie
        mean = exact_mean(edges)
        return (-abs(mean) if linkage == "constrained_mean" else -mean, tie)

    def attracts(pair):
        if linkage == "abs_max":
            return first(graph[pair]) is not None and first(graph[pair])[0] > 0
        return exact_mean(graph[pair]) > 0

    while True:
        open_pairs = [pair for pair in graph if pair not in excluded]
        if not open_pairs:
            return name
        best = min(open_pairs, key=strength)
        if not attracts(best):
            if linkage == "mean":
                return name
            excluded.add(best)
            continue
        keep, lose = best
        name = {node: keep if n == lose else n for node, n in name.items()}
        after, still = {}, set()
        for pair, edges in graph.items():
            p, q = sorted(keep if n == lose else n for n in pair)
            if p != q:
                after.setdefault((p, q), []).extend(edges)
                if pair in excluded:
                    still.add((p, q))
        graph, excluded = after, still
