"""``connectomics.data.augmentation``: the classic augmentors, implemented with ``neuropil.augment``."""

from neuropil.compat.connectomics.data.augmentation.build import build_train_augmentor
from neuropil.compat.connectomics.data.augmentation.composition import Compose
from neuropil.compat.connectomics.data.augmentation.test_augmentor import TestAugmentor
from neuropil.compat.connectomics.data.augmentation.transforms import (
    CopyPaste,
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

__all__ = [
    "Compose",
    "CopyPaste",
    "CutBlur",
    "CutNoise",
    "Elastic",
    "Flip",
    "Grayscale",
    "MisAlignment",
    "MissingParts",
    "MissingSection",
    "MotionBlur",
    "Rescale",
    "Rotate",
    "TestAugmentor",
    "build_train_augmentor",
]
