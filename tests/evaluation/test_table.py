"""The native table equals counting voxel by voxel, for every kind of integer array, and blocks add up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuropil.errors import NeuropilError
from neuropil.evaluation import Contingency, contingency
from neuropil.evaluation.table import from_pairs
from reference.contingency import slow_contingency

DTYPES = ["u1", "<u2", ">u2", "<u4", ">u4", "<u8", ">u8", "i1", "<i2", ">i2", "<i4", ">i4", "<i8", ">i8"]


def as_dict(table: Contingency):
    return dict(zip(zip(table.truth.tolist(), table.segment.tolist(), strict=True), table.count.tolist(), strict=True))


def blobs(rng, shape, ids):
    """Runs of equal ids, as in a segmentation, with single voxels between them."""
    coarse = rng.integers(0, ids, [-(-n // 5) for n in shape])
    fine = np.kron(coarse, np.ones((5, 5, 5), int))[tuple(slice(n) for n in shape)]
    return np.where(rng.random(shape) < 0.1, rng.integers(0, ids, shape), fine)


@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 40)),
    ids=st.integers(1, 100),
    dtypes=st.tuples(st.sampled_from(DTYPES), st.sampled_from(DTYPES)),
    threads=st.integers(1, 5),
    seed=st.integers(0, 2**32),
)
def test_equals_counting_voxels(shape, ids, dtypes, threads, seed):
    rng = np.random.default_rng(seed)
    seg, labels = (blobs(rng, shape, ids).astype(dtype) for dtype in dtypes)
    table = contingency(seg, labels, threads)
    assert as_dict(table) == slow_contingency(seg, labels)
    pairs = list(as_dict(table))
    assert pairs == sorted(pairs)
    assert table.voxels == seg.size


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::-1, :, ::-1],
        lambda a: a[:, ::2, 1::3],
        lambda a: np.asfortranarray(a),
        lambda a: a.transpose(2, 0, 1),
        lambda a: np.broadcast_to(a[:, :1], a.shape),
        lambda a: a[0],
        lambda a: a[0, 0],
        lambda a: np.rec.fromarrays([a.astype("u1"), a.astype("u4")]).f1,
    ],
    ids=["reversed", "strided", "fortran", "transposed", "broadcast", "2-D", "1-D", "record field"],
)
def test_any_memory_layout(view):
    rng = np.random.default_rng(3)
    seg, labels = view(blobs(rng, (8, 9, 50), 7)), view(blobs(rng, (8, 9, 50), 5))
    assert as_dict(contingency(seg, labels)) == slow_contingency(seg, labels)


def test_layouts_may_differ_between_the_two():
    rng = np.random.default_rng(4)
    seg, labels = blobs(rng, (8, 9, 50), 7), np.asfortranarray(blobs(rng, (8, 9, 50), 5))
    assert as_dict(contingency(seg, labels)) == slow_contingency(seg, labels)


def test_read_only_and_boolean_arrays():
    labels = np.arange(24).reshape(2, 3, 4)
    labels.flags.writeable = False
    assert as_dict(contingency(labels > 11, labels))[(12, 1)] == 1


@pytest.mark.parametrize("dtype", ["<u8", ">u8"])
def test_ids_up_to_2_to_the_64(dtype):
    top = 2**64 - 1
    labels = np.array([0, 5, top, top - 1, 2**63, top], dtype)
    table = contingency(labels[::-1], labels)
    assert as_dict(table) == slow_contingency(labels[::-1], labels)
    assert table.truth.tolist() == sorted(table.truth.tolist())


@pytest.mark.parametrize("stride", [1, 2**10, 2**32, 2**48], ids=lambda s: f"ids×{s}")
def test_ids_in_a_pattern_do_not_collide(stride):
    """A block-wise relabelling leaves ids that are multiples of a power of two; the hash must not mind."""
    ids = (np.arange(60_000, dtype=np.uint64) * np.uint64(stride)) % np.uint64(2**63 - 25)
    table = contingency(ids, ids[::-1].copy())
    assert len(table) == 60_000
    assert np.array_equal(np.sort(table.segment), np.sort(ids))


def test_blocks_add_up_to_the_whole():
    rng = np.random.default_rng(5)
    seg, labels = blobs(rng, (12, 10, 30), 20), blobs(rng, (12, 10, 30), 20)
    parts = [contingency(seg[z : z + 5], labels[z : z + 5]) for z in range(0, 12, 5)]
    assert parts[0] + parts[1] + parts[2] == contingency(seg, labels)
    assert parts[0] != parts[1]


def test_empty_arrays_give_an_empty_table():
    table = contingency(np.zeros((0, 4, 4), "u4"), np.zeros((0, 4, 4), "u1"))
    assert len(table) == 0
    assert table.voxels == 0
    assert table + table == table


def test_sizes_and_leaving_out():
    table = contingency(np.array([1, 1, 2, 0, 2]), np.array([3, 3, 3, 4, 0]))
    assert [a.tolist() for a in table.truth_sizes()] == [[0, 3, 4], [1, 3, 1]]
    assert [a.tolist() for a in table.segment_sizes()] == [[0, 1, 2], [1, 2, 2]]
    assert as_dict(table.without_truth(0, 4)) == {(3, 1): 2, (3, 2): 1}


def test_pairs_in_any_order():
    one = np.ones(3, np.uint64)
    assert from_pairs(one, np.array([2, 1, 2], np.uint64), one).count.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("seg", "labels", "message"),
    [
        (np.zeros((2, 3, 4)), np.zeros((2, 3, 4), int), "segmentation must hold integer ids, got float64"),
        (np.zeros((2, 3, 4), int), np.zeros((2, 3, 4), "f4"), "labels must hold integer ids, got float32"),
        (np.zeros((2, 3, 4), int), np.full((2, 3, 4), -7), "labels must not be negative, got -"),
        (np.full((2, 3, 4), -1, ">i2"), np.zeros((2, 3, 4), int), "segmentation must not be negative, got -1"),
        (np.zeros((2, 3, 4), int), np.zeros((2, 3, 5), int), r"same shape, got \(2, 3, 4\) and \(2, 3, 5\)"),
        (np.zeros((1, 2, 3, 4), int), np.zeros((1, 2, 3, 4), int), "axes"),
    ],
)
def test_refuses(seg, labels, message):
    with pytest.raises(NeuropilError, match=message):
        contingency(seg, labels)
