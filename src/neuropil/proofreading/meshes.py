"""Meshes of single segments for the viewer, by zmesh; and where in a volume ids lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from neuropil.extras import import_extra
from neuropil.geometry import Box, Triple, VoxelSize, blocks
from neuropil.volumes import Volume, require_labels

_SLAB = 1 << 24
"""Voxels read at a time."""
_MOST = 1 << 26
"""Most voxels of a mask to be meshed; larger objects are downsampled first."""


@dataclass(frozen=True, eq=False)
class Surface:
    """Triangles around one segment."""

    vertices: NDArray[np.float32]
    """In voxels of the array, x y z, ``[vertex, 3]``; the first voxel extends from 0 to 1."""
    faces: NDArray[np.uint32]
    """Three vertices each, ``[face, 3]``."""

    def encode(self, scales: NDArray[np.float64]) -> bytes:
        """In Neuroglancer's format: number of vertices, their positions times ``scales`` (x y z), vertices of faces."""
        count = np.uint32(len(self.vertices)).tobytes()
        return count + (self.vertices * scales).astype("<f4").tobytes() + self.faces.astype("<u4").tobytes()


def surface(segmentation: Volume, number: int) -> Surface | None:
    """The mesh of one segment; None if no voxel has its id.

    The volume is read slab by slab; memory is needed for the object's bounding box only. Objects whose box has more
    than 67 million voxels are meshed at half, a quarter, … of the resolution, first on the axes of the smallest voxel
    size.

    Args:
        segmentation: ids ``[z, y, x]``.
        number: the id.

    Raises:
        NeuropilError: zmesh is not installed, or the volume does not hold integers.
    """
    box = object_box(require_labels(segmentation), number)
    if box is None:
        return None
    size = segmentation.metadata.voxel_size or (1.0, 1.0, 1.0)
    step = _step(box.shape, size)
    mask = np.zeros([-(-n // s) + 2 for n, s in zip(box.shape, step, strict=True)], np.uint8)  # closed all around
    for part in _slabs(box, step[0]):
        z = (part.start[0] - box.start[0]) // step[0] + 1
        thinned = segmentation.read(part)[:: step[0], :: step[1], :: step[2]] == number
        mask[z : z + len(thinned), 1:-1, 1:-1] = thinned
    scale = np.array([d * s for d, s in zip(size, step, strict=True)][::-1])  # nm of a thinned voxel, x y z
    mesher = needs_zmesh().Mesher(tuple(scale))
    mesher.mesh(np.asfortranarray(mask.transpose(2, 1, 0)))
    mesh = mesher.get(1, reduction_factor=20, max_error=float(scale.max()) / 2, voxel_centered=True)
    start = np.array(box.relative_to(segmentation.metadata.start).start[::-1])
    vertices = (np.asarray(mesh.vertices) / scale - 1) * np.array(step[::-1]) + start
    return Surface(vertices.astype(np.float32), np.asarray(mesh.faces, np.uint32))


def object_box(segmentation: Volume, number: int) -> Box | None:
    """The bounding box of all voxels of one id; None if there are none.

    >>> from neuropil.volumes import array_volume
    >>> print(object_box(array_volume(np.array([[[1, 2, 2], [0, 2, 0]]])), 2))
    0:1,0:2,1:3
    """
    low, high = np.full(3, np.iinfo(np.int64).max), np.full(3, np.iinfo(np.int64).min)
    for part in _slabs(segmentation.box, 1):
        here = segmentation.read(part) == number
        for axis, others in enumerate(((1, 2), (0, 2), (0, 1))):
            along = np.flatnonzero(here.any(axis=others))
            if len(along):
                low[axis] = min(low[axis], along[0] + part.start[axis])
                high[axis] = max(high[axis], along[-1] + part.start[axis] + 1)
    return None if low[0] > high[0] else Box.at(low.tolist(), (high - low).tolist())


def absent(segmentation: Volume, numbers: Sequence[int]) -> list[int]:
    """The ids that no voxel has, in the order given. Reading stops once all others are found.

    >>> from neuropil.volumes import array_volume
    >>> absent(array_volume(np.array([[[1, 2, 2], [0, 2, 0]]])), [2, 7, -1])
    [7, -1]
    """
    missing = set(numbers)
    for part in _slabs(segmentation.box, 1):
        if not missing:
            break
        here = segmentation.read(part)
        missing -= {number for number in missing if (here == number).any()}
    return [number for number in numbers if number in missing]


def _step(shape: Triple, size: VoxelSize) -> Triple:
    """The downsampling factor of each axis."""
    step = [1, 1, 1]
    while np.prod([-(-n // s) for n, s in zip(shape, step, strict=True)]) > _MOST:
        finest = min(range(3), key=lambda axis: size[axis] * step[axis])
        step[finest] *= 2
    return (step[0], step[1], step[2])


def _slabs(box: Box, multiple: int) -> Iterator[Box]:
    """Slabs of whole sections, a multiple of ``multiple`` sections each."""
    _, y, x = box.shape
    return blocks(box, (max(1, _SLAB // (y * x * multiple)) * multiple, y, x))


def needs_zmesh() -> ModuleType:
    """Import zmesh.

    Raises:
        NeuropilError: it is not installed.
    """
    return import_extra("zmesh", "meshes", "mesh")
