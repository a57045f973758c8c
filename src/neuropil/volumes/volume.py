"""The class Volume: shape, metadata, and reading and writing of boxes; other folders use files through it only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError, tell
from neuropil.geometry import Box
from neuropil.memory import expect_memory
from neuropil.volumes.arrangement import Arrangement
from neuropil.volumes.arrays import check_array
from neuropil.volumes.metadata import Metadata

Mode = Literal["r", "r+"]
"""r: read only. r+: an existing array, to read and write."""

Index = tuple[slice, ...]
"""One slice per axis, within the array."""


class Store(Protocol):
    """What a file format must implement. Arrays are [z, y, x] or [c, z, y, x]; indices count from 0."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def chunks(self) -> tuple[int, ...] | None: ...
    def read(self, index: Index) -> npt.NDArray[Any]: ...
    def write(self, index: Index, array: npt.NDArray[Any]) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, eq=False)
class WrappedStore:
    """A store around another one, with its shape, dtype and chunks; subclasses say what they change."""

    inner: Store

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
        return self.inner.read(index)

    def write(self, index: Index, array: npt.NDArray[Any]) -> None:
        self.inner.write(index, array)

    def close(self) -> None:
        self.inner.close()


class ReadOnlyStore:
    """Base class of stores that cannot be written."""

    def write(self, index: Index, array: npt.NDArray[Any]) -> None:
        raise NeuropilError("this volume is read-only; write a new one")

    def close(self) -> None:
        pass  # nothing is held open


def unwrapped(store: Store) -> Store:
    """The innermost store, that of the file or array itself."""
    while isinstance(store, WrappedStore):
        store = store.inner
    return store


S = TypeVar("S", bound=WrappedStore)


def find_wrapper(store: Store, kind: type[S]) -> S | None:
    """The outermost wrapper of a class around a store; None where there is none."""
    while isinstance(store, WrappedStore):
        if isinstance(store, kind):
            return store
        store = store.inner
    return None


@dataclass(frozen=True, eq=False)
class ArrangedStore(WrappedStore):
    """A store of any axes, presented as [z, y, x] or [c, z, y, x]; axes are reordered when a box is read."""

    arrangement: Arrangement

    @property
    def shape(self) -> tuple[int, ...]:
        return self.arrangement.shape

    @property
    def chunks(self) -> tuple[int, ...] | None:
        chunks = self.inner.chunks
        return None if chunks is None else self.arrangement.of(chunks)

    def read(self, index: Index) -> npt.NDArray[Any]:
        return self.arrangement.present(np.asarray(self.inner.read(self.arrangement.into(index))))

    def write(self, index: Index, array: npt.NDArray[Any]) -> None:
        self.inner.write(self.arrangement.into(index), self.arrangement.store(array))


def arranged(store: Store, arrangement: Arrangement) -> Store:
    """The store with its axes reordered; itself where the order does not change."""
    return store if arrangement.plain else ArrangedStore(store, arrangement)


@dataclass(frozen=True, eq=False)
class Volume:
    """An array in a file, a bucket or memory, `[z, y, x]` or `[c, z, y, x]`. Nothing is read until :meth:`read`.

    Made by `open_volume`, `create_volume` and `array_volume`. A context manager: leaving it closes the file.

    >>> array_volume(np.zeros((3, 4, 5, 6), np.uint8), Metadata(origin=(60, 0, 0))).box
    Box(start=(60, 0, 0), stop=(64, 5, 6))
    """

    path: str
    store: Store
    metadata: Metadata = field(default_factory=Metadata)
    mode: Mode = "r"

    def __post_init__(self) -> None:
        check_array(self.shape, self.dtype, self.path, self.metadata.origin)
        offsets = self.metadata.offsets
        if offsets is not None and (len(self.shape) != 4 or len(offsets) != self.shape[0]):
            raise NeuropilError(
                f"expected one channel per offset, got {len(offsets)} offsets and shape {self.shape}, in {self.path}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        return self.store.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Stored type, in native byte order."""
        return self.store.dtype.newbyteorder("=")

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """Shape of the chunks in which it is stored, None where there are none. In Zarr, N5 and precomputed, boxes of
        whole chunks can be written at the same time."""
        return self.store.chunks

    @property
    def box(self) -> Box:
        """The box of the image that the volume holds: its shape at its origin."""
        return Box.at(self.metadata.start, self.shape)

    def read(self, box: Box | None = None) -> npt.NDArray[Any]:
        """The voxels in a box of the image, all channels of them: `[z, y, x]` or `[c, z, y, x]`, C order, stored dtype.

        Raises:
            NeuropilError: the box leaves the volume, or the file cannot be read.
        """
        index = self._index(self.box if box is None else box)
        asked = prod(self.shape[:-3]) * (self.box if box is None else box).size
        if not in_memory(self):
            work = "work on a part (--box), or by blocks (--block)"
            expect_memory(asked * self.dtype.itemsize, f"reading {asked:,} voxels of {self.path} at once", work)
        with readable(self.path):
            array = self.store.read(index)
        if box is None and not array[..., ::16, ::16].any() and not array.any():
            tell(f"all voxels of {self.path} are 0")
        return np.ascontiguousarray(array, dtype=self.dtype)

    def write(self, box: Box, array: npt.NDArray[Any]) -> None:
        """Write an array of the box's shape (with all channels) into a box of the image.

        Raises:
            NeuropilError: opened to read only, the box leaves the volume, shapes differ, a dtype that would lose
                values, or the file cannot be written.
        """
        if self.mode == "r":
            raise NeuropilError(f'{self.path} is open to read only; open it with mode "r+" to write')
        index = self._index(box)
        expected = (*self.shape[:-3], *box.shape)
        if array.shape != expected:
            raise NeuropilError(
                f"expected an array of shape {expected} for box {box} of {self.path}, got {array.shape}"
            )
        if not np.can_cast(array.dtype, self.dtype, "safe"):
            raise NeuropilError(
                f"{self.path} holds {self.dtype}, which cannot hold every {array.dtype}; convert it first"
            )
        with writable(self.path):
            self.store.write(index, np.asarray(array, dtype=self.dtype))

    def close(self) -> None:
        with writable(self.path):
            self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Volume({self.path!r}, {self.shape}, {self.dtype})"

    def check_box(self, box: Box) -> None:
        """Raise a NeuropilError where a box leaves the volume."""
        if not self.box.contains(box):
            raise NeuropilError(f"box {box} leaves {self.path}, which holds {self.box}")

    def _index(self, box: Box) -> Index:
        self.check_box(box)
        return (slice(None),) * (len(self.shape) - 3) + box.relative_to(self.metadata.start).slices


@contextmanager
def readable(path: str) -> Iterator[None]:
    """Turn what libraries raise over unreadable files into a NeuropilError that names the path."""
    try:
        yield
    except NeuropilError:
        raise
    except PermissionError:
        raise NeuropilError(f"no permission to read {path}") from None
    except (OSError, ValueError, RuntimeError, EOFError, SyntaxError) as error:  # Pillow: SyntaxError for broken PNG
        raise NeuropilError(f"cannot read {path}: {first_line(error)}; is it damaged or truncated?") from error


@contextmanager
def writable(path: str) -> Iterator[None]:
    """Turn what libraries raise over unwritable places into a NeuropilError that names the path."""
    try:
        yield
    except NeuropilError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        raise NeuropilError(f"cannot write {path}: {first_line(error)}; is there room and permission?") from error


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, at most 300 characters; its class where there is none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


@dataclass(frozen=True, eq=False)
class ArrayStore:
    """An array in memory."""

    array: npt.NDArray[Any]
    chunks: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    def read(self, index: Index) -> npt.NDArray[Any]:
        return self.array[index]

    def write(self, index: Index, array: npt.NDArray[Any]) -> None:
        self.array[index] = array

    def close(self) -> None:
        pass


def in_memory(volume: Volume) -> bool:
    """Whether a volume is an array in memory and not of a file."""
    return type(unwrapped(volume.store)) is ArrayStore  # a subclass maps a file


def array_volume(array: npt.NDArray[Any], metadata: Metadata | None = None) -> Volume:
    """A volume over an array in memory, `[y, x]` (one section), `[z, y, x]` or `[c, z, y, x]`, which is not copied.

    Raises:
        NeuropilError: other numbers of axes, no voxels, no numbers, or a masked array.

    >>> array_volume(np.arange(24).reshape(2, 3, 4)).read(Box((1, 0, 0), (2, 1, 4))).tolist()
    [[[12, 13, 14, 15]]]
    """
    array = np.asarray(without_mask(array, "the array"))
    section = array[np.newaxis] if array.ndim == 2 else array
    return Volume("an array in memory", ArrayStore(section), metadata or Metadata(), "r+")


def without_mask(array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """The array itself, if it is no masked array: masks of NumPy are not read, and masked values are arbitrary.

    Raises:
        NeuropilError: a ``numpy.ma.MaskedArray``.
    """
    if isinstance(array, np.ma.MaskedArray):
        raise NeuropilError(f"{name} must not be a masked array, whose mask would be lost: fill it, array.filled(0)")
    return array
