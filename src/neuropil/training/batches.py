"""From a config's volumes to endless batches, and from a batch to what the loss compares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from neuropil.augment import (
    Intensity,
    apply_symmetry,
    apply_warp,
    draw_symmetry,
    spoil_sections,
    to_unit,
    vary_intensity,
)
from neuropil.config import AugmentConfig, Config, ModelConfig, VolumePair
from neuropil.dataset import LabelledVolume, Sample, VolumeDataset, Wanted, collate, sample_rng
from neuropil.errors import NeuropilError
from neuropil.geometry import Box, Triple
from neuropil.targets import AuxiliaryTarget, affinity_targets, auxiliary_targets, erode_inside, label_margin
from neuropil.volumes import open_volume
from neuropil.volumes.grey import scaled_image


class Batch(NamedTuple):
    """What one training step sees, on the device that trains."""

    image_BCZYX: Tensor
    """float32 in [0, 1], one channel."""
    target_BEZYX: Tensor
    """bool, whether an edge joins two voxels of one neuron."""
    validity_BEZYX: Tensor
    """bool, which edges the loss may judge."""
    labels_BZYX: Tensor
    """int32, the ids that the targets were made from; for pictures."""
    auxiliary: tuple[AuxiliaryTarget, ...] = ()
    """What else is learned from the labels."""


def open_pair(pair: VolumePair) -> LabelledVolume:
    """Open the volumes that one entry of ``data.train`` names; no voxel is read yet."""
    if pair.labels is None:
        raise ValueError("a pair without labels reached training; the config should have refused it")
    image, labels = open_volume(pair.image), open_volume(pair.labels)
    box = None if pair.box is None else Box.parse(pair.box, image.box)
    return LabelledVolume(image, labels, open_volume(pair.mask) if pair.mask else None, box, pair.weight)


def open_dataset(
    pairs: Sequence[VolumePair],
    config: Config,
    seed: int,
    augment: AugmentConfig | None = None,
    device: torch.device | None = None,
) -> VolumeDataset:
    """The dataset over these entries with the patch, margin of labels and unlabelled id of the config.

    Without augmentation it is one to judge on: its patches may be smaller than those of training. Volumes that fit are
    kept on ``device``, that of the processor by default.
    """
    data, scale = config.data, config.data.intensity.scale
    volumes = [replace(pair, image=scaled_image(pair.image, scale)) for pair in map(open_pair, pairs)]
    patch = config.training.patch
    if augment is None:  # to judge on, a volume with fewer sections than a training patch will do
        z, y, x = (min([n, *(pair.region().shape[axis] for pair in volumes)]) for axis, n in enumerate(patch))
        patch = (z, y, x)
    wanted = Wanted(data.min_foreground, data.min_ids) if data.min_foreground or data.min_ids else None
    return VolumeDataset(
        volumes,
        patch,
        seed=seed,
        margin=label_margin(config.model),
        augment=augment,
        unlabelled=config.data.unlabelled,
        wanted=wanted,
        memory=_room(config.data.memory * 1e9, device),
        device=device,
    )


def _room(memory: float, device: torch.device | None) -> float:
    """Bytes of volumes that may be kept: of a GPU half of what is free, since the network needs the rest."""
    if device is None or device.type != "cuda":
        return memory
    return min(memory, torch.cuda.mem_get_info(device)[0] / 2)


@contextmanager
def in_plain_words() -> Iterator[None]:
    """What goes wrong in helping processes, told as it would be in this one: torch wraps it up in tracebacks."""
    try:
        yield
    except NeuropilError as error:
        raise NeuropilError(str(error).rpartition("neuropil.errors.NeuropilError: ")[2].strip()) from None
    except (RuntimeError, ConnectionError, EOFError) as error:
        # Torch sees that the process is gone, or the connection that a batch was coming through breaks first.
        if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
            raise
        raise NeuropilError(
            "a process that draws samples died, perhaps for want of memory: set training.workers or data.memory lower, "
            "and --resume from the last checkpoint"
        ) from error


class Numbers:
    """Which samples each batch holds, from iteration ``start`` on, for ever.

    Iteration ``t`` of all ranks together takes samples ``t·n … (t+1)·n − 1`` (n = batch × ranks), each rank its slice:
    nobody draws a sample twice, and a resumed run goes on where it stopped.
    """

    def __init__(self, start: int, batch: int, rank: int = 0, ranks: int = 1) -> None:
        self.start, self.batch, self.rank, self.ranks = start, batch, rank, ranks

    def __iter__(self) -> Iterator[list[int]]:
        iteration = self.start
        while True:
            first = (iteration * self.ranks + self.rank) * self.batch
            yield list(range(first, first + self.batch))
            iteration += 1


def batches(dataset: VolumeDataset, numbers: Numbers, workers: int, pin: bool) -> Iterator[list[Sample]]:
    """Endless batches of samples in order, drawn by ``workers`` processes (0 = by this one)."""
    if workers == 0 and not pin:  # what the loader would do, without its ceremony
        return (collate([dataset[number] for number in chosen]) for chosen in numbers)
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_sampler=numbers,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin,
        persistent_workers=workers > 0,
        # Copies of this process share what is in memory; open files and their threads must not be shared.
        multiprocessing_context=("fork" if dataset.in_memory else "forkserver") if workers else None,
    )
    return iter(loader)


def prepare(samples: Sequence[Sample], config: Config, seed: int, augment: AugmentConfig | None) -> Batch:
    """Augment a batch and make its targets, on the device it lies on; ``augment=None`` leaves it as it is.

    The geometry comes first and the targets after it, so that targets are those of what the network sees.
    """
    margin = label_margin(config.model)
    varied = [_vary(sample, config.training.patch, margin, seed, augment) for sample in samples]
    image_BZYX, labels_BZYX, mask_BZYX = (_together(part) for part in zip(*varied, strict=True))
    target, validity = _targets(labels_BZYX, mask_BZYX, margin, config.model)
    more = auxiliary_targets(labels_BZYX, mask_BZYX, config.model, margin)
    shown = labels_BZYX[..., margin : labels_BZYX.shape[-2] - margin, margin : labels_BZYX.shape[-1] - margin]
    return Batch(image_BZYX[:, None], target, validity, shown, more)


def _together(parts: Sequence[Tensor]) -> Tensor:
    """A batch in contiguous memory; a single sample that lies so already is not copied."""
    return parts[0][None].contiguous() if len(parts) == 1 else torch.stack(list(parts))


def _vary(
    sample: Sample, patch: Triple, margin: int, seed: int, augment: AugmentConfig | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Image, labels and mask of a sample after warp, defects, grey values and symmetry."""
    image, labels, mask = sample.image_ZYX, sample.labels_ZYX, sample.mask_ZYX
    if augment is None:
        return to_unit(image), labels, mask
    # Bytes stay what they are as long as they can: to brighten them is to look in a table.
    if sample.warp is not None or image.dtype != torch.uint8:
        image = to_unit(image)
    if sample.warp is not None:
        image, labels, mask = apply_warp(image, labels, mask, sample.warp, patch, margin, sample.real_YX)
    image = spoil_sections(image, augment, sample_rng(seed, sample.number, part=3))
    rng = sample_rng(seed, sample.number, part=1)
    # Flips and transposes move voxels without changing them: the one interpolation stays the warp's.
    symmetry = draw_symmetry(rng, augment.flip, augment.transpose and patch[1] == patch[2])
    image, labels, mask = (apply_symmetry(part, symmetry) for part in (image, labels, mask))
    intensity = Intensity(augment.contrast, augment.brightness, augment.gamma, augment.intensity_probability)
    return vary_intensity(image, intensity, rng, backwards=symmetry.flip_z), labels, mask


def _targets(labels_BZHW: Tensor, mask_BZHW: Tensor, margin: int, model: ModelConfig) -> tuple[Tensor, Tensor]:
    """Affinities of the eroded labels, once their margin has done its work."""
    inner = (..., slice(margin, mask_BZHW.shape[-2] - margin), slice(margin, mask_BZHW.shape[-1] - margin))
    return affinity_targets(erode_inside(labels_BZHW, model.label_erosion, margin), model.offsets, mask_BZHW[inner])
