"""A batch varied at once is what its samples are when they are varied one by one."""

import numpy as np
import pytest
import torch

from neuropil import Config
from neuropil.augment import vary_together
from neuropil.dataset import VolumeDataset
from neuropil.sources import LabelledVolume
from neuropil.targets import label_margin
from neuropil.training.batches import Numbers, draw, prepare
from neuropil.training.device_batches import DeviceDataset, place_windows, placed_batches, prepare_together
from neuropil.volumes import array_volume
from operators import operators, waits

WARP = {"rotate": 45, "scale": 0.1, "elastic": 4, "step": 0.35, "slip": 0.15}
KINDS = ("missing", "partly_missing", "blurred", "noisy", "motion", "cut_noise", "cut_blur")
ALL = {**WARP, **dict.fromkeys(KINDS, 1 / 7)}
CPU = torch.device("cpu")

RECIPES = {
    "plain": ({}, (3, 24, 24)),
    "steps and slips": ({"step": 0.5, "slip": 0.5, "displacement": 5}, (3, 28, 20)),
    "all": (ALL, (4, 24, 24)),
    "several": ({"several": True, **dict.fromkeys(KINDS, 0.4)}, (4, 24, 24)),
    "cube": ({"cube": True, "rotate": 30, "missing": 0.3}, (16, 16, 16)),
    "still": ({"flip": False, "transpose": False, "intensity_probability": 0}, (3, 24, 24)),
}


def drawn_from(augment, patch, dtype=np.uint8, memory=4e9):
    """A recipe and two volumes of random blocks, one with a mask."""
    model = {"label_erosion": 1, "aux_erosions": [2]}
    config = Config.from_dict({"model": model, "augment": augment, "training": {"patch": patch}})
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 9, (18, 8, 9)).repeat(6, 1).repeat(6, 2).astype(np.uint32)
    most = np.iinfo(dtype).max if dtype != np.float32 else 1
    images = [(rng.random(labels.shape) * most).astype(dtype) for _ in range(2)]
    mask = (rng.random(labels.shape) > 0.05).astype(np.uint8)
    pairs = [
        LabelledVolume(array_volume(images[0]), array_volume(labels), array_volume(mask)),
        LabelledVolume(array_volume(images[1][:, :, 7:]), array_volume(labels[:, :, 7:])),
    ]
    margin = label_margin(config.model)
    return config, VolumeDataset(pairs, patch, margin=margin, augment=config.augment, memory=memory)


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
    assert counts[0] == counts[1] == counts[2] <= 40
    piece, kinds = varied(ALL, (4, 24, 24), 24)
    assert len(kinds) == 6, "noise in boxes and in sections is one kind"
    assert len(operators(piece)) <= 60


@pytest.mark.parametrize("batch", [2, 8])
def test_no_operator_waits_for_a_value(batch):
    assert waits(varied(ALL, (4, 24, 24), batch)[0]) == 0


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
