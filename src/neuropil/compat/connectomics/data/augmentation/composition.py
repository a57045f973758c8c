"""``Compose``: several classic augmentors applied in turn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from neuropil.compat.connectomics.data.augmentation.transforms import Augmentor
from neuropil.compat.connectomics.data.augmentation.varying import (
    TARGETS,
    ClassicSample,
    Targets,
    augment_config,
    stream,
    vary_sample,
)
from neuropil.errors import NeuropilError
from neuropil.targets import smooth_labels


class Compose:
    """Several augmentors, each drawn with its own probability; then the middle is cropped, and flipped.

    Args:
        transforms: augmentors; ``Flip`` comes last, wherever it stands.
        input_size: voxels (z, y, x) of the result.
        smooth: smooth the labels; see :func:`neuropil.targets.smooth_labels`.
        keep_uncropped: also return the arrays before cropping, as ``uncropped_image`` and so on.
        keep_non_smoothed: also return the labels before they were smoothed, as ``non_smoothed``.
        additional_targets: what moves with the image, by type, ``mask`` or ``img``; ``label`` and ``valid_mask`` do
            always.

    Raises:
        NeuropilError: two augmentors of a kind, or a setting that is not here.

    >>> from neuropil.compat.connectomics.data.augmentation import Rescale
    >>> augmentor = Compose([Rescale(p=0.5)], input_size=(8, 64, 64))
    >>> augmentor.sample_size.tolist()
    [8, 80, 80]
    >>> sample = {"image": np.zeros((8, 80, 80), np.float32), "label": np.ones((8, 80, 80), np.float32)}
    >>> augmentor(sample)["label"].shape
    (8, 64, 64)
    """

    def __init__(
        self,
        transforms: Sequence[Augmentor],
        input_size: Sequence[int] = (8, 256, 256),
        smooth: bool = False,
        keep_uncropped: bool = False,
        keep_non_smoothed: bool = False,
        additional_targets: Targets = None,
    ) -> None:
        augment_config(transforms)
        self.transforms = [one for one in transforms if one.key != "FLIP"]
        self.flip_aug = next((one for one in transforms if one.key == "FLIP"), None)
        self.input_size, self.sample_size = np.array(input_size), np.array(input_size)
        for one in self.transforms:
            self.sample_size = np.ceil(self.sample_size * one.sample_params["ratio"]).astype(int)
            self.sample_size = self.sample_size + 2 * np.array(one.sample_params["add"])
        self.smooth, self.keep_uncropped, self.keep_non_smoothed = smooth, keep_uncropped, keep_non_smoothed
        self.additional_targets = {**TARGETS, **(additional_targets or {})}

    def __call__(self, sample: ClassicSample, random_state: np.random.RandomState | None = None) -> ClassicSample:
        """The augmented sample; the input, of ``sample_size`` or at least ``input_size``, is not changed.

        Without a random state every call, in every worker, draws different random numbers.
        """
        rng = stream(random_state)
        whole = vary_sample(sample, self.transforms, self.additional_targets, rng)
        start = _corner(whole["image"].shape, self.input_size.tolist(), rng)
        place = tuple(slice(a, a + int(n)) for a, n in zip(start, self.input_size, strict=True))
        out = {name: value[place] for name, value in whole.items()}
        if self.flip_aug is not None and rng.random() < self.flip_aug.p:
            out = vary_sample(out, [self.flip_aug], self.additional_targets, rng, surely=True)
        if self.keep_uncropped:
            out |= {f"uncropped_{name}": value for name, value in whole.items()}
        if self.keep_non_smoothed and "label" in out:
            out["non_smoothed"] = out["label"]
        if self.smooth and "label" in out:
            ids = torch.from_numpy(out["label"].astype(np.int64))
            out["label"] = smooth_labels(ids).numpy().astype(out["label"].dtype)
        return out


def _corner(shape: Sequence[int], size: Sequence[int], rng: np.random.Generator) -> list[int]:
    """The corner of the crop: in the middle of y and x, at a random z."""
    room = [int(n) - int(m) for n, m in zip(shape, size, strict=True)]
    if min(room) < 0:
        raise NeuropilError(f"expected a sample of at least {list(map(int, size))} voxels, got {list(shape)}")
    return [int(rng.integers(0, room[0] + 1)), room[1] // 2, room[2] // 2]
