"""The verb ``config new``: a recipe for a user's data, with network, patch, offsets and split chosen by voxel size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from neuropil.config import (
    AugmentConfig,
    Config,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    SegmentConfig,
    TrainingConfig,
    VolumePair,
)
from neuropil.config.learning import MUON_RATE
from neuropil.config.mistakes import changed
from neuropil.config.schema import IntensityConfig
from neuropil.errors import NeuropilError
from neuropil.geometry import Box, Triple, VoxelSize
from neuropil.pipeline.own_shapes import (
    by,
    cube_for,
    downsampling,
    flat_levels,
    is_isotropic,
    min_size_for,
    offsets_for,
    patch_for,
    split,
    step_of,
)
from neuropil.volumes import Volume, open_volume, require_image, require_labels
from neuropil.volumes.counting import BETWEEN, LabelCount, count_labels, looks_like_image, looks_like_labels
from neuropil.volumes.tissue import open_mask

SHORT = 30.0
"""Minutes of training up to which isotropic data gets the narrower network."""

QUICK = (16, 48, 96, 128)
"""Its widths: the finest level costs most time, the others cost little and learn much."""

PATIENT = (32, 64, 72, 72)
"""Widths for isotropic data and more time: those of `fib25`."""

THICK = 64
"""Fewest voxels along each axis of isotropic data that is learned at half its resolution."""

ISOTROPIC = {"by_section": 0.0, "rotate": 45.0, "scale": 0.2, "elastic": 3.0}
"""Augmentation of isotropic data, which is not made of sections; and all 48 symmetries, where the patch is a cube."""

FAR = 0.3
"""Share of zeros far from any id above which 0 is taken for "not annotated"."""

FINE_TUNING = 0.5
"""Factor for the learning rate of a pretrained model."""

SPARSE, LEAST = 0.5, 0.01
"""Share of labelled voxels in their box below which a patch must hold labels, and the least share that it must hold."""


@dataclass(frozen=True)
class Recipe:
    """A config, and one line about each choice in it."""

    config: Config
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class _Labelled:
    """An image with its labels, and where voxels are labelled."""

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
    """Make a recipe for images and their labels; the labels are read once.

    The volume with most labels is split into training, validation and test along an axis, so that each part has labels;
    further volumes are used for training only.

    Args:
        pairs: path of each image ``[z, y, x]``, and of its labels, of the same shape or placed by ``origin``.
        masks: a mask for each pair, 1 = use; or none.
        box: the labelled part, ``Z0:Z1,Y0:Y1,X0:X1`` in voxels of the image; by default that of all labels.
        voxel_size: nm, z y x, instead of that in the files.
        minutes: how long to train.
        pretrained: a checkpoint, or the name of a model of the package, to start from: network, offsets and grey scale
            are taken from it, and the learning rate is halved.

    Raises:
        NeuropilError: unreadable files, shapes that differ with neither box nor origin, labels that are fractions,
            look like an image, hold negative ids or only 0, no voxel size, volumes of different voxel size, or too few
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
    model, optimizer, intensity = _beginning(pretrained, size, minutes, min(z, y, x))
    factors, isotropic = (model.stem, *model.downsample), is_isotropic(size)
    cubic = isotropic and pretrained is None
    patch, axis = (cube_for if cubic else patch_for)(size, (z, y, x), factors)
    if pretrained is None:
        # Where sections are thin the network can learn the place of a boundary to the voxel.
        erosion = 0 if isotropic else model.label_erosion
        model = changed(model, {"offsets": offsets_for(size, patch), "label_erosion": erosion}, "config new")

    data = _shared_out(volumes, axis, patch, step_of(factors)[axis] if cubic else None)
    zero = 0 if not masks and any(v.count.far_zeros > FAR for v in volumes) else None
    sparse = any(v.count.voxels < SPARSE * v.count.box.size for v in volumes)
    config = Config(
        data=data.model_copy(
            update={
                "voxel_size": size,
                "unlabelled": zero,
                "intensity": intensity,
                "min_foreground": LEAST if sparse else 0.0,
            }
        ),
        model=model,
        augment=changed(AugmentConfig(), {**ISOTROPIC, "cube": cubic} if isotropic else {}, "config new"),
        optimizer=optimizer,
        training=TrainingConfig(
            patch=patch,
            batch=1,
            minutes=minutes,
            pretrained=pretrained,
            segment_validation=(patch[0], min(2 * patch[1], 256), min(2 * patch[2], 256)),
        ),
        segment=SegmentConfig(min_size=min_size_for(size)),
    )
    reasons = (
        *(line for volume in volumes for line in volume.lines()),
        _zero_line(volumes, zero, bool(masks)),
        _size_line(size, model, patch),
        f"segments of fewer than {config.segment.min_size} voxels join their best neighbour",
        *(("isotropic: all 48 symmetries in training, labels without erosion",) if cubic else ()),
        *(("isotropic: half the resolution inside the network",) if cubic and model.stem == (2, 2, 2) else ()),
        *(("isotropic: training deforms sections together, and grey values vary by sample",) if isotropic else ()),
        *(() if pretrained is None else (f"starts from {pretrained}: its network, offsets and grey scale",)),
        _parts_line(data),
    )
    return Recipe(config, reasons)


def _shared_out(volumes: Sequence[_Labelled], axis: int, patch: Triple, least: int | None) -> DataConfig:
    """Split the volume with most labels by :func:`split`; the others are used for training only."""
    main = max(volumes, key=lambda v: v.count.voxels)
    train, validation, test = (
        main.names.model_copy(update={"box": str(part)})
        for part in split(main.count.box, axis, patch, main.count.along[axis], least)
    )
    others = [v.names.model_copy(update={"box": str(v.count.box)}) for v in volumes if v is not main]
    return DataConfig(train=(train, *others), validation=(validation,), test=test)


def _parts_line(data: DataConfig) -> str:
    """The line about training, validation and test volumes."""
    train, *others = data.train
    whole = f" and {len(others)} whole volume{'s'[: len(others) > 1]}" if others else ""
    assert data.test is not None
    return f"trains on {train.box}{whole}, validates on {data.validation[0].box}, tests on {data.test.box}"


def _look(names: VolumePair, box: str | None) -> _Labelled:
    """Open an image and its labels, and count the labels."""
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
    """The voxel size, which must be the same in all volumes."""
    sizes = [v.image.metadata.voxel_size or v.labels.metadata.voxel_size for v in volumes]
    for volume, size in zip(volumes, sizes, strict=True):
        first, image, labels = sizes[0], volume.image.path, volume.labels.path
        if size is None or first is None:
            raise NeuropilError(f"neither {image} nor {labels} stores a voxel size; give --voxel-size Z,Y,X in nm")
        if any(abs(a - b) > 0.05 * b for a, b in zip(size, first, strict=True)):
            raise NeuropilError(
                f"expected voxels of {by(first)} nm in all volumes, as in {volumes[0].image.path}, got {by(size)} "
                f"nm, in {image}; write a recipe for each size"
            )
    assert sizes[0] is not None
    return sizes[0]


def _beginning(
    pretrained: str | None, size: VoxelSize, minutes: float, narrowest: int
) -> tuple[ModelConfig, OptimizerConfig, IntensityConfig]:
    """Network, optimizer and grey scale: for this voxel size, or those of a pretrained model with half the rate."""
    if pretrained is None:
        factors = downsampling(size)
        model = ModelConfig(downsample=factors, anisotropic_levels=flat_levels(size, factors))
        if is_isotropic(size) and narrowest >= THICK:  # at half the resolution voxels cost an eighth
            widths = QUICK if minutes <= SHORT else PATIENT
            model = changed(model, {"stem": (2, 2, 2), "widths": widths, "activation": "relu"}, "config new")
        return model, OptimizerConfig(name="muon"), IntensityConfig()
    from neuropil.models.checkpoint import read_checkpoint

    known = Config.from_dict(read_checkpoint(pretrained)["config"], f"the config in {pretrained}")
    if known.model.architecture != "residual_unet":
        raise NeuropilError(f"--pretrained: expected a residual_unet, got {known.model.architecture}, in {pretrained}")
    optimizer = OptimizerConfig(name="muon", learning_rate=MUON_RATE * FINE_TUNING, warmup=20)
    return known.model, optimizer, known.data.intensity


def _zero_line(volumes: Sequence[_Labelled], zero: int | None, masked: bool) -> str:
    """The line about the meaning of 0 in the labels."""
    if masked:
        return "0 is background where the mask is not 0"
    share = max(v.count.far_zeros for v in volumes)
    found = f"{share:.0%} of the zeros lie more than {BETWEEN} voxels from any id"
    if zero is None:
        return f"0 is background ({found}); if it means not annotated, set data.unlabelled: 0"
    return f"0 is not annotated ({found}); if it is background, remove data.unlabelled"


def _size_line(size: VoxelSize, model: ModelConfig, patch: Triple) -> str:
    flat = model.anisotropic_levels
    extent = by(n * s for n, s in zip(patch, size, strict=True))
    return f"voxels of {by(size)} nm: {flat or 'no'} flat level{'' if flat == 1 else 's'}, patches of {extent} nm"


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
