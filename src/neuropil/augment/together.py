"""Augmentation of a whole batch on its device: a few kernels, however many samples and sections there are.

What is drawn for each sample is small and comes from the processor in one copy for whole numbers and one for others;
what it means is said by the same functions as for a single sample. Voxels come straight from a :class:`FlatVoxels`.

Shape suffixes: B batch, Z Y X space, H W space with the margin of labels, N damaged sections of all samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neuropil.augment.defects import (
    Blurred,
    Coarse,
    Defect,
    Missing,
    Noisy,
    Smeared,
    Torn,
    cells,
    coarsened,
    filtered,
    lost,
    middle_out,
    torn,
    with_noise,
)
from neuropil.augment.geometry import Symmetry
from neuropil.augment.intensity import Curves, bent
from neuropil.augment.warp import Warp, free, positions, straight
from neuropil.geometry import Triple


class Drawn(NamedTuple):
    """All that is drawn for one sample."""

    warp: Warp | None
    defects: tuple[Defect, ...]
    symmetry: Symmetry
    curves: Curves | None


class FlatVoxels(NamedTuple):
    """Voxels of all volumes, or of the windows of a batch, one after the other in flat memory on one device."""

    grey: Tensor
    """uint8, or float32 in [0, 1]; a row and a voxel longer than the others, for neighbours of the last voxels."""
    ids: Tensor
    """int32, -1 where a voxel may not be used and nothing is known of it."""
    real: Tensor
    """bool, of one section of each: where the image was read rather than made up around its border."""


class Window(NamedTuple):
    """Where a sample lies in :class:`FlatVoxels`: a window in y and x around its patch, in all of its sections."""

    size: tuple[int, int]
    """Voxels in y and x, of labels and, where there is a warp, of the image."""
    grey: tuple[int, int, int]
    """Place of the voxel (0, 0, 0) of the window, and steps to the next section and row; also where it is not there,
    as that of an image which is narrower than its labels."""
    ids: tuple[int, int, int]
    real: tuple[int, int]
    """Place of the voxel (0, 0) of the window, and the step to the next row."""
    leaves: bool
    """Whether the window reaches out of what was read."""


class Together(NamedTuple):
    """A batch after warp, defects, grey values and symmetry."""

    image_BZYX: Tensor
    """float32 in [0, 1]."""
    ids_BZHW: Tensor
    """int32, ~id, which is below 0, where a voxel may not be used."""

    def labels(self) -> Tensor:
        """The ids, whether they may be used or not."""
        return torch.maximum(self.ids_BZHW, ~self.ids_BZHW)

    def mask(self) -> Tensor:
        """bool, where ids may be used."""
        return self.ids_BZHW >= 0


def vary_together(
    voxels: FlatVoxels,
    windows: Sequence[Window],
    drawn: Sequence[Drawn],
    patch: Triple,
    margin: int,
    eroded: Callable[[Together], Together] | None = None,
) -> Together:
    """Warp, defects, symmetry and grey values of a batch, as they are drawn.

    Args:
        voxels: where voxels lie; the batch will lie there too.
        windows: where each sample lies.
        drawn: what was drawn for it.
        patch: voxels (z, y, x) of a sample.
        margin: voxels of ids around the patch in y and x.
        eroded: what happens to ids before a symmetry that puts sections on another side.

    >>> voxels = FlatVoxels(torch.ones(22) / 2, torch.arange(18, dtype=torch.int32), torch.ones(9, dtype=torch.bool))
    >>> window = Window((3, 3), (0, 9, 3), (0, 9, 3), (0, 3), False)
    >>> upside_down = Drawn(None, (), Symmetry(True, False, False), None)
    >>> vary_together(voxels, [window], [upside_down], (2, 3, 3), 0).ids_BZHW[0, 0].tolist()
    [[9, 10, 11], [12, 13, 14], [15, 16, 17]]
    """
    batch = warp_together(voxels, windows, [one.warp for one in drawn], patch, margin)
    image = spoil_together(batch.image_BZYX, [one.defects for one in drawn])
    batch = batch if eroded is None else eroded(batch)
    image, ids = (turn_together(part, [one.symmetry for one in drawn]) for part in (image, batch.ids_BZHW))
    return Together(bend_together(image, [one.curves for one in drawn]), ids)


def warp_together(
    voxels: FlatVoxels, windows: Sequence[Window], warps: Sequence[Warp | None], patch: Triple, margin: int
) -> Together:
    """Resample image (bilinear) and ids (nearest) of all samples: what :func:`apply_warp` does to one.

    Args:
        voxels: where voxels lie; the batch will lie there too.
        windows: where each sample lies.
        warps: what was drawn for it; None: it stays as it is.
        patch: voxels (z, y, x) of a sample.
        margin: voxels of ids around the patch in y and x.

    >>> voxels = FlatVoxels(torch.arange(22) / 22, torch.arange(18, dtype=torch.int32), torch.ones(9, dtype=torch.bool))
    >>> window = Window((3, 3), (0, 9, 3), (0, 9, 3), (0, 3), False)
    >>> warp_together(voxels, [window], [None], (2, 3, 3), 0).ids_BZHW[0, 1].tolist()
    [[9, 10, 11], [12, 13, 14], [15, 16, 17]]
    """
    size = (patch[1] + 2 * margin, patch[2] + 2 * margin)
    host = _warps(windows, warps, size, patch[0])
    sent = send(host, voxels.grey.device)
    source = positions(sent["rows"], sent["columns"], sent.get("bend"))
    source.clamp_(sent["free"], sent["last"])
    nearest_y, nearest_x = source.round().long()
    plane = torch.addcmul(nearest_x, nearest_y, sent["step_ids"])
    ids = torch.take(voxels.ids, plane[:, None] + sent["at_ids"])
    if "at_real" in sent:
        at = torch.addcmul(nearest_x, nearest_y, sent["step_real"])[:, None] + sent["at_real"]
        ids = torch.where(torch.take(voxels.real, at), ids, torch.minimum(ids, ~ids))
    inner = source[..., margin : margin + patch[1], margin : margin + patch[2]]
    return Together(_bilinear(voxels.grey, inner, sent), ids)


def _bilinear(grey: Tensor, source_2BYX: Tensor, sent: dict[str, Tensor]) -> Tensor:
    """The image between voxels, of the same places in every section: all four neighbours in one reading."""
    low = source_2BYX.long()
    share_y, share_x = (source_2BYX - low).unsqueeze(2)
    plane = torch.addcmul(low[1], low[0], sent["step_grey"])
    corners = plane[None] + sent["corners"]
    values = torch.take(grey, corners[:, :, None] + sent["at_grey"])
    values = values / 255 if values.dtype == torch.uint8 else values
    pairs = values.view(2, 2, *values.shape[1:])
    above, below = torch.lerp(pairs[:, 0], pairs[:, 1], share_x)
    return torch.lerp(above, below, share_y)


def _warps(
    windows: Sequence[Window], warps: Sequence[Warp | None], size: tuple[int, int], sections: int
) -> dict[str, npt.NDArray[Any]]:
    """What is drawn for the warps of a batch, in arrays."""
    lines = [straight(warp, size, window.size) for warp, window in zip(warps, windows, strict=True)]
    still = np.zeros((sections, 2), np.int64)
    steps = [still if warp is None else warp.steps for warp in warps]
    moved = [still if warp is None else warp.steps + warp.slips for warp in warps]
    slack = [(0, 0) if warp is None else free(warp, window.size) for warp, window in zip(warps, windows, strict=True)]
    last = [(w.size[0] - 1 - y, w.size[1] - 1 - x) for w, (y, x) in zip(windows, slack, strict=True)]
    host: dict[str, npt.NDArray[Any]] = {
        "rows": np.stack([line.rows for line in lines], 1),
        "columns": np.stack([line.columns for line in lines], 1),
        "free": np.array(slack, np.float32).T[..., None, None],
        "last": np.array(last, np.float32).T[..., None, None],
    }
    bends = [None if warp is None else warp.bend for warp in warps]
    if any(bend is not None for bend in bends):
        shape = next(bend.shape for bend in bends if bend is not None)
        host["bend"] = np.stack([np.zeros(shape, np.float32) if bend is None else bend for bend in bends])
    for name, places, shifts in (
        ("grey", [window.grey for window in windows], moved),
        ("ids", [window.ids for window in windows], steps),
    ):
        host[f"step_{name}"] = _column([row for _, _, row in places], 3)
        host[f"at_{name}"] = _places(places, shifts)
    rows = [window.grey[2] for window in windows]
    host["corners"] = np.array([[d + e * row for row in rows] for e in (0, 1) for d in (0, 1)])[..., None, None]
    if any(window.leaves for window in windows):
        host["step_real"] = _column([window.real[1] for window in windows], 3)
        host["at_real"] = _places([(window.real[0], 0, window.real[1]) for window in windows], moved)
    return host


def _column(values: Sequence[int], axes: int) -> npt.NDArray[np.int64]:
    return np.array(values, np.int64).reshape(-1, *[1] * (axes - 1))


def _places(places: Sequence[tuple[int, int, int]], shifts: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    """Where each section of each sample begins, its shift included: ``[B, Z, 1, 1]``."""
    found = [
        start + section * np.arange(len(shift)) + shift @ np.array([row, 1])
        for (start, section, row), shift in zip(places, shifts, strict=True)
    ]
    return np.stack(found)[..., None, None]


def spoil_together(image_BZYX: Tensor, defects: Sequence[tuple[Defect, ...]]) -> Tensor:
    """Damage sections of a batch, in place: what :func:`apply_defects` does to one sample.

    Samples have one kind of defect each, and all kinds are done at once; with several, all the first ones, then all
    the second ones.

    Args:
        image_BZYX: float32 in [0, 1], in contiguous memory.
        defects: what was drawn for each sample.

    >>> half = Missing(np.array([0]), np.array([0.5]))
    >>> spoil_together(torch.ones(2, 1, 1, 3), [(), (half,)]).flatten().tolist()
    [1.0, 1.0, 1.0, 0.5, 0.5, 0.5]
    """
    depth, height, width = image_BZYX.shape[1:]
    flat = image_BZYX.view(-1, height, width)
    for at_once in zip_longest(*defects):
        # Sections of one kind of defect lie side by side.
        some = [[(b * depth, d) for b, d in enumerate(at_once) if isinstance(d, kind)] for kind in _KINDS]
        placed = [first + defect.sections for alike in some for first, defect in alike]
        host: dict[str, npt.NDArray[Any]] = {"rows": np.concatenate(placed)}
        for alike in some:
            host |= _packed([defect for _, defect in alike], height, width)
        sent = send(host, flat.device)
        counts = [sum(len(defect.sections) for _, defect in alike) for alike in some]
        parts = zip(_KINDS, torch.split(flat.index_select(0, sent["rows"]), counts), strict=True)
        done = [_damaged(kind, part, sent) for kind, part in parts if len(part)]
        flat.index_copy_(0, sent["rows"], torch.cat(done) if len(done) > 1 else done[0])
    return image_BZYX


_KINDS = (Missing, Torn, Blurred, Smeared, Noisy, Coarse)


def _packed(alike: Sequence[Defect], height: int, width: int) -> dict[str, npt.NDArray[Any]]:
    """What was drawn for defects of one kind, for each section."""
    host: dict[str, npt.NDArray[Any]] = {}
    missing = [d for d in alike if isinstance(d, Missing)]
    tears = [d for d in alike if isinstance(d, Torn)]
    if missing:
        host["missing"] = np.concatenate([d.grey for d in missing])
    if tears:
        host |= {"line": np.concatenate([d.line for d in tears]), "torn": np.concatenate([d.grey for d in tears])}
        host |= {"y": middle_out(height), "x": middle_out(width)}
    for kind in (Blurred, Smeared):
        weights = [(d.weights, len(d.sections)) for d in alike if isinstance(d, kind)]
        longest = max((len(w) for w, _ in weights), default=0)
        wide = [np.pad(w, (longest - len(w)) // 2)[None].repeat(n, 0) for w, n in weights]
        host |= {kind.__name__: np.concatenate(wide)} if wide else {}
    noisy = [d for d in alike if isinstance(d, Noisy)]
    coarse = [d for d in alike if isinstance(d, Coarse)]
    if noisy:
        host["noise"] = np.concatenate([_spread(d.noise(), d.box, height, width) for d in noisy])
    if coarse:
        for axis, (name, size) in enumerate((("in_y", height), ("in_x", width))):
            host |= _cells_in([(d.box[axis], d.factor, len(d.sections)) for d in coarse], size, name)
    return host


def _spread(
    noise: npt.NDArray[np.float32], box: tuple[slice, slice], height: int, width: int
) -> npt.NDArray[np.float32]:
    """The noise of a box as that of whole sections."""
    whole = np.zeros((len(noise), height, width), np.float32)
    whole[:, *box] = noise
    return whole


def _cells_in(parts: Sequence[tuple[slice, int, int]], size: int, name: str) -> dict[str, npt.NDArray[Any]]:
    """Of an axis, for each section: which of its voxels lie in the box, and the means over cells there; by defect."""
    inside = np.zeros((len(parts), size), np.float32)
    means = np.zeros((len(parts), size, size), np.float32)
    for n, (part, factor, _) in enumerate(parts):
        inside[n, part] = 1
        means[n, part, part] = cells(part.stop - part.start, factor)
    each = np.repeat(np.arange(len(parts)), [count for _, _, count in parts])
    return {name: inside[each], f"means_{name}": means, "defect": each}


def _damaged(kind: type[Defect], sections_NYX: Tensor, sent: dict[str, Tensor]) -> Tensor:
    """All sections with one kind of defect."""
    if kind is Missing:
        return lost(sent["missing"], sections_NYX)
    if kind is Torn:
        return torn(sections_NYX, sent["line"], sent["torn"], sent["y"], sent["x"])
    if kind is Noisy:
        return with_noise(sections_NYX, sent["noise"])
    if kind is Coarse:
        rows, columns = (sent[f"means_{name}"].index_select(0, sent["defect"]) for name in ("in_y", "in_x"))
        inside = sent["in_y"][:, :, None] * sent["in_x"][:, None]
        return torch.lerp(sections_NYX, coarsened(sections_NYX, rows, columns), inside)
    return filtered(sections_NYX, sent[kind.__name__])


def turn_together(x_BZYX: Tensor, symmetries: Sequence[Symmetry]) -> Tensor:
    """Each sample after its symmetry, in contiguous memory: what :func:`apply_symmetry` does to one.

    >>> two = torch.arange(6).reshape(2, 1, 1, 3)
    >>> turn_together(two, [Symmetry(False, False, False), Symmetry(False, False, True)]).flatten().tolist()
    [0, 1, 2, 5, 4, 3]
    """
    if all(symmetry == Symmetry(False, False, False) for symmetry in symmetries):
        return x_BZYX
    shape = x_BZYX.shape[1:]
    size, steps = int(np.prod(shape)), (shape[1] * shape[2], shape[2], 1)
    lines: list[list[npt.NDArray[np.int64]]] = []
    for b, symmetry in enumerate(symmetries):
        whole = [np.arange(n) * step for n, step in zip(shape, steps, strict=True)]
        turned = [line[::-1] if flip else line for line, flip in zip(whole, symmetry[:3], strict=True)]
        lines.append([turned[axis] + (b * size if d == 0 else 0) for d, axis in enumerate(symmetry.axes)])
    host = {str(d): np.stack([line[d] for line in lines]) for d in range(3)}
    sent = send(host, x_BZYX.device)
    index = sent["0"][:, :, None, None] + sent["1"][:, None, :, None] + sent["2"][:, None, None]
    return torch.take(x_BZYX, index)


def bend_together(image_BZYX: Tensor, curves: Sequence[Curves | None]) -> Tensor:
    """Grey values of each sample as its curves make them: what :func:`apply_curves` does to one.

    >>> bend_together(torch.ones(1, 1, 1, 1), [np.array([[1.0], [0.0], [1.0]], np.float32)]).item()
    0.5
    """
    if all(one is None for one in curves):
        return image_BZYX
    same = np.array([1, 0.5, 1], np.float32)[:, None].repeat(image_BZYX.shape[1], 1)
    host = {"curves": np.stack([same if one is None else one for one in curves], 1)[..., None, None]}
    return bent(image_BZYX, send(host, image_BZYX.device)["curves"])


def send(host: Mapping[str, npt.NDArray[Any]], device: torch.device) -> dict[str, Tensor]:
    """Arrays on a device: whole numbers as int64 in one copy, others as float32 in another.

    >>> send({"a": np.ones((2, 3))}, torch.device("cpu"))["a"].dtype
    torch.float32
    """
    found: dict[str, Tensor] = {}
    for whole, dtype in ((True, np.int64), (False, np.float32)):
        names = [name for name, array in host.items() if (array.dtype.kind == "i") == whole]
        if not names:
            continue
        flat = torch.from_numpy(np.concatenate([host[name].astype(dtype, copy=False).ravel() for name in names]))
        flat = flat.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else flat.to(device)
        parts = torch.split(flat, [host[name].size for name in names])
        found |= {name: part.view(host[name].shape) for name, part in zip(names, parts, strict=True)}
    return found
