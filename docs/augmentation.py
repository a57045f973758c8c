"""Draw what each part of the augmentation does to a section of real tissue, with the labels that go with it.

NEUROPIL_DATA=/folder python docs/augmentation.py docs/augmentation.png
"""

from __future__ import annotations

import sys

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from neuropil import Box, Config, open_volume
from neuropil.config import AugmentConfig
from neuropil.dataset import LabelledVolume, VolumeDataset
from neuropil.errors import NeuropilError
from neuropil.pipeline.fetch import find_snemi3d
from neuropil.training.batches import prepare
from neuropil.viewing.colours import label_colours

KINDS = ("missing", "partly_missing", "blurred", "noisy", "motion", "cut_noise", "cut_blur")
STILL = {"flip": False, "transpose": False, "contrast": 0.0, "brightness": 0.0, "gamma": 0.0}
PARTS = {
    "as it is": {},
    "rotate": {"rotate": 45.0, "warp_probability": 1.0},
    "scale": {"scale": 0.4, "warp_probability": 1.0},
    "elastic": {"elastic": 12.0, "warp_probability": 1.0},
    "step": {"step": 1.0, "displacement": 30},
    "slip": {"slip": 1.0, "displacement": 30},
    **{k: {k: 1.0, "defect_sections": 7} for k in KINDS[:5]},
    **{k: {k: 1.0, "cut_size": 1.0} for k in KINDS[5:]},
    "contrast, brightness, gamma": {"contrast": 0.8, "brightness": 0.5, "gamma": 0.8, "intensity_probability": 1.0},
}
PATCH = (7, 200, 200)


def main(out: str) -> None:
    """For each part: the section it changes most, a cut through all sections, and the labels of that section."""
    stack = find_snemi3d(None)
    if stack is None:
        raise NeuropilError("set NEUROPIL_DATA to a folder with SNEMI3D, or run `neuropil fetch snemi3d`")
    at = Box.parse("20:27,300:500,300:500")
    pair = LabelledVolume(open_volume(stack.image), open_volume(stack.labels), box=at.grow((0, 100, 100)))
    half = (len(PARTS) + 1) // 2
    figure, axes = plt.subplots(6, half, figsize=(1.7 * half, 9.0), height_ratios=[3, 1, 3] * 2)
    plain = None
    for column, (name, change) in enumerate(PARTS.items()):
        augment = AugmentConfig(**(STILL | change))
        config = Config.from_dict({"model": {"offsets": "nearest"}, "training": {"patch": list(PATCH)}})
        data = VolumeDataset([pair], PATCH, seed=4, margin=1, augment=augment)
        batch = prepare([data[2]], config, 4, augment)
        image, labels = batch.image_BCZYX[0, 0].numpy(), batch.labels_BZYX[0].numpy()
        plain = image if plain is None else plain
        z = int(np.abs(image - plain).mean((1, 2)).argmax()) if {"slip", *KINDS} & {name} else 3
        top, place = 3 * (column // half), column % half
        across = np.repeat(image[:, PATCH[1] // 2], 9, axis=0)
        for row, (picture, grey) in enumerate([(image[z], True), (across, True), (label_colours(labels[z]), False)]):
            axes[top + row, place].imshow(picture, cmap="gray" if grey else None, vmin=0, vmax=1 if grey else None)
            axes[top + row, place].axis("off")
        axes[top, place].set_title(name, fontsize=8)
    figure.tight_layout(pad=0.3)
    figure.savefig(out, dpi=70)


if __name__ == "__main__":
    main(sys.argv[1])
