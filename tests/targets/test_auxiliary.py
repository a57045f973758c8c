import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuropil import Config, NeuropilError
from neuropil.config import ModelConfig
from neuropil.geometry import NEAREST, OFFSET_PRESETS
from neuropil.targets import (
    affinity_targets,
    auxiliaries,
    auxiliary_targets,
    erode_labels,
    label_margin,
    meetings,
    shape_descriptors,
    signed_distance,
)
from neuropil.targets.auxiliary import _known_around
from reference.targets import depth, descriptors

SMALL = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7)
MODEL = ModelConfig(aux_erosions=(0, 2), aux_contour=1, aux_distance=4, aux_descriptors=True)


@given(hnp.arrays(np.int32, SMALL, elements=st.integers(0, 3)), st.integers(1, 5))
def test_distance_equals_reference(labels, reach):
    assert np.allclose(signed_distance(torch.from_numpy(labels), reach).numpy(), depth(labels, reach), atol=1e-5)


@settings(max_examples=10)
@given(hnp.arrays(np.int32, st.just((3, 5, 6)), elements=st.integers(0, 2)))
def test_descriptors_equal_reference(labels):
    sigma = (1.0, 2.0, 1.5)
    got = shape_descriptors(torch.from_numpy(labels), sigma).numpy()
    assert np.allclose(got, descriptors(labels, sigma), atol=2e-3)


def test_descriptors_of_a_thinned_volume_are_those_of_every_fourth_voxel():
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (3, 3, 4)).astype(np.int32))
    wide = labels.repeat_interleave(4, 1).repeat_interleave(4, 2)
    thin = shape_descriptors(wide, (1.0, 8.0, 8.0), thin=4)
    assert torch.allclose(thin[..., ::4, ::4], shape_descriptors(labels, (1.0, 2.0, 2.0)), atol=1e-6)
    assert not thin[:, wide == 0].any()


def test_contour_is_what_erosion_takes_away():
    labels = torch.from_numpy(np.random.default_rng(1).integers(1, 4, (2, 9, 9)).astype(np.int32))
    assert torch.equal(meetings(labels, 1), erode_labels(labels, 1) == 0)


def test_channels_add_up_and_come_in_order():
    labels = torch.from_numpy(np.random.default_rng(2).integers(0, 4, (2, 3, 20, 22)).astype(np.int32))
    mask = torch.rand(labels.shape) < 0.8
    margin = label_margin(MODEL)
    made = auxiliary_targets(labels, mask, MODEL, margin)
    assert [one.task for one in made] == list(auxiliaries(MODEL))
    assert [one.target_BCZYX.shape[1] for one in made] == [3, 3, 1, 1, 10]
    inner = (..., slice(margin, -margin), slice(margin, -margin))
    for one in made:
        assert one.target_BCZYX.shape[2:] == (3, 12, 14)
        assert one.validity_BCZYX.shape == one.target_BCZYX.shape
        assert not (one.validity_BCZYX & ~mask[inner][:, None]).any()
    eroded = erode_labels(labels, 2)[inner].contiguous()
    expected = affinity_targets(eroded, NEAREST, mask[inner])
    assert torch.equal(made[1].target_BCZYX, expected[0])
    assert torch.equal(made[1].validity_BCZYX, expected[1])


def test_targets_of_a_patch_are_those_of_the_whole():
    whole = torch.from_numpy(np.random.default_rng(3).integers(0, 3, (1, 2, 30, 30)).astype(np.int32))
    model = ModelConfig(aux_erosions=(2,), aux_contour=3, aux_distance=4)
    margin = label_margin(model)
    assert margin == 4
    everything = auxiliary_targets(whole, whole >= 0, model, 0)
    part = whole[..., 5:25, 6:26]
    for large, small in zip(everything, auxiliary_targets(part, part >= 0, model, margin), strict=True):
        same = large.validity_BCZYX[..., 9:21, 10:22] & small.validity_BCZYX
        assert same.float().mean() > 0.7
        assert torch.equal(large.target_BCZYX[..., 9:21, 10:22][same], small.target_BCZYX[same])


@pytest.mark.parametrize("margin", [0, 2, 5])
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_known_is_what_nothing_unknown_lies_near(steps, margin):
    mask = torch.from_numpy(np.random.default_rng(steps).random((2, 2, 24, 26)) > 0.02)
    far = np.pad(mask.numpy(), [(0, 0), (0, 0), (steps, steps), (steps, steps)])
    expected = np.lib.stride_tricks.sliding_window_view(far, (2 * steps + 1,) * 2, (2, 3)).all((-1, -2))
    inner = (..., slice(margin, 24 - margin), slice(margin, 26 - margin))
    assert np.array_equal(_known_around(mask, steps, margin).numpy(), expected[inner])
    everywhere = _known_around(torch.ones_like(mask), steps, margin)
    assert everywhere.all() == (margin >= steps)
    assert everywhere[..., steps : everywhere.shape[-2] - steps, steps : everywhere.shape[-1] - steps].all()


def test_presets_name_offsets_in_recipes():
    config = Config.from_dict({"model": {"offsets": "long12"}})
    assert len(config.model.offsets) == 12
    assert (0, 0, -27) in config.model.offsets
    assert Config.from_dict(config.to_dict()) == config
    assert OFFSET_PRESETS["plane"] == NEAREST[1:]
    with pytest.raises(NeuropilError, match="long12"):
        Config.from_dict({"model": {"offsets": "long13"}})


def test_refuses():
    with pytest.raises(NeuropilError, match="reach"):
        signed_distance(torch.ones(1, 2, 2, dtype=torch.int32), 0)


def test_foreground_and_a_contour_that_counts_background():
    labels = torch.zeros(1, 1, 3, 9, dtype=torch.int32)
    labels[..., 2:5], labels[..., 5:7] = 1, 2
    model = ModelConfig(label_erosion=1, aux_foreground=True, aux_contour=1)
    everywhere = torch.ones_like(labels, dtype=torch.bool)

    def row(model, name):
        made = auxiliary_targets(labels, everywhere, model, margin=1)
        return next(one.target_BCZYX[0, 0, 0, 0].int().tolist() for one in made if one.task.name == name)

    assert row(model, "foreground") == [0, 1, 1, 0, 0, 1, 0]
    assert row(model, "contour") == [0, 0, 0, 1, 1, 0, 0]
    assert row(model.model_copy(update={"aux_contour_background": True}), "contour") == [1, 1, 0, 1, 1, 1, 1]
