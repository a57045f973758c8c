"""Labels as they are scored: unlabelled voxels are 0, and both volumes must have the same voxel size."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.opening import open_volume
from neuropil.volumes.roles import check_overlay, require_labels
from neuropil.volumes.tissue import Tissue, in_tissue, tissue_of
from neuropil.volumes.volume import Index, Volume, WrappedStore, find_wrapper, in_memory


@dataclass(frozen=True, eq=False)
class UnlabelledStore(WrappedStore):
    """Labels of which some ids, and -1, mean "not labelled": they are read as 0."""

    ignore: tuple[int, ...]
    path: str

    @property
    def dtype(self) -> np.dtype[Any]:
        stored = self.inner.dtype
        return np.dtype(f"u{stored.itemsize}") if stored.kind == "i" else stored

    def read(self, index: Index) -> npt.NDArray[Any]:
        found = np.asarray(self.inner.read(index))
        signed = found.dtype.kind == "i"
        left = found == -1 if signed else np.zeros(found.shape, bool)
        for number in self.ignore:
            if np.iinfo(found.dtype).min <= number <= np.iinfo(found.dtype).max:
                left |= found == found.dtype.type(number)
        kept = np.where(left, found.dtype.type(0), found)
        if signed and kept.size and kept.min() < 0:
            raise NeuropilError(
                f"ids must not be negative, except -1 (not labelled); {self.path} holds {kept.min()}; "
                "name it with --ignore"
            )
        return kept.astype(self.dtype)

    def write(self, index: Index, array: npt.NDArray[Any]) -> None:
        raise NeuropilError(f"labels to score are read-only; open {self.path} itself to write")


@dataclass(frozen=True)
class Scored:
    """Which labels are scored, in plain values that workers can get: ids that mean "not labelled", and tissue."""

    ignore: tuple[int, ...] = ()
    tissue: Tissue | None = None

    @classmethod
    def of(cls, labels: Volume) -> Scored:
        """The ignored ids and the tissue that :func:`scored_labels` applied to labels.

        >>> from neuropil.volumes import array_volume
        >>> Scored.of(scored_labels(array_volume(np.ones((1, 2, 2), int)), [9])).ignore
        (9,)
        """
        laid, unlabelled = tissue_of(labels), find_wrapper(labels.store, UnlabelledStore)
        return cls(unlabelled.ignore if unlabelled else (), None if laid is None else laid.tissue)

    def identity(self) -> list[Any]:
        """A value that changes with the ids, the mask or the sections; empty where all is scored."""
        ignored = [list(self.ignore)] if self.ignore else []
        return [*ignored, *(self.tissue.identity() if self.tissue else [])]

    def open(self, path: str) -> Volume:
        """The labels at a path, as they are scored."""
        return scored_labels(open_volume(path), self.ignore, self.tissue)


ALL = Scored()
"""Labels of which all is scored."""


def scored_labels(labels: Volume, ignore: Collection[int] = (), tissue: Tissue | None = None) -> Volume:
    """Labels in which -1, the ids of ``ignore`` and voxels outside the tissue are 0, which is not scored.

    Raises:
        NeuropilError: not a volume of labels; other negative ids, when they are read; a mask that does not fit.

    >>> from neuropil.volumes import array_volume
    >>> scored_labels(array_volume(np.array([[[-1, 7, 9]]])), [9]).read().tolist()
    [[[0, 7, 0]]]
    """
    whole = require_labels(labels)
    if whole.dtype.kind == "b":
        tell(f"{whole.path} holds booleans, as masks do: all labelled voxels are taken for one neuron")
    known = in_memory(whole) and whole.dtype.kind == "i" and bool(whole.read().min() >= 0)  # looked at, not copied
    if ignore or not (known or whole.dtype.kind != "i"):
        whole = replace(whole, store=UnlabelledStore(whole.store, tuple(ignore), whole.path))
    return in_tissue(whole, tissue)


def tell_unlabelled(ids: npt.NDArray[Any], path: str, option: str = "--ignore", known: Collection[int] = ()) -> None:
    """Report an id that is the largest number of its type, which some programs use for "not labelled"; 255 and 65535
    only if there are other ids and all are smaller than half of it.

    >>> tell_unlabelled(np.array([1, 2], np.uint64), "labels.h5")
    """
    if ids.dtype.kind != "u" or not ids.size:
        return
    for most in (2**8 - 1, 2**16 - 1, 2**32 - 1, 2**64 - 1):
        if most in known or ids.max() < most or not (ids == most).any():
            continue
        if most >= 2**32 - 1 or (ids.max() == most and 0 < ids[ids != most].max(initial=0) < most // 2):
            tell(f"{path} holds the id {most}, taken for a neuron; if it means not labelled, give {option} {most}")


def check_fit(first: Volume, second: Volume) -> None:
    """Refuse different axis directions, and different voxel sizes if an origin is stored; report different voxel sizes
    without an origin.

    Raises:
        NeuropilError: axis directions differ; voxel sizes differ by more than 1 % and an origin is stored.
    """
    check_overlay(first, second)
    a, b = first.metadata.voxel_size, second.metadata.voxel_size
    if a is None or b is None or all(abs(n - m) <= 0.01 * max(n, m) for n, m in zip(a, b, strict=True)):
        return
    sizes = " and ".join(" × ".join(f"{n:g}" for n in size) for size in (a, b))
    told = f"{first.path} and {second.path} have voxels of different size, {sizes} nm"
    if first.metadata.origin is not None or second.metadata.origin is not None:
        raise NeuropilError(f"{told}, so their origins do not say which voxels correspond; correct one, or resample")
    tell(f"{told}; compared voxel by voxel all the same")
