"""The augmentor of a configuration."""

from __future__ import annotations

from neuropil.compat.connectomics.config import Cfg
from neuropil.compat.connectomics.data.augmentation.composition import Compose
from neuropil.compat.connectomics.data.augmentation.transforms import (
    Augmentor,
    CutBlur,
    CutNoise,
    Elastic,
    Flip,
    Grayscale,
    MisAlignment,
    MissingParts,
    MissingSection,
    MotionBlur,
    Rescale,
    Rotate,
)


def build_train_augmentor(cfg: Cfg, keep_uncropped: bool = False, keep_non_smoothed: bool = False) -> Compose:
    """The augmentors that ``AUGMENTOR`` switches on, in the classic order, for samples of ``MODEL.INPUT_SIZE``.

    >>> from neuropil.compat.connectomics.config import get_cfg_defaults
    >>> cfg = get_cfg_defaults()
    >>> cfg.MODEL.INPUT_SIZE = [17, 257, 257]
    >>> build_train_augmentor(cfg).sample_size.tolist()
    [19, 372, 372]
    """
    a = cfg.AUGMENTOR
    targets = dict(zip(a.ADDITIONAL_TARGETS_NAME or [], a.ADDITIONAL_TARGETS_TYPE or [], strict=True)) or None
    kinds: list[tuple[bool, Augmentor]] = [
        (a.ROTATE.ENABLED, Rotate(a.ROTATE.ROT90, a.ROTATE.P, targets)),
        (a.RESCALE.ENABLED, Rescale(fix_aspect=a.RESCALE.FIX_ASPECT, p=a.RESCALE.P, additional_targets=targets)),
        (a.FLIP.ENABLED, Flip(a.FLIP.DO_ZTRANS, a.FLIP.P, targets)),
        (a.ELASTIC.ENABLED, Elastic(a.ELASTIC.ALPHA, a.ELASTIC.SIGMA, a.ELASTIC.P, targets)),
        (a.GRAYSCALE.ENABLED, Grayscale(p=a.GRAYSCALE.P, additional_targets=targets)),
        (a.MISSINGPARTS.ENABLED, MissingParts(a.MISSINGPARTS.ITER, a.MISSINGPARTS.P, targets)),
        (a.MISSINGSECTION.ENABLED, MissingSection(a.MISSINGSECTION.NUM_SECTION, a.MISSINGSECTION.P, targets)),
        (
            a.MISALIGNMENT.ENABLED,
            MisAlignment(a.MISALIGNMENT.DISPLACEMENT, a.MISALIGNMENT.ROTATE_RATIO, a.MISALIGNMENT.P, targets),
        ),
        (a.MOTIONBLUR.ENABLED, MotionBlur(a.MOTIONBLUR.SECTIONS, a.MOTIONBLUR.KERNEL_SIZE, a.MOTIONBLUR.P, targets)),
        (a.CUTBLUR.ENABLED, CutBlur(a.CUTBLUR.LENGTH_RATIO, p=a.CUTBLUR.P, additional_targets=targets)),
        (
            a.CUTNOISE.ENABLED,
            CutNoise(a.CUTNOISE.LENGTH_RATIO, scale=a.CUTNOISE.SCALE, p=a.CUTNOISE.P, additional_targets=targets),
        ),
    ]
    flat = bool(cfg.DATASET.DO_2D)
    chosen = [
        one for on, one in kinds if on and a.ENABLED and not (flat and one.key in ("MISSINGSECTION", "MISALIGNMENT"))
    ]
    return Compose(chosen, cfg.MODEL.INPUT_SIZE, a.SMOOTH, keep_uncropped, keep_non_smoothed, targets)
