"""From the classic vocabulary to a typed recipe, section by section, in the order in which data flows."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

from neuropil.compat.pytc.augmentor import put_augmentation
from neuropil.compat.pytc.draft import Draft
from neuropil.compat.pytc.networks import put_network
from neuropil.compat.pytc.paths import volume_paths
from neuropil.compat.pytc.settings import Settings
from neuropil.compat.pytc.targets import put_targets
from neuropil.config import Config


@dataclass(frozen=True)
class Classic:
    """What a configuration in the classic vocabulary asks for."""

    config: Config
    output: Path
    """Folder of checkpoints and TensorBoard events."""
    images: tuple[str, ...]
    """What ``--inference`` predicts."""
    predictions: tuple[Path, ...]
    """Where, one file per image."""
    restart: bool
    """Take only the weights of ``--checkpoint``."""
    gpus: int
    """GPUs that a run without a launcher wants."""
    parallel: Literal["dp", "ddp"]
    mixed: bool
    """Whether half-precision floats were asked for."""
    workers: int
    """Processes that draw samples."""
    notes: tuple[str, ...]
    """Keys that were given and change nothing here, and why; files found elsewhere."""


def translate(settings: Settings) -> Classic:
    """The typed recipe of a configuration, and what else it says.

    Raises:
        NeuropilError: a value that has no counterpart; the error names file, line and key.

    >>> from neuropil.compat.pytc import read_settings
    >>> words = 'MODEL.TARGET_OPT ["2"] MODEL.OUT_PLANES 3 MODEL.OUTPUT_SIZE [9,33,33] MODEL.INPUT_SIZE [9,33,33]'
    >>> translate(read_settings([], words.split())).config.training.patch
    (9, 33, 33)
    """
    draft = Draft(settings)
    _put_data(draft)
    put_network(draft)
    put_targets(draft)
    put_augmentation(draft)
    _put_optimizer(draft)
    _put_training(draft)
    _put_inference(draft)
    images = volume_paths(draft, "INFERENCE.IMAGE_NAME", *_inference_folder(settings))
    if images:
        draft.put("data.test", {"image": images[0]}, "INFERENCE.IMAGE_NAME")
    return Classic(
        config=draft.finish(),
        output=Path(settings["DATASET.OUTPUT_PATH"]),
        images=tuple(images),
        predictions=_predictions(settings, len(images)),
        restart=bool(settings["SOLVER.ITERATION_RESTART"]),
        gpus=settings["SYSTEM.NUM_GPUS"],
        parallel="ddp"
        if settings["SYSTEM.DISTRIBUTED"]
        else draft.choose("SYSTEM.PARALLEL", {"DP": "dp", "DDP": "ddp"}),
        mixed=bool(settings["MODEL.MIXED_PRECESION"]),
        workers=settings["SYSTEM.NUM_CPUS"],
        notes=(*settings.notes(), *draft.notes),
    )


def _put_data(draft: Draft) -> None:
    settings = draft.settings
    folder, absolute = settings["DATASET.INPUT_PATH"], bool(settings["DATASET.IS_ABSOLUTE_PATH"])
    for section, prefix in (("train", "DATASET."), ("validation", "DATASET.VAL_")):
        columns = [volume_paths(draft, f"{prefix}{name}", folder, absolute) for name in ("IMAGE_NAME", "LABEL_NAME")]
        images, labels = columns
        masks = volume_paths(draft, f"{prefix}VALID_MASK_NAME", folder, absolute)
        if images and len(labels) != len(images):
            raise draft.refuse(f"{prefix}LABEL_NAME", f"expected {len(images)} volumes of labels, got {len(labels)}")
        if masks and len(masks) != len(images):
            raise draft.refuse(f"{prefix}VALID_MASK_NAME", f"expected {len(images)} masks, got {len(masks)}")
        pairs = [{"image": image, "labels": label} for image, label in zip(images, labels, strict=False)]
        for pair, mask in zip(pairs, masks, strict=False):
            pair["mask"] = mask
        draft.put(f"data.{section}", pairs, f"{prefix}IMAGE_NAME")
    patch = prod(settings["MODEL.INPUT_SIZE"])
    foreground = max(0, settings["DATASET.REJECT_SAMPLING.SIZE_THRES"]) / max(patch, 1)
    draft.put("data.min_foreground", foreground, "DATASET.REJECT_SAMPLING.SIZE_THRES")
    ids = max(0, settings["DATASET.REJECT_SAMPLING.DIVERSITY"])
    draft.put("data.min_ids", ids, "DATASET.REJECT_SAMPLING.DIVERSITY")


def _put_optimizer(draft: Draft) -> None:
    settings = draft.settings
    total = settings["SOLVER.ITERATION_TOTAL"]
    draft.put(
        "optimizer.name", draft.choose("SOLVER.NAME", {"SGD": "sgd", "Adam": "adam", "AdamW": "adamw"}), "SOLVER.NAME"
    )
    for ours, theirs in (("learning_rate", "BASE_LR"), ("momentum", "MOMENTUM"), ("weight_decay", "WEIGHT_DECAY")):
        draft.put(f"optimizer.{ours}", settings[f"SOLVER.{theirs}"], f"SOLVER.{theirs}")
    draft.put("optimizer.betas", list(settings["SOLVER.BETAS"]), "SOLVER.BETAS")
    schedule, warm = draft.choose(
        "SOLVER.LR_SCHEDULER_NAME",
        {
            "MultiStepLR": ("steps", False),
            "WarmupMultiStepLR": ("steps", True),
            "WarmupCosineLR": ("cosine", True),
            "ReduceLROnPlateau": ("plateau", False),
        },
    )
    if schedule == "plateau" and settings["DATASET.VAL_IMAGE_NAME"] is None:
        raise draft.refuse(
            "SOLVER.LR_SCHEDULER_NAME",
            "ReduceLROnPlateau goes by the loss on DATASET.VAL_IMAGE_NAME; name a volume there",
        )
    draft.put("optimizer.schedule", schedule, "SOLVER.LR_SCHEDULER_NAME")
    warmup = settings["SOLVER.WARMUP_ITERS"]
    draft.put("optimizer.warmup", warmup if warm else 0, "SOLVER.WARMUP_ITERS")
    milestones = [step / max(total, 1) for step in settings["SOLVER.STEPS"] if step < total]
    draft.put("optimizer.milestones", milestones, "SOLVER.STEPS")
    draft.put("optimizer.decay", settings["SOLVER.GAMMA"], "SOLVER.GAMMA")
    draft.put("optimizer.clip", _clip(draft), "SOLVER.CLIP_GRADIENTS.CLIP_VALUE")
    draft.put("optimizer.swa", _averaged_share(draft, total), "SOLVER.SWA.START_ITER")


def _clip(draft: Draft) -> float:
    settings = draft.settings
    kind, value = settings["SOLVER.CLIP_GRADIENTS.CLIP_TYPE"], settings["SOLVER.CLIP_GRADIENTS.CLIP_VALUE"]
    if not settings["SOLVER.CLIP_GRADIENTS.ENABLED"]:
        return 0.0
    if kind != "norm":
        raise draft.refuse(
            "SOLVER.CLIP_GRADIENTS.CLIP_TYPE", f"gradients are clipped by their norm: expected norm, got {kind!r}"
        )
    return float(value)


def _averaged_share(draft: Draft, total: int) -> float:
    enabled, start = draft.settings["SOLVER.SWA.ENABLED"], draft.settings["SOLVER.SWA.START_ITER"]
    if not enabled:
        return 0.0
    if not 0 <= start < total:
        raise draft.refuse(
            "SOLVER.SWA.START_ITER", f"expected an iteration before SOLVER.ITERATION_TOTAL {total}, got {start}"
        )
    return float(1 - start / total)


def _put_training(draft: Draft) -> None:
    settings = draft.settings
    draft.put("training.patch", list(settings["MODEL.INPUT_SIZE"]), "MODEL.INPUT_SIZE")
    _check_same_size(draft, "MODEL.OUTPUT_SIZE", settings["MODEL.INPUT_SIZE"])
    draft.put("training.batch", settings["SOLVER.SAMPLES_PER_BATCH"], "SOLVER.SAMPLES_PER_BATCH")
    for ours, theirs in (("iterations", "TOTAL"), ("checkpoint_every", "SAVE"), ("validate_every", "VAL")):
        draft.put(f"training.{ours}", settings[f"SOLVER.ITERATION_{theirs}"], f"SOLVER.ITERATION_{theirs}")
    draft.put("training.keep_last", 10**6, "SOLVER.ITERATION_SAVE")
    shown = list(settings["MONITOR.ITERATION_NUM"])
    if len(shown) != 2:
        raise draft.refuse("MONITOR.ITERATION_NUM", f"expected two numbers, of scalars and of pictures, got {shown}")
    draft.put("training.log_every", shown[0], "MONITOR.ITERATION_NUM")
    draft.put("training.image_every", shown[1], "MONITOR.ITERATION_NUM")
    if settings["SYSTEM.NUM_CPUS"] < 0 or settings["SYSTEM.NUM_GPUS"] < 0:
        raise draft.refuse("SYSTEM.NUM_CPUS", "expected NUM_CPUS and NUM_GPUS of at least 0")
    draft.put("training.workers", settings["SYSTEM.NUM_CPUS"], "SYSTEM.NUM_CPUS")
    draft.put("training.devices", max(1, settings["SYSTEM.NUM_GPUS"]), "SYSTEM.NUM_GPUS")
    draft.put("training.precision", "auto" if settings["MODEL.MIXED_PRECESION"] else "fp32", "MODEL.MIXED_PRECESION")


def _put_inference(draft: Draft) -> None:
    settings = draft.settings
    size = settings["INFERENCE.INPUT_SIZE"] or settings["MODEL.INPUT_SIZE"]
    _check_same_size(draft, "INFERENCE.OUTPUT_SIZE", size)
    stride = list(settings["INFERENCE.STRIDE"])
    if "INFERENCE.STRIDE" not in settings.given:  # the default is meant for larger windows than some have
        stride = [min(step, n) for step, n in zip(stride, size, strict=False)]
    if len(stride) != len(size) or any(not 1 <= step <= n for step, n in zip(stride, size, strict=True)):
        raise draft.refuse(
            "INFERENCE.STRIDE", f"expected from 1 to {list(size)}, the size of a window, got {list(stride)}"
        )
    draft.put("predict.tile", list(size), "INFERENCE.INPUT_SIZE")
    draft.put("predict.overlap", [n - step for n, step in zip(size, stride, strict=True)], "INFERENCE.STRIDE")
    draft.choose("INFERENCE.BLENDING", {"gaussian": None, "bump": None})  # one bump, which is the better blend
    modes = {mode: mode for mode in ("mean", "min", "max")}
    draft.put("predict.tta_mode", draft.choose("INFERENCE.AUG_MODE", modes), "INFERENCE.AUG_MODE")
    draft.put("predict.tta", settings["INFERENCE.AUG_NUM"] or 1, "INFERENCE.AUG_NUM")
    if any(activation != "sigmoid" for activation in settings["INFERENCE.OUTPUT_ACT"]):
        given = settings["INFERENCE.OUTPUT_ACT"]
        raise draft.refuse("INFERENCE.OUTPUT_ACT", f"affinities are probabilities: expected sigmoid, got {given}")


def _check_same_size(draft: Draft, key: str, size: Any) -> None:
    value = draft.settings[key]
    if value is not None and list(value) != list(size):
        raise draft.refuse(
            key, f"the network returns as many voxels as it sees: expected {list(size)}, got {list(value)}"
        )


def _inference_folder(settings: Settings) -> tuple[Any, bool]:
    """Where the images to predict lie, and whether their names are whole paths."""
    absolute = settings["INFERENCE.IS_ABSOLUTE_PATH"]
    if absolute is None:
        absolute = settings["DATASET.IS_ABSOLUTE_PATH"]
    return settings["INFERENCE.INPUT_PATH"] or settings["DATASET.INPUT_PATH"], bool(absolute)


def _predictions(settings: Settings, images: int) -> tuple[Path, ...]:
    """``OUTPUT_NAME`` in ``OUTPUT_PATH``; with a number where there are several images."""
    folder = Path(settings["INFERENCE.OUTPUT_PATH"] or Path(settings["DATASET.OUTPUT_PATH"]) / "test")
    name = Path(settings["INFERENCE.OUTPUT_NAME"])
    if images < 2:
        return (folder / name,)
    return tuple(folder / f"{name.stem}_{number}{name.suffix}" for number in range(images))
