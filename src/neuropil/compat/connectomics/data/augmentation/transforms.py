"""The classic augmentors: their arguments, and the keys of the classic vocabulary that these set."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from neuropil.compat.connectomics.data.augmentation.varying import ClassicSample, Targets, vary_sample
from neuropil.errors import NeuropilError


class Augmentor:
    """Base class of augmentors; each is one kind of augmentation.

    Args:
        p: probability, the share of augmented samples.
        additional_targets: names of targets with their type, ``mask`` (nearest) or ``img`` (bilinear).
        skip_targets: targets that are not augmented; must be empty here.

    Raises:
        NeuropilError: a probability outside [0, 1], or targets to skip.
    """

    key = ""
    """Its section of ``AUGMENTOR``."""

    def __init__(
        self, p: float = 0.5, additional_targets: Targets = None, skip_targets: list[str] | None = None
    ) -> None:
        if not 0 <= p <= 1:
            raise NeuropilError(f"{type(self).__name__}: expected p from 0 to 1, got {p}")
        if skip_targets:
            raise NeuropilError(
                f"{type(self).__name__}: expected no skip_targets, got {skip_targets}; all targets move"
            )
        self.p, self.additional_targets = p, additional_targets
        self.skip_targets: list[str] = []
        self.sample_params: dict[str, list[float]] = {"ratio": [1.0, 1.0, 1.0], "add": [0, 0, 0]}

    def settings(self) -> dict[str, Any]:
        """Values of the keys in its section of ``AUGMENTOR``."""
        return {"ENABLED": True, "P": self.p}

    def __call__(self, sample: ClassicSample, random_state: np.random.RandomState | None = None) -> ClassicSample:
        """The sample augmented by this kind alone, whatever ``p`` is; of the same size."""
        return vary_sample(sample, [self], self.additional_targets, random_state, surely=True)


class Flip(Augmentor):
    """Flips of z, y and x, and y and x exchanged, each in half of the samples."""

    key = "FLIP"

    def __init__(
        self,
        do_ztrans: int = 0,
        p: float = 0.5,
        additional_targets: Targets = None,
        skip_targets: list[str] | None = None,
    ) -> None:
        super().__init__(p, additional_targets, skip_targets)
        if do_ztrans:
            raise NeuropilError("Flip: expected do_ztrans=0: y and x are exchanged, z stays")
        self.do_ztrans = do_ztrans


class Rotate(Augmentor):
    """Rotation by multiples of 90°, or with ``rot90=False`` by any angle."""

    key = "ROTATE"

    def __init__(
        self,
        rot90: bool = True,
        p: float = 0.5,
        additional_targets: Targets = None,
        skip_targets: list[str] | None = None,
    ) -> None:
        super().__init__(p, additional_targets, skip_targets)
        self.rot90 = rot90
        if not rot90:
            self.sample_params["ratio"] = [1.0, 1.42, 1.42]

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "ROT90": self.rot90}


class Rescale(Augmentor):
    """Scaling of y and x by 0.8 to 1.25, each independently."""

    key = "RESCALE"

    def __init__(
        self,
        low: float = 0.8,
        high: float = 1.25,
        fix_aspect: bool = False,
        p: float = 0.5,
        additional_targets: Targets = None,
        skip_targets: list[str] | None = None,
    ) -> None:
        super().__init__(p, additional_targets, skip_targets)
        if (low, high, fix_aspect) != (0.8, 1.25, False):
            raise NeuropilError(
                f"Rescale: expected low 0.8, high 1.25 and no fix_aspect, got {low}, {high} and {fix_aspect}"
            )
        self.low, self.high, self.fix_aspect = low, high, fix_aspect
        self.sample_params["ratio"] = [1.0, high, high]


class Elastic(Augmentor):
    """Elastic deformation, the same in all sections."""

    key = "ELASTIC"

    def __init__(
        self,
        alpha: float = 16.0,
        sigma: float = 4.0,
        p: float = 0.5,
        additional_targets: Targets = None,
        skip_targets: list[str] | None = None,
    ) -> None:
        super().__init__(p, additional_targets, skip_targets)
        self.alpha, self.sigma = alpha, sigma
        self.sample_params["add"] = [0, int(alpha) + 1, int(alpha) + 1]

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "ALPHA": float(self.alpha), "SIGMA": float(self.sigma)}


class Grayscale(Augmentor):
    """Contrast, brightness and gamma."""

    key = "GRAYSCALE"

    def __init__(
        self,
        contrast_factor: float = 0.3,
        brightness_factor: float = 0.3,
        mode: str = "mix",
        p: float = 0.5,
        additional_targets: Targets = None,
        skip_targets: list[str] | None = None,
    ) -> None:
        super().__init__(p, additional_targets, skip_targets)
        if (contrast_factor, brightness_factor, mode) != (0.3, 0.3, "mix"):
            raise NeuropilError(
                "Grayscale: expected contrast_factor 0.3, brightness_factor 0.3 and mode 'mix', got "
                f"{contrast_factor}, {brightness_factor} and {mode!r}"
            )
        self.mode = mode


class MissingParts(Augmentor):
    """Two sections per sample torn along a straight line; the classic one folds half of the sections along a line."""

    key = "MISSINGPARTS"

    def __init__(
        self,
        iterations: int = 64,
        p: float = 0.5,
        additional_targets: Targets = None,
        skip_targets: list[str] | None = None,
    ) -> None:
        super().__init__(p, additional_targets, skip_targets)
        if iterations != 64:
            raise NeuropilError(f"MissingParts: expected iterations=64, got {iterations}; tears have no width here")
        self.iterations = iterations


class MissingSection(Augmentor):
    """Missing sections, replaced by one grey value; the classic one cuts them out of a deeper sample."""

    key = "MISSINGSECTION"

    def __init__(
        self,
        num_sections: int = 2,
        p: float = 0.5,
        additional_targets: Targets = None,
        skip_targets: list[str] | None = None,
    ) -> None:
        super().__init__(p, additional_targets, skip_targets)
        self.num_sections = num_sections
        self.sample_params["add"] = [math.ceil(num_sections / 2), 0, 0]

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "NUM_SECTION": self.num_sections}


class MisAlignment(Augmentor):
    """Sections displaced, all from one on or one alone; none is rotated, as half are by the classic default."""

    key = "MISALIGNMENT"

    def __init__(
        self,
        displacement: int = 16,
        rotate_ratio: float = 0.0,
        p: float = 0.5,
        additional_targets: Targets = None,
        skip_targets: list[str] | None = None,
    ) -> None:
        super().__init__(p, additional_targets, skip_targets)
        if rotate_ratio not in (0.0, 0.5):
            raise NeuropilError(
                f"MisAlignment: expected rotate_ratio 0, or 0.5 of the classic defaults, got {rotate_ratio}; sections "
                "are displaced here, and never rotated"
            )
        self.displacement, self.rotate_ratio = displacement, rotate_ratio
        self.sample_params["add"] = [0, math.ceil(displacement / 2), math.ceil(displacement / 2)]

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "DISPLACEMENT": self.displacement}


class MotionBlur(Augmentor):
    """Motion blur: sections smeared along a line."""

    key = "MOTIONBLUR"

    def __init__(
        self,
        sections: int = 2,
        kernel_size: int = 11,
        p: float = 0.5,
        additional_targets: Targets = None,
        skip_targets: list[str] | None = None,
    ) -> None:
        super().__init__(p, additional_targets, skip_targets)
        self.sections, self.size = sections, kernel_size

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "SECTIONS": self.sections, "KERNEL_SIZE": self.size}


class CutBlur(Augmentor):
    """A box at lower resolution in y and x, 2 to 8 times."""

    key = "CUTBLUR"

    def __init__(
        self,
        length_ratio: float = 0.25,
        down_ratio_min: float = 2.0,
        down_ratio_max: float = 8.0,
        downsample_z: bool = False,
        p: float = 0.5,
        additional_targets: Targets = None,
        skip_targets: list[str] | None = None,
    ) -> None:
        super().__init__(p, additional_targets, skip_targets)
        if (down_ratio_min, down_ratio_max, downsample_z) != (2.0, 8.0, False):
            raise NeuropilError(
                "CutBlur: expected down_ratio_min 2, down_ratio_max 8 and no downsample_z, got "
                f"{down_ratio_min}, {down_ratio_max} and {downsample_z}"
            )
        self.length_ratio = length_ratio

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "LENGTH_RATIO": self.length_ratio}


class CutNoise(Augmentor):
    """Noise inside a box."""

    key = "CUTNOISE"

    def __init__(
        self,
        length_ratio: float = 0.25,
        mode: str = "uniform",
        scale: float = 0.2,
        p: float = 0.5,
        additional_targets: Targets = None,
        skip_targets: list[str] | None = None,
    ) -> None:
        super().__init__(p, additional_targets, skip_targets)
        if mode != "uniform":
            raise NeuropilError(f"CutNoise: expected mode 'uniform', got {mode!r}")
        self.length_ratio, self.mode, self.scale = length_ratio, mode, scale

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "LENGTH_RATIO": self.length_ratio, "SCALE": self.scale}


class CopyPaste(Augmentor):
    """Not available.

    Raises:
        NeuropilError: always.
    """

    def __init__(self, aug_thres: float = 0.7, p: float = 0.8, additional_targets: Targets = None) -> None:
        raise NeuropilError("CopyPaste is not available: pasted neurons have no affinities to learn; leave it out")
