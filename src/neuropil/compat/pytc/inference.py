"""Translate ``INFERENCE``: windows, test-time augmentation, and the names of the files that are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neuropil.compat.pytc.draft import Draft
from neuropil.compat.pytc.paths import expanded
from neuropil.compat.pytc.settings import Settings
from neuropil.config import PredictConfig

_HDF5 = (".h5", ".hdf5", ".hdf", "")
VIEWS = {4: "_xy", 8: "_txy", 16: "_txyz"}
"""Suffixes that the classic program adds to file names of predictions in several views."""


def put_inference(draft: Draft) -> None:
    """Translate windows, strides and views into the section ``predict``.

    Raises:
        NeuropilError: a window size that is not three numbers; other problems are recorded in the draft.
    """
    settings = draft.settings
    window = "INFERENCE.INPUT_SIZE" if settings["INFERENCE.INPUT_SIZE"] is not None else "MODEL.INPUT_SIZE"
    size = draft.size(window)
    draft.check_same_size("INFERENCE.OUTPUT_SIZE", window)
    stride = list(settings["INFERENCE.STRIDE"])
    if "INFERENCE.STRIDE" not in settings.given:  # the default is meant for larger windows than some have
        stride = [min(step, n) for step, n in zip(stride, size, strict=False)]
    if len(stride) != len(size) or any(not 1 <= step <= n for step, n in zip(stride, size, strict=True)):
        draft.problem(
            "INFERENCE.STRIDE",
            f"expected INFERENCE.STRIDE from 1 to {size}, the size of a window, got {stride}",
            window,
        )
        stride = size
    draft.put("predict.tile", size, window)
    draft.put("predict.overlap", [n - step for n, step in zip(size, stride, strict=True)], "INFERENCE.STRIDE")
    modes = {mode: mode for mode in ("mean", "min", "max")}
    draft.put("predict.tta_mode", draft.choose("INFERENCE.AUG_MODE", modes), "INFERENCE.AUG_MODE")
    if settings["INFERENCE.AUG_NUM"] is None:
        draft.note("None is no test-time augmentation, one view; left out, it is 8 views", "INFERENCE.AUG_NUM")
    elif settings["INFERENCE.AUG_NUM"] not in (1, *VIEWS):
        draft.problem("INFERENCE.AUG_NUM", f"expected 4, 8, 16 or None, got {settings['INFERENCE.AUG_NUM']}")
    draft.put("predict.tta", _views(settings), "INFERENCE.AUG_NUM")
    if any(activation != "sigmoid" for activation in settings["INFERENCE.OUTPUT_ACT"]):
        given = settings["INFERENCE.OUTPUT_ACT"]
        draft.problem("INFERENCE.OUTPUT_ACT", f"affinities are probabilities: expected sigmoid, got {given}")
    _writing(draft)


def _views(settings: Settings) -> int:
    """Number of views of a prediction; at most 8 in 2-D."""
    views = int(settings["INFERENCE.AUG_NUM"] or 1)
    return min(views, 8) if settings["DATASET.DO_2D"] else views


def _writing(draft: Draft) -> tuple[str, str]:
    """Blend and encoding of predictions; other values, and unsupported keys, are recorded as problems."""
    if draft.settings["INFERENCE.SAMPLES_PER_BATCH"] < 1:
        draft.problem("INFERENCE.SAMPLES_PER_BATCH", "expected a whole number of at least 1")
    draft.choose("DATASET.PAD_MODE", {"reflect": "reflect"}, "images are continued by their mirror image")
    encodings = {name: name for name in ("uint8", "logit8", "float16", "float32")}
    blend = draft.choose("INFERENCE.BLENDING", {"gaussian": "gaussian", "bump": "bump"})
    return blend, draft.choose("INFERENCE.OUTPUT_ENCODING", encodings)


def written(draft: Draft, settings: PredictConfig) -> PredictConfig:
    """The ``predict`` section of ``--inference``: all channels, strides over the padded image, blend and encoding as
    configured (default uint8).

    Raises:
        NeuropilError: padding that is not three numbers; other problems are recorded in the draft.
    """
    theirs = draft.settings
    pad = "INFERENCE.PAD_SIZE" if theirs["INFERENCE.PAD_SIZE"] is not None else "DATASET.PAD_SIZE"
    blend, encoding = _writing(draft)
    assert settings.tile is not None
    assert settings.overlap is not None
    changes: dict[str, Any] = {
        "keep": "channels",
        "pad": draft.pad(pad),
        "surround": (0, 0, 0),
        "stride": tuple(t - o for t, o in zip(settings.tile, settings.overlap, strict=True)),
        "blend": blend,
        "batch": theirs["INFERENCE.SAMPLES_PER_BATCH"] if "INFERENCE.SAMPLES_PER_BATCH" in theirs.given else None,
        "encoding": encoding,
    }
    return settings.model_copy(update=changes)


def inference_folder(settings: Settings) -> str | None:
    """The key with the folder of the images to predict; None where their names are whole paths."""
    absolute, folder = settings["INFERENCE.IS_ABSOLUTE_PATH"], settings["INFERENCE.INPUT_PATH"]
    if settings["DATASET.IS_ABSOLUTE_PATH"] if absolute is None else absolute:
        return None
    return "INFERENCE.INPUT_PATH" if folder else "DATASET.INPUT_PATH"


def plain_name(draft: Draft, written_to: tuple[Path, ...]) -> Path | None:
    """The path with ``OUTPUT_NAME`` itself, if the classic program adds a suffix for views to it; else None."""
    name = Path(draft.settings["INFERENCE.OUTPUT_NAME"])
    if draft.settings["INFERENCE.DO_SINGLY"]:
        return None
    first = written_to[0].parent if written_to[0].name.startswith("vol") else written_to[0]
    if first.name == name.with_suffix(first.suffix).name:
        return None
    return first.with_name(name.with_suffix(first.suffix).name)


def predictions(draft: Draft, output: Path, images: list[str]) -> tuple[Path, ...]:
    """Paths of the predictions: arrays ``vol0``, ``vol1`` … of ``OUTPUT_NAME``; with ``DO_SINGLY`` a file per image."""
    settings = draft.settings
    given = settings["INFERENCE.OUTPUT_PATH"]
    folder = Path(expanded(draft, "INFERENCE.OUTPUT_PATH", given)) if given else output / "test"
    name = Path(settings["INFERENCE.OUTPUT_NAME"])
    if not name.name:
        raise draft.refuse("INFERENCE.OUTPUT_NAME", f"expected a name such as result.h5, got {str(name)!r}")
    ending, views = name.suffix or ".h5", VIEWS.get(_views(settings), "")
    folder /= name.parent
    numbers = [str(number).zfill(len(str(len(images) - 1))) for number in range(len(images))]
    if name.suffix not in _HDF5:  # a format that the classic program does not write: one file for each image
        return tuple(folder / f"{name.stem}{f'_{n}' if len(images) > 1 else ''}{ending}" for n in numbers or [""])
    if settings["INFERENCE.DO_SINGLY"]:
        return tuple(folder / f"{name.stem}_{number}{views}{ending}" / "vol0" for number in numbers)
    return tuple(folder / f"{name.stem}{views}{ending}" / f"vol{number}" for number in range(max(len(images), 1)))
