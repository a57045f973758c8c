"""Check that a recipe has all that training needs, before any volume is opened."""

from __future__ import annotations

from pathlib import Path

from neuropil.config.schema import Config
from neuropil.errors import NeuropilError


def check_trainable(config: Config, has_teacher: bool = False) -> None:
    """Refuse a recipe that lacks something for training; with a teacher, volumes need no labels.

    Raises:
        NeuropilError: no training volume, one without labels, no length of training, no validation volume where one is
            needed, ``edge_weights`` that do not fit the offsets, or settings that ``augment.cube`` excludes.

    >>> check_trainable(Config())
    Traceback (most recent call last):
    ...
    neuropil.errors.NeuropilError: data.train: expected at least one volume with image and labels, got none
    """
    if not config.data.train:
        raise NeuropilError("data.train: expected at least one volume with image and labels, got none")
    for section, pairs in (("train", config.data.train), ("validation", config.data.validation)):
        for index, pair in enumerate(pairs):
            if pair.labels is None and (section == "validation" or not (has_teacher or pair.teacher)):
                hint = "" if section == "validation" else "; name them, or train with --teacher MODEL"
                raise NeuropilError(
                    f"data.{section}[{index}].labels: expected the labels of {pair.image}, got none{hint}"
                )
            if pair.teacher is not None and section == "validation":
                raise NeuropilError(f"data.validation[{index}].teacher: nothing is learned there; leave it out")
    if not config.data.validation:
        if config.optimizer.schedule == "plateau":
            raise NeuropilError("optimizer.schedule: plateau goes by the loss on data.validation; name a volume there")
        if config.training.segment_validation is not None:
            raise NeuropilError("training.segment_validation: expected a volume in data.validation, got none")
    if any(factor != 1 for factor in config.data.zoom) and config.training.segment_validation is not None:
        raise NeuropilError(
            "training.segment_validation: scores on the voxels of the files; leave it out with data.zoom"
        )
    if config.augment.cube:
        _check_cube(config)
    weights, edges = config.loss.edge_weights, len(config.model.offsets)
    if weights is not None and (len(weights) != edges or not any(weights)):
        raise NeuropilError(
            f"loss.edge_weights: expected {edges} numbers, as many as model.offsets, not all 0, got {list(weights)}"
        )
    if config.training.iterations is None and config.training.minutes is None:
        raise NeuropilError("training: expected iterations or minutes (or both), got neither; add training.minutes")


def _check_cube(config: Config) -> None:
    """Refuse a recipe whose patch or targets do not allow ``augment.cube``."""
    patch, model = config.training.patch, config.model
    if len(set(patch)) > 1:
        raise NeuropilError(f"training.patch: expected a cube, since augment.cube puts axes in any order, got {patch}")
    sectioned = ("aux_erosions", "aux_contour", "aux_distance", "aux_descriptors")
    if used := [name for name in sectioned if getattr(model, name)]:
        raise NeuropilError(f"model.{used[0]}: made of sections as they lie, which augment.cube turns; use one of them")


def starting_from(config: Config, pretrained: Path | str | None) -> Config:
    """The recipe with other weights to start from; None leaves those that it names.

    >>> starting_from(Config(), "snemi3d").training.pretrained
    'snemi3d'
    """
    if pretrained is None:
        return config
    training = config.training.model_copy(update={"pretrained": str(pretrained)})
    return config.model_copy(update={"training": training})


def taught(config: Config) -> bool:
    """Whether any training volume has a teacher's affinities.

    >>> taught(Config())
    False
    """
    return any(pair.teacher is not None for pair in config.data.train)
