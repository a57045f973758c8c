"""Segments of a suspicious shape: several soma-sized parts, or a sudden change of calibre. No labels are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuropil.errors import NeuropilError
from neuropil.evaluation.components import connected_parts
from neuropil.evaluation.run_length import Skeleton, skeletonize
from neuropil.geometry import Triple, VoxelSize, blocks
from neuropil.volumes import Metadata, Volume, array_volume, require_labels

SOMA = 1500.0
"""Radius of a ball in nm that fits into a soma, and into few other parts of a neuron."""
STRETCH = 2000.0
"""Length in nm over which a radius is averaged, longer than most spines and boutons."""
FACTOR = 3.0
"""Ratio of the radii of two stretches that is a sudden change."""
FINE = 30.0
"""Distance in nm of the samples that skeletons are made from, where voxels are smaller."""

_SLAB = 1 << 24
"""Voxels read at a time, or a few sections."""


def soma_sized(segmentation: Volume, radius: float = SOMA) -> dict[int, list[Triple]]:
    """The soma-sized parts of each segment that has several: a voxel in the middle of each.

    A soma-sized part is a connected region of the voxels that are at least ``radius``/2 from all other segments and the
    background, and in which one voxel is at least ``radius`` from them. Faces of the volume are no limit. Voxels are
    sampled at most ``radius``/10 apart, where they are smaller; so distances are exact to about a tenth.

    Args:
        segmentation: ids ``[z, y, x]``, with a voxel size; read in slabs of sections.
        radius: nm.

    Raises:
        NeuropilError: no integer ids, or no voxel size.

    >>> from neuropil.volumes import Metadata
    >>> array = np.zeros((50, 50, 120), np.uint8)
    >>> array[5:45, 5:45, 5:45] = array[5:45, 5:45, 75:115] = array[23:27, 23:27, 45:75] = 9
    >>> soma_sized(array_volume(array, Metadata(voxel_size=(100, 100, 100))))
    {9: [(24, 24, 24), (24, 24, 94)]}
    """
    volume, step = _sampled(segmentation, radius / 10)
    ids, spacing = volume.read(), _size(volume)
    squared = _squared_depth(ids, spacing, radius)
    part = connected_parts(np.where(squared >= (radius / 2) ** 2, ids, 0))
    deep = np.argwhere((squared >= radius**2) & (ids > 0))
    numbers, first, of = np.unique(part[tuple(deep.T)], return_index=True, return_inverse=True)
    owner = ids[tuple(deep[first].T)]
    found: dict[int, list[Triple]] = {}
    for i in range(len(numbers)):
        inside = deep[of == i] * spacing
        middle = deep[of == i][((inside - inside.mean(axis=0)) ** 2).sum(axis=1).argmin()]
        found.setdefault(int(owner[i]), []).append(_voxel(middle, step, segmentation))
    return {number: sorted(places) for number, places in sorted(found.items()) if len(places) > 1}


class CalibreChange(NamedTuple):
    """The place of a segment where its radius changes most, if that is sudden."""

    id: int
    at: Triple
    """Voxel of the whole volume."""
    thin: float
    thick: float
    """Mean radius in nm of the stretches on the two sides."""


def calibre_changes(
    segmentation: Volume, factor: float = FACTOR, stretch: float = STRETCH, fine: float = FINE
) -> list[CalibreChange]:
    """Places where the mean radius of two stretches of a neurite, one after the other, differs ``factor`` times.

    Radii are distances of the skeleton (TEASAR, by kimimaro; needs the extra ``mesh``) to the surface. A stretch is
    ``stretch`` nm of it without a branching; side branches shorter than that do not count. Of each unbranched piece the
    largest change is given. Branchings are left out since there calibres change in most neurons.

    Args:
        segmentation: ids ``[z, y, x]``, with a voxel size; read in slabs of sections.
        factor: smallest ratio of the two radii.
        stretch: nm.
        fine: nm between the voxels that skeletons are made from, where voxels are smaller.

    Raises:
        NeuropilError: no integer ids, no voxel size, or kimimaro is not installed.
    """
    volume, step = _sampled(segmentation, fine)
    size, ids = _size(volume), volume.read()
    fewest = int(2 * stretch / size.max())
    names, number, voxels = np.unique(ids, return_inverse=True, return_counts=True)
    # kimimaro fails on sections with very many small objects, so these are removed here.
    large = np.where(voxels > fewest, names, 0)[number].reshape(ids.shape)
    found = []
    for skeleton in skeletonize(array_volume(large, Metadata(volume.metadata.voxel_size)), dust=fewest):
        for i, thin, thick in _changes(skeleton, (size[0], size[1], size[2]), stretch):
            if thick >= factor * thin:
                place = _voxel(skeleton.nodes[i], step, segmentation)
                found.append(CalibreChange(skeleton.id, place, float(thin), float(thick)))
    return sorted(found, key=lambda change: (-change.thick / change.thin, change))


def _changes(skeleton: Skeleton, size: VoxelSize, stretch: float) -> list[tuple[int, float, float]]:
    """For each unbranched piece of at least two stretches: the node of the largest change, and the radii there."""
    assert skeleton.radius is not None
    found = []
    for piece in _without_twigs(skeleton, size, stretch):
        at, radius = _along(skeleton, piece, size), skeleton.radius[piece]
        total = np.concatenate([[0], np.cumsum((radius[1:] + radius[:-1]) / 2 * np.diff(at))])
        inner = np.flatnonzero((at >= stretch) & (at[-1] - at >= stretch))
        if not len(inner):
            continue
        before, here, after = (np.interp(at[inner] + shift, at, total) for shift in (-stretch, 0, stretch))
        both = np.stack([here - before, after - here]) / stretch
        thin, thick = both.min(axis=0), both.max(axis=0)
        largest = int((thick / thin).argmax())
        found.append((piece[inner[largest]], thin[largest], thick[largest]))
    return found


def _without_twigs(skeleton: Skeleton, size: VoxelSize, shortest: float) -> list[list[int]]:
    """The unbranched pieces once all side branches below a length are removed, the shortest first."""
    pieces = dict(enumerate(_pieces(skeleton.edges)))
    length = {i: float(_along(skeleton, piece, size)[-1]) for i, piece in pieces.items()}
    meeting: dict[int, set[int]] = {}  # pieces at each tip and branching
    for i, piece in pieces.items():
        for end in (piece[0], piece[-1]):
            meeting.setdefault(end, set()).add(i)
    waiting = [(nm, i) for i, nm in length.items() if nm < shortest]
    heapify(waiting)
    while waiting:
        _, i = heappop(waiting)
        if i not in pieces:  # it is part of a longer piece by now
            continue
        tip, branching = sorted((pieces[i][0], pieces[i][-1]), key=lambda end: len(meeting[end]))
        if len(meeting[tip]) > 1 or len(meeting[branching]) < 3:
            continue
        del pieces[i]
        meeting[branching].remove(i)
        if len(meeting[branching]) > 2:
            continue
        one, other = sorted(meeting.pop(branching))
        first, second = pieces.pop(one), pieces.pop(other)
        first = first if first[-1] == branching else first[::-1]
        second = second if second[0] == branching else second[::-1]
        new = len(length)
        pieces[new], length[new] = first + second[1:], length[one] + length[other]
        for end, old in ((first[0], one), (second[-1], other)):
            meeting[end] = meeting[end] - {old} | {new}
        if length[new] < shortest:
            heappush(waiting, (length[new], new))
    return [pieces[i] for i in sorted(pieces)]


def _along(skeleton: Skeleton, piece: Sequence[int], size: VoxelSize) -> NDArray[np.float64]:
    """Distance in nm from the first node of a piece to each of its nodes."""
    steps = np.linalg.norm(np.diff(skeleton.nodes[piece], axis=0) * size, axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def _pieces(edges: NDArray[np.int64]) -> list[list[int]]:
    """The nodes of each path of a forest that begins and ends at tips or branchings and has none between.

    >>> _pieces(np.array([[0, 1], [1, 2], [2, 3], [2, 4]]))
    [[0, 1, 2], [2, 3], [2, 4]]
    """
    near: dict[int, list[int]] = {}
    for u, v in edges.tolist():
        near.setdefault(u, []).append(v)
        near.setdefault(v, []).append(u)
    found = []
    for start in sorted(node for node, others in near.items() if len(others) != 2):
        for second in sorted(near[start]):
            piece = [start, second]
            while len(near[piece[-1]]) == 2:
                one, other = near[piece[-1]]
                piece.append(other if one == piece[-2] else one)
            if (piece[0], piece[1]) <= (piece[-1], piece[-2]):  # each once: it is met from both ends
                found.append(piece)
    return found


def _squared_depth(ids: NDArray[Any], spacing: NDArray[np.float64], reach: float) -> NDArray[np.float32]:
    """Squared distance of each voxel to the nearest one of another id, at most ``reach``²; axis after axis.

    >>> _squared_depth(np.array([[[1, 1, 1, 2]]]), np.ones(3), 2.5).tolist()
    [[[6.25, 4.0, 1.0, 1.0]]]
    """
    best = np.full(ids.shape, reach**2, np.float32)
    for axis in range(3):
        names, now = np.moveaxis(ids, axis, 0), np.moveaxis(best, axis, 0)
        before = now.copy()
        for step in range(1, min(int(reach / spacing[axis]), len(now) - 1) + 1):
            squared = np.float32((step * spacing[axis]) ** 2)
            other = names[step:] != names[:-step]
            for near, far in ((now[:-step], before[step:]), (now[step:], before[:-step])):
                np.minimum(near, np.where(other, squared, far + squared), out=near)
    return best


def _sampled(segmentation: Volume, apart: float) -> tuple[Volume, Triple]:
    """Every n-th voxel of each axis, so that they are at most ``apart`` nm apart where voxels are smaller; and n."""
    volume, size = require_labels(segmentation), segmentation.metadata.voxel_size
    if size is None:
        raise NeuropilError(f"expected a voxel size, which shapes are measured with; none is in {volume.path}")
    z, y, x = (max(1, min(int(apart / s), n)) for s, n in zip(size, volume.shape, strict=True))
    box, step = volume.box, (z, y, x)
    across = box.shape[1:]
    slab = max(1, _SLAB // (across[0] * across[1] * z)) * z
    samples = np.concatenate(
        [volume.read(part)[z // 2 :: z, y // 2 :: y, x // 2 :: x] for part in blocks(box, (slab, *across))]
    )
    spacing = (size[0] * z, size[1] * y, size[2] * x)
    return array_volume(samples, replace(volume.metadata, voxel_size=spacing)), step


def _size(volume: Volume) -> NDArray[np.float64]:
    return np.array(volume.metadata.voxel_size, np.float64)


def _voxel(sample: NDArray[Any], step: Triple, segmentation: Volume) -> Triple:
    """The voxel of the whole volume that a sample was taken from."""
    start = segmentation.box.start
    z, y, x = (int(i) * n + n // 2 + s for i, n, s in zip(sample, step, start, strict=True))
    return (z, y, x)
