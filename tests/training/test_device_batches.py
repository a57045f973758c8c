"""A batch varied at once is what its samples are when they are varied one by one."""

import numpy as np
import pytest
import torch

from neuropil import Config
from neuropil.augment import Symmetry, apply_defects, turn_held, vary_together
from neuropil.dataset import VolumeDataset
from neuropil.sources import LabelledVolume
from neuropil.targets import label_margin
from neuropil.training.batches import Numbers, draw, prepare
from neuropil.training.device_batches import DeviceDataset, place_windows, placed_batches, prepare_together
from neuropil.volumes import LOGIT8, Metadata, array_volume
from operators import operators, waits

WARP = {"rotate": 45, "scale": 0.1, "elastic": 4, "step": 0.35, "slip": 0.15}
KINDS = ("missing", "partly_missing", "blurred", "noisy", "motion", "cut_noise", "cut_blur")
ALL = {**WARP, **dict.fromkeys(KINDS, 1 / 7)}
EVERY = {**WARP, "several": True, **dict.fromkeys(KINDS, 1.0)}
CPU = torch.device("cpu")

RECIPES = {
    "plain": ({}, (3, 24, 24)),
    "steps and slips": ({"step": 0.5, "slip": 0.5, "displacement": 5}, (3, 28, 20)),
    "all": (ALL, (4, 24, 24)),
    "several": ({"several": True, **dict.fromkeys(KINDS, 0.4)}, (4, 24, 24)),
    "every": ({"several": True, **dict.fromkeys(KINDS, 1.0)}, (4, 24, 24)),
    "cube": ({"cube": True, "rotate": 30, "missing": 0.3}, (16, 16, 16)),
    "still": ({"flip": False, "transpose": False, "intensity_probability": 0}, (3, 24, 24)),
}


OFFSETS = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, -3, 0), (0, 0, -3), (-2, 0, 0), (-1, 2, 0))


def drawn_from(augment, patch, dtype=np.uint8, memory=4e9, taught=False):
    """A recipe and two volumes of random blocks, one with a mask and, if wanted, what a teacher says of it."""
    model = {"label_erosion": 1, "aux_erosions": [2], "offsets": OFFSETS}
    entries = [{"image": "a", "labels": "a", "teacher": "t"}] if taught else []
    config = Config.from_dict(
        {"model": model, "augment": augment, "training": {"patch": patch}, "data": {"train": entries}}
    )
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 9, (18, 8, 9)).repeat(6, 1).repeat(6, 2).astype(np.uint32)
    most = np.iinfo(dtype).max if dtype != np.float32 else 1
    images = [(rng.random(labels.shape) * most).astype(dtype) for _ in range(2)]
    mask = (rng.random(labels.shape) > 0.05).astype(np.uint8)
    codes = rng.integers(0, 256, (len(OFFSETS), *labels.shape)).astype(np.uint8)
    said = array_volume(codes, Metadata(offsets=OFFSETS[::-1], encoding=LOGIT8)) if taught else None
    pairs = [
        LabelledVolume(array_volume(images[0]), array_volume(labels), array_volume(mask), teacher=said),
        LabelledVolume(array_volume(images[1][:, :, 7:]), array_volume(labels[:, :, 7:])),
    ]
    margin = label_margin(config.model)
    data = VolumeDataset(pairs, patch, margin=margin, augment=config.augment, memory=memory, offsets=OFFSETS)
    return config, data


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("name", RECIPES)
def test_a_batch_is_its_samples(name, dtype):
    augment, patch = RECIPES[name]
    config, data = drawn_from(augment, patch, dtype)
    there = DeviceDataset(data, CPU)
    for first in range(0, 24, 6):
        numbers = range(first, first + 6)
        expected = prepare([data[n] for n in numbers], config, 0, config.augment)
        for placed in (there.place([data.spot(n) for n in numbers]), place_windows([data[n] for n in numbers], CPU)):
            found = prepare_together(placed, config, 0, config.augment)
            # Of noise from voxel to voxel: a ten-thousandth of a voxel beside the place shows as much.
            assert (found.image_BCZYX - expected.image_BCZYX).abs().max() < 5e-5
            for one, other in zip(found[1:4], expected[1:4], strict=True):
                assert one.dtype == other.dtype
                assert torch.equal(one, other)
            for one, other in zip(found.auxiliary, expected.auxiliary, strict=True):
                assert torch.equal(one.target_BCZYX, other.target_BCZYX)
                assert torch.equal(one.validity_BCZYX, other.validity_BCZYX)


@pytest.mark.parametrize("memory", [4e9, 1], ids=["kept", "read by box"])
@pytest.mark.parametrize("name", ["plain", "steps and slips", "cube"])
def test_a_teacher_says_of_a_batch_what_it_says_of_its_samples(name, memory):
    config, data = drawn_from(*RECIPES[name], memory=memory, taught=True)
    seen = []
    for first in range(0, 24, 6):
        numbers = range(first, first + 6)
        expected = prepare([data[n] for n in numbers], config, 0, config.augment)
        ways = [place_windows([data[n] for n in numbers], CPU)]
        if data.in_memory:
            ways.append(DeviceDataset(data, CPU).place([data.spot(n) for n in numbers]))
        for placed in ways:
            found = prepare_together(placed, config, 0, config.augment)
            valid = expected.soft_validity_BEZYX
            assert torch.equal(found.soft_validity_BEZYX, valid)
            assert torch.equal(found.soft_BEZYX[valid], expected.soft_BEZYX[valid])
        seen += valid.any(-1).any(-1).any(-1).tolist()
    # One of the volumes has a teacher; what leads aslant is held by it where flips and turns leave it aslant so.
    assert {any(edges) for edges in seen} == {False, True}
    assert {edges[-1] for edges in seen if any(edges)} >= {False}


def test_a_batch_is_taught_by_few_operators():
    counts = []
    for batch in (2, 24):
        _, data = drawn_from(*RECIPES["plain"], taught=True)
        placed = DeviceDataset(data, CPU).place([data.spot(n) for n in range(batch)])
        held, turns = [piece.teacher for piece in placed.pieces], [Symmetry(False, True, False)] * batch
        counts.append(len(operators(lambda p=placed, h=held, t=turns: turn_held(p.codes, h, t, OFFSETS, (3, 24, 24)))))
    assert counts == [4, 4]


def test_defects_happen_in_the_order_they_are_given_in():
    still = {"several": True, "flip": False, "transpose": False, "intensity_probability": 0}
    config, data = drawn_from({**still, **dict.fromkeys(KINDS, 1.0)}, (4, 24, 24))
    samples = [data[n] for n in range(6)]
    drawn = [draw(one.number, None, config, 0, config.augment) for one in samples]
    rng = np.random.default_rng(0)
    drawn = [one._replace(defects=tuple(one.defects[i] for i in rng.permutation(7))) for one in drawn]
    placed = place_windows(samples, CPU)
    found = vary_together(placed.voxels, placed.windows, drawn, (4, 24, 24), label_margin(config.model))
    for image, sample, one in zip(found.image_BZYX, samples, drawn, strict=True):
        assert torch.allclose(image, apply_defects(sample.image_ZYX, one.defects), atol=5e-5)


def varied(augment, patch, batch):
    """The augmentation alone of a batch that is drawn."""
    config, data = drawn_from(augment, patch)
    placed = DeviceDataset(data, CPU).place([data.spot(n) for n in range(batch)])
    drawn = [draw(piece.number, piece.warp, config, 0, config.augment) for piece in placed.pieces]
    kinds = {type(defect) for one in drawn for defect in one.defects}

    def piece():
        found = vary_together(placed.voxels, placed.windows, drawn, patch, label_margin(config.model))
        return found.labels(), found.mask()

    return piece, kinds


def test_few_operators_vary_a_batch_of_any_size():
    counts = [len(operators(varied(WARP, (4, 24, 24), batch)[0])) for batch in (2, 8, 24)]
    assert counts[0] == counts[1] == counts[2] <= 32
    for augment, batch in ((ALL, 24), (EVERY, 2), (EVERY, 24)):
        piece, kinds = varied(augment, (4, 24, 24), batch)
        assert len(kinds) == 6, "noise in boxes and in sections is one kind"
        assert len(operators(piece)) <= 60


@pytest.mark.parametrize("batch", [2, 8])
def test_no_operator_waits_for_a_value(batch):
    assert all(waits(varied(augment, (4, 24, 24), batch)[0]) == 0 for augment in (ALL, EVERY))


def test_volumes_that_do_not_fit_are_read_by_windows():
    config, kept = drawn_from(ALL, (4, 24, 24))
    _, lazy = drawn_from(ALL, (4, 24, 24), memory=1)
    assert not lazy.in_memory
    one, other = (
        prepare_together(next(placed_batches(data, Numbers(3, 4), CPU)), config, 0, config.augment)
        for data in (kept, lazy)
    )
    assert all(torch.equal(a, b) for a, b in zip(one[1:4], other[1:4], strict=True))
    assert torch.allclose(one.image_BCZYX, other.image_BCZYX, atol=5e-5)
