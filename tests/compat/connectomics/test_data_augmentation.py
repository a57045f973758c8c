"""The classic augmentors: their sizes and probabilities, and samples that our augmentation varies."""

import json

import numpy as np
import pytest
import torch
from scipy import ndimage

from neuropil import NeuropilError, synthetic
from neuropil.augment.warp import draw_warp, positions
from neuropil.compat.connectomics.config import get_cfg_defaults
from neuropil.compat.connectomics.data.augmentation import (
    Compose,
    CopyPaste,
    CutBlur,
    CutNoise,
    Elastic,
    Flip,
    Grayscale,
    MisAlignment,
    MissingParts,
    MissingSection,
    MotionBlur,
    Rescale,
    Rotate,
    TestAugmentor,
    build_train_augmentor,
)
from neuropil.compat.connectomics.data.augmentation.varying import augment_config
from recorded import CLASSIC, needs_classic

KINDS = (
    *(Rotate, Rescale, Flip, Elastic, Grayscale, MissingParts),
    *(MissingSection, MisAlignment, MotionBlur, CutBlur, CutNoise),
)


def sample(shape=(8, 64, 64)):
    image, labels = synthetic.neuropil(shape, seed=6)
    mask = np.ones(shape, np.float32)
    mask[:, :9] = 0
    return {"image": image / np.float32(255), "label": labels.astype(np.float32), "valid_mask": mask}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_varies_samples_of_the_same_size(kind):
    given = sample()
    before = {name: value.copy() for name, value in given.items()}
    found = [kind(p=0.0)(given, np.random.RandomState(seed)) for seed in range(4)]
    assert any(not np.array_equal(one["image"], before["image"]) for one in found), "whatever p is"
    for one in found:
        assert {name: value.shape for name, value in one.items()} == dict.fromkeys(before, (8, 64, 64))
        assert (one["image"].dtype, one["label"].dtype) == (np.float32, np.float32)
        assert set(np.unique(one["label"])) <= set(np.unique(before["label"]))
        assert set(np.unique(one["valid_mask"])) <= {0, 1}
    for name, value in before.items():
        np.testing.assert_array_equal(given[name], value)
    moves = kind in (Rotate, Rescale, Flip, Elastic, MisAlignment)
    assert moves == any(not np.array_equal(one["label"], before["label"]) for one in found)


def test_labels_move_with_the_image():
    ids = np.arange(1, 8 * 32 * 32 + 1, dtype=np.float32).reshape(8, 32, 32)
    found = Compose([Flip(p=1.0)], (8, 32, 32))({"image": ids / ids.max(), "label": ids}, np.random.RandomState(3))
    np.testing.assert_allclose(found["image"] * ids.max(), found["label"], rtol=1e-5)


@needs_classic
def test_sizes_and_probabilities_are_the_recorded_ones():
    told = json.loads((CLASSIC / "augment.json").read_text())
    cfg = get_cfg_defaults()
    cfg.MODEL.INPUT_SIZE = told["snemi_input_size"]
    augmentor = build_train_augmentor(cfg)
    assert augmentor.sample_size.tolist() == told["snemi_sample_size"]
    assert [type(one).__name__ for one in augmentor.transforms] == told["snemi_order_as_built"]
    for one in (*augmentor.transforms, augmentor.flip_aug):
        name = type(one).__name__
        assert one.p == told["p"][name]
        assert one.sample_params == told["attributes"][name]["sample_params"]
    config = augment_config([*augmentor.transforms, augmentor.flip_aug])
    assert (config.missing, config.partly_missing, config.motion) == (0.5, 0.9, 0.5)
    assert (config.cut_blur, config.cut_noise, config.several) == (0.5, 0.75, True)


@needs_classic
@pytest.mark.parametrize("kind", [MotionBlur(), CutBlur(0.4), CutNoise(0.4, scale=0.3)])
def test_defects_are_as_large_as_the_recorded_ones(kind):
    told = json.loads((CLASSIC / "augment.json").read_text())["effect_when_applied"]["results"][type(kind).__name__]
    image = np.random.default_rng(0).random((17, 97, 97), np.float32)
    changed = kind({"image": image}, np.random.RandomState(0))["image"] != image
    assert changed.any((1, 2)).sum() == told["changed_sections_mean"]
    assert changed.mean() == pytest.approx(told["changed_voxel_share_mean"], rel=0.01)


@pytest.mark.parametrize(("alpha", "sigma"), [(16.0, 4.0), (8.0, 3.0)])
def test_sections_bend_as_far_and_as_sharply_as_uniform_noise_under_a_gaussian(alpha, sigma):
    config = augment_config([Elastic(alpha, sigma)], surely=True)
    rng = np.random.default_rng(1)
    theirs = ndimage.gaussian_filter(rng.uniform(-alpha, alpha, (300, 300)), sigma)
    points = torch.from_numpy(draw_warp(rng, config, (1, 300, 300)).bend)[None]
    ours = positions(torch.zeros(2, 1, 300), torch.zeros(2, 1, 300), points)[0, 0].numpy()
    assert ours.std() == pytest.approx(theirs.std(), rel=0.1)
    assert np.diff(ours).std() == pytest.approx(np.diff(theirs).std(), rel=0.15)


def test_the_middle_is_cut_out_and_the_whole_is_kept_on_request():
    augmentor = Compose(
        [Rescale(p=1.0), MissingSection(p=1.0), Flip(p=1.0)],
        input_size=(6, 48, 48),
        keep_uncropped=True,
        keep_non_smoothed=True,
        smooth=True,
        additional_targets={"label": "mask", "valid_mask": "mask"},
    )
    assert augmentor.sample_size.tolist() == [8, 60, 60]
    given = sample((8, 60, 60))
    given["label"] = np.random.default_rng(1).integers(1, 4, (8, 10, 10)).repeat(6, 1).repeat(6, 2).astype(np.float32)
    found = augmentor(given)
    assert {name: value.shape for name, value in found.items()} == {
        **dict.fromkeys(["image", "label", "valid_mask", "non_smoothed"], (6, 48, 48)),
        **dict.fromkeys(["uncropped_image", "uncropped_label", "uncropped_valid_mask"], (8, 60, 60)),
    }
    assert not np.array_equal(found["label"], found["non_smoothed"])
    with pytest.raises(NeuropilError, match=r"a sample of at least \[6, 48, 48\]"):
        augmentor(sample((4, 60, 60)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: CopyPaste(), "CopyPaste is not available"),
        (lambda: Flip(do_ztrans=1), "do_ztrans"),
        (lambda: Rescale(fix_aspect=True), "fix_aspect"),
        (lambda: Grayscale(mode="3D"), "mode 'mix'"),
        (lambda: CutBlur(downsample_z=True), "downsample_z"),
        (lambda: MissingParts(iterations=10), "iterations=64, got 10"),
        (lambda: MisAlignment(rotate_ratio=1.0), "rotate_ratio 0, or 0.5"),
        (lambda: CutNoise(mode="gaussian"), "uniform"),
        (lambda: Elastic(p=1.5), "p from 0 to 1"),
        (lambda: Elastic(skip_targets=["label"]), "skip_targets"),
        (lambda: Compose([Elastic(), Elastic()]), "one augmentor of a kind"),
        (lambda: TestAugmentor(num_aug=5), "num_aug 4, 8, 16"),
        (lambda: TestAugmentor(mode="sum"), "mode mean, min or max"),
        (lambda: TestAugmentor(scale_factors=[1, 2, 2]), "scale_factors of 1"),
    ],
)
def test_what_is_not_here_is_refused_by_name(wrong, message):
    with pytest.raises(NeuropilError, match=message):
        wrong()


@pytest.mark.parametrize("number", [None, 4, 8, 16])
@pytest.mark.parametrize("mode", ["mean", "min", "max"])
def test_views_are_undone_voxel_by_voxel(number, mode):
    """A network that adds what lies to the right: each view looks another way."""
    image = torch.rand(2, 1, 3, 6, 6, generator=torch.Generator().manual_seed(0))

    def network(data):
        return data + torch.roll(data, 1, dims=-1)

    seen = []
    for z in (False, True) if number == 16 else (False,):
        for turn in (False, True) if (number or 1) > 4 else (False,):
            for y in (False, True) if number else (False,):
                for x in (False, True) if number else (False,):
                    axes = [axis for axis, flip in ((4, x), (3, y), (2, z)) if flip]
                    view = image.flip(axes)
                    view = network(view.transpose(3, 4) if turn else view)
                    seen.append((view.transpose(3, 4) if turn else view).flip(axes))
    stack = torch.stack(seen)
    expected = {"mean": stack.mean(0), "min": stack.amin(0), "max": stack.amax(0)}[mode]
    augmentor = TestAugmentor(mode, num_aug=number)
    np.testing.assert_allclose(augmentor(network, image), expected.numpy(), rtol=1e-5)
    flat = TestAugmentor(mode, do_2d=True, num_aug=min(number or 0, 8), inference_act=torch.sigmoid)
    assert flat(network, image[:, :, 0]).shape == (2, 1, 6, 6)


def test_names_of_files_say_the_views():
    names = [TestAugmentor(num_aug=n).update_name("a/result.h5") for n in (None, 4, 8, 16)]
    assert names == ["a/result.h5", "a/result_xy.h5", "a/result_txy.h5", "a/result_txyz.h5"]
    assert TestAugmentor.build_from_cfg(get_cfg_defaults()).num_aug == 8
