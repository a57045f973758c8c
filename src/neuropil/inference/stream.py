"""Read tiles, run the network, blend, hand over finished cells: memory depends on tiles, not on the volume.

The output is a grid of cells over the box; tiles may cover more of the image than the box, so that what lies around it
is seen. A cell is held in memory from the first tile that touches it to the last, then handed
over and forgotten. Tiles are visited in z, y, x order within columns of cells that are narrow enough for the memory
allowed; a tile on the border of two columns is computed for each. What a cell receives, and in which order, depends on
the tiling alone, so that a run that is resumed ends with the same numbers.

Three things happen at the same time: the next tiles are read, the network runs, results are blended and handed over.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neuropil.augment import to_unit
from neuropil.errors import NeuropilError
from neuropil.geometry import Box, Offsets, Triple
from neuropil.inference.engine import Engine
from neuropil.inference.memory import reusing_memory
from neuropil.inference.tiling import Tiling
from neuropil.progress import ProgressCounter
from neuropil.volumes import Volume
from neuropil.volumes.tissue import TissueMap

FloatArray = npt.NDArray[np.float32]
Emit = Callable[[Triple, Box, FloatArray], None]
"""Takes a finished cell: its index, its box and its affinities ``[E, Z, Y, X]``."""

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True)
class Cells:
    """The output box cut into a grid of cells of ``shape`` voxels, smaller at the far ends."""

    box: Box
    shape: Triple

    @property
    def counts(self) -> Triple:
        z, y, x = (math.ceil(n / c) for n, c in zip(self.box.shape, self.shape, strict=True))
        return (z, y, x)

    def cell(self, index: Triple) -> Box:
        start = [i * c for i, c in zip(index, self.shape, strict=True)]
        return Box.at(start, self.shape).shift(self.box.start).intersect(self.box)

    def touched(self, part: Box) -> Iterator[Triple]:
        """Indices of the cells that a part of the image touches, in order."""
        part = part.intersect(self.box)
        if part.size == 0:
            return
        near = part.relative_to(self.box.start)
        spans = [range(a // c, -(-b // c)) for a, b, c in zip(near.start, near.stop, self.shape, strict=True)]
        yield from product(*spans)


@dataclass(frozen=True)
class Plan:
    """What is to be predicted, and in which pieces."""

    tiling: Tiling
    """Tiles over the box and what is seen around it."""
    cells: Cells
    """Cells over the box."""
    context: Triple = (0, 0, 0)
    """Voxels around each tile that the network sees but that are not kept: image, mirrored where it ends."""
    batch: int = 1
    """Tiles in one call of the network."""
    memory: int = 2**30
    """Bytes of affinities that may wait for further tiles."""
    bounds: Box | None = None
    """What edges must not leave, where the cells are a part of it only; None: the cells' box."""
    tissue: TissueMap | None = None
    """Which voxels count, where not all do: edges of others are 0, and tiles without any are not computed."""


def predict_cells(
    engines: Sequence[Engine],
    image: Volume,
    plan: Plan,
    emit: Emit,
    clock: ProgressCounter,
    done: Collection[Triple] = frozenset(),
) -> None:
    """Predict every cell that is not done, and hand each over once.

    Args:
        engines: the network, once for each device; they share the tiles, and which computes which changes nothing.
        image: what to predict.
        plan: tiles and cells.
        emit: receives finished cells, one at a time, in another thread.
        clock: is told the voxels of the box that are done.
        done: cells to leave out.

    Raises:
        NeuropilError: an image that cannot be read or is no image; whatever ``emit`` raises.
    """
    grid, keep = plan.cells, engines[0].keep
    with (
        reusing_memory(),
        ThreadPoolExecutor(1, "read") as reader,
        ThreadPoolExecutor(len(engines), "compute") as computer,
        ThreadPoolExecutor(1, "write") as writer,
    ):
        for column in columns(plan, len(keep)):
            canvas = Canvas(plan, keep, emit)
            jobs = canvas.schedule(column, done)
            share = sum(grid.cell(c).size for c in canvas.waiting) / max(len(jobs), 1)
            batches = [jobs[i : i + plan.batch] for i in range(0, len(jobs), plan.batch)]
            blending: deque[Future[None]] = deque()
            blending.append(writer.submit(canvas.finish_untouched))
            try:
                windows = _ahead(reader, lambda b: (b, _windows(image, plan, b)), batches)
                for indices, whole in _computed(computer, engines, windows):
                    found = _without_context(whole, plan.context)
                    blending.append(writer.submit(canvas.add_batch, indices, found))
                    # Two batches may wait, so that memory stays bounded when writing is slower than the network.
                    while len(blending) > 2 or (blending and blending[0].done()):
                        blending.popleft().result()
                    clock.add(share * len(indices))
                while blending:
                    blending.popleft().result()
            except BaseException:
                writer.shutdown(wait=True, cancel_futures=True)
                raise


def columns(plan: Plan, channels: int) -> list[Box]:
    """Groups of cells, as boxes of cell indices whole in z, whose waiting affinities fit the memory allowed."""
    z, y, x = plan.cells.counts
    depth = min(plan.tiling.shape[0] + 2 * plan.cells.shape[0], plan.cells.box.shape[0])
    each = 4 * channels * depth * plan.cells.shape[1] * plan.cells.shape[2]
    allowed = max(plan.memory // each, 1)
    # As square as possible: the tiles computed twice lie along the borders.
    wide = min(x, max(math.isqrt(allowed), allowed // y if allowed >= y else 1))
    high = min(y, max(allowed // wide, 1))
    return [
        Box((0, j, i), (z, min(j + high, y), min(i + wide, x))) for j in range(0, y, high) for i in range(0, x, wide)
    ]


class Canvas:
    """The cells of a column that tiles are being blended into."""

    def __init__(self, plan: Plan, keep: Offsets, emit: Emit) -> None:
        self.plan, self.keep, self.emit = plan, keep, emit
        self.waiting: dict[Triple, int] = {}
        self.painted: dict[Triple, FloatArray] = {}

    def schedule(self, column: Box, done: Collection[Triple]) -> list[Triple]:
        """The tiles needed, in order; counts for each cell how many it waits for."""
        tiling, cells = self.plan.tiling, self.plan.cells
        wanted = {c for c in _indices(column) if c not in done}
        needs: Counter[Triple] = Counter()
        jobs = []
        for tile in _indices(Box.whole(tiling.counts)):
            support = tiling.support(tile, self.keep)
            touched = [c for c in cells.touched(support) if c in wanted]
            if touched and self._has_tissue(support.intersect(cells.box)):
                jobs.append(tile)
                needs.update(touched)
        self.waiting = {c: needs[c] for c in sorted(wanted)}
        return jobs

    def _has_tissue(self, part: Box) -> bool:
        return self.plan.tissue is None or bool(self.plan.tissue.inside(part).any())

    def finish_untouched(self) -> None:
        """Hand over cells that no tile touches: they hold no edge at all."""
        for cell in [c for c, count in self.waiting.items() if count == 0]:
            self._finish(cell)

    def add_batch(self, tiles: Sequence[Triple], affinities: FloatArray) -> None:
        """Blend a batch of tiles ``[B, E, Z, Y, X]`` in, and hand over the cells that are complete."""
        for tile, found in zip(tiles, affinities, strict=True):
            self._add(tile, found)

    def _add(self, tile: Triple, found_EZYX: FloatArray) -> None:
        tiling, cells = self.plan.tiling, self.plan.cells
        support, start = tiling.support(tile, self.keep), tiling.tile(tile).start
        if tiling.blend == "gaussian":
            found_EZYX *= tiling.share(tile)
        else:
            for found_ZYX, offset in zip(found_EZYX, self.keep, strict=True):
                _weigh(found_ZYX, tiling.weights(tile, offset))
        for cell in cells.touched(support):
            if cell not in self.waiting:
                continue
            box = cells.cell(cell)
            part = support.intersect(box)
            into = self.painted.setdefault(cell, np.zeros((len(self.keep), *box.shape), np.float32))
            here, there = part.relative_to(box.start).slices, part.relative_to(start).slices
            into[:, *here] += found_EZYX[:, *there]
            self.waiting[cell] -= 1
            if self.waiting[cell] == 0:
                self._finish(cell)

    def _finish(self, cell: Triple) -> None:
        box = self.plan.cells.cell(cell)
        painted = self.painted.pop(cell, None)
        del self.waiting[cell]
        if painted is None:
            painted = np.zeros((len(self.keep), *box.shape), np.float32)
        elif self.plan.tiling.box != (bounds := self.plan.bounds or self.plan.cells.box):
            _clear_leaving(painted, box, bounds, self.keep)
        if self.plan.tissue is not None:
            self.plan.tissue.clear_edges(painted, box, self.keep)
        self.emit(cell, box, painted)


def _clear_leaving(found_EZYX: FloatArray, cell: Box, whole: Box, offsets: Offsets) -> None:
    """Edges that leave the box are 0, also where tiles reach further and hold them."""
    for found_ZYX, offset in zip(found_EZYX, offsets, strict=True):
        for d, o in enumerate(offset):
            line = np.arange(cell.start[d], cell.stop[d]) + o
            outside = (line < whole.start[d]) | (line >= whole.stop[d])
            if outside.any():
                np.moveaxis(found_ZYX, d, 0)[outside] = 0


def _weigh(found_ZYX: FloatArray, weights: Sequence[FloatArray]) -> None:
    """Multiply by one vector of weights per axis, in place; where a weight is 1, as inside a tile, nothing is done."""
    for d, line in enumerate(weights):
        whole = np.flatnonzero(line == 1)
        rims = [slice(0, int(whole[0])), slice(int(whole[-1]) + 1, None)] if whole.size else [slice(None)]
        for rim in rims:
            at, shape = [slice(None)] * 3, [1, 1, 1]
            at[d], shape[d] = rim, -1
            found_ZYX[tuple(at)] *= line[rim].reshape(shape)


def _windows(image: Volume, plan: Plan, tiles: Sequence[Triple]) -> Tensor:
    """A batch of tiles with their context, float in [0, 1]."""
    windows = [read_mirrored(image, plan.tiling.tile(tile).grow(plan.context)) for tile in tiles]
    try:
        return torch.stack([to_unit(torch.from_numpy(window)) for window in windows])
    except NeuropilError as error:
        raise NeuropilError(f"{error}; this is {image.path}") from error


def read_mirrored(image: Volume, box: Box) -> npt.NDArray[Any]:
    """The voxels of a box that may reach out of the volume: there the image is mirrored at its faces.

    >>> from neuropil.volumes import array_volume
    >>> read_mirrored(array_volume(np.arange(3)[None, None]), Box((0, 0, -2), (1, 1, 4))).tolist()
    [[[2, 1, 0, 1, 2, 1]]]
    """
    whole = image.box
    if whole.contains(box):
        return image.read(box).copy()
    at = [
        _mirrored(np.arange(start, stop) - first, size) + first
        for start, stop, first, size in zip(box.start, box.stop, whole.start, whole.shape, strict=True)
    ]
    (z0, z1), (y0, y1), (x0, x1) = ((int(line.min()), int(line.max()) + 1) for line in at)
    inside = Box((z0, y0, x0), (z1, y1, x1))
    z, y, x = (line - first for line, first in zip(at, inside.start, strict=True))
    return np.ascontiguousarray(image.read(inside)[np.ix_(z, y, x)])


def _mirrored(at: npt.NDArray[np.intp], size: int) -> npt.NDArray[np.intp]:
    """Places on a line of ``size`` voxels that are seen at any places when its ends are mirrors."""
    period = max(2 * (size - 1), 1)
    turned = at % period
    return np.minimum(turned, period - turned) if size > 1 else np.zeros_like(at)


def _without_context(found_BEZYX: FloatArray, context: Triple) -> FloatArray:
    z, y, x = context
    end = [n - c for n, c in zip(found_BEZYX.shape[2:], context, strict=True)]
    return found_BEZYX[:, :, z : end[0], y : end[1], x : end[2]]


def _indices(box: Box) -> Iterator[Triple]:
    yield from product(*(range(a, b) for a, b in zip(box.start, box.stop, strict=True)))


_Work = tuple[Sequence[Triple], Tensor]
_Found = tuple[Sequence[Triple], FloatArray]


def _computed(pool: ThreadPoolExecutor, engines: Sequence[Engine], windows: Iterable[_Work]) -> Iterator[_Found]:
    """Affinities of each batch, in order; each engine takes the next batch when it is free."""
    if len(engines) == 1:  # in this thread, so that Ctrl-C stops it between two layers
        return ((tiles, engines[0].affinities(window)) for tiles, window in windows)
    idle: SimpleQueue[Engine] = SimpleQueue()
    for engine in engines:
        idle.put(engine)

    def compute(work: _Work) -> _Found:
        engine = idle.get()
        try:
            return work[0], engine.affinities(work[1])
        finally:
            idle.put(engine)

    return _ahead(pool, compute, windows, len(engines))


def _ahead(pool: ThreadPoolExecutor, function: Callable[[_T], _R], items: Iterable[_T], count: int = 1) -> Iterator[_R]:
    """Like ``map``, with the next ``count`` results computed in other threads while this one is used."""
    pending: deque[Future[_R]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > count:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
