"""Labels as they are scored: what is unlabelled is 0, and both volumes have voxels of one size."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.volume import Index, Store, Volume, in_memory, require_labels


@dataclass(frozen=True, eq=False)
class UnlabelledStore:
    """Labels of which some ids, and -1, mean "not labelled": they are read as 0."""

    inner: Store
    ignore: tuple[int, ...]
    path: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.inner.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        stored = self.inner.dtype
        return np.dtype(f"u{stored.itemsize}") if stored.kind == "i" else stored

    @property
    def chunks(self) -> tuple[int, ...] | None:
        return self.inner.chunks

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
                f"ids must not be negative but for -1, not labelled; {self.path} holds {kept.min()}; "
                "name it with --ignore"
            )
        return kept.astype(self.dtype)

    def write(self, index: Index, array: npt.NDArray[Any]) -> None:
        raise NeuropilError(f"labels to score are only read; open {self.path} itself to write")

    def close(self) -> None:
        self.inner.close()


def scored_labels(labels: Volume, ignore: Collection[int] = ()) -> Volume:
    """Labels in which -1 and the ids of ``ignore`` are 0, which is not scored.

    Raises:
        NeuropilError: no labels; other negative ids, when they are read.

    >>> from neuropil.volumes import array_volume
    >>> scored_labels(array_volume(np.array([[[-1, 7, 9]]])), [9]).read().tolist()
    [[[0, 7, 0]]]
    """
    whole = require_labels(labels)
    known = in_memory(whole) and whole.dtype.kind == "i" and bool(whole.read().min() >= 0)  # looked at, not copied
    if not ignore and (known or whole.dtype.kind != "i"):
        return whole
    return replace(whole, store=UnlabelledStore(whole.store, tuple(ignore), whole.path))


def check_sizes(first: Volume, second: Volume) -> None:
    """Refuse voxels of two sizes where origins say which ones meet; tell of them where shapes alone do.

    Raises:
        NeuropilError: sizes that differ by more than 1 %, of volumes that are placed.
    """
    a, b = first.metadata.voxel_size, second.metadata.voxel_size
    if a is None or b is None or all(abs(n - m) <= 0.01 * max(n, m) for n, m in zip(a, b, strict=True)):
        return
    sizes = " and ".join(" × ".join(f"{n:g}" for n in size) for size in (a, b))
    told = f"{first.path} and {second.path} have voxels of different size, {sizes} nm"
    if first.metadata.origin is not None or second.metadata.origin is not None:
        raise NeuropilError(f"{told}, so their origins do not say which voxels meet; correct one, or resample")
    tell(f"{told}; compared voxel by voxel")
