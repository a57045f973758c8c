"""Tapered tubes that grow through the volume until it is full: the skeletons of synthetic neurites."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuropil.synthetic.noise import Float

NO_ORGANELLE, MITOCHONDRION, VESICLES = range(3)

_PITCH = 60.0  # nm: of the grid on which tubes are packed
_MARGIN = 240.0  # nm by which tubes reach beyond the volume, so that its border looks like its interior


@dataclass(frozen=True)
class Tubes:
    """S tapered tubes with round ends; a neurite is a chain of them. Lengths in nm, z y x."""

    start: Float  # [S, 3]
    axis: Float  # [S, 3], unit vectors
    length: Float  # [S]
    radius: Float  # [S, 2] at start and end
    neurite: NDArray[np.uint32]  # [S], from 1
    organelle: NDArray[np.int8]  # [S]
    grey: Float  # [neurites + 1], of the cytoplasm

    def near(self, where: Float, count: int) -> NDArray[np.intp]:
        """The ``count`` tubes (fewer if there are fewer) whose surface is nearest to each place ``[n, 3]``."""
        known = np.flatnonzero(np.abs(self.start[:, 0] - where[0, 0]) < 1200.0)  # all places lie in a few sections
        known = known if len(known) >= count else np.arange(len(self.start))
        start, axis, length, radius = self.start[known], self.axis[known], self.length[known], self.radius[known]
        ahead = where @ axis.T - np.einsum("si,si->s", start, axis)
        along = np.clip(ahead, 0.0, length)
        square = (
            (where**2).sum(1)[:, None] - 2.0 * (where @ start.T) + (start**2).sum(1) + along * (along - 2.0 * ahead)
        )
        surface = np.sqrt(np.maximum(square, 0.0)) - radius.mean(axis=1)
        count = min(count, len(known))
        nearest: NDArray[np.intp] = known[np.argpartition(surface, count - 1, axis=1)[:, :count]]
        return nearest


def grow(extent: NDArray[np.float64], rng: np.random.Generator) -> Tubes:
    """Fill the volume with thick neurites first, then with thinner ones in the remaining space."""
    # Neurites are thinner in small volumes, so that these, too, have many of them.
    scale = float(np.clip(extent[1:].min() / 1500.0, 0.7, 1.0))
    free: NDArray[np.bool_] = np.ones(np.ceil((extent + 2 * _MARGIN) / _PITCH).astype(int), bool)
    paths: list[tuple[Float, Float]] = []
    for thickness, until in ((215.0, 0.78), (125.0, 0.45), (75.0, 0.10)):
        while free.mean() > until:
            path, radius = _path(free, thickness * scale * rng.uniform(0.75, 1.3), rng)
            _occupy(free, path, radius)
            paths.append((path - np.float32(_MARGIN), radius))
    return _chain(paths, rng)


def _path(free: NDArray[np.bool_], thickness: float, rng: np.random.Generator) -> tuple[Float, Float]:
    """The longest of several random walks through free cells, both ways from one of them; nodes and radii in nm."""
    tries, steps = 24, int(1.5 * max(free.shape))
    cell = rng.integers(free.shape)
    while not free[cell[0], cell[1], cell[2]]:
        cell = rng.integers(free.shape)
    start = (cell + rng.random(3)) * _PITCH
    heading = rng.standard_normal((tries, 1, 3)) * (1.3, 1.0, 1.0)  # somewhat more of them run through the sections
    heading /= np.linalg.norm(heading, axis=2, keepdims=True)
    halves = []
    for sign in (1.0, -1.0):
        course = sign * heading + np.cumsum(rng.standard_normal((tries, steps, 3)), axis=1) * 0.12
        walk = start + _PITCH * np.cumsum(course / np.linalg.norm(course, axis=2, keepdims=True), axis=1)
        where = np.floor(walk / _PITCH).astype(int)
        inside = np.asarray(np.all((where >= 0) & (where < free.shape), axis=2))
        z, y, x = np.moveaxis(np.where(inside[..., None], where, 0), 2, 0)
        halves.append((walk, np.cumprod(inside & free[z, y, x], axis=1).sum(axis=1)))
    (ahead, far), (back, near) = halves
    best = int(np.argmax(far + near))
    path = np.concatenate([back[best, : near[best]][::-1], start[None], ahead[best, : far[best]]])
    swelling = np.interp(np.arange(len(path)) / 6.0, np.arange(len(path)), rng.standard_normal(len(path)))
    return path.astype(np.float32), (thickness * np.clip(1.0 + 0.35 * swelling, 0.6, 1.8)).astype(np.float32)


def _occupy(free: NDArray[np.bool_], path: Float, radius: Float) -> None:
    """Mark the cells that the tube fills as occupied."""
    reach = int(np.ceil(radius.max() / _PITCH))
    around = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    cells = np.floor(path / _PITCH).astype(int)[:, None] + around
    within = np.linalg.norm(around, axis=1) * _PITCH <= radius[:, None]
    within &= ((cells >= 0) & (cells < free.shape)).all(axis=2)
    free[tuple(cells[within].T)] = False


def _chain(paths: list[tuple[Float, Float]], rng: np.random.Generator) -> Tubes:
    """Divide every path into tubes of two steps, and put organelles into some of them."""
    start, end, radius, neurite, organelle = [], [], [], [], []
    for number, (path, thick) in enumerate(paths, start=1):
        nodes = np.unique(np.append(np.arange(0, len(path), 2), len(path) - 1))
        if len(nodes) == 1:
            nodes = np.repeat(nodes, 2)
        start.append(path[nodes[:-1]])
        end.append(path[nodes[1:]])
        radius.append(np.stack([thick[nodes[:-1]], thick[nodes[1:]]], axis=1))
        neurite.append(np.full(len(nodes) - 1, number, np.uint32))
        stretch = np.repeat(rng.random(len(nodes) // 4 + 1), 4)[: len(nodes) - 1]  # organelles last a few tubes
        roomy = radius[-1].mean(axis=1)
        kind = np.where((stretch < 0.3) & (roomy > 80), MITOCHONDRION, NO_ORGANELLE)
        organelle.append(np.where((stretch > 0.75) & (roomy > 50) & (roomy < 200), VESICLES, kind).astype(np.int8))
    first, last = np.concatenate(start), np.concatenate(end)
    length = np.linalg.norm(last - first, axis=1)
    grey = rng.normal(158.0, 19.0, len(paths) + 1).astype(np.float32)
    return Tubes(
        start=first,
        axis=(last - first) / np.maximum(length, 1e-3)[:, None],
        length=length,
        radius=np.concatenate(radius),
        neurite=np.concatenate(neurite),
        organelle=np.concatenate(organelle),
        grey=grey,
    )


def two_nearest(tubes: Tubes, cells: Float, near: NDArray[np.intp]) -> tuple[NDArray[np.intp], Float, Float]:
    """For each voxel ``[cell, voxel]``: its tube, nm below that tube's surface, nm to the border of its neurite."""
    centre = cells[:, :1].copy()  # small numbers keep float32 exact
    voxels, start, axis = cells - centre, tubes.start[near] - centre, tubes.axis[near]
    ahead = voxels @ axis.transpose(0, 2, 1) - (start * axis).sum(2)[:, None]
    square = (voxels**2).sum(2)[..., None] - 2.0 * (voxels @ start.transpose(0, 2, 1)) + (start**2).sum(2)[:, None]
    ahead, square = (np.ascontiguousarray(np.moveaxis(part, 2, 0)) for part in (ahead, square))
    best = np.full(cells.shape[:2], np.inf, np.float32)
    other = best.copy()
    which = np.zeros(cells.shape[:2], np.intp)
    owner = np.zeros(cells.shape[:2], np.uint32)
    for k in range(near.shape[1]):
        tube = near[:, k, None]
        length, (thick, thin), neurite = tubes.length[tube], tubes.radius[tube[:, 0]].T, tubes.neurite[tube]
        along = np.clip(ahead[k], 0.0, length)
        taper = ((thin - thick)[:, None] / np.maximum(length, 1e-3)) * along
        surface = np.sqrt(np.maximum(square[k] + along * (along - 2.0 * ahead[k]), 0.0)) - thick[:, None] - taper
        closer = surface < best
        other = np.where(owner == neurite, other, np.where(closer, best, np.minimum(other, surface)))
        best = np.where(closer, surface, best)
        which = np.where(closer, tube, which)
        owner = np.where(closer, neurite, owner)
    return which, -best, (other - best) / 2.0
