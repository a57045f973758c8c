"""Affinities stored as integer codes that still distinguish values near 1.

A linear byte has no code for 0.9999, the default upper threshold of the watershed. Codes that are evenly spaced in the
logit have one: they are densest near 0 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError

EncodingKind = Literal["logit8", "logit16", "linear8"]
"""logit8, logit16: evenly spaced in the logit, in uint8 or uint16. linear8: code / 255."""

_BLOCK = 1 << 18  # voxels encoded at a time: the float64 intermediates stay in cache, whatever the array's size
_ROUNDED = 1e-5  # how far rounding of weighted sums may go beyond 0 and 1


@dataclass(frozen=True)
class Encoding:
    """A map between probabilities in [0, 1] and integer codes 0…C (C = 255 or 65535).

    In the logit kinds code 0 means ``p <= min`` and has the value 0, code C means ``p >= max`` and has the value 1;
    code c between them has the value ``sigmoid(logit(min) + (logit(max) - logit(min)) * c / C)``.

    Raises:
        NeuropilError: an unknown kind, or not ``0 < min < max < 1``.

    >>> LOGIT8.encode(np.array([0.0, 0.00005, 0.6, 0.9999, 1.0])).tolist()
    [0, 0, 133, 255, 255]
    """

    kind: EncodingKind
    min: float = 1e-4
    max: float = 0.9999

    def __post_init__(self) -> None:
        if self.kind not in get_args(EncodingKind):
            raise NeuropilError(f"expected an encoding kind of {', '.join(get_args(EncodingKind))}; got {self.kind!r}")
        if not 0 < self.min < self.max < 1:
            raise NeuropilError(f"an encoding needs 0 < min < max < 1, got min {self.min} and max {self.max}")

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the codes: uint8 or uint16."""
        return np.dtype(np.uint16 if self.kind == "logit16" else np.uint8)

    @property
    def codes(self) -> int:
        """Number of codes: 256 or 65536."""
        return int(np.iinfo(self.dtype).max) + 1

    @cached_property
    def table(self) -> npt.NDArray[np.float64]:
        """The value of every code, ascending, float64 [codes].

        >>> LOGIT16.table.shape
        (65536,)
        """
        steps = np.arange(self.codes) / (self.codes - 1)
        if self.kind == "linear8":
            return steps
        low, high = _logit(self.min), _logit(self.max)
        values = 1 / (1 + np.exp(-(low + (high - low) * steps)))
        values[[0, -1]] = 0, 1
        return np.asarray(values, np.float64)

    @cached_property
    def thresholds(self) -> npt.NDArray[np.float32]:
        """The smallest float32 of every code from 1 on, ascending, float32 [codes - 1].

        >>> float(LOGIT8.thresholds[-1].round(4))
        0.9999
        """
        wanted = np.arange(1, self.codes)
        steps = (wanted - 0.5) / (self.codes - 1)
        if self.kind == "linear8":
            near = steps
        else:
            low, high = _logit(self.min), _logit(self.max)
            near = 1 / (1 + np.exp(-(low + (high - low) * steps)))
            near[[0, -1]] = self.min, self.max
        # Positive floats sort as their bits do: a binary search over bits, around where the threshold should be.
        middle = near.astype(np.float32).view(np.int32)
        below, reached = middle - 16, middle + 16
        while (reached - below > 1).any():
            half = (below + reached) // 2
            enough = self._encode(half.view(np.float32).astype(np.float64)) >= wanted
            below, reached = np.where(enough, below, half), np.where(enough, half, reached)
        return reached.view(np.float32)

    def encode(self, probabilities: npt.ArrayLike, threads: int = 1) -> npt.NDArray[Any]:
        """Nearest codes (in the logit for the logit kinds) of probabilities, same shape; uint8 or uint16.

        What lies outside [0, 1] by at most 1e-5, as rounding leaves it, is taken as 0 or 1.

        Raises:
            NeuropilError: NaN or a value farther outside [0, 1].
        """
        from neuropil import _native

        values = np.ascontiguousarray(probabilities)
        codes = np.empty(values.shape, self.dtype)
        flat, out = values.reshape(-1), codes.reshape(-1)
        if values.dtype == np.float32:
            if not _native.encode(self.thresholds, flat, out, threads):
                _check_range(values)
                _native.encode(self.thresholds, np.clip(flat, 0, 1), out, threads)
            return codes
        narrow = values.dtype == np.float16  # float32 holds all of them
        for start in range(0, flat.size, _BLOCK):
            part = slice(start, start + _BLOCK)
            if narrow:
                out[part] = self.encode(flat[part].astype(np.float32), threads)
            else:
                _check_range(flat[part])
                out[part] = self._encode(np.clip(flat[part].astype(np.float64), 0, 1))
        return codes

    def decode(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """The values of codes, float32, same shape.

        Raises:
            NeuropilError: the codes are not of this encoding's dtype.
        """
        if codes.dtype != self.dtype:
            raise NeuropilError(f"expected {self.dtype} codes for the encoding {self.kind}, got {codes.dtype}")
        values: npt.NDArray[np.float32] = self.table.astype(np.float32)[codes]
        return values

    def to_json(self) -> dict[str, str | float]:
        """The form in which it is stored next to an array: ``{"kind": …, "min": …, "max": …}``."""
        if self.kind == "linear8":
            return {"kind": self.kind}
        return {"kind": self.kind, "min": self.min, "max": self.max}

    @classmethod
    def from_json(cls, stored: object) -> Encoding:
        """Read what :meth:`to_json` wrote.

        >>> Encoding.from_json({"kind": "logit8"}).codes
        256
        """
        form = '{"kind": "logit8" | "logit16" | "linear8", "min": 1e-4, "max": 0.9999}'
        if not isinstance(stored, Mapping) or "kind" not in stored or set(stored) - {"kind", "min", "max"}:
            raise NeuropilError(f"an encoding is written {form}; got {stored!r}")
        try:
            ends = {end: float(stored[end]) for end in ("min", "max") if end in stored}
        except (TypeError, ValueError):
            raise NeuropilError(f"an encoding is written {form}; got {stored!r}") from None
        return cls(stored["kind"], **ends)

    def _encode(self, p: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
        top = self.codes - 1
        if self.kind == "linear8":
            return np.rint(p * top)
        low, high = _logit(self.min), _logit(self.max)
        inside = np.clip(p, self.min, self.max)
        codes = np.rint((np.log(inside / (1 - inside)) - low) * (top / (high - low)))
        codes = np.clip(codes, 1, top - 1)
        codes[p <= self.min] = 0
        codes[p >= self.max] = top
        return codes


def _check_range(p: npt.NDArray[Any]) -> None:
    lowest, highest = p.min(), p.max()  # NaN anywhere makes both NaN
    if not (lowest >= -_ROUNDED and highest <= 1 + _ROUNDED):
        missing = int(np.isnan(p).sum())
        found = f", values from {np.nanmin(p)} to {np.nanmax(p)}" if missing < p.size else ""
        raise NeuropilError(f"affinities must lie in [0, 1], with no NaN; got {missing} NaN{found}")


def _logit(p: float) -> float:
    return log(p / (1 - p))


LOGIT8 = Encoding("logit8")
"""How `predict` stores affinities: one byte, evenly spaced in the logit between 1e-4 and 0.9999."""

LOGIT16 = Encoding("logit16")
"""The same map in two bytes; the kernels convert floats to these codes."""

LINEAR8 = Encoding("linear8")
"""uint8 without an encoding: code / 255."""
