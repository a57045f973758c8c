"""Augmentation of a whole batch on its device, in a few kernels for any number of samples and sections.

The random numbers of a batch are drawn on the CPU and sent in two copies, one of integers, one of floats. They are
applied by the same functions as for a single sample. Voxels are read from a :class:`FlatVoxels`.

Shape suffixes: B batch, Z Y X space, H W space with the margin of labels, N damaged sections of all samples.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neuropil.augment.defects import (
    Blurred,
    Coarse,
    Cover,
    Defect,
    Missing,
    Noisy,
    Smeared,
    Torn,
    cells,
    coarsened,
    cover,
    covered,
    filtered,
)
from neuropil.augment.geometry import Symmetry, inverse, readings
from neuropil.augment.intensity import Curves, bent, curve_columns
from neuropil.augment.warp import Warp, free, positions, straight
from neuropil.geometry import Offsets, Triple

Packed = dict[str, npt.NDArray[Any]]
"""The drawn parameters of one step of the augmentation, by name, as they are sent to a device."""


class Drawn(NamedTuple):
    """All random parameters of one sample."""

    warp: Warp | None
    defects: tuple[Defect, ...]
    symmetry: Symmetry
    curves: Curves | None


class FlatVoxels(NamedTuple):
    """Voxels of all volumes, or of the windows of a batch, one after the other in flat tensors on one device."""

    grey: Tensor
    """uint8, or float32 in [0, 1]; a row and a voxel longer than ``ids``, for the neighbours of the last voxels."""
    ids: Tensor
    """int32; -1 where a voxel is masked."""
    real: Tensor
    """int32, one section of each: 0 where the image was read, -1 where it is padding around the border."""


class Window(NamedTuple):
    """Where a sample is in :class:`FlatVoxels`: a window in y and x around its patch, in all of its sections."""

    size: tuple[int, int]
    """Voxels in y and x, of labels and, where there is a warp, of the image."""
    grey: tuple[int, int, int]
    """Index of the voxel (0, 0, 0) of the window, and steps to the next section and row. The voxel itself need not
    exist: an image may be narrower than its labels."""
    ids: tuple[int, int, int]
    real: tuple[int, int]
    """Index of the voxel (0, 0) of the window, and the step to the next row."""
    leaves: bool
    """Whether the window contains padding."""


class Together(NamedTuple):
    """A batch after warp, defects, grey values and symmetry."""

    image_BZYX: Tensor
    """float32 in [0, 1]."""
    ids_BZHW: Tensor
    """int32; masked voxels hold ~id, which is below 0."""

    def labels(self) -> Tensor:
        """The ids, also of masked voxels."""
        return torch.maximum(self.ids_BZHW, ~self.ids_BZHW)

    def mask(self) -> Tensor:
        """bool, False for masked voxels."""
        return self.ids_BZHW >= 0


def vary_together(
    voxels: FlatVoxels,
    windows: Sequence[Window],
    drawn: Sequence[Drawn],
    patch: Triple,
    margin: int,
    eroded: Callable[[Together], Together] | None = None,
) -> Together:
    """Apply warp, defects, symmetry and grey values to a batch.

    Args:
        voxels: the voxels; the batch will be on their device.
        windows: where each sample is.
        drawn: the random parameters of each sample.
        patch: voxels (z, y, x) of a sample.
        margin: voxels of ids around the patch in y and x.
        eroded: erosion of the ids, which removes their margin. It acts in sections, so it is done before a symmetry
            that exchanges z with another axis.

    >>> voxels = FlatVoxels(torch.ones(22) / 2, torch.arange(18, dtype=torch.int32), torch.zeros(9, dtype=torch.int32))
    >>> window = Window((3, 3), (0, 9, 3), (0, 9, 3), (0, 3), False)
    >>> upside_down = Drawn(None, (), Symmetry(True, False, False), None)
    >>> vary_together(voxels, [window], [upside_down], (2, 3, 3), 0).ids_BZHW[0, 0].tolist()
    [[9, 10, 11], [12, 13, 14], [15, 16, 17]]
    """
    depth, height, width = patch
    wide = (depth, height + 2 * margin, width + 2 * margin)
    symmetries = [one.symmetry for one in drawn]
    stages = list(_stages([one.defects for one in drawn]))
    host = [
        _warps(windows, [one.warp for one in drawn], wide[1:], depth),
        _turns(symmetries, patch),
        _turns(symmetries, patch if eroded else wide),
        _bends([one.curves for one in drawn], depth),
        *(_damage(stage, patch) for stage in stages),
    ]
    warp, turn, turn_ids, bend, *damage = send(host, voxels.grey.device)
    batch = _warped(voxels, warp, patch, margin)
    image = batch.image_BZYX
    for stage, sent in zip(stages, damage, strict=True):
        _spoil(image.view(-1, height, width), type(stage[0][1]), sent)
    ids = (batch if eroded is None else eroded(batch)).ids_BZHW
    image, ids = _turned(image, turn), _turned(ids, turn_ids)
    return Together(bent(image, bend["columns"]) if bend else image, ids)


def _warped(voxels: FlatVoxels, sent: dict[str, Tensor], patch: Triple, margin: int) -> Together:
    """Image (bilinear) and ids (nearest) of all samples: :func:`apply_warp` for a batch."""
    source = positions(sent["rows"], sent["columns"], sent.get("bend"))
    source.clamp_(sent["free"], sent["last"])
    nearest_y, nearest_x = source.round().long()
    plane = torch.addcmul(nearest_x, nearest_y, sent["step_ids"])
    ids = torch.take(voxels.ids, plane[:, None] + sent["at_ids"])
    if "at_real" in sent:
        at = torch.addcmul(nearest_x, nearest_y, sent["step_real"])[:, None] + sent["at_real"]
        ids = torch.minimum(ids, ids ^ torch.take(voxels.real, at))
    inner = source[..., margin : margin + patch[1], margin : margin + patch[2]]
    return Together(_bilinear(voxels.grey, inner, sent), ids)


def _bilinear(grey: Tensor, source_2BYX: Tensor, sent: dict[str, Tensor]) -> Tensor:
    """The image at positions between voxels, the same in every section; one gather reads all four neighbours."""
    low = source_2BYX.long()
    share_y, share_x = (source_2BYX - low).unsqueeze(2)
    plane = torch.addcmul(low[1], low[0], sent["step_grey"])
    values = torch.take(grey, plane[:, None] + sent["corners"])
    values = values / 255 if values.dtype == torch.uint8 else values
    pairs = values.view(2, 2, *values.shape[1:])
    above, below = torch.lerp(pairs[:, 0], pairs[:, 1], share_x)
    return torch.lerp(above, below, share_y)


def _warps(windows: Sequence[Window], warps: Sequence[Warp | None], size: tuple[int, int], sections: int) -> Packed:
    """The parameters of the warps of a batch; a warp is None where a sample is not resampled."""
    lines = [straight(warp, size, window.size) for warp, window in zip(warps, windows, strict=True)]
    still = np.zeros((sections, 2), np.int64)
    steps = [still if warp is None else warp.steps for warp in warps]
    moved = [still if warp is None else warp.steps + warp.slips for warp in warps]
    slack = [(0, 0) if warp is None else free(warp, window.size) for warp, window in zip(warps, windows, strict=True)]
    last = [(w.size[0] - 1 - y, w.size[1] - 1 - x) for w, (y, x) in zip(windows, slack, strict=True)]
    host: Packed = {
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
    beside = np.array([[d + e * row for row in rows] for e in (0, 1) for d in (0, 1)])
    host["corners"] = beside[..., None, None, None] + host.pop("at_grey")
    if any(window.leaves for window in windows):
        host["step_real"] = _column([window.real[1] for window in windows], 3)
        host["at_real"] = _places([(window.real[0], 0, window.real[1]) for window in windows], moved)
    return host


def _column(values: Sequence[int], axes: int) -> npt.NDArray[np.int64]:
    return np.array(values, np.int64).reshape(-1, *[1] * (axes - 1))


def _places(places: Sequence[tuple[int, int, int]], shifts: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    """Index of the first voxel of each section of each sample, with its shift: ``[B, Z, 1, 1]``."""
    found = [
        start + section * np.arange(len(shift)) + shift @ np.array([row, 1])
        for (start, section, row), shift in zip(places, shifts, strict=True)
    ]
    return np.stack(found)[..., None, None]


Stage = list[tuple[int, Defect]]
"""Defects that are applied together, to different sections, each with the number of its sample."""

_ORDER = (Coarse, Noisy, Smeared, Noisy, Blurred, Missing | Torn)


def _stages(defects: Sequence[tuple[Defect, ...]]) -> Iterator[Stage]:
    """Group the defects of a batch by kind, keeping the order within a sample. Torn and missing sections are one group:
    in a section that is both, the later, missing, wins."""
    waiting = [deque(one) for one in defects]
    while any(waiting):
        for kind in _ORDER:
            stage: Stage = []
            for b, one in enumerate(waiting):
                if one and isinstance(one[0], kind):
                    stage.append((b, one.popleft()))
                    if isinstance(stage[-1][1], Torn) and one and isinstance(one[0], Missing):
                        stage.append((b, one.popleft()))
            if stage:
                yield stage


def _damage(stage: Stage, patch: Triple) -> Packed:
    """The parameters of a stage: the numbers of its sections in the batch, and what is done to them."""
    depth, height, width = patch
    alike = [defect for _, defect in stage]
    host: Packed = {"sections": np.concatenate([b * depth + defect.sections for b, defect in stage])}
    covers = [cover(d, height, width) for d in alike if isinstance(d, Missing | Torn)]
    if covers:
        host |= {
            name: np.concatenate(part) for name, part in zip(Cover._fields, zip(*covers, strict=True), strict=True)
        }
        last = len(host["sections"]) - 1 - np.unique(host["sections"][::-1], return_index=True)[1]
        return {name: array[last] for name, array in host.items()}
    weights = [(d.weights, len(d.sections)) for d in alike if isinstance(d, Blurred | Smeared)]
    if weights:
        longest = max(len(w) for w, _ in weights)
        host["weights"] = np.concatenate([np.pad(w, (longest - len(w)) // 2)[None].repeat(n, 0) for w, n in weights])
    noisy = [d for d in alike if isinstance(d, Noisy)]
    if noisy:
        host["noise"] = np.concatenate([_spread(d.noise(), d.box, height, width) for d in noisy])
    coarse = [d for d in alike if isinstance(d, Coarse)]
    if coarse:
        for axis, (name, size) in enumerate((("in_y", height), ("in_x", width))):
            host |= _cells_in([(d.box[axis], d.factor, len(d.sections)) for d in coarse], size, name)
    return host


def _spread(
    noise: npt.NDArray[np.float32], box: tuple[slice, slice], height: int, width: int
) -> npt.NDArray[np.float32]:
    """The noise of a box, as whole sections with 0 outside."""
    whole = np.zeros((len(noise), height, width), np.float32)
    whole[:, *box] = noise
    return whole


def _cells_in(parts: Sequence[tuple[slice, int, int]], size: int, name: str) -> Packed:
    """For one axis: which voxels of each section are in its box, and the matrix of cell means of each defect."""
    inside = np.zeros((len(parts), size), np.float32)
    means = np.zeros((len(parts), size, size), np.float32)
    for n, (part, factor, _) in enumerate(parts):
        inside[n, part] = 1
        means[n, part, part] = cells(part.stop - part.start, factor)
    each = np.repeat(np.arange(len(parts)), [count for _, _, count in parts])
    return {name: inside[each], f"means_{name}": means, "defect": each}


def _spoil(flat_NYX: Tensor, kind: type[Defect], sent: dict[str, Tensor]) -> None:
    """Damage sections, in place: :func:`apply_defects` for a batch."""
    if kind is Noisy:  # clamps all sections: the others are in [0, 1] already
        flat_NYX.index_add_(0, sent["sections"], sent["noise"]).clamp_(0, 1)
        return
    chosen = flat_NYX.index_select(0, sent["sections"])
    if kind is Coarse:
        rows, columns = (sent[f"means_{name}"].index_select(0, sent["defect"]) for name in ("in_y", "in_x"))
        inside = sent["in_y"][:, :, None] * sent["in_x"][:, None]
        done = torch.lerp(chosen, coarsened(chosen, rows, columns), inside)
    elif kind in (Blurred, Smeared):
        done = filtered(chosen, sent["weights"])
    else:
        done = covered(chosen, *(sent[name] for name in Cover._fields))
    flat_NYX.index_copy_(0, sent["sections"], done)


def _axes(symmetry: Symmetry, shape: Triple, steps: Sequence[int]) -> list[npt.NDArray[np.int64]]:
    """For each axis after a symmetry, the memory offsets of the source voxels, with these steps between voxels."""
    whole = [np.arange(n) * step for n, step in zip(shape, steps, strict=True)]
    turned = [line[::-1] if flip else line for line, flip in zip(whole, symmetry[:3], strict=True)]
    return [turned[axis] for axis in symmetry.axes]


def _turns(symmetries: Sequence[Symmetry], shape: Triple) -> Packed:
    """Source indices of the voxels after the symmetries, by plane and row, and by column; empty without symmetries."""
    if all(symmetry == Symmetry(False, False, False) for symmetry in symmetries):
        return {}
    steps, size = (shape[1] * shape[2], shape[2], 1), int(np.prod(shape))
    lines = [_axes(symmetry, shape, steps) for symmetry in symmetries]
    rows = [b * size + z[:, None] + y for b, (z, y, _) in enumerate(lines)]
    return {"rows": np.stack(rows)[..., None], "columns": np.stack([x for *_, x in lines])[:, None, None]}


def _turned(x_BZYX: Tensor, sent: dict[str, Tensor]) -> Tensor:
    """Each sample after its symmetry, contiguous: :func:`apply_symmetry` for a batch."""
    return torch.take(x_BZYX, sent["rows"] + sent["columns"]) if sent else x_BZYX


def _bends(curves: Sequence[Curves | None], sections: int) -> Packed:
    """The curves of a batch for :func:`bent`; empty where no sample is varied."""
    if all(one is None for one in curves):
        return {}
    same = np.array([1, 0.5, 1], np.float32)[:, None].repeat(sections, 1)
    return {"columns": curve_columns(np.stack([same if one is None else one for one in curves], 1))}


class Held(NamedTuple):
    """Where a sample's affinities are in a flat tensor."""

    offsets: Offsets
    """The offsets of their channels."""
    start: int
    steps: tuple[int, int, int, int]
    """To the next channel, section, row and voxel."""


def turn_held(
    flat: Tensor, held: Sequence[Held | None], symmetries: Sequence[Symmetry], keep: Offsets, shape: Triple
) -> tuple[Tensor, Tensor]:
    """Apply symmetries to the affinities (or codes) of a batch: :func:`turn_affinities` for a batch.

    Args:
        flat: affinities of all samples, any dtype.
        held: where those of each sample are; None: it has none.
        symmetries: those that are applied to image and labels.
        keep: the offsets wanted after the symmetry.
        shape: voxels (z, y, x) of a sample, before and after it.

    Returns:
        Affinities ``[B, len(keep), Z, Y, X]``, and a bool tensor ``[B, len(keep)]``, whether the channel was found.
        Channels that were not found, and edges that leave the sample, hold arbitrary numbers.

    >>> row = torch.tensor([0.0, 0.1, 0.2])  # the edge between voxels 0 and 1 is stored at 1
    >>> there, edge = Held(((0, 0, -1),), 0, (3, 3, 3, 1)), ((0, 0, -1),)
    >>> turn_held(row, [there], [Symmetry(False, False, True)], edge, (1, 1, 3))[0].flatten().tolist()
    [0.20000000298023224, 0.20000000298023224, 0.10000000149011612]
    """
    lines = [np.zeros((len(held), len(keep), n), np.int64) for n in shape]
    known = np.zeros((len(held), len(keep)), np.int64)
    for b, (one, symmetry) in enumerate(zip(held, symmetries, strict=True)):
        if one is None:
            continue
        axes = _axes(symmetry, shape, one.steps[1:])
        for e, reading in enumerate(readings(inverse(symmetry), one.offsets, keep)):
            if reading is not None:
                known[b, e] = 1
                for d, (axis, shift) in enumerate(zip(axes, reading.shift, strict=True)):
                    lines[d][b, e] = axis[np.clip(np.arange(shape[d]) + shift, 0, shape[d] - 1)]
                lines[0][b, e] += one.start + reading.channel * one.steps[0]
    z, y, x = lines
    (sent,) = send(
        [{"z": z[..., None, None], "y": y[:, :, None, :, None], "x": x[:, :, None, None], "known": known}], flat.device
    )
    return torch.take(flat, sent["z"] + sent["y"] + sent["x"]), sent["known"] > 0


def send(host: Sequence[Mapping[str, npt.NDArray[Any]]], device: torch.device) -> list[dict[str, Tensor]]:
    """Copy arrays to a device: all integers as int64 in one copy, all floats as float32 in another.

    >>> send([{"a": np.ones((2, 3))}, {}], torch.device("cpu"))[0]["a"].dtype
    torch.float32
    """
    found: list[dict[str, Tensor]] = [{} for _ in host]
    for whole, dtype in ((True, np.int64), (False, np.float32)):
        arrays = [
            (n, name, a) for n, part in enumerate(host) for name, a in part.items() if (a.dtype.kind == "i") == whole
        ]
        if not arrays:
            continue
        flat = torch.from_numpy(np.concatenate([a.astype(dtype, copy=False).ravel() for *_, a in arrays]))
        flat = flat.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else flat.to(device)
        for (n, name, a), part in zip(arrays, torch.split(flat, [a.size for *_, a in arrays]), strict=True):
            found[n][name] = part.view(a.shape)
    return found
