"""Batches on a GPU: volumes are kept in its memory, and all samples of a batch are cut out and augmented there.

:func:`prepare_together` gives the same batch as :func:`neuropil.training.batches.prepare`, up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from neuropil.augment import (
    FlatVoxels,
    Held,
    Together,
    Warp,
    Window,
    longest_reach,
    shrink,
    to_unit,
    turn_held,
    vary_together,
)
from neuropil.config import AugmentConfig, Config, taught
from neuropil.dataset import Sample, Spot, VolumeDataset
from neuropil.inference.memory import free_memory
from neuropil.sources import Source, TeacherAffinities
from neuropil.targets import erode_volume, label_margin
from neuropil.training.batches import (
    Batch,
    Numbers,
    Told,
    VariedBatch,
    batches,
    cut_margin,
    draw,
    open_dataset,
    prepare,
    vary_and_pack,
    with_targets,
)


class PlacedSample(NamedTuple):
    """A sample without its voxels."""

    number: int
    warp: Warp | None
    teacher: Held | None
    """Position of the teacher's affinities in flat memory."""
    labelled: bool


class PlacedBatch(NamedTuple):
    """A batch before augmentation: flat memory, and the positions of its samples there."""

    voxels: FlatVoxels
    codes: Tensor
    """uint8, the affinities of teachers, one after the other in flat memory; a single 0 if there are none."""
    windows: tuple[Window, ...]
    pieces: tuple[PlacedSample, ...]


def prepare_together(placed: PlacedBatch, config: Config, seed: int, augment: AugmentConfig) -> Batch:
    """Augment a batch on the device that holds its voxels, and make its targets there."""
    patch, margin = config.training.patch, label_margin(config.model)
    drawn = [draw(piece.number, piece.warp, config, seed, augment) for piece in placed.pieces]
    eroded = partial(_eroded, steps=config.model.label_erosion, margin=margin) if augment.cube else None
    batch = vary_together(placed.voxels, placed.windows, drawn, patch, margin, eroded)
    told = None
    if taught(config):
        held, symmetries = [piece.teacher for piece in placed.pieces], [one.symmetry for one in drawn]
        told = Told(*turn_held(placed.codes, held, symmetries, config.model.offsets, patch))
    labelled = tuple(piece.labelled for piece in placed.pieces)
    stack = VariedBatch(batch.image_BZYX, batch.labels(), batch.mask(), told, labelled)
    return with_targets(stack, config, augment)


def _eroded(batch: Together, steps: int, margin: int) -> Together:
    """Erode the labels of a batch; before samples are turned, since their margin is in y and x."""
    ids = erode_volume(batch.labels(), steps, margin)
    return batch._replace(ids_BZHW=torch.where(cut_margin(batch.mask(), margin), ids, ~ids))


def drawn_batches(dataset: VolumeDataset, numbers: Numbers, config: Config, device: torch.device) -> Iterator[Any]:
    """Endless batches: augmented samples if DataLoader workers draw them (one thread each); else samples that are not
    augmented yet (CPU), or a :class:`PlacedBatch` (GPU).

    Args:
        dataset: the dataset to draw from.
        numbers: sample numbers of each batch.
        config: the recipe; ``training.workers`` None counts as 0.
        device: the device that trains and makes targets.
    """
    workers = config.training.workers or 0
    if workers:
        return batches(dataset, numbers, workers, device.type == "cuda", partial(vary_and_pack, config=config))
    return batches(dataset, numbers, 0, False) if device.type == "cpu" else placed_batches(dataset, numbers, device)


def training_images(config: Config, count: int) -> Iterator[Tensor]:
    """The images of the first batches of a run by a recipe, augmented, float ``[B, 1, Z, Y, X]`` in [0, 1], on the CPU.

    Args:
        config: the recipe.
        count: number of batches.
    """
    seed = config.training.seed
    dataset = open_dataset(config.data.train, config, seed, config.augment)
    for samples in islice(batches(dataset, Numbers(0, config.training.batch), 0, False), count):
        yield prepare(samples, config, seed, config.augment).image_BCZYX


def placed_batches(
    dataset: VolumeDataset, numbers: Iterable[Sequence[int]], device: torch.device
) -> Iterator[PlacedBatch]:
    """Batches in order: volumes are kept on the device if they fit in half of its free memory; else windows are sent.

    Args:
        dataset: with volumes in CPU memory, or read box by box.
        numbers: sample numbers of each batch.
        device: the device for the batches.
    """
    if not dataset.in_memory or DeviceDataset.size(dataset) > free_memory(device) / 2:
        return (place_windows([dataset[number] for number in chosen], device) for chosen in numbers)
    dataset_there = DeviceDataset(dataset, device)
    return (dataset_there.place([dataset.spot(number) for number in chosen]) for chosen in numbers)


def _border(dataset: VolumeDataset) -> int:
    """Voxels around a volume that a window can reach, and one more for the neighbours of the last voxels."""
    assert dataset.augment is not None
    return longest_reach(dataset.augment, dataset.patch, dataset.margin) + 1


class DeviceDataset:
    """The volumes of a dataset on a device, with a border in y and x of repeated grey values and masked ids."""

    def __init__(self, dataset: VolumeDataset, device: torch.device) -> None:
        self.border = _border(dataset)
        self.places: dict[Source, tuple[int, int]] = {}
        """For each volume the start of its voxels, and of the map that says which voxels of a section are real."""
        self.held: dict[Source, Held] = {}
        """Position of the teacher's affinities of each volume."""
        images, ids, known, codes = [], [], [], [torch.zeros(1, dtype=torch.uint8)]
        at, at_known, at_codes = 0, 0, 1
        bytes_only = all(source.whole()[0].dtype == torch.uint8 for source in dataset.sources)
        for source in dataset.sources:
            image, labels, mask = source.whole()
            images.append(_bordered(image if bytes_only else to_unit(image), self.border).flatten().to(device))
            used = F.pad(torch.where(mask, labels, -1), (self.border,) * 4, value=-1)
            ids.append(used.flatten().to(device))
            inside = F.pad(torch.ones(image.shape[1:], dtype=torch.bool), (self.border,) * 4)
            known += [inside.flatten(), shrink(inside).flatten()]
            self.places[source] = (at, at_known)
            at, at_known = at + used.numel(), at_known + 2 * inside.numel()
            teacher = source.teacher(source.region)
            if teacher is not None:
                codes.append(teacher.codes_EZYX.flatten().to(device))
                self.held[source] = _held(teacher, at_codes)
                at_codes += codes[-1].numel()
        self.codes = torch.cat([part.to(device) for part in codes])
        self.voxels = FlatVoxels(torch.cat(images), torch.cat(ids), (torch.cat(known).int() - 1).to(device))

    @staticmethod
    def size(dataset: VolumeDataset) -> int:
        """Bytes needed to put the volumes of a dataset on the device: twice their size, while they are concatenated."""
        border = 2 * _border(dataset)
        shapes = [source.region.shape for source in dataset.sources]
        voxels = sum(z * (y + border) * (x + border) for z, y, x in shapes)
        each = max(source.pair.image.dtype.itemsize for source in dataset.sources)
        teachers = [source.teacher(source.region) for source in dataset.sources]
        codes = sum(teacher.codes_EZYX.numel() for teacher in teachers if teacher is not None)
        return 2 * (voxels * (4 + (1 if each == 1 else 4)) + codes)

    def place(self, spots: Sequence[Spot]) -> PlacedBatch:
        """A batch of samples of these volumes."""
        pieces = tuple(PlacedSample(spot.number, spot.warp, self._teacher(spot), spot.labelled) for spot in spots)
        return PlacedBatch(self.voxels, self.codes, tuple(self._window(spot) for spot in spots), pieces)

    def _teacher(self, spot: Spot) -> Held | None:
        held = self.held.get(spot.source) if spot.stays else None
        if held is None:
            return None
        corner = spot.patch.relative_to(spot.source.region.start).start
        start = held.start + sum(n * step for n, step in zip(corner, held.steps[1:], strict=True))
        return held._replace(start=start)

    def _window(self, spot: Spot) -> Window:
        region = spot.source.region
        begin, begin_known = self.places[spot.source]
        wide = spot.wide.relative_to(region.start)
        row, rows = region.shape[2] + 2 * self.border, region.shape[1] + 2 * self.border
        corner = (wide.start[1] + self.border) * row + wide.start[2] + self.border
        start = begin + wide.start[0] * rows * row + corner
        between = spot.warp is not None and spot.warp.resamples
        known = begin_known + between * rows * row + corner
        size, leaves = (wide.shape[1], wide.shape[2]), spot.warp is not None and not region.contains(spot.wide)
        return Window(size, (start, rows * row, row), (start, rows * row, row), (known, row), leaves)


def _held(teacher: TeacherAffinities, start: int) -> Held:
    """Position of a teacher's affinities stored contiguously from ``start`` on."""
    z, y, x = teacher.codes_EZYX.shape[1:]
    return Held(teacher.offsets, start, (z * y * x, y * x, x, 1))


def _bordered(image_ZYX: Tensor, border: int) -> Tensor:
    """Pad an image in y and x by repeating its edge voxels."""
    for axis in (1, 2):
        size = image_ZYX.shape[axis]
        image_ZYX = image_ZYX.index_select(axis, torch.arange(-border, size + border).clamp(0, size - 1))
    return image_ZYX


def place_windows(samples: Sequence[Sample], device: torch.device) -> PlacedBatch:
    """Send samples that were cut out already to a device as one batch."""
    bytes_only = all(sample.image_ZYX.dtype == torch.uint8 for sample in samples)
    greys, ids, known, windows = [], [], [], []
    codes, pieces = [torch.zeros(1, dtype=torch.uint8)], []
    at_grey, at_ids, at_known, at_codes = 0, 0, 0, 1
    for sample in samples:
        image = sample.image_ZYX if bytes_only else to_unit(sample.image_ZYX)
        (rows, row), (image_rows, image_row) = sample.labels_ZYX.shape[1:], image.shape[1:]
        real = torch.ones(rows, row, dtype=torch.bool) if sample.real_YX is None else sample.real_YX
        between = sample.warp is not None and sample.warp.resamples
        greys.append(image.flatten())
        ids.append(torch.where(sample.mask_ZYX, sample.labels_ZYX, -1).flatten())
        known.append((shrink(real) if between else real).flatten().int() - 1)
        # An image without a warp has no margin, unlike its labels; the positions before it are never read.
        start = at_grey - (rows - image_rows) // 2 * image_row - (row - image_row) // 2
        window = Window(
            (rows, row),
            (start, image_rows * image_row, image_row),
            (at_ids, rows * row, row),
            (at_known, row),
            sample.real_YX is not None,
        )
        windows.append(window)
        at_grey, at_ids, at_known = at_grey + image.numel(), at_ids + ids[-1].numel(), at_known + real.numel()
        held = None if sample.teacher is None else _held(sample.teacher, at_codes)
        if sample.teacher is not None:
            codes.append(sample.teacher.codes_EZYX.flatten())
            at_codes += codes[-1].numel()
        pieces.append(PlacedSample(sample.number, sample.warp, held, sample.labelled))
    # Padding: neighbours of the last voxels are read with weight 0.
    greys.append(greys[-1].new_zeros(max(window.grey[2] for window in windows) + 1))
    voxels = FlatVoxels(*(_sent(torch.cat(parts), device) for parts in (greys, ids, known)))
    return PlacedBatch(voxels, _sent(torch.cat(codes), device), tuple(windows), tuple(pieces))


def _sent(flat: Tensor, device: torch.device) -> Tensor:
    return flat.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else flat.to(device)
