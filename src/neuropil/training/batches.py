"""Training batches: samples drawn from the volumes of a config, augmented, with targets for the loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from neuropil.augment import (
    Drawn,
    Intensity,
    Symmetry,
    Warp,
    apply_curves,
    apply_defects,
    apply_symmetry,
    apply_warp,
    draw_curves,
    draw_defects,
    draw_symmetry,
    look_up,
    send,
    to_unit,
    turn_affinities,
)
from neuropil.config import AugmentConfig, Config, DataConfig, VolumePair, taught
from neuropil.dataset import Sample, VolumeDataset, Wanted, collate, sample_rng
from neuropil.errors import NeuropilError
from neuropil.geometry import Box, VoxelSize
from neuropil.inference.memory import free_memory
from neuropil.sources import LabelledVolume, TeacherAffinities
from neuropil.targets import (
    AuxiliaryTarget,
    affinity_targets,
    auxiliary_targets,
    erode_inside,
    erode_volume,
    label_margin,
)
from neuropil.volumes import LOGIT8, Metadata, array_volume, open_volume, require_labels
from neuropil.volumes.grey import scaled_image
from neuropil.volumes.scored import check_fit
from neuropil.volumes.tissue import open_mask
from neuropil.volumes.zoom import Factors, zoomed


class Batch(NamedTuple):
    """Images, targets and weights of one training step, on the device that trains."""

    image_BCZYX: Tensor
    """float32 in [0, 1], one channel."""
    target_BEZYX: Tensor
    """bool, whether an edge joins two voxels of one neuron."""
    validity_BEZYX: Tensor
    """bool, which edges count in the loss."""
    labels_BZYX: Tensor
    """int32, the ids that the targets were made from; shown in TensorBoard."""
    auxiliary: tuple[AuxiliaryTarget, ...] = ()
    """Auxiliary targets."""
    soft_BEZYX: Tensor | None = None
    """float32 in [0, 1], the affinities of a teacher; None if no volume has one."""
    soft_validity_BEZYX: Tensor | None = None
    """bool, where the teacher's affinities are known."""


def open_pair(pair: VolumePair) -> LabelledVolume:
    """Open the volumes of one entry of ``data.train``; no voxel is read yet."""
    image = open_volume(pair.image)
    labels, teacher = (open_volume(p) if p else None for p in (pair.labels, pair.teacher))
    mask = open_mask(pair.mask, image) if pair.mask else None
    labels = None if labels is None else require_labels(labels)
    if labels is not None:
        check_fit(image, labels)
    box = None if pair.box is None else Box.parse(pair.box, image.box)
    return LabelledVolume(image, labels, mask, box, pair.weight, teacher)


def open_dataset(
    pairs: Sequence[VolumePair],
    config: Config,
    seed: int,
    augment: AugmentConfig | None = None,
    device: torch.device | None = None,
) -> VolumeDataset:
    """The dataset of these entries with the patch, label margin and unlabelled ids of the config.

    Without ``augment`` it is for validation: patches shrink to the smallest volume. Volumes that fit into memory are
    kept on ``device``, by default the CPU.

    Raises:
        NeuropilError: volumes that cannot be read or do not fit the config, or that differ in voxel size.
    """
    data, scale = config.data, config.data.intensity.scale
    volumes = [replace(pair, image=scaled_image(pair.image, scale)) for pair in map(open_pair, pairs)]
    volumes = [regridded(pair, data) for pair in volumes]
    _check_sizes(volumes)
    patch = config.training.patch
    if augment is None:  # for validation, volumes smaller than a training patch are allowed
        z, y, x = (min([n, *(pair.region().shape[axis] for pair in volumes)]) for axis, n in enumerate(patch))
        patch = (z, y, x)
    wanted = Wanted(data.min_foreground, data.min_ids) if data.min_foreground or data.min_ids else None
    return VolumeDataset(
        volumes,
        patch,
        seed=seed,
        margin=label_margin(config.model),
        augment=augment,
        unlabelled=config.data.ignored,
        wanted=wanted,
        memory=_room(config.data.memory * 1e9, device),
        offsets=config.model.offsets,
        device=device,
    )


def _check_sizes(volumes: Sequence[LabelledVolume]) -> None:
    """Refuse volumes with different voxel sizes, which one network cannot tell apart.

    Raises:
        NeuropilError: two of them differ by more than 5 % on an axis.
    """
    known = [(v.image.path, v.image.metadata.voxel_size) for v in volumes if v.image.metadata.voxel_size]
    for path, size in known[1:]:
        first, expected = known[0]
        if any(abs(a - b) > 0.05 * b for a, b in zip(size, expected, strict=True)):
            raise NeuropilError(
                f"expected voxels of {expected} nm in all volumes, as in {first}, got {size} nm, in {path}; "
                "data.resample: true shows it at that size, or train one network for each"
            )


def regridded(pair: LabelledVolume, data: DataConfig) -> LabelledVolume:
    """Image, labels and mask resampled as the recipe says: ``data.resample`` and ``data.zoom``.

    Raises:
        NeuropilError: see :func:`_at_size`.
    """
    if data.resample:
        size = data.voxel_size or open_volume(data.train[0].image).metadata.voxel_size
        pair = _at_size(pair, size)
    return _zoomed(pair, data.zoom)


def _at_size(pair: LabelledVolume, wanted: VoxelSize | None) -> LabelledVolume:
    """A volume resampled to the wanted voxel size if its own differs by more than 5 %.

    Raises:
        NeuropilError: a size that is not known, one beyond a factor of two, or a teacher.
    """
    size, path = pair.image.metadata.voxel_size, pair.image.path
    if size is None or wanted is None:
        raise NeuropilError(
            f"data.resample: expected the voxel size of each volume, got none, in {path}; "
            "`neuropil convert IMAGE COPY --voxel-size Z,Y,X` stores one"
        )
    z, y, x = (a / b for a, b in zip(size, wanted, strict=True))
    if all(abs(f - 1) <= 0.05 for f in (z, y, x)):
        return pair
    if not all(0.5 <= f <= 2 for f in (z, y, x)):
        raise NeuropilError(
            f"data.resample: expected voxels within a factor of 2 of {wanted} nm, got {size} nm, in {path}"
        )
    if pair.teacher is not None:
        raise NeuropilError(
            f"data.resample: a teacher's affinities are not resampled; leave the teacher out, for {path}"
        )
    region = pair.region()
    image, labels, mask = (
        None if one is None else array_volume(one.read(region), Metadata(voxel_size=size))
        for one in (pair.image, pair.labels, pair.mask)
    )
    assert image is not None
    print(f"data.resample: {path} is shown with voxels of {wanted} nm; its own are of {size} nm", flush=True)
    found = replace(pair, image=replace(image, path=path), labels=labels, mask=mask, box=None)
    return _zoomed(found, (z, y, x))


def _zoomed(pair: LabelledVolume, factors: Factors) -> LabelledVolume:
    labels, mask = (None if one is None else zoomed(one, factors, nearest=True) for one in (pair.labels, pair.mask))
    return replace(pair, image=zoomed(pair.image, factors), labels=labels, mask=mask)


def _room(memory: float, device: torch.device | None) -> float:
    """Bytes of volumes that may be kept: on a GPU at most half of the free memory, since the network needs the rest."""
    if device is None or device.type != "cuda":
        return memory
    return min(memory, free_memory(device) / 2)


@contextmanager
def in_plain_words() -> Iterator[None]:
    """Turn errors of DataLoader workers, which torch wraps in tracebacks, back into plain NeuropilErrors."""
    try:
        yield
    except NeuropilError as error:
        raise NeuropilError(str(error).rpartition("neuropil.errors.NeuropilError: ")[2].strip()) from None
    except (RuntimeError, ConnectionError, EOFError) as error:
        # Either torch reports the dead process, or the connection that a batch comes through breaks first.
        if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
            raise
        raise NeuropilError(
            "a DataLoader worker died, perhaps because memory ran out: set training.workers or data.memory lower, "
            "and --resume from the last checkpoint"
        ) from error


class Numbers:
    """Sample numbers of each batch, from iteration ``start`` on, without end.

    Iteration ``t`` takes samples ``t·n … (t+1)·n − 1`` (n = batch × ranks), each rank its slice. So no sample is drawn
    twice, and a resumed run continues where it stopped.
    """

    def __init__(self, start: int, batch: int, rank: int = 0, ranks: int = 1) -> None:
        self.start, self.batch, self.rank, self.ranks = start, batch, rank, ranks

    def __iter__(self) -> Iterator[list[int]]:
        iteration = self.start
        while True:
            first = (iteration * self.ranks + self.rank) * self.batch
            yield list(range(first, first + self.batch))
            iteration += 1


def batches(
    dataset: VolumeDataset,
    numbers: Numbers,
    workers: int,
    pin: bool,
    together: Callable[[Sequence[Sample]], Any] = collate,
) -> Iterator[Any]:
    """Endless batches in order, drawn and collated by ``workers`` processes (0: in this process)."""
    if workers == 0 and not pin:  # the same as a DataLoader, with less overhead
        return (together([dataset[number] for number in chosen]) for chosen in numbers)
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_sampler=numbers,
        num_workers=workers,
        collate_fn=together,
        pin_memory=pin,
        persistent_workers=workers > 0,
        # Forked processes share volumes in memory; open files and their threads must not be shared.
        multiprocessing_context=("fork" if dataset.in_memory else "forkserver") if workers else None,
    )
    return iter(loader)


def prepare(samples: Sequence[Sample], config: Config, seed: int, augment: AugmentConfig | None) -> Batch:
    """Augment samples and make their targets, on the samples' device; ``augment=None``: no augmentation.

    Targets are made after the geometric augmentation, so that they fit the image that the network sees.
    """
    return complete(vary(samples, config, seed, augment), config, augment)


class Told(NamedTuple):
    """Affinities of a teacher for a sample, or a batch, after its symmetry."""

    codes_EZYX: Tensor
    """uint8, codes of ``logit8``; arbitrary where an edge leaves the sample."""
    known_E: Tensor
    """bool, whether the teacher has that edge."""


class Varied(NamedTuple):
    """A sample after warp, defects, grey values and symmetry."""

    image_ZYX: Tensor
    labels_ZHW: Tensor
    mask_ZHW: Tensor
    told: Told | None
    """None where no volume of the recipe has a teacher."""
    labelled: bool


def vary(samples: Sequence[Sample], config: Config, seed: int, augment: AugmentConfig | None) -> list[Varied]:
    """Augment samples where they are: in a DataLoader worker, or on the device that trains."""
    return [_vary(sample, config, seed, augment) for sample in samples]


def vary_and_pack(samples: Sequence[Sample], config: Config) -> list[Varied]:
    """:func:`vary` in a DataLoader worker; ids are sent as 16 bits where they fit."""
    varied = vary(samples, config, config.training.seed, config.augment)
    small = [v.labels_ZHW.numel() == 0 or int(v.labels_ZHW.max()) < 2**15 for v in varied]
    return [v._replace(labels_ZHW=v.labels_ZHW.short()) if fits else v for v, fits in zip(varied, small, strict=True)]


class VariedBatch(NamedTuple):
    """A stacked batch of augmented samples."""

    image_BZYX: Tensor
    labels_BZHW: Tensor
    """int32."""
    mask_BZHW: Tensor
    """bool."""
    told: Told | None
    """Of all samples."""
    labelled: tuple[bool, ...]


def complete(varied: Sequence[Varied], config: Config, augment: AugmentConfig | None) -> Batch:
    """Stack augmented samples and make their targets, on the samples' device."""
    images, labels, masks, told, labelled = zip(*varied, strict=True)
    said = None if told[0] is None else Told(*map(_together, zip(*told, strict=True)))
    ids = _together([one.int() for one in labels])
    return with_targets(VariedBatch(_together(images), ids, _together(masks), said, labelled), config, augment)


def with_targets(stack: VariedBatch, config: Config, augment: AugmentConfig | None) -> Batch:
    """Make the targets of a batch, on the batch's device."""
    labels_BZHW, mask_BZHW = stack.labels_BZHW, stack.mask_BZHW
    # Samples with cube symmetries are eroded already, before the turn.
    cube, model = augment is not None and augment.cube, config.model
    margin, erosion = (0, 0) if cube else (label_margin(model), model.label_erosion)
    shown, usable = (cut_margin(part, margin) for part in (labels_BZHW, mask_BZHW))
    if not all(stack.labelled):
        (sent,) = send([{"labelled": np.array(stack.labelled, np.int64)}], mask_BZHW.device)
        mask_BZHW = mask_BZHW & (sent["labelled"] > 0)[:, None, None, None]
    eroded = erode_inside(labels_BZHW, erosion, margin)
    target, validity = affinity_targets(eroded, model.offsets, cut_margin(mask_BZHW, margin))
    more = auxiliary_targets(labels_BZHW, mask_BZHW, model, margin)
    batch = Batch(stack.image_BZYX[:, None], target, validity, shown, more)
    if stack.told is None:
        return batch
    codes, known = stack.told
    tables = _table(codes.device).expand(math.prod(codes.shape[:3]), -1)
    soft = look_up(codes.flatten(0, 2), tables.contiguous()).view(codes.shape)
    valid = affinity_targets(usable, model.offsets)[0] & known[:, :, None, None, None]
    return batch._replace(soft_BEZYX=soft, soft_validity_BEZYX=valid)


@cache
def _table(device: torch.device) -> Tensor:  # of affinities, by the code of a teacher
    return torch.from_numpy(LOGIT8.table).to(device, torch.float32)


def _told(teacher: TeacherAffinities | None, symmetry: Symmetry, config: Config) -> Told | None:
    """The teacher's affinities after the symmetry; nothing is known if the sample was warped."""
    if not taught(config):
        return None
    offsets = config.model.offsets
    if teacher is None:
        nothing = torch.zeros(len(offsets), *config.training.patch, dtype=torch.uint8)
        return Told(nothing, torch.zeros(len(offsets), dtype=torch.bool))
    codes, known = turn_affinities(teacher.codes_EZYX, teacher.offsets, offsets, symmetry)
    return Told(codes, torch.tensor(known))


def _together(parts: Sequence[Tensor]) -> Tensor:
    """Stack samples in contiguous memory; a single contiguous sample is not copied."""
    return parts[0][None].contiguous() if len(parts) == 1 else torch.stack(list(parts))


def _vary(sample: Sample, config: Config, seed: int, augment: AugmentConfig | None) -> Varied:
    """A sample after warp, defects, grey values and symmetry."""
    patch, margin = config.training.patch, label_margin(config.model)
    image, labels, mask = sample.image_ZYX, sample.labels_ZYX, sample.mask_ZYX
    if augment is None:
        return Varied(to_unit(image), labels, mask, None, sample.labelled)
    drawn = draw(sample.number, sample.warp, config, seed, augment)
    # uint8 is kept as long as possible: grey values then change by a lookup table.
    if drawn.warp is not None or image.dtype != torch.uint8:
        image = to_unit(image)
    if drawn.warp is not None:
        image, labels, mask = apply_warp(image, labels, mask, drawn.warp, patch, margin, sample.real_YX)
    image = apply_defects(image, drawn.defects)
    if augment.cube:  # erode in all planes, since the turn exchanges axes; and before it, as the margin is in y and x
        labels, mask = erode_volume(labels, config.model.label_erosion, margin), cut_margin(mask, margin)
    # Flips and transposes only move voxels, so that the warp is the only interpolation.
    image, labels, mask = (apply_symmetry(part, drawn.symmetry) for part in (image, labels, mask))
    told = _told(sample.teacher, drawn.symmetry, config)
    return Varied(apply_curves(image, drawn.curves), labels, mask, told, sample.labelled)


def draw(number: int, warp: Warp | None, config: Config, seed: int, augment: AugmentConfig) -> Drawn:
    """Draw the augmentation of a sample; its warp was drawn before, since it decides which voxels are read."""
    patch = config.training.patch
    defects = draw_defects(sample_rng(seed, number, part=3), augment, patch)
    rng = sample_rng(seed, number, part=1)
    symmetry = draw_symmetry(rng, augment.flip, augment.transpose and patch[1] == patch[2], augment.cube)
    spread = (augment.contrast, augment.brightness, augment.gamma)
    intensity = Intensity(*spread, augment.intensity_probability, augment.by_section)
    return Drawn(warp, defects, symmetry, draw_curves(rng, intensity, patch[0], backwards=symmetry.flip_z))


def cut_margin(x_ZHW: Tensor, margin: int) -> Tensor:
    """Remove the margin in y and x.

    >>> cut_margin(torch.zeros(3, 6, 6), 1).shape
    torch.Size([3, 4, 4])
    """
    return x_ZHW[..., margin : x_ZHW.shape[-2] - margin, margin : x_ZHW.shape[-1] - margin]
