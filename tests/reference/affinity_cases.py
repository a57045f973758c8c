"""Small random affinities, most of them full of ties."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from neuropil.volumes import LINEAR8, LOGIT8, LOGIT16, Encoding


@dataclass(frozen=True)
class Case:
    """Stored affinities, what they mean, and the values and codes that a kernel must see."""

    array: np.ndarray
    offsets: tuple
    encoding: Encoding | None
    codes: np.ndarray
    table: np.ndarray

    @property
    def values(self):
        return self.table[self.codes]

    @property
    def shape(self):
        return self.array.shape[1:]


@st.composite
def cases(draw, largest=5):
    """Any shape, sign and order of offsets, type; few distinct values, so that ties are everywhere."""
    shape = draw(st.tuples(*[st.integers(1, largest)] * 3))
    signs = draw(st.tuples(*[st.sampled_from((-1, 1))] * 3))
    nearest = [tuple(signs[a] * (a == axis) for a in range(3)) for axis in range(3)]
    offsets = tuple(draw(st.permutations([*nearest, (0, -3, 0), (0, 0, 9)])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    levels = draw(st.sampled_from((2, 3, 5, 256)))
    p = rng.integers(0, levels, (len(offsets), *shape)) / (levels - 1)
    kind = draw(st.sampled_from(("uint8", "logit8", "logit16", "float32", "float64")))
    if kind == "uint8":
        codes = LINEAR8.encode(p)
        return Case(codes, offsets, None, codes, LINEAR8.table)
    if kind in ("logit8", "logit16"):
        encoding = {"logit8": LOGIT8, "logit16": LOGIT16}[kind]
        return Case(encoding.encode(p), offsets, encoding, encoding.encode(p), encoding.table)
    array = p.astype(kind)
    return Case(array, offsets, None, LOGIT16.encode(array), LOGIT16.table)


@st.composite
def cases_with_fragments(draw, largest=4):
    """A case and fragments of it: either of few ids thrown at random (some 0), or one per voxel."""
    case = draw(cases(largest))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.sampled_from((2, 6, 20)))
    fragments = rng.integers(0, count + 1, case.shape)
    return case, fragments.astype(draw(st.sampled_from((np.uint8, np.int32, np.uint64))))
