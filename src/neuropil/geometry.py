"""Boxes, tilings, offsets and voxel sizes. Axis order is always z, y, x."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from neuropil.errors import NeuropilError

Triple = tuple[int, int, int]
"""Three integers, z y x."""

Offsets = tuple[Triple, ...]
"""Affinity edges: channel e of an affinity array joins voxel v to voxel v + offsets[e]."""

VoxelSize = tuple[float, float, float]
"""Size of a voxel in nm, z y x."""

NEAREST: Offsets = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
"""The default nearest neighbourhood, the same as in waterz, LSD, gunpowder and volara."""

_FARTHEST = 1 << 40
"""Voxels that an offset may reach along an axis: kernels add offsets to coordinates in 64 bits."""

OFFSET_PRESETS: dict[str, Offsets] = {
    "nearest": NEAREST,
    # K. Lee et al. 2017, arXiv:1706.00120: sections are few and thick, so edges along z are short.
    "long12": tuple((-z, 0, 0) for z in (1, 2, 3, 4))
    + tuple((0, -y, 0) for y in (1, 3, 9, 27))
    + tuple((0, 0, -x) for x in (1, 3, 9, 27)),
    "plane": ((0, -1, 0), (0, 0, -1)),
}
"""Edges by name: the three nearest, the twelve of the SNEMI3D recipe, the two within a section."""


def default_offsets(channels: int) -> Offsets | None:
    """The offsets assumed for arrays without stored ones: nearest for 3 channels, plane for 2, else None.

    >>> default_offsets(2), default_offsets(12)
    (((0, -1, 0), (0, 0, -1)), None)
    """
    return {2: OFFSET_PRESETS["plane"], 3: NEAREST}.get(channels)


@dataclass(frozen=True, order=True)
class Box:
    """A half-open box of voxels, ``start <= v < stop``, z y x.

    >>> Box.parse("60:70,0:1024,0:512").shape
    (10, 1024, 512)
    """

    start: Triple
    stop: Triple

    def __post_init__(self) -> None:
        if len(self.start) != 3 or len(self.stop) != 3:
            raise NeuropilError(f"a box needs three axes (z, y, x), got start {self.start} and stop {self.stop}")
        if any(b < a for a, b in zip(self.start, self.stop, strict=True)):
            raise NeuropilError(f"a box must not end before it starts, got {self}")

    @classmethod
    def whole(cls, shape: Sequence[int]) -> Box:
        """The box of a volume of this shape; only the last three axes are used."""
        z, y, x = (int(n) for n in shape[-3:])
        return cls((0, 0, 0), (z, y, x))

    @classmethod
    def at(cls, start: Sequence[int], shape: Sequence[int]) -> Box:
        """The box of this shape that begins at ``start``."""
        a, b, c = (int(s) for s in start)
        z, y, x = (int(n) for n in shape[-3:])
        return cls((a, b, c), (a + z, b + y, c + x))

    @classmethod
    def parse(cls, text: str, whole: Box | None = None) -> Box:
        """Read ``Z0:Z1,Y0:Y1,X0:X1``. Ends may be left out (``60:70,:,:``) where ``whole`` says what they are.

        Raises:
            NeuropilError: not of that form, or an end left out with no ``whole`` to take it from.
        """
        form = "Z0:Z1,Y0:Y1,X0:X1, for example 60:70,0:1024,0:1024"
        parts = [re.fullmatch(r"\s*(-?\d*)\s*:\s*(-?\d*)\s*", part) for part in text.split(",")]
        if len(parts) != 3 or any(part is None for part in parts):
            raise NeuropilError(f"a box is written {form}; got {text!r}")
        ends: list[tuple[int, int]] = []
        for axis, part in enumerate(parts):
            assert part is not None
            if whole is None and not (part[1] and part[2]):
                raise NeuropilError(f"this box needs all six numbers ({form}); got {text!r}")
            low = int(part[1]) if part[1] else (whole.start[axis] if whole else 0)
            high = int(part[2]) if part[2] else (whole.stop[axis] if whole else 0)
            ends.append((low, high))
        (z0, z1), (y0, y1), (x0, x1) = ends
        return cls((z0, y0, x0), (z1, y1, x1))

    @property
    def shape(self) -> Triple:
        z, y, x = (b - a for a, b in zip(self.start, self.stop, strict=True))
        return (z, y, x)

    @property
    def size(self) -> int:
        """Number of voxels."""
        z, y, x = self.shape
        return z * y * x

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The index of the box in a ``[z, y, x]`` array; put ``...`` in front for arrays with channels."""
        z, y, x = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return (z, y, x)

    def shift(self, by: Sequence[int]) -> Box:
        """The same box moved by ``by`` voxels."""
        return Box.at([a + d for a, d in zip(self.start, by, strict=True)], self.shape)

    def relative_to(self, origin: Sequence[int]) -> Box:
        """The same voxels, counted from ``origin``."""
        return self.shift([-o for o in origin])

    def grow(self, by: Sequence[int]) -> Box:
        """The box with ``by`` more voxels on both sides of each axis."""
        z0, y0, x0 = (a - d for a, d in zip(self.start, by, strict=True))
        z1, y1, x1 = (b + d for b, d in zip(self.stop, by, strict=True))
        return Box((z0, y0, x0), (z1, y1, x1))

    def intersect(self, other: Box) -> Box:
        """The voxels in both; a box of size 0 when there are none."""
        start = [max(a, b) for a, b in zip(self.start, other.start, strict=True)]
        stop = [max(a, min(b, c)) for a, b, c in zip(start, self.stop, other.stop, strict=True)]
        return Box.at(start, [b - a for a, b in zip(start, stop, strict=True)])

    def contains(self, other: Box) -> bool:
        """Whether every voxel of ``other`` is in this box."""
        return all(a <= b for a, b in zip(self.start, other.start, strict=True)) and all(
            a >= b for a, b in zip(self.stop, other.stop, strict=True)
        )

    def __str__(self) -> str:
        return ",".join(f"{a}:{b}" for a, b in zip(self.start, self.stop, strict=True))


def blocks(box: Box, shape: Triple) -> Iterator[Box]:
    """Cut a box into blocks of at most ``shape`` voxels, in z, y, x order; the last of each axis may be smaller.

    >>> [str(b) for b in blocks(Box.whole((1, 2, 5)), (1, 2, 3))]
    ['0:1,0:2,0:3', '0:1,0:2,3:5']
    """
    if min(shape) < 1:
        raise NeuropilError(f"blocks need at least one voxel on each axis, got {shape}")
    z, y, x = (range(a, b, n) for a, b, n in zip(box.start, box.stop, shape, strict=True))
    for start in ((k, j, i) for k in z for j in y for i in x):  # `product` would make a list of each axis first
        yield Box.at(start, shape).intersect(box)


def parse_offsets(offsets: str | Sequence[Sequence[int]]) -> Offsets:
    """Offsets from a name of ``OFFSET_PRESETS``, text ``"z,y,x;z,y,x"`` or any E×3 sequence, checked.

    Raises:
        NeuropilError: not E×3 integers, a zero offset, one beyond 2**40 voxels, or the same edge twice (offsets of
            opposite sign are the same edge).

    >>> parse_offsets("-1,0,0; 0,-1,0")
    ((-1, 0, 0), (0, -1, 0))
    >>> len(parse_offsets("long12"))
    12
    """
    if isinstance(offsets, str) and offsets in OFFSET_PRESETS:
        return OFFSET_PRESETS[offsets]
    try:
        rows = [r.split(",") for r in offsets.split(";") if r.strip()] if isinstance(offsets, str) else offsets
        parsed = tuple((_whole(z), _whole(y), _whole(x)) for z, y, x in rows)
        if not parsed:
            raise ValueError("no offsets")
    except (TypeError, ValueError, OverflowError):
        raise NeuropilError(
            f'offsets are written "z,y,x;z,y,x;…", for example "-1,0,0;0,-1,0;0,0,-1", or named '
            f"({', '.join(OFFSET_PRESETS)}); got {offsets!r}"
        ) from None
    if any(abs(step) > _FARTHEST for offset in parsed for step in offset):
        raise NeuropilError(f"offsets reach at most 2**40 voxels, got {offsets!r}")
    if (0, 0, 0) in parsed:
        raise NeuropilError(f"offsets must join different voxels, got {offsets!r}")
    # (1, 0, 0) stores the edges of (-1, 0, 0) at their other ends.
    if len({max(o, (-o[0], -o[1], -o[2])) for o in parsed}) != len(parsed):
        raise NeuropilError(f"offsets must be different edges (opposite signs are the same edge), got {offsets!r}")
    return parsed


def _whole(number: str | float) -> int:
    whole = int(number)
    if not isinstance(number, str) and whole != number:
        raise ValueError("a fraction of a voxel")
    return whole
