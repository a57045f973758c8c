"""What the network is shown and asked, of volumes that not all is known of."""

import numpy as np
import pytest

from neuropil import Config
from neuropil.dataset import VolumeDataset, VolumePair
from neuropil.targets import label_margin
from neuropil.training.batches import prepare
from neuropil.volumes import array_volume

PLAIN = {"flip": False, "transpose": False}
SLIPPED = {**PLAIN, "slip": 1.0, "displacement": 1}
"""The labels stay where they are, and take the way of those that are warped."""


def drawn(model, patch, labels, unlabelled=None, mask=None, augment=PLAIN):
    """The config, and samples whose image says where they are from."""
    config = Config.from_dict({"model": model, "training": {"patch": patch}, "augment": augment})
    place = np.arange(labels.size, dtype=np.float32).reshape(labels.shape) / 2**20
    pair = VolumePair(array_volume(place), array_volume(labels), None if mask is None else array_volume(mask))
    data = VolumeDataset(
        [pair], patch, margin=label_margin(config.model), augment=config.augment, unlabelled=unlabelled
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
