"""Input of the kernels: affinities as integer codes, unsigned labels, checked options."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil import _native
from neuropil.errors import NeuropilError
from neuropil.geometry import NEAREST, Offsets, Triple, default_offsets, parse_offsets
from neuropil.volumes import LINEAR8, LOGIT16, Encoding, Volume, array_volume, as_volume
from neuropil.volumes.volume import without_mask

Affinities = npt.NDArray[Any] | Volume | str | Path
"""Affinities [edge, z, y, x] as an array (uint8, uint16 with an encoding, floats), an opened volume, or a path."""

Labels = npt.NDArray[Any] | Volume | str | Path
"""Fragments or segments [z, y, x], any integers from 0, as an array, an opened volume, or a path."""

_WIDE = (1 << 32) // 3
"""From this many voxels on, face indices need 64 bits."""

_MOST_THREADS = 1024
"""More would only cost memory for their stacks; no result depends on the number of threads."""


@dataclass(frozen=True)
class FaceCodes:
    """Affinities of the faces between neighbouring voxels along z, y and x, as codes of one encoding.

    ``flipped`` has bit ``1 << axis`` set where faces are stored at their lower voxel (an offset of +1).
    """

    z: npt.NDArray[Any]
    y: npt.NDArray[Any]
    x: npt.NDArray[Any]
    flipped: int
    encoding: Encoding

    @property
    def shape(self) -> Triple:
        z, y, x = self.z.shape
        return (z, y, x)

    @property
    def arguments(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], int]:
        """What every kernel on voxels takes first."""
        return self.z, self.y, self.x, self.flipped

    @property
    def index(self) -> np.dtype[Any]:
        """The unsigned type that holds every face index of this volume."""
        return np.dtype(np.uint64 if self.z.size >= _WIDE else np.uint32)

    def first_above(self, value: float) -> int:
        """The largest code whose value is at most ``value``: greater codes have values above it."""
        return int(np.searchsorted(self.encoding.table, value, side="right")) - 1

    def last_below(self, value: float) -> int:
        """The largest code whose value is below ``value``: greater codes have values of at least ``value``."""
        return int(np.searchsorted(self.encoding.table, value, side="left")) - 1


def face_codes(
    affinities: Affinities,
    offsets: str | Sequence[Sequence[int]] | None = None,
    encoding: Encoding | None = None,
    threads: int | None = None,
) -> FaceCodes:
    """The three nearest channels of affinities as integer codes; floats become 16-bit logit codes here, on all threads.

    ``offsets`` and ``encoding`` come from the volume where they are not given; an array of three channels without
    offsets has the default neighbourhood, one of two channels that of a plane. An axis of one voxel has no faces and
    needs no channel.

    Raises:
        NeuropilError: not [edge, z, y, x]; a type that holds no affinities; offsets missing or without one of the
            nearest; NaN or values outside [0, 1].

    >>> face_codes(np.zeros((3, 4, 5, 6), np.float32)).z.dtype
    dtype('uint16')
    """
    array, parsed, encoding = _read(affinities, offsets, encoding)
    chosen, flipped = _nearest(array.shape, parsed)
    none = np.zeros(array.shape[1:] if None in chosen else 0, encoding.dtype)
    z, y, x = (none if channel is None else _codes(array[channel], encoding, threads) for channel in chosen)
    return FaceCodes(z, y, x, flipped, encoding)


def _nearest(shape: tuple[int, ...], offsets: Offsets) -> tuple[list[int | None], int]:
    """The channel of each nearest neighbour (None where an axis has no faces), and the flipped axes as bits."""
    channels: list[int | None] = []
    flipped = 0
    for axis in range(3):
        step, back = NEAREST[axis], parse_offsets([[-s for s in NEAREST[axis]]])[0]
        if step in offsets:
            channels.append(offsets.index(step))
        elif back in offsets:
            channels.append(offsets.index(back))
            flipped |= 1 << axis
        elif shape[1 + axis] <= 1:
            channels.append(None)
        else:
            raise NeuropilError(
                f"the nearest neighbour on axis {'zyx'[axis]} is needed, offset {step} or {back}; got "
                f"offsets {list(offsets)}"
            )
    return channels, flipped


def all_codes(
    affinities: Affinities,
    offsets: str | Sequence[Sequence[int]] | None = None,
    encoding: Encoding | None = None,
    threads: int | None = None,
) -> tuple[npt.NDArray[Any], Offsets, Encoding]:
    """All channels of affinities as integer codes [edge, z, y, x], with offsets and encoding.

    Raises:
        NeuropilError: as :func:`face_codes`, but the nearest offsets may be missing.

    >>> all_codes(np.zeros((3, 4, 5, 6), np.float32))[0].dtype
    dtype('uint16')
    """
    array, parsed, encoding = _read(affinities, offsets, encoding)
    return _codes(array, encoding, threads), parsed, encoding


def encode_affinities(
    affinities: Affinities,
    offsets: str | Sequence[Sequence[int]] | None = None,
    encoding: Encoding | None = None,
    *,
    nearest: bool = False,
    threads: int | None = None,
) -> Volume:
    """Affinities as a volume in memory of integer codes, with offsets and encoding: every kernel takes it as it is.

    Floats become 16-bit logit codes here, once, however many kernels follow; what is encoded already is not copied.

    Args:
        affinities, offsets, encoding, threads: as for :func:`face_codes`.
        nearest: encode only the channels of the nearest neighbours (of floats; integer codes stay as they are).

    Raises:
        NeuropilError: as :func:`face_codes`; without ``nearest`` the nearest offsets may be missing.

    >>> codes = encode_affinities(np.zeros((3, 4, 5, 6), np.float32))
    >>> codes.dtype, codes.metadata.encoding.kind, np.shares_memory(encode_affinities(codes).read(), codes.read())
    (dtype('uint16'), 'logit16', True)
    """
    volume = as_volume(affinities)
    array, parsed, encoding = _read(volume, offsets, encoding)
    if nearest and array.dtype.kind == "f":
        kept = sorted({channel for channel in _nearest(array.shape, parsed)[0] if channel is not None})
        if len(kept) < len(array):
            array, parsed = array[kept], tuple(parsed[channel] for channel in kept)
    metadata = replace(volume.metadata, offsets=parsed, encoding=encoding)
    return replace(array_volume(_codes(array, encoding, threads), metadata), path=volume.path)


def label_array(labels: Labels, shape: tuple[int, ...] | None = None, name: str = "fragments") -> npt.NDArray[Any]:
    """Labels as an unsigned array in native byte order, C-contiguous.

    Raises:
        NeuropilError: not three axes, not integers, negative, or not of this ``shape``.

    >>> label_array(np.ones((1, 2, 3), np.int16)).dtype
    dtype('uint16')
    """
    array = without_mask(labels, name) if isinstance(labels, np.ndarray) else as_volume(labels).read()
    if array.dtype.kind not in "ui":
        raise NeuropilError(f"{name} must be integers, got {array.dtype}")
    if array.ndim != 3 or (shape is not None and array.shape != shape):
        wanted = "[z, y, x]" if shape is None else f"shape {shape}, that of the affinities"
        raise NeuropilError(f"{name} must have {wanted}; got shape {array.shape}")
    if array.dtype.kind == "i" and array.size and array.min() < 0:
        raise NeuropilError(f"{name} must not be negative, got {array.min()}")
    return np.ascontiguousarray(array, dtype=np.dtype(f"u{array.dtype.itemsize}"))


def thread_count(threads: int | None) -> int:
    """How many threads to use: as asked, else as many as this process may run on; never more than 1024.

    Raises:
        NeuropilError: fewer than one, or no whole number.

    >>> thread_count(3)
    3
    """
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not isinstance(threads, (int, np.integer)) or threads < 1:
        raise NeuropilError(f"threads must be at least 1, a whole number; got {threads!r}")
    return min(int(threads), _MOST_THREADS)


def steps(given: Sequence[int], name: str) -> Triple:
    """Three whole numbers from 1 on, z y x.

    Raises:
        NeuropilError: anything else.

    >>> steps([1, 2, 2], "strides")
    (1, 2, 2)
    """
    found = tuple(given) if isinstance(given, (tuple, list, np.ndarray)) else ()
    if len(found) != 3 or not all(isinstance(n, (int, np.integer)) and n >= 1 for n in found):
        raise NeuropilError(f"{name} must be three whole numbers (z, y, x), each at least 1; got {given}")
    z, y, x = (min(int(n), 1 << 62) for n in found)
    return (z, y, x)


def voxel_count(given: int, name: str) -> int:
    """A number of voxels from 0 on.

    Raises:
        NeuropilError: anything else.

    >>> voxel_count(400, "min_size")
    400
    """
    if not isinstance(given, (int, np.integer)) or given < 0:
        raise NeuropilError(f"{name} must be a whole number of voxels from 0 on; got {given!r}")
    return min(int(given), 1 << 62)


def _read(
    affinities: Affinities, offsets: str | Sequence[Sequence[int]] | None, encoding: Encoding | None
) -> tuple[npt.NDArray[Any], Offsets, Encoding]:
    """The array, and what its channels and codes mean: as given, else as the volume says, else the defaults."""
    if isinstance(affinities, np.ndarray):
        array = without_mask(affinities, "affinities")
    else:
        volume = as_volume(affinities)
        array = volume.read()
        offsets = volume.metadata.offsets if offsets is None else offsets
        encoding = volume.metadata.encoding if encoding is None else encoding
    if array.ndim != 4:
        raise NeuropilError(f"affinities are [edge, z, y, x], four axes; got an array of shape {array.shape}")
    return array, _offsets(array, offsets), _encoding(array, encoding)


def _offsets(array: npt.NDArray[Any], offsets: str | Sequence[Sequence[int]] | None) -> Offsets:
    if offsets is None:
        known = default_offsets(array.shape[0])
        if known is None:
            raise NeuropilError(
                f"affinities with {array.shape[0]} channels need offsets, one z,y,x per channel: offsets=…, or "
                "--offsets on the command line"
            )
        return known
    parsed = parse_offsets(offsets)
    if len(parsed) != array.shape[0]:
        raise NeuropilError(f"expected one offset per channel, got {len(parsed)} for {array.shape[0]} channels")
    return parsed


def _encoding(array: npt.NDArray[Any], encoding: Encoding | None) -> Encoding:
    if array.dtype.kind == "f":
        if encoding is not None:
            raise NeuropilError(
                f"expected {encoding.dtype} codes for the encoding {encoding.kind}, got {array.dtype}: floats are "
                "affinities themselves. Remove the encoding if these are; store them as integers if they are codes"
            )
        return LOGIT16
    if array.dtype == np.uint8 and encoding is None:
        return LINEAR8
    if encoding is not None and array.dtype.newbyteorder("=") == encoding.dtype:
        return encoding
    wanted = "uint8, uint16 with an encoding, or floats in [0, 1]" if encoding is None else str(encoding.dtype)
    raise NeuropilError(f"expected affinities as {wanted}; got {array.dtype}")


def _codes(channel: npt.NDArray[Any], encoding: Encoding, threads: int | None) -> npt.NDArray[Any]:
    if channel.dtype.kind == "f":
        return encoding.encode(channel, thread_count(threads))
    return np.ascontiguousarray(channel, dtype=encoding.dtype)


def largest_label(labels: npt.NDArray[Any], threads: int | None = None) -> int:
    """The largest of unsigned labels of any shape; 0 if there are none.

    >>> largest_label(np.array([[3, 9, 0]], np.uint32))
    9
    """
    if labels.dtype not in (np.uint32, np.uint64):
        return int(labels.max(initial=0))
    return int(_native.largest_label(_flat(labels), thread_count(threads)))


def count_labels(labels: npt.NDArray[Any], names: int, threads: int | None = None) -> npt.NDArray[np.uint64]:
    """Voxels of each label, uint64 [names]; every label must be below ``names``.

    >>> count_labels(np.array([[1, 1, 3]], np.uint32), 4).tolist()
    [0, 2, 0, 1]
    """
    if labels.dtype not in (np.uint32, np.uint64):
        labels = labels.astype(np.uint32 if labels.dtype.itemsize < 4 else np.uint64)
    return np.asarray(_native.count_labels(_flat(labels), names, thread_count(threads)))


def relabelled(
    labels: npt.NDArray[Any], lut: npt.NDArray[Any], threads: int | None = None, *, overwrite: bool = False
) -> npt.NDArray[Any]:
    """``lut[labels]`` on several threads: of lut's dtype and labels' shape. Every label must be below ``len(lut)``.

    With ``overwrite`` the result takes the place of the labels where their dtype allows it.

    >>> relabelled(np.array([[2, 0]], np.uint32), np.array([0, 5, 7], np.uint32)).tolist()
    [[7, 0]]
    """
    if labels.dtype not in (np.uint32, np.uint64) or lut.dtype not in (np.uint32, np.uint64):
        return np.asarray(lut[labels])
    in_place = overwrite and labels.dtype == lut.dtype and labels.flags.c_contiguous and labels.flags.writeable
    out = labels if in_place else np.empty(labels.shape, lut.dtype)
    _native.relabel(_flat(labels), np.ascontiguousarray(lut), out.reshape(-1), thread_count(threads))
    return out


def _flat(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.ascontiguousarray(labels).reshape(-1)
