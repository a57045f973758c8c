"""``connectomics.data.utils``: volumes, targets, weights and blending windows under their classic names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from neuropil.errors import NeuropilError
from neuropil.geometry import NEAREST, Offsets, Triple
from neuropil.inference.tiling import bump_window, gaussian_window
from neuropil.losses import Balance, classic_weights
from neuropil.targets import affinity_targets, erode_labels, meetings
from neuropil.volumes import array_volume, open_volume, write_volume
from neuropil.volumes.grey import scaled_image

Array = npt.NDArray[Any]


def readvol(filename: str | Path, dataset: str | None = None, drop_channel: bool = False) -> Array:
    """Read a whole volume, ``[z, y, x]`` or ``[c, z, y, x]``; from HDF5 the array ``dataset``, or the only one."""
    path = f"{filename}/{dataset}" if dataset else str(filename)
    with open_volume(path) as volume:
        array = volume.read()
    return array[0] if drop_channel and array.ndim == 4 else array


def savevol(filename: str | Path, vol: Array, dataset: str = "main", format: str = "h5") -> None:  # noqa: A002
    """Write a volume; HDF5 as the array ``dataset``."""
    if format not in ("h5", "tif", "png"):
        raise NeuropilError(f"expected the format h5, tif or png, got {format!r}")
    write_volume(f"{filename}/{dataset}" if format == "h5" else filename, vol)


def reduce_label(label: Array) -> Array:
    """Renumber ids from 1 without gaps; 0 stays 0; in the smallest unsigned type.

    >>> reduce_label(np.array([0, 7, 7, 300])).tolist()
    [0, 1, 1, 2]
    """
    ids = np.unique(label[label > 0])
    compact = np.where(label > 0, np.searchsorted(ids, label) + 1, 0)
    return compact.astype(np.min_scalar_type(max(len(ids), 1)))


def seg_widen_border(seg: Array, tsz_h: int = 1) -> Array:
    """Erosion: voxels whose window of (2n+1)² in their section holds two ids become background.

    >>> seg_widen_border(np.array([[[1, 1, 2, 2]]]), 1).tolist()
    [[[1, 0, 0, 2]]]
    """
    return erode_labels(_tensor(seg), tsz_h).numpy().astype(seg.dtype)


def seg_to_targets(label: Array, topts: Sequence[str], erosion_rates: Any = None) -> list[Array]:
    """Targets of labels ``[z, y, x]`` by their classic names, float32 ``[c, z, y, x]`` each.

    Affinities whose partner lies outside have the values of the classic package: the foreground for ``2``, labels
    repeated at the border for ``2-z-y-x-v1``.

    Args:
        label: integers, 0 = background.
        topts: ``0``, ``2``, ``2-z-y-x-v1``, ``2-z-y-x-v2``, ``4-1-1``, ``4-width-0``.
        erosion_rates: voxels of erosion, one number or one for each target.

    Raises:
        NeuropilError: a target that is not here.

    >>> [one.shape for one in seg_to_targets(np.ones((2, 3, 4), np.int64), ["2", "0"])]
    [(3, 2, 3, 4), (1, 2, 3, 4)]
    """
    rates = erosion_rates if isinstance(erosion_rates, list | tuple) else [erosion_rates] * len(topts)
    return [_target(label, str(name), int(rate or 0)) for name, rate in zip(topts, rates, strict=True)]


def _target(label: Array, name: str, erosion: int) -> Array:
    ids = erode_labels(_tensor(label), erosion) if erosion else _tensor(label)
    kind, *numbers = name.split("-")
    if name == "0":
        return (ids > 0).numpy().astype(np.float32)[None]
    if name == "2":
        return seg2aff_v0(ids.numpy())
    if kind == "2" and len(numbers) == 4 and numbers[3] in ("v1", "v2"):
        z, y, x = map(int, numbers[:3])
        return (seg2aff_v1 if numbers[3] == "v1" else seg2aff_v2)(ids.numpy(), z, y, x)
    if kind == "4":
        width, background = map(int, [*numbers, *["1"] * (2 - len(numbers))])
        if not background:
            return meetings(ids, width).numpy().astype(np.float32)[None]
        if width == 1:  # dilated by one voxel along y and x
            border = meetings(torch.where(ids > 0, ids, ids.max() + 1), 1)[:, None].float()
            border = torch.maximum(F.max_pool2d(border, (3, 1), 1, (1, 0)), F.max_pool2d(border, (1, 3), 1, (0, 1)))
            return border[:, 0].numpy()[None]
    raise NeuropilError(f"the target {name!r} is not here; there are 0, 2, 2-z-y-x-v1, -v2, 4-1-1 and 4-width-0")


def seg2aff_v0(seg: Array, pad: str = "replicate") -> Array:
    """Nearest affinities of labels, float32 [3, z, y, x]; edges that leave the array hold the foreground, or 0.

    >>> seg2aff_v0(np.array([[[1, 1, 2]]]))[2].tolist()
    [[[1.0, 1.0, 0.0]]]
    """
    ids = _tensor(seg)
    found, inside = affinity_targets(ids, NEAREST)
    outside = (ids > 0).expand_as(found) if pad == "replicate" else torch.zeros_like(found)
    return torch.where(inside, found, outside).numpy().astype(np.float32)


def seg2aff_v1(seg: Array, dz: int = 1, dy: int = 1, dx: int = 1, padding: str = "edge") -> Array:
    """Affinities to the voxels dz, dy, dx before, stored at the later voxel; beyond the border labels are repeated."""
    found = _wide(seg, (dz, dy, dx), (dz, dy, dx), (0, 0, 0), padding)
    return found[:, dz:, dy:, dx:]


def seg2aff_v2(seg: Array, dz: int = 1, dy: int = 1, dx: int = 1, padding: str = "edge") -> Array:
    """Affinities over 2·dz, 2·dy, 2·dx voxels, stored at their middle; beyond the border labels are repeated."""
    found = _wide(seg, (2 * dz, 2 * dy, 2 * dx), (dz, dy, dx), (dz, dy, dx), padding)
    z, y, x = seg.shape
    places = ((2 * dz, dy, dx), (dz, 2 * dy, dx), (dz, dy, 2 * dx))
    return np.stack([one[a : a + z, b : b + y, c : c + x] for one, (a, b, c) in zip(found, places, strict=True)])


def seg2aff_pni(img: Array, dz: int = 1, dy: int = 1, dx: int = 1, dtype: str = "float32") -> Array:
    """Affinities to the voxels dz, dy, dx before, in the order x, y, z, stored at the later voxel; 0 at the border."""
    if min(dz, dy, dx) < 1:
        raise NeuropilError(f"seg2aff_pni: expected steps of at least 1, got {dz}, {dy} and {dx}")
    found, _ = affinity_targets(_tensor(img), ((-dz, 0, 0), (0, -dy, 0), (0, 0, -dx)))
    return found.numpy()[::-1].astype(dtype)


def _wide(seg: Array, steps: Triple, before: Triple, after: Triple, padding: str) -> Array:
    if padding != "edge":
        raise NeuropilError(f"expected padding 'edge', got {padding!r}")
    offsets: Offsets = ((-steps[0], 0, 0), (0, -steps[1], 0), (0, 0, -steps[2]))
    padded = np.pad(seg, list(zip(before, after, strict=True)), mode="edge")
    return affinity_targets(_tensor(padded), offsets)[0].numpy().astype(np.float32)


def seg_to_weights(targets: Sequence[Array], wopts: Sequence[Sequence[str]], mask: Array | None = None) -> list[Any]:
    """Weights of targets for each of their losses, by the names of ``WEIGHT_OPT``: ``0``, ``1``, ``1-1``.

    ``0`` without a mask gives an array of one zero, which means no weights, as in the classic package.
    """
    balances: dict[str, Balance] = {"0": "none", "1": "rare", "1-1": "grown"}
    found = []
    for target, options in zip(targets, wopts, strict=True):
        truth = torch.from_numpy(np.ascontiguousarray(target)) > 0
        valid = torch.ones_like(truth) if mask is None else torch.from_numpy(mask > 0).expand(truth.shape)
        weights: list[Array] = []
        for option in options:
            if option not in balances:
                raise NeuropilError(f"expected a weight of {', '.join(balances)}, got {option!r}")
            if option == "0" and mask is None:
                weights.append(np.zeros(1))
            else:
                weights.append(classic_weights(truth[None], valid[None], balances[option])[0].numpy())
        found.append(weights)
    return found


def blend_gaussian(sz: Sequence[int], sigma: float = 0.2, mu: float = 0.0) -> Array:
    """The classic blending window ``[z, y, x]``: a Gaussian around the middle, 1e-4 added."""
    if (sigma, mu) != (0.2, 0.0):
        raise NeuropilError(f"expected sigma 0.2 and mu 0, the classic values, got {sigma} and {mu}")
    z, y, x = sz
    return gaussian_window((z, y, x))


def blend_bump(sz: Sequence[int], t: float = 1.5) -> Array:
    """The classic bump window ``[z, y, x]``, largest in the middle, 1e-4 added (K. Lee et al. 2017)."""
    if t != 1.5:
        raise NeuropilError(f"expected t 1.5, the classic value, got {t}")
    z, y, x = sz
    return bump_window((z, y, x))


def build_blending_matrix(sz: Sequence[int], mode: str = "gaussian") -> Array:
    """:func:`blend_gaussian` or :func:`blend_bump`, by name."""
    if mode not in ("gaussian", "bump"):
        raise NeuropilError(f"expected the blend gaussian or bump, got {mode!r}")
    return blend_gaussian(sz) if mode == "gaussian" else blend_bump(sz)


def normalize_range(image: Array) -> Array:
    """Grey values in 8 bits: uint8 unchanged, others scaled from their smallest to their largest, truncated.

    >>> normalize_range(np.array([[[100, 150, 200]]], np.uint16)).tolist()
    [[[0, 127, 254]]]
    """
    return scaled_image(array_volume(image), "bytes").read()


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array).astype(np.int64))
