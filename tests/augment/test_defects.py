import numpy as np
import pytest
import torch

from neuropil import NeuropilError
from neuropil.augment import apply_defects, draw_defects
from neuropil.augment.defects import Blurred, Coarse, Missing, Noisy, Smeared, Torn, cells
from neuropil.config import AugmentConfig, Config

KINDS = ("missing", "partly_missing", "blurred", "noisy", "motion", "cut_noise", "cut_blur")


def stack(seed=0, shape=(8, 16, 15)):
    return torch.from_numpy(np.random.default_rng(seed).random(shape, np.float32))


def spoil(image, seed, **shares):
    return apply_defects(image, drawn(seed, tuple(image.shape), **shares))


def drawn(seed, shape, **shares):
    return draw_defects(np.random.default_rng(seed), AugmentConfig(**shares), shape)


@pytest.mark.parametrize("kind", KINDS)
def test_each_damages_some_of_the_image_stays_in_range_and_leaves_the_input_alone(kind):
    image = stack()
    kept = image.clone()
    for seed in range(8):
        out = spoil(image, seed, **{kind: 1.0})
        assert torch.equal(image, kept)
        assert out.shape == image.shape
        assert 0 <= out.min() <= out.max() <= 1
        changed = (out != image).flatten(1).any(1).sum()
        assert 1 <= changed <= (5 if not kind.startswith("cut") else 3)
        assert torch.equal(out, spoil(image, seed, **{kind: 1.0}))


def test_at_most_one_kind_and_each_as_often_as_asked():
    shares = dict.fromkeys(KINDS, 0.1)
    image, counts = stack(shape=(6, 12, 12)), dict.fromkeys([*KINDS, "none"], 0)
    for seed in range(300):
        out = spoil(image, seed, **shares)
        # The first number of the stream says which kind it is.
        drawn = np.random.default_rng(seed).random()
        kind = KINDS[int(drawn * 10)] if drawn < 0.7 else "none"
        counts[kind] += 1
        assert torch.equal(out, image) == (kind == "none")
    assert counts["none"] == pytest.approx(90, abs=30)
    assert all(counts[kind] == pytest.approx(30, abs=20) for kind in KINDS)


def test_missing_sections_are_one_grey_value_and_parts_of_them_only_where_torn():
    image = stack()
    for seed in range(8):
        whole, part = spoil(image, seed, missing=1.0), spoil(image, seed, partly_missing=1.0)
        for z in range(8):
            assert torch.equal(whole[z], image[z]) or whole[z].unique().numel() == 1
            torn = part[z] != image[z]
            assert part[z][torn].unique().numel() <= 1
            assert not torn.all()


def test_blur_keeps_the_mean_and_is_a_gaussian():
    point = torch.zeros(1, 41, 41)
    point[0, 20, 20] = 1
    out = spoil(point, 0, blurred=1.0, blur=1.0)
    at = torch.arange(41) - 20.0
    profile = torch.exp(-(at**2) / 2)
    expected = profile[:, None] * profile[None] / profile.sum() ** 2
    assert torch.allclose(out[0], expected, atol=2e-3)
    assert out.sum().item() == pytest.approx(1, abs=1e-5)


def test_motion_smears_along_a_line_and_keeps_flat_sections_flat():
    flat = torch.full((4, 20, 20), 0.4)
    assert torch.allclose(spoil(flat, 3, motion=1.0), flat, atol=1e-5)
    point = torch.zeros(1, 41, 41)
    point[0, 20, 20] = 1
    out = spoil(point, 1, motion=1.0)
    assert 5 <= (out > 0.02).sum() <= 15
    assert out.sum().item() == pytest.approx(1, abs=1e-4)


def test_shares_that_do_not_fit_are_refused():
    with pytest.raises(NeuropilError, match=r"add up to 1 or less, got 1\.2"):
        Config.from_dict({"augment": {"missing": 0.6, "noisy": 0.6}})
    with pytest.raises(NeuropilError, match="step and slip"):
        Config.from_dict({"augment": {"step": 0.6, "slip": 0.6}})


def test_several_kinds_meet_where_they_are_drawn_by_themselves():
    """Each as often as its probability says, and two together as often as their product; boxes first."""
    shares = {"missing": 0.5, "partly_missing": 0.9, "motion": 0.5, "cut_noise": 0.75, "cut_blur": 0.5}
    seen = [drawn(seed, (1, 2, 2), several=True, **shares) for seed in range(2000)]
    kinds = [[type(defect) for defect in one] for one in seen]
    for name, kind in zip(KINDS, (Missing, Torn, Blurred, Noisy, Smeared, Noisy, Coarse), strict=True):
        if name != "noisy":
            assert np.mean([kind in one for one in kinds]) == pytest.approx(shares.get(name, 0), abs=0.04)
    assert np.mean([{Missing, Smeared} <= set(one) for one in kinds]) == pytest.approx(0.25, abs=0.04)
    assert [Coarse, Noisy, Smeared, Torn, Missing] in kinds


@pytest.mark.parametrize(("size", "factor"), [(12, 3), (13, 4), (5, 8), (31, 2)])
def test_cells_are_those_of_pooling_and_of_repeating(size, factor):
    line = torch.rand(1, 1, size)
    count = max(1, size // factor)
    pooled = torch.nn.functional.adaptive_avg_pool1d(line, count)
    expected = torch.nn.functional.interpolate(pooled, size=size, mode="nearest")[0, 0]
    assert torch.allclose(torch.from_numpy(cells(size, factor)) @ line[0, 0], expected, atol=1e-6)


def test_noise_has_the_deviation_that_was_drawn():
    (defect,) = drawn(0, (1, 200, 200), noisy=1.0, noise=0.2)
    assert 0.06 <= defect.deviation <= 0.2
    assert defect.noise().std() == pytest.approx(defect.deviation, rel=0.02)
    assert abs(defect.noise().mean()) < 0.003
