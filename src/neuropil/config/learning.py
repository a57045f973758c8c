"""Settings of training: augmentation, losses, optimizer, schedule, and how long to train."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from neuropil.choices import Schedule
from neuropil.config.section import Beta, Fraction, Lenient, Section, Shape


class AugmentConfig(Section):
    """Variations of the training data that leave the truth true."""

    flip: bool = Field(True, description="Mirror each axis in half of the samples.")
    transpose: bool = Field(True, description="Exchange y and x in half of the samples.")
    cube: bool = Field(
        False,
        description="Put the axes in any order: the 48 symmetries of a cube, for isotropic voxels. training.patch must "
        "be a cube.",
    )
    by_section: Fraction = Field(
        0.5,
        description="Share of the samples of varied grey values in which each section varies by itself; 0 for volumes "
        "that are not made of sections.",
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
    intensity_probability: Fraction = Field(
        0.7, description="Share of samples whose grey values vary at all; the rest keep the look of the data."
    )
    rotate: float = Field(0.0, ge=0, le=180, description="Turn sections by up to ± this many degrees. 0 = never.")
    scale: float = Field(
        0.0, ge=0, lt=4, description="Stretch y and x, each by itself, by factors from 1/(1 + scale) to 1 + scale."
    )
    elastic: float = Field(
        0.0, ge=0, description="Bend sections smoothly by up to ± this many voxels at points elastic_spacing apart."
    )
    elastic_spacing: int = Field(40, ge=4, description="Voxels between the points that elastic moves.")
    warp_probability: Fraction = Field(0.7, description="Share of samples that are turned, stretched and bent at all.")
    scale_probability: Fraction = Field(1.0, description="Share of these that are stretched, where scale is not 0.")
    elastic_probability: Fraction = Field(1.0, description="Share of these that are bent, where elastic is not 0.")
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
        description="Draw each kind of defect by itself, so that several may meet in one sample. Otherwise a sample "
        "has one kind at most.",
    )
    missing: Fraction = Field(
        0.0,
        description="Share of samples with missing sections. A sample has one kind of defect at most: the seven "
        "shares from here to cut_blur add up to 1 or less.",
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
        description="Defects have the number of sections, the box and the noise that these numbers say. Otherwise they "
        "have up to that.",
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
    weight: float = Field(1.0, ge=0, description="How much it counts.")
    balance: Literal["none", "rare", "grown"] = Field(
        "rare",
        description="rare: of each sample the rarer class weighs as much as the other; grown: so, with positives grown "
        "by a voxel in each section; none: all voxels alike.",
    )
    activation: Literal["none", "sigmoid", "tanh"] = Field("sigmoid", description="What comes before mse, mae, dice.")


class LossConfig(Section):
    """How a prediction is scored while learning, on valid edges; the loss is the weighted sum of its terms."""

    class_balance: bool = Field(
        True,
        description="Give the rare class (cut edges) as much say as the common one, per edge and batch of all ranks.",
    )
    weight_cap: float = Field(
        10.0, ge=1, description="Largest class weight: keeps a patch with hardly any membrane from exploding."
    )
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
    focal_gamma: float = Field(2.0, ge=0, description="How fast the focal loss forgets edges that are right.")
    mse: float = Field(0.0, ge=0, description="Weight of the squared error of affinities. 0 = not used.")
    teacher: float = Field(
        1.0,
        gt=0,
        description="Weight of cross-entropy against a teacher's affinities, where there are any (`train --teacher`, "
        "data.train[].teacher); it is added to the terms of the labels.",
    )
    edge_weights: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Lenient] | None = Field(
        None,
        description="How much each edge of model.offsets counts in the cross-entropy. None: all alike.",
    )
    aux_erosions: float = Field(1.0, ge=0, description="Weight of affinities of labels eroded otherwise.")
    aux_contour: float = Field(0.5, ge=0, description="Weight of the contour.")
    aux_foreground: float = Field(0.5, ge=0, description="Weight of the foreground.")
    aux_distance: float = Field(0.5, ge=0, description="Weight of the signed distance.")
    aux_descriptors: float = Field(1.0, ge=0, description="Weight of the shape descriptors.")
    aux_dice: float = Field(
        0.0,
        ge=0,
        description="Weight of the Dice loss on auxiliary targets of yes and no: erosions, contour, foreground.",
    )
    deep: float = Field(0.5, ge=0, description="Weight of the coarser levels together, with model.deep_supervision.")
    terms: Annotated[tuple[LossTerm, ...], Lenient] = Field(
        (),
        description="Losses of PyTorch Connectomics, in place of all of the above: {loss, channels, weight, balance, "
        "activation} each.",
    )


class OptimizerConfig(Section):
    """How weights follow the gradient."""

    name: Literal["adamw", "adam", "sgd"] = Field(
        "adamw",
        description="adamw: Adam with decoupled weight decay; adam: with weight decay in the gradient; sgd: plain "
        "descent with momentum, for which learning rates are ten times larger.",
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="Memory of sgd.")
    learning_rate: float = Field(2e-3, gt=0, description="Peak learning rate, after the warm-up.")
    weight_decay: float = Field(0.01, ge=0, description="Pull of the weights towards 0.")
    betas: Annotated[tuple[Beta, Beta], Lenient] = Field(
        (0.9, 0.99), description="Memory of Adam's two averages; 0.99 rather than 0.999 because runs are short."
    )
    schedule: Schedule = Field(
        "linear",
        description="Course of the learning rate after the warm-up: linear or cosine to 0 at the end of the run, "
        "constant, steps (times decay at each share of the run in milestones), plateau (times decay whenever the "
        "held-out loss has not fallen for patience validations).",
    )
    milestones: Annotated[tuple[Fraction, ...], Lenient] = Field(
        (0.5, 0.75, 0.9), description="Shares of the run at which the schedule steps goes down."
    )
    decay: float = Field(0.5, gt=0, lt=1, description="Factor of one step down, for steps and plateau.")
    patience: int = Field(3, ge=1, description="Validations without progress that plateau waits for.")
    warmup: int = Field(
        50, ge=0, description="Iterations over which the learning rate rises from 0; at most 5 % of the run."
    )
    warmup_factor: Fraction | None = Field(
        None, description="Factor of the first iteration, from which it rises evenly to 1. None: 1 / warmup."
    )
    warmup_hold: bool = Field(False, description="Stay at warmup_factor until the warm-up is over, rather than rise.")
    clip: float = Field(1.0, ge=0, description="Largest gradient norm; a bad patch cannot undo the run. 0 = no limit.")
    ema: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="Decay per iteration of the running average of the weights that is saved and "
        "used: smoother than the last step. 0 = no average.",
    )
    swa: Fraction = Field(
        0.0,
        description="Average the weights of this last share of the run, all alike, in place of the running average, "
        "and measure the statistics of norms anew at the end (stochastic weight averaging). 0 = never.",
    )
    accumulate: int = Field(
        1, ge=1, description="Batches whose gradients are averaged for one step: a larger batch in the same memory."
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
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        "auto",
        description="auto: bf16 where the processor or GPU computes in it natively, else fp32. fp16 scales the loss, "
        "and is for GPUs that have no bf16. On processors only residual_unet learns in bf16.",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Same seed, same machine, same recipe: same run.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU if there is one.")
    devices: int = Field(
        1,
        ge=1,
        description="Devices of this machine to train on, each with its own batch; torchrun has the last word.",
    )
    strategy: Literal["auto", "ddp", "dp"] = Field(
        "auto", description="ddp: one process per device; dp: one process that splits the batch. auto: ddp."
    )
    workers: int | None = Field(
        None,
        ge=0,
        description="Processes that draw samples and augment them; 0 = the training process itself, on its device. "
        "None: 0, but for a GPU and volumes that are read box by box one for each 131,072 voxels of a batch, fewer "
        "than there are cores; what was chosen is printed, stored, and kept by --resume.",
    )
    log_every: int = Field(10, ge=1, description="Iterations between progress lines and TensorBoard scalars.")
    image_every: int = Field(200, ge=1, description="Iterations between TensorBoard pictures.")
    image_order: Literal["xyz", "zyx"] = Field(
        "xyz", description="Edges that are red, green and blue in them; zyx is the order of PyTorch Connectomics."
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
        description="Voxels [z, y, x] in the middle of the first validation volume that are segmented and scored at "
        "each validation, or fewer where it is smaller. None: only the loss is measured.",
    )
