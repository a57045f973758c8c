"""The region graph as one would explain it: every face, one after another."""

import numpy as np


def region_graph(codes_EZYX, fragments, offsets):
    """{(a, b): [(face index, code), …]} with a < b, for every pair of touching fragments."""
    shape = fragments.shape
    graph = {}
    for upper in np.ndindex(shape):
        for axis in range(3):
            if upper[axis] == 0:
                continue
            lower = tuple(v - (a == axis) for a, v in enumerate(upper))
            a, b = int(fragments[lower]), int(fragments[upper])
            if a == b or not a or not b:
                continue
            step = tuple(-int(a == axis) for a in range(3))
            stored_at = upper if step in offsets else lower
            channel = offsets.index(step if step in offsets else tuple(-s for s in step))
            face = 3 * int(np.ravel_multi_index(lower, shape)) + axis
            graph.setdefault((min(a, b), max(a, b)), []).append((face, int(codes_EZYX[(channel, *stored_at)])))
    return graph
