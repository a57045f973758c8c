"""Connected components of labels, in plain NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SMALLEST = 40  # voxels: smaller pieces become background


def one_piece_each(labels: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Give each 6-connected piece an id of its own, from 1 in scan order; very small pieces become background."""
    begins = np.ones(labels.shape, bool)  # runs along x are the nodes of a graph
    begins[..., 1:] = labels[..., 1:] != labels[..., :-1]
    run = (np.cumsum(begins.ravel()) - 1).astype(np.int32).reshape(labels.shape)
    pairs = []
    for axis in (0, 1):
        one, other = np.arange(labels.shape[axis] - 1), np.arange(1, labels.shape[axis])
        touch = np.take(labels, one, axis) == np.take(labels, other, axis)
        touch &= np.take(begins, one, axis) | np.take(begins, other, axis)
        pairs.append(np.stack([np.take(run, one, axis)[touch], np.take(run, other, axis)[touch]]))
    piece = _join(int(run[-1, -1, -1]) + 1, np.concatenate(pairs, axis=1))
    size = np.bincount(piece[run.ravel()], minlength=len(piece))
    keep = (piece == np.arange(len(piece))) & (labels[begins] > 0) & (size >= _SMALLEST)
    number = np.cumsum(keep, dtype=np.uint32) * keep
    named: NDArray[np.uint32] = number[piece][run]
    return named


def _join(nodes: int, pairs: NDArray[np.int32]) -> NDArray[np.intp]:
    """The smallest node of the component of each node: union by hooking roots, then halving paths."""
    root = np.arange(nodes)
    while True:
        one, other = root[pairs[0]], root[pairs[1]]
        apart = one != other
        if not apart.any():
            return root
        pairs, one, other = pairs[:, apart], one[apart], other[apart]
        np.minimum.at(root, np.maximum(one, other), np.minimum(one, other))
        while (root[root] != root).any():
            root = root[root]
