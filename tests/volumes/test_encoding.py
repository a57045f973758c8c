"""Codes of affinities: the map of DESIGN.md section 4, against scalar formulas."""

from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuropil
from neuropil.errors import NeuropilError
from neuropil.volumes import LINEAR8, LOGIT8, LOGIT16, Encoding

ENCODINGS = [LOGIT8, LOGIT16, LINEAR8, Encoding("logit8", 0.01, 0.9), Encoding("logit16", 0.49, 0.51)]


def value(encoding, code):
    top = encoding.codes - 1
    if encoding.kind == "linear8":
        return code / top
    if code in (0, top):
        return float(code == top)
    low, high = (log(p / (1 - p)) for p in (encoding.min, encoding.max))
    return 1 / (1 + exp(-(low + (high - low) * code / top)))


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda e: f"{e.kind}-{e.min}")
def test_table_is_the_formula_and_ascends(encoding):
    for code in [0, 1, 2, encoding.codes // 2, encoding.codes - 2, encoding.codes - 1]:
        assert encoding.table[code] == pytest.approx(value(encoding, code), rel=1e-12)
    assert (np.diff(encoding.table) > 0).all()
    assert encoding.table.dtype == np.float64


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda e: f"{e.kind}-{e.min}")
def test_every_code_survives_decoding_and_encoding(encoding):
    codes = np.arange(encoding.codes, dtype=encoding.dtype)
    assert (encoding.encode(encoding.table) == codes).all()
    if encoding.kind != "logit16":  # float32 cannot tell all 65536 apart near 1
        assert (encoding.encode(encoding.decode(codes)) == codes).all()


@given(st.floats(0, 1), st.sampled_from(ENCODINGS))
def test_encode_takes_the_nearest_code_and_keeps_the_ends(p, encoding):
    code = int(encoding.encode(np.array([p]))[0])
    top = encoding.codes - 1
    if encoding.kind == "linear8":
        assert abs(code / top - p) <= 0.5 / top + 1e-12
        return
    assert (code == 0) == (p <= encoding.min)
    assert (code == top) == (p >= encoding.max)
    if 0 < code < top:
        low, high = (log(q / (1 - q)) for q in (encoding.min, encoding.max))
        exact = (log(p / (1 - p)) - low) / (high - low) * top
        assert abs(min(max(exact, 1), top - 1) - code) <= 0.5 + 1e-6


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_shapes_dtypes_and_memory_layouts(dtype):
    p = np.random.default_rng(0).random((3, 5, 7, 9)).astype(dtype)
    codes = LOGIT8.encode(p)
    assert codes.shape == p.shape
    assert (LOGIT8.encode(p.transpose(3, 1, 0, 2)) == codes.transpose(3, 1, 0, 2)).all()
    assert LOGIT8.decode(codes).dtype == np.float32
    assert LOGIT8.encode(np.empty((0, 2), dtype)).shape == (0, 2)


def test_more_than_one_block_is_encoded_alike():
    p = np.random.default_rng(1).random(600_001, np.float32)
    codes = LOGIT8.encode(p)
    assert (codes[-7:] == LOGIT8.encode(p[-7:])).all()
    assert (codes[:: 1 << 16] == LOGIT8.encode(p[:: 1 << 16])).all()


@pytest.mark.parametrize("bad", [np.nan, -0.001, 1.001, np.inf])
@pytest.mark.parametrize("encoding", [LOGIT8, LINEAR8])
def test_no_probability_is_refused(bad, encoding):
    with pytest.raises(NeuropilError, match=r"\[0, 1\]"):
        encoding.encode(np.array([0.2, bad, 0.4]))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("encoding", [LOGIT8, LINEAR8])
def test_what_rounding_leaves_outside_is_taken_as_the_ends(dtype, encoding):
    inside = np.array([0, 0.5, 1], dtype)
    outside = inside + np.array([-1e-5, 0, 1e-5], dtype) * np.array(0.99, dtype)
    assert encoding.encode(outside).tolist() == encoding.encode(inside).tolist()
    segmented = neuropil.segment(np.full((3, 2, 4, 4), 1 + 9e-6))
    assert segmented.min() == segmented.max() == 1


def test_stored_form():
    assert LOGIT8.to_json() == {"kind": "logit8", "min": 1e-4, "max": 0.9999}
    for encoding in ENCODINGS:
        assert Encoding.from_json(encoding.to_json()) == encoding
    assert Encoding.from_json({"kind": "logit8"}) == LOGIT8


@pytest.mark.parametrize(
    "stored", [{}, None, "logit8", {"kind": "log8"}, {"kind": "logit8", "min": "x"}, {"kind": "logit8", "low": 1}]
)
def test_what_is_no_encoding_is_refused(stored):
    with pytest.raises(NeuropilError, match="logit8"):
        Encoding.from_json(stored)


def test_limits_are_checked():
    with pytest.raises(NeuropilError, match="0 < min < max < 1"):
        Encoding("logit8", 0.9, 0.1)
    with pytest.raises(NeuropilError, match="uint8 codes"):
        LOGIT8.decode(np.zeros(3, np.uint16))


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda e: f"{e.kind}-{e.min}")
@pytest.mark.parametrize("threads", [1, 3])
def test_float32_gets_the_codes_of_the_formula(encoding, threads):
    """Every threshold and its neighbours, random values, the smallest floats: what float64 and the logarithm say."""
    edges = encoding.thresholds
    assert edges.shape == (encoding.codes - 1,)
    assert (np.diff(edges) >= 0).all()
    rng = np.random.default_rng(0)
    small, near_one = 10 ** -rng.uniform(0, 45, 9999), 1 - 10 ** -rng.uniform(0, 8, 9999)
    around = np.nextafter(edges, 0), np.nextafter(edges, 1)
    p = np.concatenate([edges, *around, rng.random(99_999), small, near_one, [0, -0.0, 1, 0.5]]).astype(np.float32)
    p = np.minimum(p, np.float32(1))
    expected = encoding.encode(p.astype(np.float64))
    np.testing.assert_array_equal(encoding.encode(p, threads), expected)
    half = p.astype(np.float16)
    np.testing.assert_array_equal(encoding.encode(half, threads), encoding.encode(half.astype(np.float64)))
