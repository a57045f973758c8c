"""The native loops of a processor, against the same in torch and against slow versions."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuropil import NeuropilError
from neuropil.targets import affinities, erosion, kernels
from neuropil.targets.kernels import eroded_inside, joined, meetings_inside
from reference.targets import affinities as slow_affinities

DTYPES = [torch.int8, torch.int16, torch.int32, torch.int64]


def some(shape, seed, dtype=torch.int32, top=4):
    """Labels and mask, cut out of larger ones and transposed in some: what patches look like in memory."""
    rng = np.random.default_rng(seed)
    wide = [*shape[:-2], shape[-2] + 3, shape[-1] + 2]
    turned = bool(rng.integers(2))
    if turned:
        wide[-2:] = wide[:-3:-1]
    labels, mask = torch.from_numpy(rng.integers(-1, top, wide)).to(dtype), torch.from_numpy(rng.random(wide) > 0.2)
    if turned:
        labels, mask = labels.transpose(-1, -2), mask.transpose(-1, -2)
    return labels[..., 1:-2, 2:], mask[..., 1:-2, 2:]


@pytest.mark.parametrize("threads", [1, 2])
@given(st.integers(0, 2**32), st.sampled_from(DTYPES), st.sampled_from([(3, 9, 70), (2, 2, 5, 11), (7, 8)]))
def test_meetings_are_those_of_torch(threads, seed, dtype, shape):
    labels, _ = some(shape, seed, dtype)
    if dtype in (torch.int32, torch.int64) and seed % 2:
        labels[labels == 3] = 2**15 + 1  # other bits than the lowest 16 count, too
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "_threads", lambda of: threads)
        for steps in range(3):
            meets = erosion._by_torch(labels, steps)
            assert torch.equal(meetings_inside(labels, steps), meets)
            assert torch.equal(eroded_inside(labels, steps), erosion._cut(labels, steps) * ~meets)


def test_windows_larger_than_a_section_meet_nowhere():
    assert meetings_inside(torch.ones(3, 4, 5, dtype=torch.int32), 2).shape == (3, 0, 1)
    assert eroded_inside(torch.ones(0, 4, 5, dtype=torch.int32), 1).shape == (0, 2, 3)


@pytest.mark.parametrize("threads", [1, 2])
@given(
    st.integers(0, 2**32),
    st.sampled_from([torch.uint8, *DTYPES]),
    st.sampled_from([(3, 9, 70), (2, 3, 5, 130), (2, 1, 2, 3, 7), (4, 5, 64), (2, 3, 129), (3, 4, 0)]),
    st.lists(st.tuples(st.integers(-3, 3), st.integers(-6, 6), st.integers(-70, 70)), min_size=1, max_size=4),
    st.booleans(),
)
def test_edges_are_those_of_torch(threads, seed, dtype, shape, offsets, masked):
    labels, mask = some(shape, seed, dtype)
    mask = mask if masked else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "_threads", lambda of: threads)
        got, expected = joined(labels, offsets, mask), affinities._by_torch(labels, offsets, mask)
    assert all(torch.equal(a, b) and a.is_contiguous() for a, b in zip(got, expected, strict=True))


def test_edges_of_wide_rows_are_those_of_the_slow_version():
    labels, mask = (part.contiguous() for part in some((2, 3, 150), 0))
    offsets = [(-1, 0, 0), (0, 1, -27), (0, 0, 1), (1, -1, 86), (0, 0, -150), (0, 0, 87)]
    got, expected = joined(labels, offsets, mask), slow_affinities(labels.numpy(), offsets, mask.numpy())
    assert all(np.array_equal(a.numpy(), b) for a, b in zip(got, expected, strict=True))


def test_large_volumes_are_worth_more_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert [kernels._threads(torch.empty(size, dtype=torch.int8)) for size in (1000, 2**20, 2**24)] == [1, 2, 4]


def test_other_devices_are_left_to_torch():
    labels = torch.zeros(2, 3, 12, 14, dtype=torch.int32, device="meta")
    assert erosion.erode_inside(labels, 2, 3).shape == (2, 3, 6, 8)
    assert erosion.erode_inside(labels, 2, 1).shape == (2, 3, 10, 12)
    assert erosion.meetings(labels, 1).shape == labels.shape
    values, validity = affinities.affinity_targets(labels, [(-1, 0, 0), (0, 2, 0)], labels.bool())
    assert values.shape == validity.shape == (2, 2, 3, 12, 14)
    assert values.device.type == "meta"


LABELS = torch.ones(2, 3, 4, dtype=torch.int32)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    ("labels", "mask", "message"),
    [
        (LABELS, torch.ones(2, 3, 4, dtype=torch.int64), r"torch\.bool .* got torch\.int64"),
        (LABELS, torch.ones(2, 3, 4, dtype=torch.uint8), r"torch\.bool .* got torch\.uint8"),
        (LABELS, torch.ones(2, 3, 4), r"torch\.bool .* got torch\.float32"),
        (LABELS, torch.ones(3, 2, 4, dtype=torch.bool), r"shape \[2, 3, 4\], got .* \[3, 2, 4\]"),
        (LABELS[None], torch.ones(2, 3, 4, dtype=torch.bool), r"shape \[1, 2, 3, 4\], got"),
        (LABELS.float(), None, r"labels must be integers .* torch\.float32"),
        (LABELS[0], None, r"integers \[\.\.\., z, y, x\], got torch\.int32 of shape \[3, 4\]"),
    ],
    ids=["int64", "uint8", "float", "turned", "fewer axes", "float labels", "one section"],
)
def test_refuses_what_would_be_taken_for_something_else(device, labels, mask, message):
    with pytest.raises(NeuropilError, match=message):
        affinities.affinity_targets(labels.to(device), [(0, 0, -1)], None if mask is None else mask.to(device))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64, torch.float32])
def test_the_native_loop_takes_masks_of_bool_only(dtype):
    with pytest.raises(TypeError):
        joined(LABELS, [(0, 0, -1)], torch.ones(2, 3, 4, dtype=dtype))
