"""The loop over tiles: read, run the network, blend, emit finished cells. Memory depends on tiles, not on the volume.

The output is a grid of cells over the box; tiles may reach beyond the box, so that the network sees its surroundings.
A cell is in memory from the first to the last tile that touches it, then it is emitted. Tiles are visited in z, y, x
order within columns of cells that are narrow enough for the memory allowed; a tile on the border of two columns is
computed for both. The tiles of a cell and their order depend on the tiling only, so that a resumed run has the same
result.

Reading of the next tiles, the network, and blending run in parallel.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neuropil.augment import to_unit
from neuropil.errors import NeuropilError
from neuropil.geometry import Box, Triple
from neuropil.inference.canvas import Canvas, Emit, Plan
from neuropil.inference.engine import Engine
from neuropil.inference.memory import reusing_memory
from neuropil.progress import ProgressCounter
from neuropil.volumes import Volume

_T = TypeVar("_T")
_R = TypeVar("_R")


def predict_cells(
    engines: Sequence[Engine],
    image: Volume,
    plan: Plan,
    emit: Emit,
    clock: ProgressCounter,
    done: Collection[Triple] = frozenset(),
) -> None:
    """Predict every cell that is not done, and emit each once.

    Args:
        engines: the network, once for each device; they share the tiles, which does not change the result.
        image: the image, ``[z, y, x]``.
        plan: tiles and cells.
        emit: receives finished cells in another thread; with a GPU in several threads at the same time.
        clock: counts the voxels done.
        done: cells to skip.

    Raises:
        NeuropilError: an image that cannot be read or is no image; whatever ``emit`` raises.
    """
    grid, keep = plan.cells, engines[0].keep
    home = None if engines[0].device.type == "cpu" else engines[0].device
    with (
        reusing_memory(),
        ThreadPoolExecutor(1, "read") as reader,
        ThreadPoolExecutor(len(engines), "compute") as computer,
        handing_over(emit, 1 if home is None else min(TAKERS, torch.get_num_threads())) as take,
        ThreadPoolExecutor(1, "write") as writer,
    ):
        for column in columns(plan, len(keep)):
            canvas = Canvas(plan, keep, take, home)
            jobs = canvas.schedule(column, done)
            share = sum(grid.cell(c).size for c in canvas.waiting) / max(len(jobs), 1)
            # The fewest batches, of about equal size.
            most = math.ceil(len(jobs) / max(math.ceil(len(jobs) / plan.batch), 1)) or 1
            batches = [jobs[i : i + most] for i in range(0, len(jobs), most)]
            blending: deque[Future[None]] = deque()
            blending.append(writer.submit(canvas.finish_untouched))
            try:
                windows = _ahead(reader, lambda b: (b, _windows(image, plan, b, home)), batches)
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


TAKERS = 8
"""Most threads that write the cells of a GPU: one thread compresses cells more slowly than a GPU finishes them."""


@contextmanager
def handing_over(emit: Emit, threads: int) -> Iterator[Emit]:
    """A function that passes cells to ``emit`` in this many threads, and waits for all at the end; for 1 ``emit``.

    Errors of ``emit`` are raised with a later cell, or at the end.

    >>> with handing_over(lambda cell, box, found: print(cell), 2) as take:
    ...     take((0, 0, 1), Box((0, 0, 0), (1, 1, 1)), np.zeros((3, 1, 1, 1)))
    (0, 0, 1)
    """
    if threads == 1:
        yield emit
        return
    taken: deque[Future[None]] = deque()
    with ThreadPoolExecutor(threads, "take") as pool:

        def take(cell: Triple, box: Box, found: npt.NDArray[Any]) -> None:
            taken.append(pool.submit(emit, cell, box, found))
            while len(taken) > threads or (taken and taken[0].done()):
                taken.popleft().result()

        try:
            yield take
            for future in taken:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def columns(plan: Plan, channels: int) -> list[Box]:
    """Columns of cells, as boxes of cell indices over all of z, whose unfinished cells fit into the memory allowed."""
    z, y, x = plan.cells.counts
    depth = min(plan.tiling.shape[0] + 2 * plan.cells.shape[0], plan.cells.box.shape[0])
    each = 4 * channels * depth * plan.cells.shape[1] * plan.cells.shape[2]
    allowed = max(plan.memory // each, 1)
    # As square as possible, because tiles on the borders are computed twice.
    wide = min(x, max(math.isqrt(allowed), allowed // y if allowed >= y else 1))
    high = min(y, max(allowed // wide, 1))
    return [
        Box((0, j, i), (z, min(j + high, y), min(i + wide, x))) for j in range(0, y, high) for i in range(0, x, wide)
    ]


def _windows(image: Volume, plan: Plan, tiles: Sequence[Triple], home: torch.device | None) -> Tensor:
    """A batch of tiles with their context, float in [0, 1]; for a GPU unsigned integers are sent as they are."""
    read = [read_mirrored(image, plan.tiling.tile(tile).grow(plan.context)) for tile in tiles]
    kind, shape = torch.from_numpy(np.empty(0, read[0].dtype)).dtype, (len(read), *read[0].shape)
    together = torch.empty(shape, dtype=kind, pin_memory=home is not None and home.type == "cuda")
    np.stack(read, out=together.numpy())
    try:
        return together if home is not None and kind in (torch.uint8, torch.uint16) else to_unit(together)
    except NeuropilError as error:
        raise NeuropilError(f"{error}; this is {image.path}") from error


def read_mirrored(image: Volume, box: Box) -> npt.NDArray[Any]:
    """Read a box that may reach out of the volume, where the image is mirrored at its faces; read-only.

    >>> from neuropil.volumes import array_volume
    >>> read_mirrored(array_volume(np.arange(3)[None, None]), Box((0, 0, -2), (1, 1, 4))).tolist()
    [[[2, 1, 0, 1, 2, 1]]]
    """
    whole = image.box
    if whole.contains(box):
        return image.read(box)
    at = [
        _mirrored(np.arange(start, stop) - first, size) + first
        for start, stop, first, size in zip(box.start, box.stop, whole.start, whole.shape, strict=True)
    ]
    (z0, z1), (y0, y1), (x0, x1) = ((int(line.min()), int(line.max()) + 1) for line in at)
    inside = Box((z0, y0, x0), (z1, y1, x1))
    z, y, x = (line - first for line, first in zip(at, inside.start, strict=True))
    return np.ascontiguousarray(image.read(inside)[np.ix_(z, y, x)])


def _mirrored(at: npt.NDArray[np.intp], size: int) -> npt.NDArray[np.intp]:
    """Positions mirrored at both ends into the range 0 … ``size`` - 1."""
    period = max(2 * (size - 1), 1)
    turned = at % period
    return np.minimum(turned, period - turned) if size > 1 else np.zeros_like(at)


def _without_context(found_BEZYX: Tensor, context: Triple) -> Tensor:
    z, y, x = context
    end = [n - c for n, c in zip(found_BEZYX.shape[2:], context, strict=True)]
    return found_BEZYX[:, :, z : end[0], y : end[1], x : end[2]]


_Work = tuple[Sequence[Triple], Tensor]
_Found = tuple[Sequence[Triple], Tensor]


def _computed(pool: ThreadPoolExecutor, engines: Sequence[Engine], windows: Iterable[_Work]) -> Iterator[_Found]:
    """Affinities of each batch, in order; each engine takes the next batch when it is free."""
    if len(engines) == 1:  # in this thread, so that Ctrl-C can stop the network between two layers
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
