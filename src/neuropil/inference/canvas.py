"""Blending of overlapping tiles into cells (chunks of the output); finished cells are encoded for storage.

On a CPU cells are NumPy arrays. On a GPU they are tensors that stay there until they are finished and encoded, and are
then copied into pinned memory. The code that blends is the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neuropil.errors import NeuropilError
from neuropil.geometry import Box, Offsets, Triple
from neuropil.inference.engine import DAMAGED
from neuropil.inference.memory import free_memory
from neuropil.inference.tiling import Tiling
from neuropil.volumes import LOGIT8
from neuropil.volumes.tissue import TissueMap

FloatArray = npt.NDArray[np.float32]
Emit = Callable[[Triple, Box, npt.NDArray[Any]], None]
"""Takes a finished cell: its index, its box and its encoded affinities ``[E, Z, Y, X]``."""


CELL: Triple = (32, 256, 256)
"""Voxels of a chunk of the output: 6 MB in three 8-bit channels, so that a killed run loses little work."""

WAITING = 2**30
"""Most bytes of unfinished cells on a CPU; less if less memory is free."""


def waiting_memory(device: torch.device) -> int:
    """Bytes that unfinished cells may take on a device: a quarter of the free memory.

    >>> waiting_memory(torch.device("cpu")) <= WAITING
    True
    """
    free = free_memory(device) // 4
    return min(WAITING, free) if device.type == "cpu" else free


@dataclass(frozen=True)
class Cells:
    """The output box divided into a grid of cells of ``shape`` voxels, smaller at the upper ends."""

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
    """How a box is predicted: tiles, cells, batch size, encoding."""

    tiling: Tiling
    """Tiles over the box and its surroundings that the network sees."""
    cells: Cells
    """Cells over the box."""
    context: Triple = (0, 0, 0)
    """Voxels around each tile that the network sees but whose result is dropped; mirrored where the image ends."""
    batch: int = 1
    """Tiles in one call of the network."""
    memory: int = 2**30
    """Bytes that unfinished cells may take."""
    bounds: Box | None = None
    """Edges that leave this box are 0; None: the box of the cells, which may be only a part of it."""
    encoding: str = "float32"
    """How finished cells are stored: ``logit8``, ``uint8`` or the name of a float."""
    tissue: TissueMap | None = None
    """Which voxels count, None: all. Edges of others are 0, and tiles without any are not computed."""


class Canvas:
    """The cells of a column that tiles are being blended into.

    Args:
        plan: tiles and cells.
        keep: the edges of the channels.
        emit: receives finished cells.
        home: the GPU that holds the cells as tensors; None: they are arrays in CPU memory.
    """

    def __init__(self, plan: Plan, keep: Offsets, emit: Emit, home: torch.device | None = None) -> None:
        self.plan, self.keep, self.emit, self.home = plan, keep, emit, home
        self.waiting: dict[Triple, int] = {}
        self.painted: dict[Triple, Any] = {}
        self._lines: dict[tuple[int, int, int], Any] = {}
        self._copies = None if home is None else _side_stream(home)

    def schedule(self, column: Box, done: Collection[Triple]) -> list[Triple]:
        """The tiles needed for a column of cells, in order; also counts the tiles of each cell."""
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
        """Emit cells that no tile touches; all their edges are 0."""
        for cell in [c for c, count in self.waiting.items() if count == 0]:
            self._finish(cell)

    @torch.inference_mode()
    def add_batch(self, tiles: Sequence[Triple], affinities: Tensor) -> None:
        """Blend a batch of tiles ``[B, E, Z, Y, X]`` into the cells, and emit those that are complete."""
        held = affinities.numpy() if self.home is None else affinities.to(self.home, non_blocking=True)
        for tile, found in zip(tiles, held, strict=True):
            self._add(tile, found)

    def _add(self, tile: Triple, found_EZYX: Any) -> None:
        tiling, cells = self.plan.tiling, self.plan.cells
        support, start = tiling.support(tile, self.keep), tiling.tile(tile).start
        if tiling.blend == "gaussian":
            found_EZYX *= self._here(tiling.share(tile))
        else:
            for found_ZYX, offset in zip(found_EZYX, self.keep, strict=True):
                self._weigh(found_ZYX, tile, offset)
        for cell in cells.touched(support):
            if cell not in self.waiting:
                continue
            box = cells.cell(cell)
            part = support.intersect(box)
            if cell not in self.painted:
                self.painted[cell] = self._blank(box)
            into = self.painted[cell]
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
            painted = self._blank(box)
        elif self.plan.tiling.box != (bounds := self.plan.bounds or self.plan.cells.box):
            _clear_leaving(painted, box, bounds, self.keep)
        found = stored(painted, self.plan.encoding) if self.home is None else self._fetched(painted)
        if self.plan.tissue is not None:  # 0 is 0 in every encoding
            self.plan.tissue.clear_edges(found, box, self.keep)
        self.emit(cell, box, found)

    def _blank(self, box: Box) -> Any:
        shape = (len(self.keep), *box.shape)
        return np.zeros(shape, np.float32) if self.home is None else torch.zeros(shape, device=self.home)

    def _here(self, array: FloatArray) -> Any:
        """An array on the device of the cells."""
        return array if self.home is None else torch.from_numpy(np.array(array)).to(self.home, non_blocking=True)

    def _weigh(self, found_ZYX: Any, tile: Triple, offset: Triple) -> None:
        """Multiply in place by one vector of weights per axis; voxels of weight 1, inside a tile, are skipped."""
        for d, line in enumerate(self.plan.tiling.weights(tile, offset)):
            whole = np.flatnonzero(line == 1)
            rims = [slice(0, int(whole[0])), slice(int(whole[-1]) + 1, None)] if whole.size else [slice(None)]
            here = line if self.home is None else self._lines.get((d, tile[d], offset[d]))
            if here is None:
                here = self._lines[d, tile[d], offset[d]] = self._here(line)
            for rim in rims:
                at, shape = [slice(None)] * 3, [1, 1, 1]
                at[d], shape[d] = rim, -1
                found_ZYX[tuple(at)] *= here[rim].reshape(shape)

    def _fetched(self, painted_EZYX: Tensor) -> npt.NDArray[Any]:
        """A finished cell, encoded and copied to pinned memory while the GPU goes on computing."""
        low, high = torch.aminmax(painted_EZYX)
        codes = stored_there(painted_EZYX, self.plan.encoding)
        streams, pinned = torch.get_device_module(painted_EZYX.device), painted_EZYX.is_cuda
        assert self._copies is not None
        self._copies.wait_stream(streams.current_stream(painted_EZYX.device))
        with streams.stream(self._copies):
            host = torch.empty(codes.shape, dtype=codes.dtype, pin_memory=pinned).copy_(codes, non_blocking=True)
            ends = torch.stack([low, high]).cpu()  # waits for both copies
        if not (ends[0] >= 0 and ends[1] <= 1):
            raise NeuropilError(DAMAGED)
        return np.asarray(host.numpy())


def _side_stream(device: torch.device) -> Any:
    """A second stream of a GPU, so that copies run in parallel to computations; a CPU has a dummy stream."""
    streams = torch.get_device_module(device)
    return streams.Stream(device) if device.type == "cuda" else streams.Stream()


def stored(found_EZYX: FloatArray, encoding: str) -> npt.NDArray[Any]:
    """Encode probabilities for storage.

    >>> stored(np.array([0.5, 0.999], np.float32), "uint8").tolist()
    [127, 254]
    """
    if encoding == "logit8":
        return LOGIT8.encode(found_EZYX)
    if encoding == "uint8":  # truncated, not rounded
        return (np.clip(found_EZYX, 0, 1) * np.float32(255)).astype(np.uint8)
    return found_EZYX.astype(encoding, copy=False)


def stored_there(found_EZYX: Tensor, encoding: str) -> Tensor:
    """The same as :func:`stored`, bit for bit, on the tensor's device.

    >>> stored_there(torch.tensor([0.5, 0.999]), "uint8").tolist()
    [127, 254]
    """
    if encoding == "logit8":
        thresholds = torch.from_numpy(LOGIT8.thresholds).to(found_EZYX.device, non_blocking=True)
        return torch.bucketize(found_EZYX, thresholds, right=True, out_int32=True).to(torch.uint8)
    if encoding == "uint8":
        return (found_EZYX.clamp(0, 1) * 255).to(torch.uint8)
    return found_EZYX.to(getattr(torch, encoding))


def _clear_leaving(found_EZYX: Any, cell: Box, whole: Box, offsets: Offsets) -> None:
    """Set edges that leave the box ``whole`` to 0; tiles beyond the box may have predicted them."""
    for found_ZYX, offset in zip(found_EZYX, offsets, strict=True):
        for d, o in enumerate(offset):
            size = cell.shape[d]
            before = min(max(whole.start[d] - o - cell.start[d], 0), size)
            behind = min(max(cell.stop[d] + o - whole.stop[d], 0), size)
            for outside in (slice(0, before), slice(size - behind, size)):
                at = [slice(None)] * 3
                at[d] = outside
                found_ZYX[tuple(at)] = 0


def _indices(box: Box) -> Iterator[Triple]:
    yield from product(*(range(a, b) for a, b in zip(box.start, box.stop, strict=True)))
