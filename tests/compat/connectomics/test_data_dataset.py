"""The classic dataset: positions, samples and targets."""

import numpy as np
import pytest

from neuropil import NeuropilError, synthetic
from neuropil.compat.connectomics.config import get_cfg_defaults
from neuropil.compat.connectomics.data.augmentation import Compose, Flip, Grayscale, Rescale
from neuropil.compat.connectomics.data.dataset import VolumeDataset, build_dataloader
from neuropil.compat.connectomics.data.utils import seg_to_targets, seg_to_weights

IMAGE, LABELS = synthetic.neuropil((10, 48, 40), seed=8)
LABELS = LABELS.astype(np.int64)
SIZE = {"sample_volume_size": (4, 16, 16), "sample_label_size": (4, 16, 16)}


def test_training_samples_lie_where_they_say():
    data = VolumeDataset(
        [IMAGE, IMAGE[:6]], [LABELS, LABELS[:6]], **SIZE, target_opt=["2", "0"], weight_opt=[["1", "0"], ["1"]], seed=1
    )
    places = 7 * 33 * 25 + 3 * 33 * 25
    assert len(data) == places
    assert len(VolumeDataset([IMAGE], [LABELS], **SIZE, iter_num=10**6)) == 10**6
    which = set()
    for index in range(20):
        (volume, z, y, x), image, targets, weights = data[index]
        which.add(volume)
        place = (slice(z, z + 4), slice(y, y + 16), slice(x, x + 16))
        np.testing.assert_allclose(image[0], (IMAGE[place] / 255 - 0.5) / 0.5, atol=1e-6)
        assert image.dtype == np.float32
        for found, expected in zip(targets, seg_to_targets(LABELS[place], ["2", "0"]), strict=True):
            np.testing.assert_array_equal(found, expected)
        expected = seg_to_weights(targets, [["1", "0"], ["1"]])
        for found, wanted in zip(weights, expected, strict=True):
            assert [one.tolist() for one in found] == [one.tolist() for one in wanted]
    assert which == {0, 1}


def test_masks_and_rejection():
    mask = np.zeros_like(LABELS)
    mask[:, 20:] = 1
    options = {"target_opt": ["2"], "weight_opt": [["1"]], "seed": 2}
    data = VolumeDataset([IMAGE], [LABELS], [mask], **SIZE, **options)
    for index in range(5):
        (_, _, y, _), _, _, ((weight,),) = data[index]
        assert not weight[..., : max(0, 20 - y), :].any()
    half = np.where(np.arange(40) < 24, LABELS, 0)
    poor = VolumeDataset([IMAGE], [half], **SIZE, **options, reject_size_thres=600, reject_diversity=3)
    for index in range(20):
        (_, z, y, x), *_ = poor[index]
        there = half[z : z + 4, y : y + 16, x : x + 16]
        assert (there > 0).sum() >= 600
        assert len(np.unique(there[there > 0])) >= 2


def test_enough_of_a_sample_is_usable():
    mask = np.zeros_like(LABELS)
    mask[:, :, 20:] = 1
    shares = []
    for ratio in (0.0, 0.75):
        data = VolumeDataset([IMAGE], [LABELS], [mask], ratio, **SIZE, target_opt=["0"], seed=3)
        places = [data[index][0] for index in range(30)]
        shares.append(min(mask[z : z + 4, y : y + 16, x : x + 16].mean() for _, z, y, x in places))
    assert shares[0] < 0.75 < shares[1]


def test_some_poor_samples_are_kept():
    left = np.where(np.arange(40) < 16, LABELS, 0)
    kept = []
    for share in (0.0, 0.5, 1.0):
        data = VolumeDataset([IMAGE], [left], **SIZE, target_opt=["0"], reject_size_thres=300, reject_p=share, seed=4)
        sizes = [(left[z : z + 4, y : y + 16, x : x + 16] > 0).sum() for _, z, y, x in (data[n][0] for n in range(60))]
        kept.append(sum(size < 300 for size in sizes))
    assert kept[0] > kept[1] > kept[2] == 0


def test_grids_cover_the_volume():
    data = VolumeDataset([IMAGE], **SIZE, sample_stride=(2, 8, 8), mode="test")
    seen = np.zeros(IMAGE.shape, bool)
    for index in range(len(data)):
        (_, z, y, x), image = data[index]
        seen[z : z + 4, y : y + 16, x : x + 16] = True
        assert image.shape == (1, 4, 16, 16)
    assert seen.all()
    assert [data[k][0] for k in (0, 1, len(data) - 1)] == [[0, 0, 0, 0], [0, 0, 0, 8], [0, 6, 32, 24]]
    held = VolumeDataset([IMAGE], [LABELS], **SIZE, sample_stride=(4, 16, 16), mode="val", target_opt=["2"])
    assert [one[0].shape for one in (held[0][2], held[len(held) - 1][2])] == [(3, 4, 16, 16)] * 2


def test_an_augmentor_takes_larger_samples():
    augmentor = Compose([Rescale(p=1.0), Grayscale(p=1.0), Flip(p=1.0)], (4, 16, 16))
    size = augmentor.sample_size.tolist()
    sizes = {"sample_volume_size": size, "sample_label_size": size}
    data = VolumeDataset([IMAGE], [LABELS], **sizes, augmentor=augmentor, target_opt=["2"], erosion_rates=1)
    _, image, (target,), _ = data[0]
    assert (image.shape, target.shape) == ((1, 4, 16, 16), (3, 4, 16, 16))
    with pytest.raises(NeuropilError, match="the augmentor's sample_size"):
        VolumeDataset([IMAGE], [LABELS], **SIZE, augmentor=augmentor)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "valid"}, "mode train, val or test"),
        ({"sample_label_size": (4, 8, 8)}, "the same sample_label_size"),
        ({"do_2d": True}, "one section with do_2d"),
        ({"dilation_rates": 1}, "no dilation_rates"),
        ({"valid_ratio": 2}, "valid_ratio from 0 to 1"),
        ({"reject_p": -1}, "reject_p from 0 to 1"),
    ],
)
def test_what_is_not_here_is_refused(options, message):
    with pytest.raises(NeuropilError, match=message):
        VolumeDataset([IMAGE], [LABELS], **{**SIZE, **options})


def test_sections_by_themselves_have_no_axis_z():
    size = {"sample_volume_size": (1, 16, 16), "sample_label_size": (1, 16, 16)}
    _, image, _, _ = VolumeDataset([IMAGE], [LABELS], **size, do_2d=True, target_opt=["0"])[0]
    assert image.shape == (1, 16, 16)


def test_batches_have_the_classic_names():
    cfg = get_cfg_defaults()
    cfg.merge_from_list(["SYSTEM.NUM_CPUS", 0, "SYSTEM.NUM_GPUS", 2, "SOLVER.SAMPLES_PER_BATCH", 3])
    options = {"target_opt": ["2", "0"], "weight_opt": [["1", "0"], ["1"]], "seed": 5}
    data = VolumeDataset([IMAGE], [LABELS], **SIZE, **options)
    batch = next(iter(build_dataloader(cfg, None, dataset=data)))
    assert len(batch.pos) == 6, "three for each of two GPUs"
    assert batch.out_input.shape == (6, 1, 4, 16, 16)
    assert [target.shape for target in batch.out_target_l] == [(6, 3, 4, 16, 16), (6, 1, 4, 16, 16)]
    assert [len(weights) for weights in batch.out_weight_ls] == [2, 1]
    assert batch.out_weight_ls[0][0].shape == (6, 3, 4, 16, 16)
    assert len(next(iter(build_dataloader(cfg, None, dataset=data, rank=0))).pos) == 3
    grid = VolumeDataset([IMAGE], **SIZE, sample_stride=(4, 16, 16), mode="test")
    batches = list(build_dataloader(cfg, None, "test", grid))
    assert [place for batch in batches for place in batch.pos] == [grid[n][0] for n in range(len(grid))]
    assert not hasattr(batches[0], "out_target_l")
    bare = next(iter(build_dataloader(cfg, None, dataset=VolumeDataset([IMAGE], **SIZE))))
    assert bare.out_target_l == bare.out_weight_ls == [None] * 6
