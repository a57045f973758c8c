"""Volumes stored as pages or files of one section each, which are decompressed as a whole."""

from __future__ import annotations

import math
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.volumes.volume import Index, ReadOnlyStore

_CACHE = 64 << 20  # bytes of decompressed pages kept, so that neighbouring small boxes do not decompress them again


class Pages:
    """Pages of one shape `[y, x]`, read by ``load(number)`` when they are needed; the last few are kept."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], load: Callable[[int], npt.NDArray[Any]]) -> None:
        self.shape = shape
        self.dtype = dtype
        self._load = load
        self._kept: OrderedDict[int, npt.NDArray[Any]] = OrderedDict()
        self._lock = Lock()

    def read(self, numbers: npt.NDArray[np.intp], index: tuple[slice, ...]) -> npt.NDArray[Any]:
        """The part ``index`` of each of these pages: `[*numbers.shape, y, x]`."""
        window = tuple(len(range(*part.indices(n))) for part, n in zip(index, self.shape, strict=True))
        out = np.empty((*numbers.shape, *window), self.dtype.newbyteorder("="))
        for place in np.ndindex(numbers.shape):
            out[place] = self.page(int(numbers[place]))[index]
        return out

    def page(self, number: int) -> npt.NDArray[Any]:
        """One whole page; do not write to it: it is shared."""
        with self._lock:  # the file has one position
            page = self._kept.pop(number, None)
            if page is None:
                page = self._load(number)
            self._kept[number] = page
            while len(self._kept) > 1 and len(self._kept) * page.nbytes > _CACHE:
                self._kept.popitem(last=False)
            return page


@dataclass(frozen=True, eq=False)
class PagedStore(ReadOnlyStore):
    """Pages that are read one by one.

    Args:
        lead: shape of the axes before y and x.
        pages: the pages, counted along these axes.
        lossy: whether compression may have changed values.
        file: the file of all pages, closed with the store; None where each page is a file.
    """

    lead: tuple[int, ...]
    pages: Pages
    lossy: bool = False
    file: Any = None

    def __post_init__(self) -> None:
        if self.file is not None:  # a volume may be dropped without being closed: open_volume(path).read()
            weakref.finalize(self, self.file.close)

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.lead, *self.pages.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.pages.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        return (1,) * len(self.lead) + self.pages.shape

    def read(self, index: Index) -> npt.NDArray[Any]:
        numbers = np.arange(math.prod(self.lead)).reshape(self.lead)
        return self.pages.read(numbers[index[:-2]], index[-2:])

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
