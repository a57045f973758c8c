"""Check before training that a recipe fits the volumes it names."""

from __future__ import annotations

from neuropil.config import Config, DataConfig, VolumePair, check_trainable
from neuropil.errors import NeuropilError
from neuropil.geometry import Box, Triple
from neuropil.inference.engine import kept_offsets
from neuropil.models import build_network, check_spread
from neuropil.models.released import find_checkpoint
from neuropil.segmentation.mutex import channel_biases
from neuropil.training.batches import open_pair, regridded
from neuropil.training.run import start_from
from neuropil.volumes import open_volume, require_image, require_labels


def check_volumes(config: Config) -> list[str]:
    """Check a recipe and the volumes it names for all steps of `neuropil run`.

    Returns:
        A line for each volume, and for the weights to start from.

    Raises:
        NeuropilError: a volume is missing or unreadable, or settings and volumes do not fit together.
    """
    check_trainable(config)
    patch, lines = config.training.patch, []
    if config.model.normalisation != "sync_batch":  # for that it depends on the number of ranks
        check_spread(config.model, patch, config.training.batch)
    _check_segmentable(config)
    if config.training.pretrained is not None:
        start_from(build_network(config.model), config, config.training.pretrained, loud=False)
        lines.append(f"starts from         {find_checkpoint(config.training.pretrained)}")
    # Validation volumes may be smaller than a patch.
    for name, pairs, least in (("train", config.data.train, patch), ("validation", config.data.validation, (1, 1, 1))):
        for index, pair in enumerate(pairs):
            where = f"data.{name}[{index}]"
            lines.append(f"{where:<18}  {pair.image}, box {_drawable(where, pair, least, config.data)}")
    if config.data.test is not None:
        lines.append(f"{'data.test':<18}  {config.data.test.image}, box {_predictable('data.test', config.data.test)}")
    return lines


def _check_segmentable(config: Config) -> None:
    """Refuse edges and biases that do not fit now, and not only after the training."""
    settings, offsets, keep = config.segment, config.model.offsets, config.predict.keep
    if config.data.test is None and settings.method != "mutex":
        return
    try:
        kept = kept_offsets(offsets, keep)
    except NeuropilError as error:
        raise NeuropilError(f"predict.keep: {error}") from None
    if settings.method == "mutex":
        try:
            channel_biases(settings.bias if len(settings.bias) > 1 else settings.bias[0], len(kept))
        except NeuropilError as error:
            why = f"predict.keep {keep} keeps {len(kept)} of the {len(offsets)} model.offsets"
            raise NeuropilError(f"segment.bias: {error}; {why}") from None


def _drawable(where: str, pair: VolumePair, patch: Triple, data: DataConfig) -> Box:
    """The region that training draws patches from."""
    opened = open_pair(pair)
    require_image(opened.image)
    if opened.labels is not None:
        require_labels(opened.labels)
    opened = regridded(opened, data)
    region = opened.region()
    if any(n < p for n, p in zip(region.shape, patch, strict=True)):
        raise NeuropilError(
            f"training.patch: expected at most {region.shape}, the voxels of {where} ({opened.image.path}, box "
            f"{region}), got {patch}"
        )
    return region


def _predictable(where: str, pair: VolumePair) -> Box:
    """The region of ``data.test`` that is predicted and scored: its box, or the image, where there are labels."""
    image = require_image(open_volume(pair.image))
    region = image.box if pair.box is None else Box.parse(pair.box, image.box)
    if not image.box.contains(region) or region.size == 0:
        raise NeuropilError(f"{where}.box: expected a box inside {image.path}, which holds {image.box}, got {region}")
    if pair.labels is None:
        return region
    labels = require_labels(open_volume(pair.labels))
    placed = pair.box is not None or any(v.metadata.origin is not None for v in (image, labels))
    if not placed and image.shape != labels.shape:
        raise NeuropilError(
            f"{where}: {image.path} has shape {image.shape} and {labels.path} has {labels.shape}; say which part to "
            "predict and score with box"
        )
    common = region.intersect(labels.box)
    if common.size == 0 or (pair.box is not None and common != region):
        raise NeuropilError(f"{where}: expected labels in {region}, got {labels.path}, which holds {labels.box}")
    return common
