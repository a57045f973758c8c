"""Inputs that graphs of real tissue never give, at any size: where a kernel's worst case would show."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint8]
Fragments = npt.NDArray[np.uint32]
Case = tuple[Codes, Fragments | None]
"""Codes [3, z, y, x] of the nearest neighbourhood, and fragments [z, y, x]; without them, those of the watershed."""

MIDDLE = 96, 160
ALL = 1, 255


def random_codes(shape: tuple[int, ...], low: int, high: int, seed: int = 0) -> Codes:
    return np.random.default_rng(seed).integers(low, high, (3, *shape), dtype=np.uint8)


def singles(shape: tuple[int, ...], first: int = 1) -> Fragments:
    """Every voxel a fragment of its own."""
    return np.arange(first, first + int(np.prod(shape)), dtype=np.uint32).reshape(shape)


def hubs(n: int, count: int, codes: tuple[int, int] = ALL) -> Case:
    """One or two sheets that touch each of n single voxels in a sheet between them."""
    side = int(np.sqrt(n))
    fragments = np.ones((1 + count, side, side), np.uint32)
    fragments[1] = singles((side, side), 3)
    fragments[2:] = 2
    return random_codes(fragments.shape, *codes), fragments


def chain(n: int, codes: Callable[[int], npt.NDArray[np.uint8]]) -> Case:
    """A row of single voxels."""
    return np.stack([codes(n)] * 3).reshape(3, 1, 1, n), singles((1, 1, n))


def comb(n: int) -> Case:
    """Two combs whose teeth stand between each other's, and single voxels between all teeth."""
    side = int(np.sqrt(n)) // 4 * 4
    fragments = singles((side, side), 3)
    fragments[1:-1, 0::4] = 1
    fragments[1:-1, 2::4] = 2
    fragments[0], fragments[-1] = 1, 2
    return random_codes((1, side, side), *ALL), fragments[None]


def rods(n: int) -> Case:
    """Rods along x on rods along y: each touches all of the others."""
    side = int(np.sqrt(n / 2))
    below = np.repeat(np.arange(1, side + 1, dtype=np.uint32)[:, None], side, 1)
    fragments = np.stack([below, below.T + np.uint32(side)])
    return random_codes(fragments.shape, *ALL), fragments


def slab(n: int, sections: int, codes: tuple[int, int]) -> Case:
    """Sections of noise in a stack of good ones."""
    depth = sections + 4
    side = int(np.sqrt(n / depth))
    good = random_codes((depth, side, side), 250, 256)
    good[:, 2:-2] = random_codes((sections, side, side), *codes)
    return good, None


def gradient(n: int, axis: int, fragments: bool) -> Case:
    """Codes that rise along one axis."""
    side = int(np.cbrt(n))
    rise = np.moveaxis(np.broadcast_to(np.linspace(0, 255, side), (side, side, side)), -1, axis)
    codes = np.stack([rise.astype(np.uint8)] * 3)
    return codes, singles((side, side, side)) if fragments else None


def cube(n: int, codes: Callable[[tuple[int, ...]], Codes], fragments: bool = False) -> Case:
    side = int(np.cbrt(n))
    return codes((side, side, side)), singles((side, side, side)) if fragments else None


def _two_values(shape: tuple[int, ...]) -> Codes:
    return np.where(random_codes(shape, 0, 2) > 0, np.uint8(200), np.uint8(50))


def _rising(n: int) -> npt.NDArray[np.uint8]:
    return np.linspace(1, 254, n).astype(np.uint8)


CASES: dict[str, Callable[[int], Case]] = {
    "one hub": lambda n: hubs(n, 1),
    "two hubs": lambda n: hubs(n, 2),
    "two hubs, two values": lambda n: (_two_values(hubs(n, 2)[0].shape[1:]), hubs(n, 2)[1]),
    "two hubs, one value": lambda n: (np.full_like(hubs(n, 2)[0], 128), hubs(n, 2)[1]),
    "chain": lambda n: chain(n, lambda n: random_codes((1, 1, n), *ALL)[0, 0, 0]),
    "chain that rises": lambda n: chain(n, _rising),
    "chain of one value": lambda n: chain(n, lambda n: np.full(n, 128, np.uint8)),
    "comb": comb,
    "rods": rods,
    "grid": lambda n: (random_codes((1, *[int(np.sqrt(n))] * 2), *ALL), singles((1, *[int(np.sqrt(n))] * 2))),
    "cube of voxels": lambda n: cube(n, lambda shape: random_codes(shape, *ALL), fragments=True),
    "slab of 1": lambda n: slab(n, 1, ALL),
    "slab of 3": lambda n: slab(n, 3, ALL),
    "slab of 3, middle": lambda n: slab(n, 3, MIDDLE),
    "slab of 16": lambda n: slab(n, 16, ALL),
    "slab of 16, low": lambda n: slab(n, 16, (1, 60)),
    "untrained": lambda n: cube(n, lambda shape: random_codes(shape, 120, 136)),
    "constant": lambda n: cube(n, lambda shape: np.full((3, *shape), 128, np.uint8)),
    "constant voxels": lambda n: cube(n, lambda shape: np.full((3, *shape), 128, np.uint8), fragments=True),
    "two values": lambda n: cube(n, _two_values),
    "two values, voxels": lambda n: cube(n, _two_values, fragments=True),
    "gradient along z": lambda n: gradient(n, 0, fragments=False),
    "gradient of voxels along z": lambda n: gradient(n, 0, fragments=True),
    "gradient of voxels along x": lambda n: gradient(n, 2, fragments=True),
}
