"""What the network is shown and asked, of volumes that not all is known of."""

from functools import partial
from itertools import islice

import h5py
import numpy as np
import pytest
import torch

from neuropil import Config, NeuropilError
from neuropil.config import VolumePair
from neuropil.dataset import VolumeDataset, sample_rng
from neuropil.errors import Note
from neuropil.sources import LabelledVolume
from neuropil.targets import erode_labels, label_margin, meetings, signed_distance
from neuropil.training.batches import (
    Numbers,
    batches,
    complete,
    open_dataset,
    open_pair,
    prepare,
    regridded,
    vary_and_pack,
)
from neuropil.volumes import Metadata, array_volume, write_volume

PLAIN = {"flip": False, "transpose": False}
SLIPPED = {**PLAIN, "slip": 1.0, "displacement": 1}
"""The labels stay where they are, and take the way of those that are warped."""


def drawn(model, patch, labels, unlabelled=None, mask=None, augment=PLAIN):
    """The config, and samples of these labels."""
    config = Config.from_dict({"model": model, "training": {"patch": patch}, "augment": augment})
    volumes = [None if array is None else array_volume(array) for array in (labels.astype(np.uint8), labels, mask)]
    pair = LabelledVolume(*volumes)
    data = VolumeDataset(
        [pair],
        patch,
        margin=label_margin(config.model),
        augment=config.augment,
        unlabelled=() if unlabelled is None else [unlabelled],
    )
    return config, data


@pytest.mark.parametrize("way", ["mask", "unlabelled"])
@pytest.mark.parametrize("augment", [PLAIN, SLIPPED], ids=["plain", "warped"])
def test_what_is_not_known_erodes_nothing_beside_it(way, augment):
    labels = np.ones((2, 8, 8), np.uint32)
    labels[:, :, 4:] = 9
    known = {"unlabelled": 9} if way == "unlabelled" else {"mask": (labels != 9).astype(np.uint8)}
    model = {"label_erosion": 1, "aux_erosions": [2], "aux_foreground": True, "aux_contour": 1}
    config, data = drawn(model, (2, 8, 8), labels, **known, augment=augment)
    samples = [data[number] for number in range(20)]
    sample = next(one for one in samples if (one.warp is not None) == (augment is SLIPPED))
    batch = prepare([sample], config, 0, config.augment)
    assert batch.target_BEZYX[0, 2, 0, 4].int().tolist() == [0, 1, 1, 1, 0, 0, 0, 0]
    assert batch.validity_BEZYX[0, 2, 0, 4].int().tolist() == [0, 1, 1, 1, 0, 0, 0, 0]
    again, contour, foreground = (one.target_BCZYX[0, :, 0, 4].int().tolist() for one in batch.auxiliary)
    assert again[2] == [0, 1, 1, 1, 0, 0, 0, 0]
    assert contour == [[0] * 8]
    assert foreground == [[1, 1, 1, 1, 0, 0, 0, 0]]
    assert not batch.labels_BZYX[..., 4:].any()


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("augment", [PLAIN, SLIPPED], ids=["plain", "warped"])
def test_what_is_judged_is_what_the_whole_volume_would_say(background, masked, augment):
    """Of the whole volume, the masked voxels included, with what they really are."""
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 4, (3, 6, 6)).repeat(6, 1).repeat(6, 2).astype(np.uint32)
    mask = (rng.random((3, 6, 6)).repeat(6, 1).repeat(6, 2) > 0.1) | (not masked)
    model = {"aux_contour": 2, "aux_contour_background": background, "aux_distance": 4, "aux_foreground": True}
    config, data = drawn(model, (2, 14, 14), truth, mask=mask.astype(np.uint8), augment=augment)
    ids = torch.from_numpy(truth.astype(np.int32))
    whole = {
        "contour": meetings(torch.where(ids > 0, ids, 9) if background else ids, 2),
        "distance": signed_distance(ids, 4),
        "foreground": erode_labels(ids, config.model.label_erosion) > 0,
    }
    # Neurons behind a mask are not met: only what counts background waits for all around it to be known.
    strict = {"distance", "contour"} if background else {"distance"}
    judged = dict.fromkeys(whole, 0)
    for number in range(60):
        patch = data._place(sample_rng(0, number))[1]
        for made in prepare([data[number]], config, 0, config.augment).auxiliary:
            name, valid = made.task.name, made.validity_BCZYX[0, 0]
            judged[name] += int(valid.sum())
            if not masked or name in strict:
                assert torch.equal(made.target_BCZYX[0, 0][valid], whole[name][patch.slices][valid]), name
    assert min(judged.values()) > 60 * 20
    assert judged["foreground"] > judged["distance"]


def test_the_border_of_a_volume_is_no_border_of_a_neuron():
    labels = np.ones((2, 8, 8), np.uint32)
    model = {"label_erosion": 0, "aux_contour": 1, "aux_contour_background": True, "aux_distance": 3}
    config, data = drawn(model, (2, 8, 8), labels)
    contour, distance = prepare([data[0]], config, 0, None).auxiliary
    assert contour.validity_BCZYX[0, 0, 0, 4].int().tolist() == [0, 1, 1, 1, 1, 1, 1, 0]
    assert not (contour.target_BCZYX & contour.validity_BCZYX).any()
    assert distance.validity_BCZYX[0, 0, 0, 4].int().tolist() == [0, 0, 1, 1, 1, 1, 0, 0]
    assert distance.target_BCZYX[distance.validity_BCZYX].unique().numel() == 1


@pytest.mark.parametrize("largest", [40, 70_000])
@pytest.mark.parametrize("workers", [0, 1])
def test_what_dataloader_workers_augment_is_what_this_one_would(largest, workers):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, (4, 12, 12)).repeat(4, 1).repeat(4, 2).astype(np.uint32) * (largest // 4)
    augment = {"rotate": 30, "elastic": 2, "warp_probability": 0.5, "missing": 0.4, "slip": 0.4}
    config, data = drawn({"label_erosion": 1}, (3, 24, 24), labels, augment=augment)
    stream = batches(data, Numbers(0, 2), workers, False, partial(vary_and_pack, config=config))
    for number, varied in enumerate(islice(stream, 4)):
        kinds = {v.labels_ZHW.dtype for v in varied}
        assert (torch.int32 in kinds) == (largest > 2**15)
        found = complete(varied, config, config.augment)
        expected = prepare([data[2 * number], data[2 * number + 1]], config, config.training.seed, config.augment)
        for one, other in zip(found[:4], expected[:4], strict=True):
            assert one.dtype == other.dtype
            assert torch.equal(one, other)


def test_a_mask_of_larger_voxels_and_several_ignored_ids(tmp_path):
    """The mask as h5py writes it, twice and four times as coarse; two ids and -1 are not learned from."""
    rng = np.random.default_rng(0)
    labels, coarse = rng.integers(-1, 5, (4, 16, 24)), rng.random((4, 8, 6)) < 0.7
    write_volume(tmp_path / "image.h5", rng.integers(0, 255, labels.shape, np.uint8), Metadata((30, 6, 6)))
    with h5py.File(tmp_path / "truth.h5", "w") as file:
        file["labels"], file["mask"] = labels, coarse.astype(np.uint8)
        file["labels"].attrs["resolution"], file["mask"].attrs["resolution"] = (30, 6, 6), (30, 12, 24)
    pair = {
        "image": str(tmp_path / "image.h5"),
        "labels": str(tmp_path / "truth.h5/labels"),
        "mask": str(tmp_path / "truth.h5/mask"),
    }
    data = {"train": [pair], "unlabelled": [2, 4]}
    config = Config.from_dict({"data": data, "training": {"patch": labels.shape}, "model": {"offsets": [[0, 0, -1]]}})
    sample = open_dataset(config.data.train, config, seed=0)[0]
    expected = coarse.repeat(2, 1).repeat(4, 2) & ~np.isin(labels, (-1, 2, 4))
    margin = (sample.mask_ZYX.shape[1] - labels.shape[1]) // 2
    inner = (slice(None), slice(margin, margin + 16), slice(margin, margin + 24))
    np.testing.assert_array_equal(sample.mask_ZYX.numpy()[inner], expected)


def test_voxels_of_another_size_in_the_labels_are_told_or_refused(tmp_path):
    """Refused where an origin says which voxels meet."""
    write_volume(tmp_path / "image.h5", np.zeros((4, 16, 16), np.uint8), Metadata((30, 6, 6)))
    config = Config.from_dict({"training": {"patch": [4, 16, 16]}})

    def opened(metadata):
        write_volume(tmp_path / "labels.h5", np.ones((4, 16, 16), np.uint8), metadata)
        pair = VolumePair(image=f"{tmp_path}/image.h5", labels=f"{tmp_path}/labels.h5")
        return open_dataset([pair], config, seed=0)

    with pytest.warns(Note, match="different size, 30 × 6 × 6 and 30 × 12 × 12 nm; compared voxel by voxel"):
        opened(Metadata((30, 12, 12)))
    with pytest.raises(NeuropilError, match="do not say which voxels correspond"):
        opened(Metadata((30, 12, 12), (0, 0, 0)))


@pytest.mark.parametrize("box", [None, "0:4,8:24,4:28"])
def test_a_volume_of_other_voxels_is_drawn_at_the_size_of_the_first(tmp_path, box):
    """Stripes 48 nm wide are 8 voxels of 6 nm wide, wherever they come from, and labels lie on their stripes."""
    for nm, width in ((6.0, 8), (12.0, 4)):
        stripes = np.broadcast_to(np.arange(64) // width, (8, 64, 64))
        size = Metadata(voxel_size=(30.0, nm, nm))
        write_volume(tmp_path / f"image{nm:g}.h5", (16 * stripes).astype(np.uint8), size)
        write_volume(tmp_path / f"labels{nm:g}.h5", (stripes + 1).astype(np.uint32), size)
    pairs = [{"image": f"{tmp_path}/image{n}.h5", "labels": f"{tmp_path}/labels{n}.h5"} for n in (6, 12)]
    pairs[1]["box"] = box
    config = Config.from_dict({"data": {"train": pairs, "resample": True}, "training": {"patch": [4, 32, 40]}})
    _, other = (regridded(open_pair(pair), config.data) for pair in config.data.train)
    expected = (8, 128, 128) if box is None else (4, 32, 48)
    assert other.image.shape == other.labels.shape == expected
    assert other.image.metadata.voxel_size == pytest.approx((30, 6, 6))
    image, labels = other.image.read().astype(int), other.labels.read().astype(int)
    assert np.abs(image - 16 * (labels - 1)).max() <= 8, "grey values between two stripes at most"
    widths = np.diff(np.flatnonzero(np.diff(labels[0, 0])))
    assert set(widths.tolist()) <= {7, 8, 9}
    assert open_dataset(config.data.train, config, 0, config.augment)[3].image_ZYX.shape == (4, 32, 40)
    apart = pairs[1] | {"image": str(tmp_path / "image5.h5")}
    write_volume(apart["image"], np.zeros((8, 64, 64), np.uint8), Metadata(voxel_size=(30.0, 2.0, 2.0)))
    far = Config.from_dict({"data": {"train": [pairs[0], apart], "resample": True}})
    with pytest.raises(NeuropilError, match="within a factor of 2"):
        regridded(open_pair(far.data.train[1]), far.data)
