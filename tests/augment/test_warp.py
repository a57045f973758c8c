import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuropil import Config
from neuropil.augment import Warp, apply_symmetry, apply_warp, draw_symmetry, draw_warp
from neuropil.augment.warp import longest_reach, positions, straight
from neuropil.config import AugmentConfig
from neuropil.dataset import VolumeDataset
from neuropil.sources import LabelledVolume
from neuropil.targets import affinity_targets
from neuropil.training.batches import prepare
from neuropil.volumes import array_volume
from reference.warp import warp as slow_warp

PATCH = (3, 12, 10)
ALL = AugmentConfig(rotate=180, scale=0.3, elastic=2, elastic_spacing=6, step=0.5, slip=0.5, displacement=4)


def source(warp, seed=0, patch=PATCH):
    """Random image, labels and mask as wide as the warp asks for."""
    rng = np.random.default_rng(seed)
    size = (patch[0], patch[1] + 2 * warp.reach[0], patch[2] + 2 * warp.reach[1])
    image, labels = rng.random(size, np.float32), rng.integers(0, 5, size).astype(np.int32)
    return torch.from_numpy(image), torch.from_numpy(labels), torch.from_numpy(rng.random(size) < 0.8)


def drawn(augment, margin=1, count=300, patch=PATCH):
    """Warps of many seeds."""
    warps = (draw_warp(np.random.default_rng(seed), augment, patch, margin) for seed in range(count))
    return [warp for warp in warps if warp is not None]


def everywhere(image):
    return torch.ones(image.shape[1:], dtype=torch.bool)


@pytest.mark.parametrize(
    "change",
    [{}, {"rotate": 0.0, "scale": 0.0}, {"step": 0.0, "slip": 0.0}, {"rotate": 0.0, "scale": 0.3}],
    ids=["all", "only displaced", "only turned and scaled", "scaled and displaced"],
)
def test_equals_reference(change):
    augment = ALL.model_copy(update={"elastic": 0.0, **change})
    for warp in drawn(augment, count=12):
        image, labels, mask = source(warp)
        got = apply_warp(image, labels, mask, warp, PATCH, 1, everywhere(image))
        expected, ids, use, tie = slow_warp(image.numpy(), labels.numpy(), mask.numpy(), warp, PATCH, 1)
        assert np.abs(got.image_ZYX.numpy() - expected).max() < 1e-4
        clear = tie > 1e-3
        assert np.array_equal(got.mask_ZHW.numpy()[clear], use[clear])
        assert np.array_equal(got.labels_ZHW.numpy()[clear & use], ids[clear & use])


def test_a_bend_that_is_the_same_everywhere_is_a_displacement():
    bend = np.broadcast_to(np.array([2, -3], np.float32)[:, None, None], (2, 4, 4)).copy()
    none = np.zeros((3, 2), np.int64)
    bent = Warp(np.eye(2), bend, none, none, (6, 6))
    slid = Warp(np.eye(2), None, none + np.array([2, -3]), none, (6, 6))
    image, labels, mask = source(bent)
    a, b = (apply_warp(image, labels, mask, w, PATCH, 1, everywhere(image)) for w in (bent, slid))
    assert torch.allclose(a.image_ZYX, b.image_ZYX, atol=1e-4)
    assert torch.equal(a.labels_ZHW, b.labels_ZHW)
    assert torch.equal(a.mask_ZHW, b.mask_ZHW)


def test_a_slip_moves_no_label_and_one_section_of_the_image():
    for warp in drawn(AugmentConfig(slip=1.0)):
        assert not warp.steps.any()
        assert (warp.slips.any(1)).sum() == 1
        image, labels, mask = source(warp)
        still = warp._replace(slips=np.zeros_like(warp.slips))
        a, b = (apply_warp(image, labels, mask, w, PATCH, 1, everywhere(image)) for w in (warp, still))
        assert torch.equal(a.labels_ZHW, b.labels_ZHW)
        assert torch.equal(a.mask_ZHW, b.mask_ZHW)
        moved = (a.image_ZYX != b.image_ZYX).flatten(1).any(1).numpy()
        assert np.array_equal(moved, warp.slips.any(1))


def test_a_step_moves_image_and_labels_from_one_section_on():
    for warp in drawn(AugmentConfig(step=1.0)):
        image, labels, mask = source(warp)
        got = apply_warp(labels.float(), labels, torch.ones_like(mask), warp, PATCH, 0, everywhere(image))
        assert torch.equal(got.image_ZYX.int(), got.labels_ZHW)
        displaced = warp.steps.any(1)
        assert not displaced[0]
        assert (np.diff(displaced.astype(int)) >= 0).all()
        assert len({tuple(shift) for shift in warp.steps[displaced]}) == 1


@given(st.integers(0, 2**32), st.lists(st.tuples(*[st.integers(-4, 4)] * 3).filter(any), min_size=1, max_size=4))
def test_targets_of_warped_labels_are_warped_targets(seed, offsets):
    """With whole-voxel displacement and symmetries, edges stay edges: the two orders must agree where both know."""
    rng = np.random.default_rng(seed)
    symmetry = draw_symmetry(rng)
    shift = rng.integers(-3, 4, 2)
    warp = Warp(np.eye(2), None, np.tile(shift, (3, 1)), np.zeros((3, 2), np.int64), (5, 5))
    patch = (3, 10, 10)
    image, labels, mask = source(warp, seed, patch)
    got = apply_warp(image, labels, mask, warp, patch, 0, everywhere(image))
    after, after_valid = affinity_targets(
        apply_symmetry(got.labels_ZHW, symmetry), offsets, apply_symmetry(got.mask_ZHW, symmetry)
    )
    # The other way: targets first, in the frame of the source, for the offsets that the symmetry turns into ours.
    y, x = 5 + shift
    signs = [-1 if flip else 1 for flip in symmetry[:3]]
    for e, offset in enumerate(offsets):
        swapped = (offset[0], offset[2], offset[1]) if symmetry.axes == (0, 2, 1) else offset
        before = tuple(s * o for s, o in zip(signs, swapped, strict=True))
        values, valid = affinity_targets(labels, [before], mask)
        values, valid = (apply_symmetry(t[0, :, y : y + 10, x : x + 10], symmetry) for t in (values, valid))
        both = valid & after_valid[e]
        assert both.any() or abs(offset[0]) > 2, "some edges are defined in both orders"
        assert torch.equal(values[both], after[e][both])
        assert not (after_valid[e] & ~valid).any()


def test_the_mask_covers_everything_that_was_invented():
    """What is shown as usable must come from inside the volume, with everything it is interpolated from."""
    shape = (3, 16, 15)
    rows = np.broadcast_to(np.arange(16, dtype=np.uint8)[None, :, None] * 10 + 50, shape).copy()
    data = VolumeDataset(
        [LabelledVolume(array_volume(rows), array_volume(np.ones(shape, np.uint8)))], PATCH, margin=1, augment=ALL
    )
    covered = 0
    for number in range(200):
        sample = data[number]
        if sample.warp is None or sample.real_YX is None:
            continue
        wide = sample.image_ZYX.float()
        # Repeated rows at the border are told apart by darkening them: no usable voxel may be any darker.
        wide = torch.where(sample.real_YX, wide, torch.zeros(()))
        got = apply_warp(wide / 255, sample.labels_ZYX, sample.mask_ZYX, sample.warp, PATCH, 1, sample.real_YX)
        usable = got.mask_ZHW[:, 1:-1, 1:-1]
        covered += int((~usable).any())
        assert (got.image_ZYX[usable] >= 50 / 255 - 1e-4).all()
        assert (got.labels_ZHW[got.mask_ZHW] == 1).all()
    assert covered > 100


def test_the_reach_is_enough_and_not_much_more():
    spare = []
    for warp in drawn(ALL, count=150):
        image = source(warp)[0]
        lines = straight(warp, (PATCH[1] + 2, PATCH[2] + 2), image.shape[1:])
        bend = None if warp.bend is None else torch.from_numpy(warp.bend)[None]
        place = (
            positions(*(torch.from_numpy(part)[:, None] for part in lines), bend)[:, 0].permute(1, 2, 0)[None]
            + torch.from_numpy(warp.steps + warp.slips)[:, None, None]
        )
        last = torch.tensor(image.shape[1:]) - 1
        spare.append(torch.minimum(place, last - place).amin((0, 1, 2)))
        assert (spare[-1] >= 0).all()
    assert torch.stack(spare).median() < 3


@pytest.mark.parametrize("augment", [ALL, AugmentConfig(scale=0.5), AugmentConfig(slip=0.9), AugmentConfig(elastic=6)])
@pytest.mark.parametrize("margin", [0, 3])
def test_no_warp_reaches_further_than_the_longest(augment, margin):
    reaches = [
        max(warp.reach)
        for seed in range(400)
        if (warp := draw_warp(np.random.default_rng(seed), augment, PATCH, margin)) is not None
    ]
    assert max(reaches) <= longest_reach(augment, PATCH, margin)


def test_nothing_is_drawn_where_nothing_is_asked():
    assert drawn(AugmentConfig()) == []
    assert len(drawn(AugmentConfig(rotate=10.0, warp_probability=0.25), count=400)) == pytest.approx(100, abs=30)


def test_shares_of_steps_and_slips():
    warps = [draw_warp(np.random.default_rng(s), AugmentConfig(step=0.4, slip=0.3), (8, 9, 9)) for s in range(500)]
    steps = sum(warp is not None and bool(warp.steps.any()) for warp in warps)
    slips = sum(warp is not None and bool(warp.slips.any()) for warp in warps)
    assert steps == pytest.approx(500 * 0.4 * 7 / 8, abs=40)  # none where the drawn section is the first
    assert slips == pytest.approx(150, abs=40)


def test_a_batch_is_reproduced_by_its_seed_and_mixes_warped_and_plain_samples():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (5, 40, 40), dtype=np.uint8)
    pair = LabelledVolume(array_volume(image), array_volume((image // 64).astype(np.uint8)))
    defects = dict.fromkeys(("missing", "partly_missing", "blurred", "noisy", "motion", "cut_noise", "cut_blur"), 0.14)
    augment = AugmentConfig(**(ALL.model_dump() | defects | {"slip": 0.1, "step": 0.2, "warp_probability": 0.5}))
    config = Config.from_dict({"augment": augment.model_dump(), "training": {"patch": [4, 16, 16]}})
    batches = []
    for seed in (7, 7, 8):
        data = VolumeDataset([pair], (4, 16, 16), seed=seed, margin=1, augment=augment)
        samples = [data[n] for n in range(12)]
        assert {sample.warp is None for sample in samples} == {True, False}
        batches.append(prepare(samples, config, seed, augment))
    assert all(torch.equal(a, b) for a, b in zip(batches[0][:4], batches[1][:4], strict=True))
    assert not torch.equal(batches[0].image_BCZYX, batches[2].image_BCZYX)
    assert batches[0].image_BCZYX.shape == (12, 1, 4, 16, 16)
    assert batches[0].image_BCZYX.min() >= 0
    assert batches[0].image_BCZYX.max() <= 1
