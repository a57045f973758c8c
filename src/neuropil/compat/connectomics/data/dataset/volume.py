"""``VolumeDataset``: samples of volumes in memory, with the classic call and return values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from neuropil.compat.connectomics.data.augmentation import Compose
from neuropil.compat.connectomics.data.utils import seg_to_targets, seg_to_weights
from neuropil.dataset import VolumeDataset as Places
from neuropil.errors import NeuropilError
from neuropil.geometry import Box, Triple
from neuropil.inference.tiling import step_tiles
from neuropil.sources import LabelledVolume
from neuropil.volumes import array_volume

Array = npt.NDArray[Any]

_ATTEMPTS = 50
"""Positions that are tried for a sample."""


@dataclass(frozen=True)
class _Wanted:
    """The conditions for a training sample."""

    usable: float
    voxels: int
    ids: int
    """Fewest ids, background included."""
    share: float
    """Probability that a sample with too few voxels or ids is rejected."""

    def holds(self, label: Array | None, mask: Array | None, rng: np.random.Generator) -> bool:
        if mask is not None and float(np.count_nonzero(mask)) <= self.usable * mask.size:
            return False
        if label is None:
            return True
        few = self.voxels > 0 and np.count_nonzero(label) < self.voxels and rng.random() < self.share
        return not few and not (self.ids > 0 and len(np.unique(label)) < self.ids and rng.random() < self.share)


class ClassicDataset(torch.utils.data.Dataset[Any]):
    """``VolumeDataset``: samples of volumes, at random positions for training, on a grid for validation and prediction.

    Args:
        volume: images [z, y, x], uint8.
        label: labels of each, or None.
        valid_mask: masks of each, 1 = use, or None.
        valid_ratio: with masks, the share of a training sample's voxels that must be usable, at least.
        sample_volume_size, sample_label_size: voxels (z, y, x) of a sample, the same for both. With an augmentor they
            are its ``sample_size``.
        sample_stride: steps of the grid, not used in training.
        augmentor: augments training samples; None: no augmentation.
        target_opt, weight_opt: targets and their weights; see :func:`seg_to_targets` and :func:`seg_to_weights`.
        erosion_rates: see :func:`seg_to_targets`.
        dilation_rates: None.
        mode: ``train``, ``val`` or ``test``.
        do_2d: samples of one section, without the axis z.
        iter_num: samples in training, raised to the number of positions if it is smaller, as in the classic package.
        reject_size_thres: fewest voxels of neurons in a training sample.
        reject_diversity: fewest ids in it, background included.
        reject_p: probability that a sample with too few voxels or ids is drawn again, up to 50 times in all.
        data_mean, data_std: of grey values from 0 to 1, for normalisation.
        data_match_act: ``none``.
        seed: of the random positions; None: a new one each time.

    A sample is ``(position, image)`` in mode ``test``, otherwise ``(position, image, targets, weights)``: position
    [volume, z, y, x], image float32 [1, z, y, x], normalised, targets and weights lists (None without labels).

    Raises:
        NeuropilError: arrays or sizes that do not fit, or an option that is not here.

    >>> image, label = np.zeros((8, 32, 32), np.uint8), np.ones((8, 32, 32), np.int64)
    >>> data = ClassicDataset([image], [label], sample_volume_size=(4, 16, 16), sample_label_size=(4, 16, 16),
    ...                      target_opt=["2"], weight_opt=[["1"]], iter_num=100)
    >>> position, shown, targets, weights = data[0]
    >>> shown.shape, targets[0].shape, weights[0][0].shape
    ((1, 4, 16, 16), (3, 4, 16, 16), (3, 4, 16, 16))
    """

    def __init__(
        self,
        volume: Sequence[Array],
        label: Sequence[Array] | None = None,
        valid_mask: Sequence[Array] | None = None,
        valid_ratio: float = 0.5,
        sample_volume_size: Sequence[int] = (8, 64, 64),
        sample_label_size: Sequence[int] = (8, 64, 64),
        sample_stride: Sequence[int] = (1, 1, 1),
        augmentor: Compose | None = None,
        target_opt: Sequence[str] = ("1",),
        weight_opt: Sequence[Sequence[str]] = (("1",),),
        erosion_rates: int | Sequence[int] | None = None,
        dilation_rates: int | Sequence[int] | None = None,
        mode: str = "train",
        do_2d: bool = False,
        iter_num: int = -1,
        do_relabel: bool = True,
        reject_size_thres: int = 0,
        reject_diversity: int = 0,
        reject_p: float = 0.95,
        data_mean: float = 0.5,
        data_std: float = 0.5,
        data_match_act: str = "none",
        seed: int | None = None,
    ) -> None:
        if mode not in ("train", "val", "test"):
            raise NeuropilError(f"VolumeDataset: expected mode train, val or test, got {mode!r}")
        if dilation_rates or data_match_act != "none":
            raise NeuropilError("VolumeDataset: expected no dilation_rates, and data_match_act 'none'")
        z, y, x = (int(n) for n in sample_volume_size)
        self.size: Triple = (z, y, x)
        if label is not None and tuple(map(int, sample_label_size)) != self.size:
            raise NeuropilError(
                f"VolumeDataset: expected the same sample_label_size and sample_volume_size, got "
                f"{tuple(sample_label_size)} and {self.size}"
            )
        if augmentor is not None and tuple(map(int, augmentor.sample_size)) != self.size:
            raise NeuropilError(
                f"VolumeDataset: expected samples of the augmentor's sample_size {augmentor.sample_size.tolist()}, got "
                f"{list(self.size)}"
            )
        if do_2d and z != 1:
            raise NeuropilError(f"VolumeDataset: expected samples of one section with do_2d, got {z}")
        self.volume, self.label, self.valid_mask = volume, label, valid_mask
        self.augmentor, self.mode, self.do_2d = augmentor, mode, do_2d
        self.target_opt, self.weight_opt, self.erosion_rates = target_opt, weight_opt, erosion_rates
        self.data_mean, self.data_std = data_mean, data_std
        step: Triple = (int(sample_stride[0]), int(sample_stride[1]), int(sample_stride[2]))
        self.grid = [] if mode == "train" else self._grid(step)
        places = sum(math.prod(n - s + 1 for n, s in zip(v.shape[-3:], self.size, strict=True)) for v in volume)
        self.iter_num = max(iter_num, places) if mode == "train" else len(self.grid)
        for name, share in (("valid_ratio", valid_ratio), ("reject_p", reject_p)):
            if not 0 <= share <= 1:
                raise NeuropilError(f"VolumeDataset: expected {name} from 0 to 1, got {share}")
        self._wanted = _Wanted(valid_ratio, reject_size_thres, reject_diversity, reject_p)
        self._places = self._random(seed) if mode == "train" else None

    def __len__(self) -> int:
        return self.iter_num

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        which, box = self.grid[index] if self._places is None else self._place(self._places, index)
        place = box.slices
        sample = {"image": (self.volume[which][place] / np.float32(255)).astype(np.float32)}
        for name, arrays in (("label", self.label), ("valid_mask", self.valid_mask)):
            if arrays is not None and self.mode != "test":
                sample[name] = np.ascontiguousarray(arrays[which][place]).astype(np.float32)
        if self.augmentor is not None and self.mode == "train":
            sample = self.augmentor(sample)
        position = [which, *box.start]
        image = (sample["image"] - np.float32(self.data_mean)) / np.float32(self.data_std)
        shown = image if self.do_2d else image[np.newaxis]
        if self.mode == "test":
            return position, shown
        if self.label is None:
            return position, shown, None, None
        targets = seg_to_targets(sample["label"].astype(np.int64), self.target_opt, self.erosion_rates)
        return position, shown, targets, seg_to_weights(targets, self.weight_opt, sample.get("valid_mask"))

    def _place(self, places: Places, index: int) -> tuple[int, Box]:
        """The box of a training sample; the last one tried if none meets the conditions."""
        rng = np.random.default_rng([places.seed, index])
        for attempt in range(_ATTEMPTS):
            spot = places.spot(index * _ATTEMPTS + attempt)
            which, cut = next(n for n, s in enumerate(places.sources) if s is spot.source), spot.patch.slices
            mask, label = (None if arrays is None else arrays[which][cut] for arrays in (self.valid_mask, self.label))
            if self._wanted.holds(label, mask, rng):
                break
        return which, spot.patch

    def _grid(self, step: Triple) -> list[tuple[int, Box]]:
        found = []
        for which, volume in enumerate(self.volume):
            tiling = step_tiles(Box.whole(volume.shape), self.size, step, ((0, 0, 0),))
            found += [(which, tiling.tile((z, y, x))) for z, y, x in product(*map(range, tiling.counts))]
        return found

    def _random(self, seed: int | None) -> Places:
        masks: Sequence[Array | None] = self.valid_mask or [None] * len(self.volume)
        labels = self.label or [np.ones(v.shape, np.uint8) for v in self.volume]
        pairs = [
            LabelledVolume(array_volume(v), array_volume(truth), None if m is None else array_volume(m))
            for v, truth, m in zip(self.volume, labels, masks, strict=True)
        ]
        drawn = int(torch.randint(2**31, ()).item()) if seed is None else seed
        return Places(pairs, self.size, seed=drawn)
