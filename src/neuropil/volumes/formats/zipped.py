"""Arrays in ZIP files: the checksum of each chunk is looked at before its voxels are handed out."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import numpy.typing as npt

from neuropil.volumes.volume import Index, Store

_PIECE = 1 << 20


@dataclass(frozen=True, eq=False)
class ZipStore:
    """An array whose chunks lie in a ZIP file.

    Args:
        inner: reads the voxels.
        container: the ZIP file.
        start: what stands before the numbers of a chunk in its name.
        between: what stands between these.
        chunk: its shape.
    """

    inner: Store
    container: str
    start: str
    between: str
    chunk: tuple[int, ...]
    _checked: set[str] = field(default_factory=set)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.inner.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.inner.dtype

    @property
    def chunks(self) -> tuple[int, ...] | None:
        return self.inner.chunks

    def read(self, index: Index) -> npt.NDArray[Any]:
        spans = [part.indices(n)[:2] for part, n in zip(index, self.shape, strict=True)]
        grid = [range(a // n, -(-b // n)) for (a, b), n in zip(spans, self.chunk, strict=True)]
        self._check({self.start + self.between.join(map(str, numbers)) for numbers in product(*grid)})
        return self.inner.read(index)

    def _check(self, names: set[str]) -> None:
        """Read some members to their ends, where their checksums are."""
        new = names - self._checked
        if not new:
            return
        try:
            with ZipFile(Path(self.container)) as packed:
                for name in sorted(new & set(packed.namelist())):
                    with packed.open(name) as member:
                        while member.read(_PIECE):
                            pass
        except (BadZipFile, NotImplementedError, EOFError) as error:
            raise ValueError(str(error)) from error
        self._checked.update(new)

    def write(self, index: Index, array: npt.NDArray[Any]) -> None:
        self.inner.write(index, array)

    def close(self) -> None:
        self.inner.close()
