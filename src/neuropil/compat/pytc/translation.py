"""Translate settings in the classic vocabulary into a typed recipe, section by section."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

from neuropil.compat.pytc.augmentor import put_augmentation
from neuropil.compat.pytc.draft import Draft
from neuropil.compat.pytc.inference import inference_folder, plain_name, predictions, put_inference, written
from neuropil.compat.pytc.networks import put_network
from neuropil.compat.pytc.paths import expanded, volume_paths
from neuropil.compat.pytc.settings import Settings
from neuropil.compat.pytc.targets import put_targets
from neuropil.config import Config, PredictConfig


@dataclass(frozen=True)
class Classic:
    """A translated configuration: the recipe, and the settings that a recipe does not hold."""

    config: Config
    output: Path
    """Folder of checkpoints and TensorBoard events."""
    images: tuple[str, ...]
    """Images that ``--inference`` predicts."""
    predictions: tuple[Path, ...]
    """Paths of the predictions, one array per image."""
    plain_name: Path | None
    """A second path of the prediction: ``OUTPUT_NAME`` without the suffix for views; None: it has no suffix."""
    written: PredictConfig
    """Settings of ``--inference``, with the layout and values that the classic program writes."""
    zoom: tuple[float, float, float]
    """Factors (z, y, x) by which ``--inference`` resamples images."""
    turn_edges: bool | None
    """Whether views are undone edge by edge; None: as in the program that trained the network."""
    restart: bool
    """Take only the weights of ``--checkpoint``."""
    gpus: int
    """GPUs for a run without a launcher."""
    parallel: Literal["dp", "ddp"]
    mixed: bool
    """Whether mixed precision is wanted."""
    workers: int
    """Processes that draw samples, as the file says; 0 if it does not."""
    notes: tuple[str, ...]
    """Lines about given keys that have no effect here, and files found elsewhere."""
    left_out: tuple[str, ...]
    """Lines about given keys that are not part of the recipe: ``scripts/main.py`` uses them."""


def translate(settings: Settings) -> Classic:
    """Translate a configuration into a typed recipe and further settings.

    Raises:
        NeuropilError: unsupported values; the error names file, line and key of all of them.

    >>> from neuropil.compat.pytc import read_settings
    >>> words = 'MODEL.TARGET_OPT ["2"] MODEL.OUT_PLANES 3 MODEL.OUTPUT_SIZE [9,33,33] MODEL.INPUT_SIZE [9,33,33]'
    >>> translate(read_settings([], words.split())).config.training.patch
    (9, 33, 33)
    """
    draft = Draft(settings)
    steps = (_put_data, put_network, put_targets, put_augmentation, _put_optimizer, _put_training, put_inference)
    for step in steps:
        draft.attempt(step, draft)
    images = draft.attempt(volume_paths, draft, "INFERENCE.IMAGE_NAME", inference_folder(settings))
    if images:
        draft.put("data.test", {"image": images[0]}, "INFERENCE.IMAGE_NAME")
    output = Path(expanded(draft, "DATASET.OUTPUT_PATH", settings["DATASET.OUTPUT_PATH"]))
    config = draft.finish()
    assert images is not None
    places = predictions(draft, output, images)
    as_written, zoom, parallel = written(draft, config.predict), _zoom(draft), _parallel(draft)
    draft.settle()
    return Classic(
        config=config,
        output=output,
        images=tuple(images),
        predictions=places,
        plain_name=plain_name(draft, places),
        written=as_written,
        zoom=zoom,
        turn_edges=settings["INFERENCE.AUG_EDGES"],
        restart=bool(settings["SOLVER.ITERATION_RESTART"]),
        gpus=settings["SYSTEM.NUM_GPUS"],
        parallel=parallel,
        mixed=bool(settings["MODEL.MIXED_PRECESION"]),
        workers=settings.given.get("SYSTEM.NUM_CPUS", 0),
        notes=(*settings.notes(), *draft.notes),
        left_out=_left_out(settings, images),
    )


def _zoom(draft: Draft) -> tuple[float, float, float]:
    own = draft.settings["INFERENCE.DATA_SCALE"] is not None
    z, y, x = draft.factors("INFERENCE.DATA_SCALE" if own else "DATASET.DATA_SCALE")
    return (z, y, x)


def _left_out(settings: Settings, images: list[str]) -> tuple[str, ...]:
    folder = "`neuropil run` leaves affinities.zarr in its folder"
    instead = {
        "DATASET.OUTPUT_PATH": "give it as --out",
        "INFERENCE.OUTPUT_PATH": folder,
        "INFERENCE.OUTPUT_NAME": folder,
    }
    if settings["SOLVER.ITERATION_RESTART"]:
        instead["SOLVER.ITERATION_RESTART"] = "`neuropil train --pretrained` takes the weights alone"
    if len(images) > 1:
        instead["INFERENCE.IMAGE_NAME"] = f"one test volume is, {images[0]}; `neuropil predict` takes the others"
    return tuple(
        f"{settings.where(key)} is not part of a recipe: {do}" for key, do in instead.items() if key in settings.given
    )


def _parallel(draft: Draft) -> Literal["dp", "ddp"]:
    ways: dict[str, Literal["dp", "ddp"]] = {"DP": "dp", "DDP": "ddp"}
    chosen: Literal["dp", "ddp"] = draft.choose("SYSTEM.PARALLEL", ways)
    return "ddp" if draft.settings["SYSTEM.DISTRIBUTED"] else chosen


def _put_data(draft: Draft) -> None:
    settings = draft.settings
    folder = None if settings["DATASET.IS_ABSOLUTE_PATH"] else "DATASET.INPUT_PATH"
    for section, prefix in (("train", "DATASET."), ("validation", "DATASET.VAL_")):
        _put_volumes(draft, section, prefix, folder)
    draft.note("used by --inference only: patches to train on lie inside the volume", "DATASET.PAD_SIZE")
    scale = "bytes" if settings["DATASET.NORMALIZE_RANGE"] else "type"
    draft.put("data.intensity.scale", scale, "DATASET.NORMALIZE_RANGE")
    draft.put("data.zoom", draft.factors("DATASET.DATA_SCALE"), "DATASET.DATA_SCALE")
    foreground = max(0, settings["DATASET.REJECT_SAMPLING.SIZE_THRES"]) / prod(draft.size("MODEL.INPUT_SIZE"))
    draft.put("data.min_foreground", foreground, "DATASET.REJECT_SAMPLING.SIZE_THRES")
    wanted = settings["DATASET.REJECT_SAMPLING.DIVERSITY"]
    if wanted > 1:
        draft.note(
            f"the classic package counts the background, too: {wanted} ids are {wanted - 1} neurons here",
            "DATASET.REJECT_SAMPLING.DIVERSITY",
        )
    draft.put("data.min_ids", max(0, wanted - 1), "DATASET.REJECT_SAMPLING.DIVERSITY")


def _put_volumes(draft: Draft, section: str, prefix: str, folder: str | None) -> None:
    """Put images with their labels and masks; there must be as many of each."""
    images = f"{prefix}IMAGE_NAME"
    keys = {"image": images, "labels": f"{prefix}LABEL_NAME", "mask": f"{prefix}VALID_MASK_NAME"}
    found = {kind: volume_paths(draft, key, folder) for kind, key in keys.items()}
    if not found["mask"]:
        del found["mask"]
    count = len(found["image"])
    for kind, paths in found.items():
        if len(paths) != count:
            problem = f"expected as many volumes in {keys[kind]} as in {images}, got {len(paths)} and {count}"
            raise draft.refuse(keys[kind], problem, images)
    draft.put(
        f"data.{section}", [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)], images
    )
    for index in range(count):
        for kind in found:
            draft.origin(("data", section, index, kind), keys[kind])


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
    if schedule == "plateau" and not settings["DATASET.VAL_IMAGE_NAME"]:
        draft.problem(
            "SOLVER.LR_SCHEDULER_NAME",
            "ReduceLROnPlateau needs the loss on DATASET.VAL_IMAGE_NAME; name a volume there",
        )
    draft.put("optimizer.schedule", schedule, "SOLVER.LR_SCHEDULER_NAME")
    warmup = settings["SOLVER.WARMUP_ITERS"]
    draft.put("optimizer.warmup", warmup if warm else 0, "SOLVER.WARMUP_ITERS")
    factor = settings["SOLVER.WARMUP_FACTOR"]
    draft.put("optimizer.warmup_factor", factor if warm else None, "SOLVER.WARMUP_FACTOR")
    holds = draft.choose("SOLVER.WARMUP_METHOD", {"linear": False, "constant": True})
    draft.put("optimizer.warmup_hold", holds and warm, "SOLVER.WARMUP_METHOD")
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
        draft.problem(
            "SOLVER.CLIP_GRADIENTS.CLIP_TYPE",
            f"gradients are clipped by their norm: expected norm in SOLVER.CLIP_GRADIENTS.CLIP_TYPE, got {kind!r}",
            "SOLVER.CLIP_GRADIENTS.ENABLED",
        )
    return float(value)


def _averaged_share(draft: Draft, total: int) -> float:
    enabled, start = draft.settings["SOLVER.SWA.ENABLED"], draft.settings["SOLVER.SWA.START_ITER"]
    if not enabled:
        return 0.0
    if not 0 <= start < total:
        draft.problem(
            "SOLVER.SWA.START_ITER",
            f"expected SOLVER.SWA.START_ITER from 0 to below SOLVER.ITERATION_TOTAL {total}, got {start}",
            *("SOLVER.SWA.ENABLED", "SOLVER.ITERATION_TOTAL"),
        )
        return 0.0
    return float(1 - start / total)


def _put_training(draft: Draft) -> None:
    settings = draft.settings
    draft.put("training.patch", draft.size("MODEL.INPUT_SIZE"), "MODEL.INPUT_SIZE")
    draft.check_same_size("MODEL.OUTPUT_SIZE", "MODEL.INPUT_SIZE")
    draft.put("training.batch", settings["SOLVER.SAMPLES_PER_BATCH"], "SOLVER.SAMPLES_PER_BATCH")
    for ours, theirs in (("iterations", "TOTAL"), ("checkpoint_every", "SAVE"), ("validate_every", "VAL")):
        draft.put(f"training.{ours}", settings[f"SOLVER.ITERATION_{theirs}"], f"SOLVER.ITERATION_{theirs}")
    draft.put("training.keep_last", 10**6, "SOLVER.ITERATION_SAVE")
    shown = list(settings["MONITOR.ITERATION_NUM"])
    if len(shown) != 2:
        draft.problem("MONITOR.ITERATION_NUM", f"expected two numbers, of scalars and of pictures, got {shown}")
        shown = [20, 200]
    draft.put("training.log_every", shown[0], "MONITOR.ITERATION_NUM")
    draft.put("training.image_every", shown[1], "MONITOR.ITERATION_NUM")
    draft.put("training.image_order", "zyx", "MONITOR.ITERATION_NUM")
    for key in ("SYSTEM.NUM_CPUS", "SYSTEM.NUM_GPUS"):
        if settings[key] < 0:
            draft.problem(key, f"expected a whole number of at least 0, got {settings[key]}")
    draft.put("training.workers", settings["SYSTEM.NUM_CPUS"], "SYSTEM.NUM_CPUS")
    gpus = settings["SYSTEM.NUM_GPUS"]
    draft.put("training.device", "auto" if gpus else "cpu", "SYSTEM.NUM_GPUS")
    draft.put("training.devices", max(1, gpus), "SYSTEM.NUM_GPUS")
    parallel = _parallel(draft)
    draft.put("training.strategy", parallel if gpus > 1 else "auto", "SYSTEM.PARALLEL")
    draft.put("training.precision", "auto" if settings["MODEL.MIXED_PRECESION"] else "fp32", "MODEL.MIXED_PRECESION")
