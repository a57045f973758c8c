"""Masks that are read once and kept in memory, a boolean per voxel, until their file changes."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError
from neuropil.geometry import blocks
from neuropil.volumes.identity import stamp
from neuropil.volumes.opening import open_volume
from neuropil.volumes.roles import check_exact
from neuropil.volumes.volume import ArrayStore, Volume

KEPT = 1 << 28
"""Voxels of a mask up to which it is kept, at one byte each; a larger one is read when it is needed."""

_SLAB = 1 << 24
"""Voxels that are read at a time."""


@dataclass(frozen=True, eq=False)
class KeptStore(ArrayStore):
    """A mask that was read from its file: whether each voxel is tissue."""


def is_tissue(values: npt.NDArray[Any], path: str) -> npt.NDArray[np.bool_]:
    """Whether each voxel of a mask is tissue: 0 is not.

    Raises:
        NeuropilError: fractions, NaN or negative numbers, of which nothing says what they mean.

    >>> is_tissue(np.array([0, 1, 255]), "m.h5").tolist()
    [False, True, True]
    """
    signed = values.dtype.kind in "if"
    if signed and not bool(((values >= 0) & ((values == np.rint(values)) if values.dtype.kind == "f" else True)).all()):
        raise NeuropilError(
            f"expected a mask of 0 (outside) and 1 (tissue), got fractions or negative numbers, in {path}; make it one"
        )
    return np.asarray(values != 0)


def open_kept(path: str) -> Volume:
    """Open a mask, and keep it unless it is too large: it is applied to several volumes, block by block.

    >>> import tempfile
    >>> from neuropil.volumes import write_volume
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_volume(f"{folder}/m.h5", np.full((1, 2, 2), 7))
    ...     open_kept(f"{folder}/m.h5").read().tolist()
    [[[True, True], [True, True]]]
    """
    mask = open_volume(path)
    check_exact(mask)
    if len(mask.shape) != 3 or prod(mask.shape) > KEPT:
        return mask
    with mask:
        return replace(mask, store=KeptStore(_kept(path, json.dumps(stamp(path)))))


@lru_cache(maxsize=2)
def _kept(path: str, changed: str) -> npt.NDArray[np.bool_]:
    """The voxels of a mask, read once for as long as its file does not change."""
    with open_volume(path) as mask:
        deep = max(1, _SLAB // prod(mask.shape[1:]))
        parts = blocks(mask.box, (deep, *mask.box.shape[1:]))
        return np.concatenate([is_tissue(mask.read(part), path) for part in parts])
