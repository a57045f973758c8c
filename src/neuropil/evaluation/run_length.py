"""Expected run length: how far one can follow a neuron until the first error of the segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.errors import NeuropilError
from neuropil.evaluation.placing import Placed, Readable, place, read_box, slabs, table_of
from neuropil.evaluation.table import Contingency, sizes_of_pairs
from neuropil.extras import import_extra
from neuropil.geometry import Box, VoxelSize


@dataclass(frozen=True, eq=False)
class Skeleton:
    """The centre line of one neuron."""

    id: int
    """Its id in the labels."""
    nodes: NDArray[np.int64]
    """Voxels of the image, z y x, ``[node, 3]``."""
    edges: NDArray[np.int64]
    """Pairs of nodes, ``[edge, 2]``."""
    radius: NDArray[np.float64] | None = None
    """Distance of each node to the surface in nm, ``[node]``; None if not known."""

    def lengths(self, voxel_size: VoxelSize) -> NDArray[np.float64]:
        """Length of each edge in nm, ``[edge]``."""
        ends = self.nodes[self.edges] * np.asarray(voxel_size)
        length: NDArray[np.float64] = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
        return length


@dataclass(frozen=True)
class RunLength:
    """Run lengths in nm, and the shares of correct, split, merged and omitted skeleton length, which add up to 1."""

    erl: float
    """Expected run length, nm: mean length of the error-free run at a random point of the skeletons."""
    truth: float
    """What a perfect segmentation would have, nm."""
    correct: float
    split: float
    """Edges between two segments."""
    merged: float
    """Edges in a segment that joins several neurons, or a neuron and unlabelled tissue."""
    omitted: float
    """Edges that end in segment 0."""

    @property
    def nerl(self) -> float:
        """ERL / ERL of the truth: 1 is perfect; comparable between volumes of different size."""
        return self.erl / self.truth if self.truth else 0.0

    def to_json(self) -> dict[str, float]:
        """Plain numbers."""
        return {**asdict(self), "nerl": self.nerl}


def run_length(
    segmentation: Readable, labels: Readable, *, box: Box | None = None, voxel_size: VoxelSize | None = None
) -> RunLength:
    """Expected run length along skeletons that are made from the labels (needs the extra ``mesh``).

    The labels in the box must fit in memory; ``expected_run_length`` with existing skeletons needs less.

    Args:
        segmentation, labels, box: as for ``neuropil.evaluate``.
        voxel_size: nm, z y x; by default what the volumes say.

    Raises:
        NeuropilError: as ``skeletonize`` and ``expected_run_length``.
    """
    placed = place(segmentation, labels, box)
    size = _voxel_size(placed, voxel_size)
    skeletons = skeletonize(placed.labels, box=placed.box, voxel_size=size)
    return expected_run_length(placed.segmentation, placed.labels, skeletons, box=placed.box, voxel_size=size)


def skeletonize(
    labels: Readable, *, box: Box | None = None, voxel_size: VoxelSize | None = None, dust: int = 1000
) -> list[Skeleton]:
    """Skeletons of all neurons in labels (TEASAR, by kimimaro; needs the extra ``mesh``).

    Args:
        labels: truth ids ``[z, y, x]``; 0 = background.
        box: which voxels of the image; all by default.
        voxel_size: nm, z y x; by default what the volume says.
        dust: objects of fewer voxels get no skeleton.

    Raises:
        NeuropilError: kimimaro is not installed, or no voxel size is known.
    """
    kimimaro = import_extra("kimimaro", "skeletons", "mesh")
    placed = place(labels, labels, box)
    size, start = _voxel_size(placed, voxel_size), placed.box.start
    found = kimimaro.skeletonize(
        read_box(placed.labels, placed.box),
        teasar_params={"scale": 1.5, "const": 10 * max(size), "pdrf_scale": 100000, "pdrf_exponent": 4},
        anisotropy=size,
        dust_threshold=dust,
        progress=False,
    )
    return [
        Skeleton(
            int(number),
            np.rint(skeleton.vertices / np.asarray(size)).astype(np.int64) + np.asarray(start),
            skeleton.edges.astype(np.int64),
            np.asarray(skeleton.radius, np.float64),
        )
        for number, skeleton in sorted(found.items())
        if len(skeleton.edges)
    ]


def expected_run_length(
    segmentation: Readable,
    labels: Readable,
    skeletons: Sequence[Skeleton],
    *,
    box: Box | None = None,
    voxel_size: VoxelSize | None = None,
    stray: int = 1,
    unlabelled: float = 0.5,
) -> RunLength:
    """Expected run length of a segmentation along skeletons of the truth.

    ERL = Σ_k Σ_j L_kj² / L, where L_kj is the length of the edges of skeleton k with both ends in segment j, and L the
    length of all skeletons; segments that merge count 0. A segment merges if it holds nodes of two skeletons, or if
    more than ``unlabelled`` of it lies outside objects with skeletons, where a merge cannot be seen.
    Januszewski et al. 2018, doi:10.1038/s41592-018-0049-4.

    Args:
        segmentation, labels, box: as for ``neuropil.evaluate``.
        skeletons: of the labels, see :func:`skeletonize`.
        voxel_size: nm, z y x; by default what the volumes say.
        stray: a skeleton with at most this many nodes in a segment does not make it merge, since a single node next to
            a border is no error.
        unlabelled: share of a segment outside all objects with skeletons, above which it merges.

    Raises:
        NeuropilError: as ``evaluate``; no skeleton inside the box, or no voxel size known.

    >>> labels = np.ones((1, 1, 5), int)
    >>> line = Skeleton(1, np.array([(0, 0, x) for x in range(5)]), np.array([(x, x + 1) for x in range(4)]))
    >>> cut = np.array([[[1, 1, 1, 2, 2]]])
    >>> round(expected_run_length(cut, labels, [line], voxel_size=(10, 10, 10)).erl, 2)  # (20² + 10²) / 40
    12.5
    """
    placed = place(segmentation, labels, box)
    walks = _walks(skeletons, placed, _voxel_size(placed, voxel_size))
    total = sum(float(walk.length.sum()) for walk in walks)
    if not total:
        raise NeuropilError(f"no skeleton has an edge inside {placed.box}: no run length to measure")
    merging = _merging(walks, stray) | _outside(table_of(placed), [s.id for s in skeletons], unlabelled)
    runs = [_judge(walk, merging) for walk in walks]
    correct, split, merged, omitted, squares, truth = np.sum(runs, axis=0).tolist()
    return RunLength(squares / total, truth / total, *(part / total for part in (correct, split, merged, omitted)))


@dataclass(frozen=True)
class _Walk:
    """Segments along a skeleton: at both ends of each edge inside the box, and at its nodes."""

    ends: NDArray[Any]
    """``[edge, 2]``"""
    length: NDArray[np.float64]
    """nm, ``[edge]``."""
    nodes: NDArray[Any]


def _walks(skeletons: Sequence[Skeleton], placed: Placed, size: VoxelSize) -> list[_Walk]:
    """Look up the segments along all skeletons; the segmentation is read a few sections at a time."""
    nodes = np.concatenate([np.zeros((0, 3), np.int64), *(skeleton.nodes for skeleton in skeletons)])
    at, inside = np.zeros(len(nodes), placed.segmentation.dtype), np.zeros(len(nodes), bool)
    for part in slabs(placed.box):
        here = ((nodes >= part.start) & (nodes < part.stop)).all(axis=1)
        if here.any():
            at[here] = read_box(placed.segmentation, part)[tuple((nodes[here] - part.start).T)]
        inside |= here
    stops = np.cumsum([len(skeleton.nodes) for skeleton in skeletons])[:-1]
    parts = zip(skeletons, np.split(at, stops), np.split(inside, stops), strict=True)
    return [_walk(skeleton, segment, held, size) for skeleton, segment, held in parts]


def _walk(skeleton: Skeleton, segment: NDArray[Any], inside: NDArray[np.bool_], size: VoxelSize) -> _Walk:
    """One skeleton, from the segment at each of its nodes and whether the node is in the box."""
    kept = inside[skeleton.edges].all(axis=1)
    return _Walk(segment[skeleton.edges[kept]], skeleton.lengths(size)[kept], segment[inside])


def _merging(walks: Sequence[_Walk], stray: int) -> set[int]:
    """Segments with nodes of two skeletons or more."""
    seen: set[int] = set()
    twice: set[int] = set()
    for walk in walks:
        ids, count = np.unique(walk.nodes, return_counts=True)
        here = set(ids[count > min(stray, len(walk.nodes) - 1)].tolist())
        twice |= seen & here
        seen |= here
    return twice - {0}


def _outside(table: Contingency, known: Sequence[int], share: float) -> set[int]:
    """Segments of which more than a share lies outside the objects that have skeletons."""
    _, whole = sizes_of_pairs(table)
    strange = ~np.isin(table.truth, np.array(known, np.uint64))
    ids, at = np.unique(table.segment, return_inverse=True)
    outside = np.bincount(at, weights=np.where(strange, table.count, 0).astype(np.float64), minlength=len(ids))
    size = np.zeros(len(ids))
    size[at] = whole
    return {int(n) for n in ids[outside > share * size] if n}


def _judge(walk: _Walk, merging: set[int]) -> tuple[float, ...]:
    """(correct, split, merged, omitted, Σ L_kj², L_k²) of one skeleton, nm and nm²."""
    one, other = walk.ends[:, 0], walk.ends[:, 1]
    omitted = (one == 0) | (other == 0)
    split = ~omitted & (one != other)
    bad = np.isin(one, np.array(sorted(merging), one.dtype)) if merging else np.zeros(len(one), bool)
    merged = ~omitted & ~split & bad
    correct = ~omitted & ~split & ~merged
    _, run = np.unique(one[correct], return_inverse=True)
    runs = np.bincount(run, weights=walk.length[correct])
    parts = (float(walk.length[which].sum()) for which in (correct, split, merged, omitted))
    return (*parts, float((runs**2).sum()), float(walk.length.sum()) ** 2)


def _voxel_size(placed: Placed, given: VoxelSize | None) -> VoxelSize:
    size = given or placed.voxel_size
    if size is None:
        raise NeuropilError(
            f"run lengths are in nm, but neither {placed.labels.path} nor the call says how large a voxel is"
        )
    return size
