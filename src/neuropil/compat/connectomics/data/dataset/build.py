"""Read the volumes of a configuration, and make its dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.compat.connectomics.config import Cfg
from neuropil.compat.connectomics.data.augmentation import Compose
from neuropil.compat.connectomics.data.dataset.volume import ClassicDataset
from neuropil.compat.pytc.draft import Draft
from neuropil.compat.pytc.inference import inference_folder
from neuropil.compat.pytc.paths import volume_paths
from neuropil.errors import NeuropilError
from neuropil.volumes import Volume, open_volume, require_labels
from neuropil.volumes.grey import scaled_image
from neuropil.volumes.zoom import zoomed

Array = npt.NDArray[Any]
Arrays = list[Array] | None


def _get_input(
    cfg: Cfg,
    mode: str = "train",
    rank: int | None = None,
    dir_name_init: Sequence[str] | None = None,
    img_name_init: Sequence[str] | None = None,
) -> tuple[list[Array], Arrays, Arrays]:
    """Images, labels and masks [z, y, x] of a configuration, normalised, resampled and padded as it says.

    Args:
        cfg: the configuration: section ``DATASET``, and for mode ``test`` also ``INFERENCE``.
        mode: ``train``, ``val`` or ``test``.
        rank: without effect; each process reads all volumes.
        dir_name_init, img_name_init: folders and names instead of those of the configuration.

    Raises:
        NeuropilError: another mode, or a volume that cannot be read.
    """
    if mode not in ("train", "val", "test"):
        raise NeuropilError(f"expected mode train, val or test, got {mode!r}")
    draft = Draft(cfg.settings)
    if dir_name_init is not None or img_name_init is not None:
        given = {"DATASET.INPUT_PATH": dir_name_init, "DATASET.IMAGE_NAME": img_name_init}
        changed = {name: list(value) for name, value in given.items() if value is not None}
        draft = Draft(type(cfg.settings)({**cfg.settings.given, **changed}, cfg.settings.places))
    folder = None if draft.settings["DATASET.IS_ABSOLUTE_PATH"] else "DATASET.INPUT_PATH"
    prefix = "DATASET.VAL_" if mode == "val" else "DATASET."
    images, where = f"{prefix}IMAGE_NAME", folder
    if mode == "test" and draft.settings["INFERENCE.IMAGE_NAME"] is not None:
        images, where = "INFERENCE.IMAGE_NAME", inference_folder(draft.settings)
    volumes = [_array(draft, path, image=True) for path in volume_paths(draft, images, where)]
    if mode == "test":
        return volumes, None, None
    labels, masks = (
        [_array(draft, path) for path in volume_paths(draft, f"{prefix}{name}", folder)] or None
        for name in ("LABEL_NAME", "VALID_MASK_NAME")
    )
    return volumes, labels, masks


def _array(draft: Draft, path: str, image: bool = False) -> Array:
    settings = draft.settings
    with open_volume(path) as volume:
        found: Volume = volume if image else require_labels(volume)
        if image and settings["DATASET.NORMALIZE_RANGE"]:
            found = scaled_image(volume, "bytes")
        z, y, x = draft.factors("DATASET.DATA_SCALE")
        array = zoomed(found, (z, y, x), nearest=not image).read()
    pad = draft.pad("DATASET.PAD_SIZE")
    mode = settings["DATASET.PAD_MODE"]
    return np.pad(array, [(n, n) for n in pad], mode=mode) if any(pad) else array


def get_dataset(cfg: Cfg, augmentor: Compose | None, mode: str = "train", rank: int | None = None) -> ClassicDataset:
    """The dataset of a configuration, on the volumes that :func:`_get_input` reads.

    Raises:
        NeuropilError: as ``VolumeDataset`` and :func:`_get_input`.
    """
    volumes, labels, masks = _get_input(cfg, mode, rank)
    model, size = cfg.MODEL, cfg.MODEL.INPUT_SIZE
    if mode == "train" and augmentor is not None:
        size = augmentor.sample_size.tolist()
    half = [max(1, n // 2) for n in size]
    reject = cfg.DATASET.REJECT_SAMPLING
    return ClassicDataset(
        volumes,
        labels,
        masks,
        cfg.DATASET.VALID_RATIO,
        sample_volume_size=size,
        sample_label_size=size,
        sample_stride={"train": (1, 1, 1), "val": half, "test": cfg.INFERENCE.STRIDE}[mode],
        augmentor=augmentor if mode == "train" else None,
        target_opt=model.TARGET_OPT,
        weight_opt=model.WEIGHT_OPT,
        erosion_rates=model.LABEL_EROSION,
        mode=mode,
        do_2d=bool(cfg.DATASET.DO_2D),
        iter_num=cfg.SOLVER.ITERATION_TOTAL * cfg.SOLVER.SAMPLES_PER_BATCH if mode == "train" else -1,
        reject_size_thres=reject.SIZE_THRES,
        reject_diversity=reject.DIVERSITY,
        reject_p=reject.P,
        data_mean=cfg.DATASET.MEAN,
        data_std=cfg.DATASET.STD,
    )
