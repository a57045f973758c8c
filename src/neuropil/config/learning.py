"""Settings of training: augmentation, losses, optimizer, schedule, and how long to train."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from neuropil.choices import Schedule
from neuropil.config.section import Beta, Fraction, Lenient, Section, Shape

MUON_RATE = 0.012
"""Muon's learning rate, unless one is given."""


class AugmentConfig(Section):
    """Data augmentation."""

    flip: bool = Field(True, description="Mirror each axis in half of the samples.")
    transpose: bool = Field(True, description="Exchange y and x in half of the samples.")
    cube: bool = Field(
        False,
        description="Exchange all axes: the 48 symmetries of a cube, for isotropic voxels. training.patch must be a "
        "cube.",
    )
    by_section: Fraction = Field(
        0.5,
        description="Share of the samples with changed grey values in which each section changes by itself; 0 for "
        "volumes that are not made of sections.",
    )
    contrast: float = Field(
        0.5,
        ge=0,
        description="Per section, the image is scaled about its middle by 1 ± contrast/2. 0 = never.",
    )
    brightness: float = Field(
        0.5, ge=0, description="Per section, ± brightness/2 is added, where the image's range is 1. 0 = never."
    )
    gamma: float = Field(0.5, ge=0, description="Per section, grey values are raised to 2^±gamma. 0 = never.")
    intensity_probability: Fraction = Field(0.7, description="Share of samples whose grey values are changed at all.")
    rotate: float = Field(0.0, ge=0, le=180, description="Rotate sections by up to ± this many degrees. 0 = never.")
    scale: float = Field(
        0.0, ge=0, lt=4, description="Scale y and x, each by itself, by factors from 1/(1 + scale) to 1 + scale."
    )
    elastic: float = Field(
        0.0, ge=0, description="Elastic deformation: up to ± this many voxels at points elastic_spacing apart."
    )
    elastic_spacing: int = Field(40, ge=4, description="Voxels between the points that elastic moves.")
    warp_probability: Fraction = Field(
        0.7, description="Share of samples that are rotated, scaled and deformed at all."
    )
    scale_probability: Fraction = Field(1.0, description="Share of these that are scaled, if scale is not 0.")
    elastic_probability: Fraction = Field(1.0, description="Share of these that are deformed, if elastic is not 0.")
    step: Fraction = Field(
        0.0,
        description="Share of samples in which all sections from one on are displaced, image and labels alike: "
        "a stack that was aligned badly. 0.35 suits serial sections.",
    )
    slip: Fraction = Field(
        0.0,
        description="Share of samples in which the image of one section is displaced and its labels are not. "
        "0.15 suits serial sections.",
    )
    displacement: int = Field(17, ge=0, description="Largest displacement of a step or slip in y and x, in voxels.")
    several: bool = Field(
        False,
        description="Draw each kind of defect by itself, so that one sample may have several. Otherwise it has one "
        "kind at most.",
    )
    missing: Fraction = Field(
        0.0,
        description="Share of samples with missing sections. The seven shares from here to cut_blur add up to 1 or "
        "less, unless several is set.",
    )
    partly_missing: Fraction = Field(0.0, description="Share of samples with torn or folded sections.")
    blurred: Fraction = Field(0.0, description="Share of samples with sections out of focus.")
    noisy: Fraction = Field(0.0, description="Share of samples with noisy sections.")
    motion: Fraction = Field(0.0, description="Share of samples with sections smeared along a line.")
    cut_noise: Fraction = Field(0.0, description="Share of samples with noise inside a box.")
    cut_blur: Fraction = Field(0.0, description="Share of samples with a box at lower resolution.")
    defect_sections: int = Field(5, ge=1, description="Largest number of sections of a sample with a defect.")
    exact: bool = Field(
        False,
        description="Defects have exactly the following numbers of sections, sizes and noise. Otherwise these are "
        "maxima.",
    )
    blur: float = Field(5.0, gt=0, description="Largest standard deviation of a section out of focus, in voxels.")
    noise: float = Field(0.15, gt=0, description="Largest standard deviation of noise, where the image's range is 1.")
    motion_length: int = Field(11, ge=3, description="Voxels over which motion smears.")
    cut_size: Fraction = Field(0.4, description="Largest side of a noisy or coarse box, as a share of the patch.")

    @model_validator(mode="after")
    def _check_shares(self) -> AugmentConfig:
        defects = self.missing + self.partly_missing + self.blurred + self.noisy
        defects += self.motion + self.cut_noise + self.cut_blur
        defects = 0.0 if self.several else defects
        if defects > 1 + 1e-9 or self.step + self.slip > 1 + 1e-9:
            raise ValueError(
                "expected the shares of defects (missing … cut_blur) and those of step and slip to add up to 1 or "
                f"less, got {defects:g} and {self.step + self.slip:g}; several: true lets defects meet"
            )
        return self


class LossTerm(Section):
    """A loss of PyTorch Connectomics on some channels of the network."""

    loss: Literal["bce", "focal", "mse", "mae", "dice", "ws_dice"] = Field(description="Which; see neuropil.losses.")
    channels: Annotated[tuple[int, int], Lenient] = Field(
        description="First channel and the one after the last: edges of model.offsets come first, then auxiliary ones."
    )
    weight: float = Field(1.0, ge=0, description="Weight of the term.")
    balance: Literal["none", "rare", "grown"] = Field(
        "rare",
        description="rare: in each sample both classes have the same total weight; grown: likewise, with positives "
        "dilated by a voxel in each section; none: all voxels have the same weight.",
    )
    activation: Literal["none", "sigmoid", "tanh"] = Field("sigmoid", description="Activation before mse, mae, dice.")


class LossConfig(Section):
    """The loss, a weighted sum of terms over valid edges."""

    class_balance: bool = Field(
        True,
        description="Balance the two classes: both have the same total weight, per edge and batch of all ranks.",
    )
    weight_cap: float = Field(10.0, ge=1, description="Largest class weight, for patches with hardly any membrane.")
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="Targets become s and 1 - s: less certain where the labels are noisy."
    )
    bce: float = Field(
        1.0,
        ge=0,
        description="Weight of cross-entropy on affinities, to which the three above belong.",
    )
    dice: float = Field(0.0, ge=0, description="Weight of the Dice loss on affinities. 0 = not used.")
    focal: float = Field(0.0, ge=0, description="Weight of the focal loss on affinities. 0 = not used.")
    focal_gamma: float = Field(2.0, ge=0, description="Exponent of the focal loss: larger ones ignore easy edges more.")
    mse: float = Field(0.0, ge=0, description="Weight of the squared error of affinities. 0 = not used.")
    teacher: float = Field(
        1.0,
        gt=0,
        description="Weight of cross-entropy against a teacher's affinities, if there are any (`train --teacher`, "
        "data.train[].teacher); added to the terms of the labels.",
    )
    edge_weights: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Lenient] | None = Field(
        None,
        description="Weight of each edge of model.offsets in the cross-entropy. None: all equal.",
    )
    aux_erosions: float = Field(1.0, ge=0, description="Weight of affinities of labels with other erosions.")
    aux_contour: float = Field(0.5, ge=0, description="Weight of the contour.")
    aux_foreground: float = Field(0.5, ge=0, description="Weight of the foreground.")
    aux_distance: float = Field(0.5, ge=0, description="Weight of the signed distance.")
    aux_descriptors: float = Field(1.0, ge=0, description="Weight of the shape descriptors.")
    aux_dice: float = Field(
        0.0,
        ge=0,
        description="Weight of the Dice loss on binary auxiliary targets: erosions, contour, foreground.",
    )
    deep: float = Field(0.5, ge=0, description="Weight of the coarser levels together, with model.deep_supervision.")
    terms: Annotated[tuple[LossTerm, ...], Lenient] = Field(
        (),
        description="Losses of PyTorch Connectomics, in place of all of the above: {loss, channels, weight, balance, "
        "activation} each.",
    )


class OptimizerConfig(Section):
    """The optimizer, its learning rate schedule, and averaging of weights."""

    name: Literal["adamw", "adam", "sgd", "muon"] = Field(
        "adamw",
        description="muon: momentum, made orthogonal for kernels, which learns most in few steps; adamw: Adam with "
        "decoupled weight decay, which muon uses for norms and biases; adam: with weight decay in the gradient; sgd: "
        "gradient descent with momentum, which needs learning rates ten times as large.",
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of sgd. That of muon is 0.95.")
    learning_rate: float = Field(
        2e-3, gt=0, description=f"Peak learning rate, after the warm-up; with muon {MUON_RATE} unless given."
    )
    weight_decay: float = Field(0.01, ge=0, description="Weight decay; not for norms and biases.")
    betas: Annotated[tuple[Beta, Beta], Lenient] = Field(
        (0.9, 0.99), description="Decay of Adam's two averages; 0.99 rather than 0.999 because runs are short."
    )
    schedule: Schedule = Field(
        "linear",
        description="Learning rate after the warm-up: linear or cosine to 0 at the end of the run, constant, steps "
        "(times decay at each share of the run in milestones), plateau (times decay whenever the validation loss has "
        "not fallen for patience validations).",
    )
    milestones: Annotated[tuple[Fraction, ...], Lenient] = Field(
        (0.5, 0.75, 0.9), description="Shares of the run at which the schedule steps lowers the learning rate."
    )
    decay: float = Field(0.5, gt=0, lt=1, description="Factor on the learning rate, for steps and plateau.")
    patience: int = Field(3, ge=1, description="Validations without progress before plateau lowers the learning rate.")
    warmup: int = Field(
        50, ge=0, description="Iterations of linear warm-up; at most 5 % of the run, unless warmup_factor is set."
    )
    warmup_factor: Fraction | None = Field(
        None, description="Factor on the learning rate at the first iteration, rising to 1. None: 1 / warmup."
    )
    warmup_hold: bool = Field(False, description="Stay at warmup_factor until the warm-up is over, without rising.")
    clip: float = Field(1.0, ge=0, description="Gradient clipping: largest norm of the gradient. 0 = no limit.")
    ema: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="Decay per iteration of the exponential moving average (EMA) of the weights, which is used in "
        "validation and prediction. 0 = no average.",
    )
    swa: Fraction = Field(
        0.0,
        description="Stochastic weight averaging: the plain mean of the weights over this last share of the run in "
        "place of the EMA; statistics of batch norms are measured again at the end. 0 = never.",
    )
    accumulate: int = Field(
        1, ge=1, description="Gradient accumulation: batches whose gradients are averaged for one step."
    )

    @model_validator(mode="before")
    @classmethod
    def _rate_of_muon(cls, given: Any) -> Any:
        """Muon's learning rate, unless one is given."""
        if isinstance(given, dict) and given.get("name") == "muon":
            return {"learning_rate": MUON_RATE, **given}
        return given


class TrainingConfig(Section):
    """Length of training, patch and batch, devices, logging and checkpoints."""

    patch: Shape = Field((16, 144, 144), description="Voxels [z, y, x] of one sample.")
    batch: int = Field(1, ge=1, description="Samples per iteration and device.")
    iterations: int | None = Field(
        None, ge=1, description="Steps to train. With minutes, too, whichever ends first; one of them is needed."
    )
    minutes: float | None = Field(
        None,
        gt=0,
        description="Minutes to train, wall clock; the learning rate follows the clock. At least one of "
        "iterations and minutes is needed.",
    )
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        "auto",
        description="auto: bf16 if the CPU or GPU supports it in hardware, else fp32. fp16 scales the loss, and is for "
        "GPUs without bf16. On CPUs only residual_unet trains in bf16.",
    )
    pretrained: str | None = Field(
        None,
        description="Weights to start from: a checkpoint, or the name of a model of the package. `--pretrained` "
        "replaces it. None: random ones.",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Same seed, same machine, same recipe: same run.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU if there is one.")
    devices: int = Field(
        1,
        ge=1,
        description="Devices of this machine to train on, each with its own batch; torchrun overrides it.",
    )
    strategy: Literal["auto", "ddp", "dp"] = Field(
        "auto", description="ddp: one process per device; dp: one process that splits the batch. auto: ddp."
    )
    workers: int | None = Field(
        None,
        ge=0,
        description="DataLoader workers, which draw and augment samples; 0 = the training process itself, on its "
        "device. None: 0, but on a GPU with volumes that are read box by box one for each 131,072 voxels of a batch, "
        "fewer than there are cores; the number is printed, stored, and kept by --resume.",
    )
    log_every: int = Field(10, ge=1, description="Iterations between progress lines and TensorBoard scalars.")
    image_every: int = Field(200, ge=1, description="Iterations between TensorBoard pictures.")
    image_order: Literal["xyz", "zyx"] = Field(
        "xyz", description="Axes shown as red, green and blue; zyx is the order of PyTorch Connectomics."
    )
    checkpoint_every: int = Field(500, ge=1, description="Iterations between checkpoints.")
    keep_last: int = Field(
        0, ge=0, description="How many numbered checkpoints to keep, newest last, in addition to last.pt and best.pt."
    )
    validate_every: int | None = Field(
        None, ge=1, description="Iterations between validations. None: with each checkpoint."
    )
    segment_validation: Shape | None = Field(
        None,
        description="Box [z, y, x], in voxels, in the middle of the first validation volume that is segmented and "
        "scored at each validation. None: only the loss is measured.",
    )
