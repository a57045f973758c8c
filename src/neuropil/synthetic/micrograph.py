"""A synthetic micrograph of tubes that fill a volume, and its labels.

A voxel belongs to the tube whose surface is nearest, and membranes lie where two neurites are equally near. Sections
are 30 nm thick and pixels 6 nm wide, as in SNEMI3D, so that a membrane parallel to the section is a grey smear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from neuropil.errors import NeuropilError
from neuropil.synthetic.noise import VOXEL_SIZE, Field, Float, blur, grain
from neuropil.synthetic.tubes import MITOCHONDRION, VESICLES, Tubes, grow, two_nearest

_T = TypeVar("_T", bound=np.generic)

_MEMBRANE = 9.0  # nm: half of the membrane's width in the labels
_CELL = (4, 16, 16)  # voxels: tubes are looked up once for each cell, so that voxels compare with few of them
_NEAR = 20  # tubes per cell


def neuropil(shape: Sequence[int], seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """A synthetic EM volume at 30×6×6 nm and its truth.

    Args:
        shape: voxels, z y x.
        seed: the same seed gives the same volume on every machine with the same NumPy.

    Returns:
        image: uint8 ``[z, y, x]``, dark membranes on grey cytoplasm.
        labels: uint32 ``[z, y, x]``, ids from 1, each one 6-connected piece; 0 is membrane.

    Raises:
        NeuropilError: not three positive sizes.

    >>> image, labels = neuropil((8, 64, 64), seed=1)
    >>> image.shape, int(labels.max()) > 3
    ((8, 64, 64), True)
    """
    if len(shape) != 3 or min(shape) < 1:
        raise NeuropilError(f"a synthetic volume needs three positive sizes (z, y, x), got {tuple(shape)}")
    depth, height, width = (int(n) for n in shape)
    rng = np.random.default_rng(seed)
    extent = np.array([depth, height, width]) * VOXEL_SIZE
    tubes = grow(extent, rng)
    fields = _Fields.draw(extent, rng)
    image = np.empty((depth, height, width), np.uint8)
    labels = np.empty((depth, height, width), np.uint32)
    for z in range(0, depth, _CELL[0]):
        here = np.arange(z, min(z + _CELL[0], depth))
        scene = _see(tubes, fields, here, (height, width))
        labels[here] = scene.labels
        image[here] = _develop(scene, tubes, fields, here, rng)
    return image, one_piece_each(labels)


@dataclass(frozen=True)
class _Fields:
    """Smooth random fields of a volume, and the displacement of its sections."""

    bend: tuple[Field, Field]  # of membranes, y and x
    stain: Field  # of membranes: where they are faint
    flecks: Field  # dark spots such as endoplasmic reticulum
    jitter: Float  # [sections, 2]: nm by which a section is misplaced, y x

    @classmethod
    def draw(cls, extent: NDArray[np.float64], rng: np.random.Generator) -> _Fields:
        sections = round(extent[0] / VOXEL_SIZE[0])
        return cls(
            bend=(Field.draw(extent, 110.0, rng), Field.draw(extent, 110.0, rng)),
            stain=Field.draw(extent, 90.0, rng),
            flecks=Field.draw(extent, 28.0, rng),
            jitter=rng.normal(0.0, 4.0, (sections, 2)).astype(np.float32),
        )


@dataclass(frozen=True)
class _Scene:
    """Contents of a few sections, ``[sections, y, x]`` each."""

    labels: NDArray[np.uint32]  # 0 = membrane
    owner: NDArray[np.uint32]  # the neurite, membrane or not
    tube: NDArray[np.intp]
    depth: Float  # nm below the surface of the tube
    membrane: Float  # 0 … 1


def _see(tubes: Tubes, fields: _Fields, sections: NDArray[np.intp], plane: tuple[int, int]) -> _Scene:
    """Compute labels and membranes from two planes inside each section; where they differ a membrane is oblique."""
    places = _places(fields, sections, plane)
    cells, grid = _into_cells(places)
    near = tubes.near(cells.mean(axis=1), _NEAR)
    seen = []
    for height in (-8.0, 8.0):
        moved = cells + np.array([height, 0.0, 0.0], np.float32)
        batches = [two_nearest(tubes, moved[i : i + 16], near[i : i + 16]) for i in range(0, len(cells), 16)]
        seen.append(
            [_out_of_cells(np.concatenate(part), grid, places.shape[:3]) for part in zip(*batches, strict=True)]
        )
    (tube, depth, gap), (tube_above, _, gap_above) = seen
    owner = tubes.neurite[tube]
    inside = (owner == tubes.neurite[tube_above]) & (gap + gap_above > 2 * _MEMBRANE)
    membrane = (np.exp(-((gap / _MEMBRANE) ** 2)) + np.exp(-((gap_above / _MEMBRANE) ** 2))) / 2.0
    labels = np.where(inside, owner, 0).astype(np.uint32)
    return _Scene(labels, owner, tube, depth, membrane.astype(np.float32))


def _places(fields: _Fields, sections: NDArray[np.intp], plane: tuple[int, int]) -> Float:
    """Position of every voxel in the tissue in nm, ``[sections, y, x, 3]``, distorted so that membranes are wavy."""
    places = np.empty((len(sections), *plane, 3), np.float32)
    places[..., 0] = sections[:, None, None] * VOXEL_SIZE[0]
    for axis, bend in enumerate(fields.bend, start=1):
        straight = np.arange(plane[axis - 1]) * VOXEL_SIZE[axis]
        places[..., axis] = straight[:, None] if axis == 1 else straight
        places[..., axis] += 14.0 * bend.at(sections, plane) + fields.jitter[sections, axis - 1, None, None]
    return places


def _into_cells(places: Float) -> tuple[Float, tuple[int, int, int]]:
    """Rearrange ``[z, y, x, 3]`` (edges repeated to fill) as ``[cell, voxel, 3]``; also the grid of cells."""
    z, y, x = places.shape[:3]
    grid = (-(-z // _CELL[0]), -(-y // _CELL[1]), -(-x // _CELL[2]))
    fill = [(0, g * c - n) for g, c, n in zip(grid, _CELL, (z, y, x), strict=True)]
    filled = np.pad(places, [*fill, (0, 0)], mode="edge")
    split = filled.reshape(grid[0], _CELL[0], grid[1], _CELL[1], grid[2], _CELL[2], 3)
    return split.transpose(0, 2, 4, 1, 3, 5, 6).reshape(-1, _CELL[0] * _CELL[1] * _CELL[2], 3), grid


def _out_of_cells(cells: NDArray[_T], grid: tuple[int, int, int], shape: tuple[int, ...]) -> NDArray[_T]:
    """The reverse of ``_into_cells`` for ``[cell, voxel]``."""
    split = cells.reshape(*grid, *_CELL).transpose(0, 3, 1, 4, 2, 5)
    filled = split.reshape([g * c for g, c in zip(grid, _CELL, strict=True)])
    return filled[: shape[0], : shape[1], : shape[2]]


def _develop(
    scene: _Scene, tubes: Tubes, fields: _Fields, sections: NDArray[np.intp], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The micrograph of a scene: cytoplasm, organelles, membranes, then blur and noise of the microscope."""
    shape = scene.owner.shape
    plane = (shape[1], shape[2])
    grey = tubes.grey[scene.owner] + 11.0 * grain(shape, 2, rng)
    organelle = tubes.organelle[scene.tube]
    flecks = np.clip(fields.flecks.at(sections, plane) - 2.2, 0.0, 0.8)
    grey -= 90.0 * flecks * (scene.depth > 15.0)
    vesicles = (organelle == VESICLES) & (scene.depth > 25.0)
    if vesicles.any():
        grey -= 95.0 * vesicles * np.stack([_vesicles(plane, rng) for _ in sections])
    thick = tubes.radius.mean(axis=1)[scene.tube]
    rim = scene.depth - thick + np.minimum(0.6 * thick, 105.0)  # nm below the surface of a mitochondrion on the axis
    matrix = np.clip(rim / 8.0 + 0.5, 0.0, 1.0) * (organelle == MITOCHONDRION)
    grey += matrix * (82.0 + 14.0 * grain(shape, 1, rng) - 40.0 * np.exp(-((rim / 9.0) ** 2)) - grey)
    faint = 1.0 / (1.0 + np.exp(1.6 - 1.2 * fields.stain.at(sections, plane)))
    grey += scene.membrane * (1.0 - 0.75 * faint) * (15.0 - grey)
    return _expose(grey, rng)


def _expose(grey: Float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Add blur, noise, and brightness and contrast of each section."""
    contrast = rng.normal(1.0, 0.06, (len(grey), 1, 1)).astype(np.float32)
    brightness = rng.normal(0.0, 5.0, (len(grey), 1, 1)).astype(np.float32)
    seen = blur(grey) + 10.0 * grain(grey.shape, 1, rng) + 4.0 * grain(grey.shape, 0, rng)
    exposed: NDArray[np.uint8] = np.clip((seen - 128.0) * contrast + 128.0 + brightness, 0.0, 255.0).astype(np.uint8)
    return exposed


def _vesicles(plane: tuple[int, int], rng: np.random.Generator) -> Float:
    """One section of vesicles: rings of about 40 nm, one at a random position in each square of a grid."""
    square = 8
    y, x = np.indices(plane, np.float32)
    rows, columns = (np.arange(n) // square for n in plane)
    grid = (plane[0] // square + 1, plane[1] // square + 1)
    there = rng.random(grid) < 0.85
    centre_y, centre_x = (square * i + 4.0 + rng.uniform(-1.5, 1.5, grid) for i in np.indices(grid))
    at = np.ix_(rows, columns)
    ring = np.hypot(y - centre_y[at], x - centre_x[at]) - 2.6
    return (np.exp(-(ring**2)) * there[at]).astype(np.float32)


_SMALLEST = 40  # voxels: smaller pieces become background


def one_piece_each(labels: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Label 6-connected components, from 1 in scan order; those below 40 voxels become background."""
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
    """The smallest node of the component of each node (union-find with path halving)."""
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
