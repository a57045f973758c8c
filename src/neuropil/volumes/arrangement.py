"""Order of axes: arrays stored in any order are read as [z, y, x] or [c, z, y, x], by the axis names in the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.naming import kind, table, way_out

_WIDE = 64  # voxels: a last axis of up to 4 looks like channels only behind two axes of at least this length


@dataclass(frozen=True)
class Arrangement:
    """Which stored axis becomes which axis of [z, y, x] or [c, z, y, x].

    Args:
        stored: shape of the stored array.
        order: for each presented axis the number of the stored one; -1: a new axis of length 1.
        named: whether the file names its axes; else the last three are taken as z, y, x.
    """

    stored: tuple[int, ...]
    order: tuple[int, ...]
    named: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape as presented."""
        return tuple(1 if axis < 0 else self.stored[axis] for axis in self.order)

    @property
    def plain(self) -> bool:
        """Whether the stored order is already the presented one."""
        return self.order == tuple(range(len(self.stored)))

    def of(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Values of the stored axes, such as the lengths of chunks, in presented order; 1 for a new axis."""
        return tuple(1 if axis < 0 else values[axis] for axis in self.order)

    def zyx(self, values: Sequence[Any]) -> list[Any] | None:
        """Values in the file's order of axes, reordered to z, y, x. There is one for every axis, or one for every
        spatial axis; None for any other number.

        >>> arrange((5, 6, 7), ["x", "y", "z"], "a.n5").zyx([4, 4, 40])
        [40, 4, 4]
        """
        space = self.order[-3:]
        if len(values) == len(self.stored):
            return None if min(space) < 0 else [values[axis] for axis in space]
        ranked = sorted(space)
        if len(values) != 3 or min(space) < 0:
            return None
        return [values[ranked.index(axis)] for axis in space]

    def into(self, index: tuple[slice, ...]) -> tuple[slice, ...]:
        """Turn an index into the presented array into one into the stored array."""
        inside = [slice(0, 1)] * len(self.stored)
        for part, axis in zip(index, self.order, strict=True):
            if axis >= 0:
                inside[axis] = part
        return tuple(inside)

    def present(self, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Reorder the axes of a box of the stored array to presented order."""
        kept = [axis for axis in self.order if axis >= 0]
        left = [axis for axis in range(len(self.stored)) if axis not in kept]
        turned = stored.transpose(*left, *kept)[(0,) * len(left)]
        presented: npt.NDArray[Any] = turned[tuple(np.newaxis if axis < 0 else slice(None) for axis in self.order)]
        return presented

    def store(self, presented: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Reorder the axes of a presented box to stored order."""
        kept = [axis for axis in self.order if axis >= 0]
        left = [axis for axis in range(len(self.stored)) if axis not in kept]
        inside = presented[tuple(0 if axis < 0 else slice(None) for axis in self.order)]
        return inside.reshape((1,) * len(left) + inside.shape).transpose(np.argsort([*left, *kept]))


def arrange(
    shape: Sequence[int], names: Sequence[str | None] | None, path: str, keep_channel: bool | None = None
) -> Arrangement:
    """Find z, y, x and channels among the axes of a stored array.

    Other axes of length 1 are left out, and a line says so. Without names, or with names without a meaning, the last
    three axes are z, y, x.

    Args:
        shape: as stored.
        names: as the file has them, one for each axis; None where it names none.
        path: names the array in messages.
        keep_channel: whether an axis of one channel stays; None: if it is the first one.

    Raises:
        NeuropilError: names that cannot be used, or axes that are no volume, such as a series in time.

    >>> arrange((7, 6, 5, 2), ["x", "y", "z", "c"], "a.h5").shape
    (2, 5, 6, 7)
    """
    stored = tuple(int(n) for n in shape)
    known = _known(stored, names, path)
    return _unnamed(stored, path) if known is None else _named(stored, *known, path, keep_channel)


def _known(
    stored: tuple[int, ...], names: Sequence[str | None] | None, path: str
) -> tuple[list[str], list[str]] | None:
    """Names and kinds of the axes; None where the names have no meaning. Refuses names that cannot be used."""
    kinds = [kind(name) for name in names or ()]
    if len(stored) < 2 or set(kinds) <= {"?"}:
        return None
    told = f"{path} names its axes {table(names, stored)}"
    if len(kinds) != len(stored):
        if kinds == list("zyx") and len(stored) == 4:
            return None  # channels, which come first, are not named
        raise NeuropilError(f"{told}, which are {len(kinds)} names for {len(stored)} axes; {way_out(len(stored))}")
    if not {"x", "y", "z"} & set(kinds) and kinds.count("?") == 3:  # channels and time alone are named
        space = iter("zyx")
        kinds = [next(space) if one == "?" else one for one in kinds]
    twice = [one for one in "zyxct" if kinds.count(one) > 1]
    strange = [str(name) for name, one, n in zip(names or (), kinds, stored, strict=True) if one == "!" and n > 1]
    if twice or strange or not {"x", "y"} <= set(kinds):
        wrong = f"two of them mean {twice[0]}" if twice else f"what {', '.join(strange)} means is not known"
        wrong = wrong if twice or strange else "which are y and x is not clear"
        raise NeuropilError(f"{told}: {wrong}; {way_out(len(stored))}")
    return [str(name) for name in names or ()], kinds


def _named(
    stored: tuple[int, ...], names: list[str], kinds: list[str], path: str, keep_channel: bool | None
) -> Arrangement:
    others = [axis for axis, kind in enumerate(kinds) if kind not in "zyxc"]
    long = [axis for axis in others if stored[axis] > 1]
    z = kinds.index("z") if "z" in kinds else -1
    if z < 0 and len(long) == 1:
        z = long.pop()
        if kinds[z] == "t":
            tell(f"{path} has no axis z; its axis {names[z]!r} of length {stored[z]} is read as z")
    if long:
        raise NeuropilError(
            f"expected axes z, y, x and at most one of channels, got {table(names, stored)}, in {path}; "
            "write the part that you mean with `neuropil convert`, or another tool"
        )
    c = kinds.index("c") if "c" in kinds else -1
    if z < 0 and c >= 0 and not keep_channel:
        z, c = c, -1
        tell(f"{path} has no axis z; its axis {names[z]!r} of length {stored[z]} is read as z")
    if c >= 0 and stored[c] == 1 and not (c == 0 if keep_channel is None else keep_channel):
        others, c = [*others, c], -1
    space = (z, kinds.index("y"), kinds.index("x"))
    order = space if c < 0 else (c, *space)
    left = [axis for axis in others if axis != z]
    found = Arrangement(stored, order, named=True)
    if left:
        tell(f"{path}: left out {', '.join(f'axis {names[axis]!r} of length 1' for axis in left)}")
    if [axis for axis in order if axis >= 0] != sorted(axis for axis in order if axis >= 0):
        tell(f"{path} is stored as {', '.join(names)}; read as {'c, z, y, x' if len(order) == 4 else 'z, y, x'}")
    return found


def _unnamed(stored: tuple[int, ...], path: str) -> Arrangement:
    axes = list(range(len(stored)))
    trailing, leading = 0, 0
    while len(axes) > 3 and stored[axes[-1]] == 1:
        axes.pop()
        trailing += 1
    while len(axes) > 3 and len(stored) > 4 and stored[axes[0]] == 1:  # of five, both that come before z, y, x
        axes.pop(0)
        leading += 1
    if trailing or leading:
        ends = " and ".join(f"{n} {end}" for n, end in ((leading, "first"), (trailing, "last")) if n)
        tell(f"{path}: left out {ends} {'axis' if trailing + leading == 1 else 'axes'} of length 1")
    lengths = [stored[axis] for axis in axes]
    if len(axes) == 4 and lengths[3] <= 4 and min(lengths[1:3]) >= _WIDE:
        by = " × ".join(map(str, lengths))
        raise NeuropilError(
            f"expected channels before z, y, x, got an array of {by}, whose last axis looks like channels, in {path}; "
            "name its axes there, or write it with channels first"
        )
    if len(axes) == 3 and lengths[2] in (3, 4) and min(lengths[:2]) >= _WIDE:
        raise NeuropilError(
            f"expected axes z, y, x, got an array of {' × '.join(map(str, lengths))}, which looks like one picture in "
            f"colours, in {path}; make it gray, or if it is none, give --axes zyx of `neuropil convert`"
        )
    order = tuple(axes) if len(axes) != 2 else (-1, *axes)
    return Arrangement(stored, order)
