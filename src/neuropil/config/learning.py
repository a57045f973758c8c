"""The sections about learning: how samples are varied, predictions scored, weights moved, and for how long."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from neuropil.config.section import Beta, Fraction, Lenient, Section, Shape


class AugmentConfig(Section):
    """Variations of the training data that leave the truth true."""

    flip: bool = Field(True, description="Mirror each axis in half of the samples.")
    transpose: bool = Field(True, description="Exchange y and x in half of the samples.")
    contrast: float = Field(
        0.5,
        ge=0,
        description="Per section, the image is scaled about its middle by 1 ± contrast/2. 0 = never.",
    )
    brightness: float = Field(
        0.5, ge=0, description="Per section, ± brightness/2 is added, where the image's range is 1. 0 = never."
    )
    gamma: float = Field(0.5, ge=0, description="Per section, grey values are raised to 2^±gamma. 0 = never.")
    intensity_probability: Fraction = Field(
        0.7, description="Share of samples whose grey values vary at all; the rest keep the look of the data."
    )


class LossConfig(Section):
    """How a prediction is scored while learning: binary cross-entropy on valid edges."""

    class_balance: bool = Field(
        True, description="Give the rare class (cut edges) as much say as the common one, per patch and edge."
    )
    weight_cap: float = Field(
        10.0, ge=1, description="Largest class weight: keeps a patch with hardly any membrane from exploding."
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="Targets become s and 1 - s: less certain where the labels are noisy."
    )


class OptimizerConfig(Section):
    """How weights follow the gradient."""

    name: Literal["adamw"] = Field("adamw", description="Adam with decoupled weight decay.")
    learning_rate: float = Field(2e-3, gt=0, description="Peak learning rate, after the warm-up.")
    weight_decay: float = Field(0.01, ge=0, description="Pull of the weights towards 0.")
    betas: Annotated[tuple[Beta, Beta], Lenient] = Field(
        (0.9, 0.99), description="Memory of Adam's two averages; 0.99 rather than 0.999 because runs are short."
    )
    schedule: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="Course of the learning rate after the warm-up, down to 0 at the end of the run."
    )
    warmup: int = Field(50, ge=0, description="Iterations over which the learning rate rises from 0.")
    clip: float = Field(1.0, ge=0, description="Largest gradient norm; a bad patch cannot undo the run. 0 = no limit.")
    ema: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="Decay per iteration of the running average of the weights that is saved and "
        "used: smoother than the last step. 0 = no average.",
    )


class TrainingConfig(Section):
    """How long, on what, and how often to report."""

    patch: Shape = Field((16, 144, 144), description="Voxels [z, y, x] of one sample.")
    batch: int = Field(1, ge=1, description="Samples per iteration and device.")
    iterations: int | None = Field(
        None, ge=1, description="Steps to train. With minutes as well, whichever ends first; at least one is needed."
    )
    minutes: float | None = Field(
        None,
        gt=0,
        description="Minutes to train, wall clock; the learning rate follows the clock. At least one of "
        "iterations and minutes is needed.",
    )
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto", description="auto: bf16 where the processor or GPU computes in it natively, else fp32."
    )
    seed: int = Field(0, ge=0, description="Same seed, same machine, same recipe: same run.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU if there is one.")
    workers: int = Field(
        0,
        ge=0,
        description="Processes that draw samples; 0 = the training process itself, right for small volumes.",
    )
    log_every: int = Field(10, ge=1, description="Iterations between progress lines and TensorBoard scalars.")
    image_every: int = Field(200, ge=1, description="Iterations between TensorBoard pictures.")
    checkpoint_every: int = Field(500, ge=1, description="Iterations between checkpoints.")
