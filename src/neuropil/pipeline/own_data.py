"""A recipe for one's own data: what the files and the size of a voxel say about network, patch, offsets and split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from math import prod

import numpy as np
from numpy.typing import NDArray

from neuropil.config import Config, DataConfig, ModelConfig, OptimizerConfig, TrainingConfig, VolumePair
from neuropil.config.mistakes import changed
from neuropil.config.schema import IntensityConfig
from neuropil.errors import NeuropilError
from neuropil.geometry import NEAREST, Box, Offsets, Triple, VoxelSize
from neuropil.volumes import Volume, open_volume, require_image, require_labels
from neuropil.volumes.counting import BETWEEN, LabelCount, count_labels, looks_like_image, looks_like_labels
from neuropil.volumes.tissue import open_mask

PATCH_VOXELS = 16 * 144 * 144
"""Voxels of a patch: what a small network trains on in about a second on two cores."""

LONG_NM = (54, 162)
"""Reach of the long offsets: a third of a neurite and a whole one."""


FAR = 0.3
"""Share of zeros far from any id above which 0 is taken for "not annotated"."""

FINE_TUNING = 0.25
"""Learning rate from a trained model on, as a share of the one it was trained with."""

SPARSE, LEAST = 0.5, 0.01
"""Share of labelled voxels in their box below which patches are drawn by labels, and what a patch must then hold."""

VALIDATION, TEST = 0.2, 0.2
"""Shares of the labelled voxels of a volume to choose with and to report on."""


@dataclass(frozen=True)
class Recipe:
    """A config, and one line on each choice made for it."""

    config: Config
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class _Labelled:
    """An image with its labels, and where these are."""

    names: VolumePair
    image: Volume
    labels: Volume
    count: LabelCount

    def lines(self) -> list[str]:
        count, first = self.count, self.image
        return [
            f"image  {first.path}: {first.shape} {first.dtype}",
            f"labels {self.labels.path}: {self.labels.shape} {self.labels.dtype}, {count.share:.1%} labelled, all "
            f"within {count.box}",
        ]


def new_recipe(
    pairs: Sequence[tuple[str, str]],
    *,
    masks: Sequence[str] = (),
    box: str | None = None,
    voxel_size: VoxelSize | None = None,
    minutes: float = 60.0,
    pretrained: str | None = None,
) -> Recipe:
    """A sound recipe for images and their labels; the labels are read once.

    One volume is split in three along an axis, so that each part holds labels. Of several, the one with most labels is,
    and the others are learned from whole.

    Args:
        pairs: path of each image ``[z, y, x]``, and of its labels, of the same shape or placed by ``origin``.
        masks: a mask for each pair, 1 = use; or none.
        box: the labelled part, ``Z0:Z1,Y0:Y1,X0:X1`` in voxels of the image; where there are labels by default.
        voxel_size: nm, z y x, where the files do not say it.
        minutes: how long to train.
        pretrained: a checkpoint, or the name of a model of the package, to start from: network, offsets, grey scale and
            patch are then its own, and the learning rate a quarter of its own.

    Raises:
        NeuropilError: unreadable files, shapes that differ with neither box nor origin, labels that are fractions,
            look like an image, hold negative ids or nothing, no voxel size, volumes of different voxel size, or too few
            voxels to keep some for validation.

    >>> import numpy as np, tempfile
    >>> from neuropil.volumes import Metadata, write_volume
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_volume(f"{folder}/i.h5", np.zeros((80, 256, 256), np.uint8), Metadata(voxel_size=(30, 6, 6)))
    ...     write_volume(f"{folder}/l.h5", np.ones((80, 256, 256), np.uint32))
    ...     recipe = new_recipe([(f"{folder}/i.h5", f"{folder}/l.h5")])
    >>> recipe.config.model.downsample, recipe.config.data.train[0].box
    (((1, 2, 2), (1, 2, 2), (2, 2, 2)), '0:48,0:256,0:256')
    """
    if masks and len(masks) != len(pairs):
        raise NeuropilError(f"--mask: expected one mask for each of the {len(pairs)} images, or none, got {len(masks)}")
    given = [VolumePair(image=i, labels=t, mask=m) for (i, t), m in zip_longest(pairs, masks)]
    volumes = [_look(names, box) for names in given]
    size = voxel_size or _common_size(volumes)
    z, y, x = (min(v.count.box.shape[axis] for v in volumes) for axis in range(3))
    model, optimizer, intensity = _beginning(pretrained, size)
    patch, axis = patch_for(size, (z, y, x), (model.stem, *model.downsample))
    if pretrained is None:
        model = changed(model, {"offsets": offsets_for(size, patch)}, "config new")

    main = max(volumes, key=lambda v: v.count.voxels)
    train, validation, test = (
        main.names.model_copy(update={"box": str(part)})
        for part in split(main.count.box, axis, patch, main.count.along[axis])
    )
    others = [v.names.model_copy(update={"box": str(v.count.box)}) for v in volumes if v is not main]
    zero = 0 if not masks and any(v.count.far_zeros > FAR for v in volumes) else None
    config = Config(
        data=DataConfig(
            train=(train, *others),
            validation=(validation,),
            test=test,
            voxel_size=size,
            unlabelled=zero,
            intensity=intensity,
            min_foreground=LEAST if any(v.count.voxels < SPARSE * v.count.box.size for v in volumes) else 0.0,
        ),
        model=model,
        optimizer=optimizer,
        training=TrainingConfig(patch=patch, batch=1, minutes=minutes),
    )
    whole = f" and {len(others)} whole volume{'s'[: len(others) > 1]}" if others else ""
    start = () if pretrained is None else (f"starts from {pretrained}: its network, offsets and grey scale",)
    reasons = (
        *(line for volume in volumes for line in volume.lines()),
        _zero_line(volumes, zero, bool(masks)),
        _size_line(size, model, patch),
        *start,
        f"trains on {train.box}{whole}, chooses on {validation.box}, reports on {test.box}",
    )
    return Recipe(config, reasons)


def _look(names: VolumePair, box: str | None) -> _Labelled:
    """Open an image and its labels, and count these."""
    assert names.labels is not None
    picture, truth = require_image(open_volume(names.image)), open_volume(names.labels)
    if looks_like_labels(picture) and looks_like_image(truth):
        raise NeuropilError(
            f"expected IMAGE LABELS, but {picture.path} holds regions of equal numbers, as labels do, and {truth.path} "
            "grey values; exchange the two"
        )
    if truth.dtype.kind != "f" and looks_like_image(truth):
        raise NeuropilError(
            f"expected one id per neuron, got what looks like an image, in {truth.path}; name the labels"
        )
    truth = require_labels(truth)
    region = labelled_region(picture, truth, box)
    count = count_labels(truth, region, open_mask(names.mask, picture) if names.mask else None)
    if not count.voxels:
        raise NeuropilError(f"expected labels, got nothing but 0, in {truth.path}, box {region}; name a labelled part")
    return _Labelled(names, picture, truth, count)


def _common_size(volumes: Sequence[_Labelled]) -> VoxelSize:
    """The size of a voxel, which all volumes must share."""
    sizes = [v.image.metadata.voxel_size or v.labels.metadata.voxel_size for v in volumes]
    for volume, size in zip(volumes, sizes, strict=True):
        first, image, labels = sizes[0], volume.image.path, volume.labels.path
        if size is None or first is None:
            raise NeuropilError(
                f"neither {image} nor {labels} says how large a voxel is; give --voxel-size Z,Y,X in nm"
            )
        if any(abs(a - b) > 0.05 * b for a, b in zip(size, first, strict=True)):
            raise NeuropilError(
                f"expected voxels of {_by(first)} nm in all volumes, as in {volumes[0].image.path}, got {_by(size)} "
                f"nm, in {image}; write a recipe for each size"
            )
    assert sizes[0] is not None
    return sizes[0]


def _beginning(pretrained: str | None, size: VoxelSize) -> tuple[ModelConfig, OptimizerConfig, IntensityConfig]:
    """Network, optimizer and grey scale: for these voxels, or those of a trained model, with smaller steps."""
    if pretrained is None:
        factors = downsampling(size)
        model = ModelConfig(downsample=factors, anisotropic_levels=flat_levels(size, factors))
        return model, OptimizerConfig(), IntensityConfig()
    from neuropil.models.checkpoint import read_checkpoint

    known = Config.from_dict(read_checkpoint(pretrained)["config"], f"the config in {pretrained}")
    if known.model.architecture != "residual_unet":
        raise NeuropilError(f"--pretrained: expected a residual_unet, got {known.model.architecture}, in {pretrained}")
    rate = known.optimizer.learning_rate * FINE_TUNING
    optimizer = changed(OptimizerConfig(), {"learning_rate": rate, "warmup": 20}, "config new")
    return known.model, optimizer, known.data.intensity


def _zero_line(volumes: Sequence[_Labelled], zero: int | None, masked: bool) -> str:
    """What 0 is taken for, and why."""
    if masked:
        return "0 is background where the mask is not 0"
    share = max(v.count.far_zeros for v in volumes)
    found = f"{share:.0%} of the zeros lie more than {BETWEEN} voxels from any id"
    if zero is None:
        return f"0 is background ({found}); if it means not annotated, set data.unlabelled: 0"
    return f"0 is not annotated ({found}); if it is background, remove data.unlabelled"


def _size_line(size: VoxelSize, model: ModelConfig, patch: Triple) -> str:
    flat = model.anisotropic_levels
    extent = _by(n * s for n, s in zip(patch, size, strict=True))
    return f"voxels of {_by(size)} nm: {flat or 'no'} flat level{'' if flat == 1 else 's'}, patches of {extent} nm"


def labelled_region(image: Volume, labels: Volume, box: str | None) -> Box:
    """The voxels that have both image and label.

    Raises:
        NeuropilError: shapes that differ with neither box nor origin, or a box that leaves either.
    """
    both = image.box.intersect(labels.box)
    if box is not None:
        wanted = Box.parse(box, both)
        if not both.contains(wanted) or wanted.size == 0:
            raise NeuropilError(f"--box {box}: expected a box inside {both}, where {image.path} has labels")
        return wanted
    placed = image.metadata.origin is not None or labels.metadata.origin is not None
    if image.shape != labels.shape and not placed:
        raise NeuropilError(
            f"{image.path} has shape {image.shape} and {labels.path} has {labels.shape}; expected equal ones, or the "
            "labelled part as --box Z0:Z1,Y0:Y1,X0:X1"
        )
    if both.size == 0:
        raise NeuropilError(f"{image.path} ({image.box}) and {labels.path} ({labels.box}) do not overlap")
    return both


def downsampling(size: VoxelSize, levels: int = 4) -> tuple[Triple, ...]:
    """Factors from level to level: each halves the axes that are still fine, until voxels are about cubes.

    >>> downsampling((30, 6, 6))
    ((1, 2, 2), (1, 2, 2), (2, 2, 2))
    >>> downsampling((8, 8, 8))
    ((2, 2, 2), (2, 2, 2), (2, 2, 2))
    """
    factors: list[Triple] = []
    now = size
    for _ in range(levels - 1):
        z, y, x = (2 if n < 1.5 * min(now) else 1 for n in now)
        factors.append((z, y, x))
        now = (now[0] * z, now[1] * y, now[2] * x)
    return tuple(factors)


def flat_levels(size: VoxelSize, downsample: tuple[Triple, ...]) -> int:
    """How many of the finest levels have voxels at least three times as deep as wide: there kernels stay in a section.

    >>> flat_levels((30, 6, 6), downsampling((30, 6, 6))), flat_levels((8, 8, 8), downsampling((8, 8, 8)))
    (1, 0)
    """
    count, (depth, *plane) = 0, size
    for factor in ((1, 1, 1), *downsample):
        depth *= factor[0]
        plane = [n * f for n, f in zip(plane, factor[1:], strict=True)]
        if depth < 3 * min(plane):
            break
        count += 1
    return count


def patch_for(size: VoxelSize, shape: Triple, downsample: tuple[Triple, ...]) -> tuple[Triple, int]:
    """A patch about as deep as wide in nm, whole at the coarsest level; and the axis along which to split the data.

    Along that axis the patch is kept to a fifth of the data, which is then enough to choose with, and wider instead;
    in small boxes to two fifths.

    Raises:
        NeuropilError: too few voxels for a patch to learn from and one to choose with.

    >>> patch_for((30, 6, 6), (80, 1024, 1024), downsampling((30, 6, 6)))
    ((16, 144, 144), 0)
    """
    step = [prod(factor[axis] for factor in downsample) for axis in range(3)]
    edge = (PATCH_VOXELS * prod(size)) ** (1 / 3)  # nm
    wanted = [edge / n for n in size]
    axis = max(range(3), key=lambda a: (min(shape[a] / wanted[a], 3), -a))  # z, where three patches fit in it
    room = [_held_back(n, w) if a == axis else n for a, (n, w) in enumerate(zip(shape, wanted, strict=True))]
    stretch = max(wanted[axis] / room[axis], 1) ** 0.5 if room[axis] else 1
    long = [n / stretch**2 if a == axis else n * stretch for a, n in enumerate(wanted)]
    z, y, x = (min(max(round(n / t), 1), r // t) * t for n, r, t in zip(long, room, step, strict=True))
    if min(z, y, x) == 0:
        raise NeuropilError(
            f"expected at least {_by(step)} voxels to learn from and as many to choose with, got {_by(shape)}; label "
            "more, or join volumes by hand under data.train"
        )
    return (z, y, x), axis


def _held_back(length: int, wanted: float) -> int:
    """How much of an axis may be held back to choose with: a fifth, or two where a fifth is far less than a patch."""
    small = length // 5 < wanted / 2
    return max(length // 5, min(length * 2 // 5, round(wanted)) if small else 0, min(length // 2, 8))


def offsets_for(size: VoxelSize, patch: Triple) -> Offsets:
    """The nearest edges and two long ones per axis; across thick sections two and three sections far.

    >>> offsets_for((30, 6, 6), (16, 144, 144))[3:]
    ((-2, 0, 0), (-3, 0, 0), (0, -9, 0), (0, 0, -9), (0, -27, 0), (0, 0, -27))
    """
    thick = size[0] >= 2 * min(size[1:])
    found = list(NEAREST)
    for axis, nm in [(0, LONG_NM[0]), (0, LONG_NM[1]), *((a, nm) for nm in LONG_NM for a in (1, 2))]:
        long = (2 if nm == LONG_NM[0] else 3) if axis == 0 and thick else round(nm / size[axis])
        z, y, x = (-max(long, 2) if a == axis else 0 for a in range(3))
        if max(long, 2) <= patch[axis] // 2 and (z, y, x) not in found:
            found.append((z, y, x))
    return tuple(found)


def split(region: Box, axis: int, patch: Triple, along: NDArray[np.int64] | None = None) -> tuple[Box, Box, Box]:
    """Boxes to learn from, to choose with and to report on, one behind the other along an axis.

    Validation and test take a fifth of the labelled voxels each, validation at least a patch. Where less than a patch
    would be left to learn from, the test is the validation box again. Every box holds labels if the first and the last
    plane of the region do.

    Args:
        region: what to split.
        axis: along which.
        patch: voxels of a sample.
        along: labelled voxels of each plane of the region along the axis; all alike by default.

    >>> [str(box) for box in split(Box.whole((80, 8, 8)), 0, (16, 8, 8))]
    ['0:48,0:8,0:8', '48:64,0:8,0:8', '64:80,0:8,0:8']
    >>> sparse = np.array([5] * 10 + [0] * 60 + [5] * 10)
    >>> [str(box) for box in split(Box.whole((80, 8, 8)), 0, (4, 8, 8), sparse)]
    ['0:72,0:8,0:8', '72:76,0:8,0:8', '76:80,0:8,0:8']
    """
    length = region.shape[axis]
    held = np.cumsum(np.ones(length, np.int64) if along is None else along)
    first, last = (int(np.searchsorted(held, round(n * held[-1]))) + 1 for n in (1 - VALIDATION - TEST, 1 - TEST))
    report = length - last
    choose = max(last - first, patch[axis])
    if length - choose - report < patch[axis]:
        choose, report = max(report, patch[axis]), 0
    edges = [0, length - choose - report, length - report, length]
    boxes = []
    for begin, end in pairwise(edges):
        start, stop = list(region.start), list(region.stop)
        start[axis], stop[axis] = region.start[axis] + begin, region.start[axis] + end
        boxes.append(Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2])))
    train, validation, test = boxes
    return train, validation, test if report else validation


def _by(numbers: Iterable[float]) -> str:
    return " × ".join(f"{n:g}" for n in numbers)
