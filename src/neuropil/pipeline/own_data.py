"""A recipe for one's own data: what the files and the size of a voxel say about network, patch, offsets and split."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from neuropil.config import Config, DataConfig, ModelConfig, TrainingConfig, VolumePair
from neuropil.errors import NeuropilError
from neuropil.geometry import NEAREST, Box, Offsets, Triple, VoxelSize
from neuropil.volumes import Volume, open_volume, require_image, require_labels

PATCH_VOXELS = 16 * 144 * 144
"""Voxels of a patch: what a small network trains on in about a second on two cores."""

LONG_NM = (54, 162)
"""Reach of the long offsets: a third of a neurite and a whole one."""


@dataclass(frozen=True)
class Recipe:
    """A config, and one line on each choice made for it."""

    config: Config
    reasons: tuple[str, ...]


def new_recipe(
    image: str, labels: str, *, box: str | None = None, voxel_size: VoxelSize | None = None, minutes: float = 60.0
) -> Recipe:
    """A sound recipe for an image and its labels; nothing but their headers is read.

    Args:
        image: path of the image ``[z, y, x]``.
        labels: path of the labels, of the same shape or placed by ``origin``.
        box: the labelled part, ``Z0:Z1,Y0:Y1,X0:X1`` in voxels of the image; all of it by default.
        voxel_size: nm, z y x, where the files do not say it.
        minutes: how long to train.

    Raises:
        NeuropilError: unreadable files, shapes that differ with neither box nor origin, float labels, no voxel size,
            or too few voxels to keep some for validation.

    >>> import numpy as np, tempfile
    >>> from neuropil.volumes import Metadata, write_volume
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_volume(f"{folder}/i.h5", np.zeros((80, 256, 256), np.uint8), Metadata(voxel_size=(30, 6, 6)))
    ...     write_volume(f"{folder}/l.h5", np.ones((80, 256, 256), np.uint32))
    ...     recipe = new_recipe(f"{folder}/i.h5", f"{folder}/l.h5")
    >>> recipe.config.model.downsample, recipe.config.data.train[0].box
    (((1, 2, 2), (1, 2, 2), (2, 2, 2)), '0:48,0:256,0:256')
    """
    picture, truth = require_image(open_volume(image)), require_labels(open_volume(labels))
    size = voxel_size or picture.metadata.voxel_size or truth.metadata.voxel_size
    if size is None:
        raise NeuropilError(f"neither {image} nor {labels} says how large a voxel is; give --voxel-size Z,Y,X in nm")
    region = labelled_region(picture, truth, box)
    downsample = downsampling(size)
    patch, axis = patch_for(size, region.shape, downsample)
    train, validation, test = split(region, axis, patch)

    boxes = [VolumePair(image=image, labels=labels, box=str(part)) for part in (train, validation, test)]
    flat = flat_levels(size, downsample)
    config = Config(
        data=DataConfig(train=(boxes[0],), validation=(boxes[1],), test=boxes[2], voxel_size=size),
        model=ModelConfig(downsample=downsample, anisotropic_levels=flat, offsets=offsets_for(size, patch)),
        training=TrainingConfig(patch=patch, batch=1, minutes=minutes),
    )
    reasons = (
        f"image  {picture.path}: {picture.shape} {picture.dtype}",
        f"labels {truth.path}: {truth.shape} {truth.dtype}",
        f"voxels of {_by(size)} nm: {flat or 'no'} flat level{'' if flat == 1 else 's'}, patches of "
        f"{_by(n * s for n, s in zip(patch, size, strict=True))} nm",
        f"trains on {train}, chooses on {validation}, reports on {test}",
    )
    return Recipe(config, reasons)


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

    Along that axis the patch is kept to a fifth of the data, which is then enough to choose with, and wider instead.

    Raises:
        NeuropilError: too few voxels for a patch to learn from and one to choose with.

    >>> patch_for((30, 6, 6), (80, 1024, 1024), downsampling((30, 6, 6)))
    ((16, 144, 144), 0)
    """
    step = [prod(factor[axis] for factor in downsample) for axis in range(3)]
    edge = (PATCH_VOXELS * prod(size)) ** (1 / 3)  # nm
    wanted = [edge / n for n in size]
    axis = max(range(3), key=lambda a: (min(shape[a] / wanted[a], 3), -a))  # z, where three patches fit in it
    room = [max(n // 5, min(n // 2, 8)) if a == axis else n for a, n in enumerate(shape)]
    stretch = max(wanted[axis] / room[axis], 1) ** 0.5 if room[axis] else 1
    long = [n / stretch**2 if a == axis else n * stretch for a, n in enumerate(wanted)]
    z, y, x = (min(max(round(n / t), 1), r // t) * t for n, r, t in zip(long, room, step, strict=True))
    if min(z, y, x) == 0:
        raise NeuropilError(
            f"expected at least {_by(step)} voxels to learn from and as many to choose with, got {_by(shape)}; label "
            "more, or join volumes by hand under data.train"
        )
    return (z, y, x), axis


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


def split(region: Box, axis: int, patch: Triple) -> tuple[Box, Box, Box]:
    """Boxes to learn from, to choose with and to report on, one behind the other along an axis.

    Validation and test take a fifth each, validation at least a patch. Where less than a patch would be left to learn
    from, the test is the validation box again.

    >>> [str(box) for box in split(Box.whole((80, 8, 8)), 0, (16, 8, 8))]
    ['0:48,0:8,0:8', '48:64,0:8,0:8', '64:80,0:8,0:8']
    """
    length = region.shape[axis]
    choose = max(length // 5, patch[axis])
    report = length // 5 if length - choose - length // 5 >= patch[axis] else 0
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
