"""The scores by which regions merge: mean, max, min and quantiles."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError
from neuropil.volumes import Encoding

_FIXED_POINT = 1 << 30
"""An affinity of 1 in fixed-point sums: fine enough to tell all 65536 codes apart, and 2**34 faces fit into 64 bits."""


@dataclass(frozen=True)
class Score:
    """How the faces between two regions become one number.

    ``mean``: their mean affinity, compared as an exact rational. ``max``, ``min``: the largest, the smallest.
    ``qNN``: of n faces in ascending order the one of rank min(n, ⌊n·NN/100⌋ + 1), never interpolated.

    >>> Score.parse("q85")
    Score(kind='quantile', percent=85)
    """

    kind: str
    percent: int = 0

    @classmethod
    def parse(cls, name: str) -> Score:
        """Read ``mean``, ``max``, ``min`` or ``q0`` … ``q100``.

        Raises:
            NeuropilError: anything else.
        """
        if name in ("mean", "max", "min"):
            return cls(name)
        quantile = re.fullmatch(r"q([0-9]{1,2}|100)", name) if isinstance(name, str) else None
        if not quantile:
            raise NeuropilError(f"expected the score mean, max, min or qNN (q50 is the median), got {name!r}")
        return cls("quantile", int(quantile[1]))

    def arguments(self, encoding: Encoding) -> tuple[str, int, int]:
        """Kind, percentage and bits of a code, as the kernels take them."""
        return self.kind, self.percent, 8 * encoding.dtype.itemsize

    def top(self, encoding: Encoding) -> int:
        """The largest number that edges are sorted by."""
        return int(fixed_point(encoding)[0][-1]) if self.kind == "mean" else encoding.codes - 1

    def affinities(self, scores: npt.NDArray[np.float64], encoding: Encoding) -> npt.NDArray[np.float64]:
        """Affinities from what the kernels return: means are affinities already, the others are codes."""
        return scores if self.kind == "mean" else encoding.table[scores.astype(np.int64)]


def fixed_point(encoding: Encoding) -> tuple[npt.NDArray[np.uint32], float]:
    """Fixed-point value of each code, and the scale (that of an affinity of 1): a mean is ``sum / (count * scale)``.

    Linear codes are their own values, so that equal means of codes are exactly equal.

    >>> table, scale = fixed_point(Encoding("linear8"))
    >>> int(table[51]), scale
    (51, 255.0)
    """
    if encoding.kind == "linear8":
        return np.arange(256, dtype=np.uint32), 255.0
    table: npt.NDArray[Any] = np.rint(encoding.table * _FIXED_POINT)
    return table.astype(np.uint32), float(_FIXED_POINT)
