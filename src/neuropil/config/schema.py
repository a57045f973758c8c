"""The fields of a recipe: one frozen section per step, every field with default, unit and description."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from neuropil.choices import Activation, Norm
from neuropil.config.applying import PredictConfig, SegmentConfig
from neuropil.config.learning import AugmentConfig, LossConfig, OptimizerConfig, TrainingConfig
from neuropil.config.mistakes import validate
from neuropil.config.networks import (
    NETWORKS,
    ClassicConfig,
    DynUnetConfig,
    MedNextConfig,
    SegResNetConfig,
    SwinUnetrConfig,
    UnetrConfig,
)
from neuropil.config.section import (
    Fraction,
    Lenient,
    Nanometres,
    Offset,
    Path,
    Section,
    Shape,
    a_box,
    an_offset_list,
    named_offsets,
)


class VolumePair(Section):
    """An image with its labels, mask, box, weight and teacher."""

    image: Path = Field(
        description="The image [z, y, x], a path such as a.h5/main, b.zarr/raw, c.tif or dir/*.png. Relative paths "
        "count from the current directory; ${NAME} is replaced by the environment variable NAME."
    )
    labels: Path | None = Field(None, description="The truth, one id per neuron, 0 = background or unlabelled.")
    mask: Path | None = Field(
        None, description="1 = use this voxel, 0 = unlabelled; without it 0 in the labels is trained as background."
    )
    box: Annotated[str, AfterValidator(a_box)] | None = Field(
        None,
        description='Only this part, "Z0:Z1,Y0:Y1,X0:X1" in voxels of the image; ends may be left out: "0:60,:,:". '
        "None: all of it, or where image and labels overlap.",
    )
    weight: float = Field(1.0, gt=0, description="How often it is drawn, relative to the other volumes, per voxel.")
    teacher: Path | None = Field(
        None,
        description="Affinities of another network to learn from in addition to the labels, or instead of them, as "
        "`neuropil predict MODEL IMAGE --keep all` writes them. `train --teacher MODEL` makes them.",
    )


class IntensityConfig(Section):
    """How grey values are scaled to [0, 1]."""

    scale: Literal["auto", "type", "range", "percentiles", "bytes"] | Annotated[tuple[float, float], Lenient] = Field(
        "auto",
        description="auto: 8-bit images by their type, wider, signed and float ones by the range of a fixed sample of "
        "the whole volume, but 8-bit values in a wider type as 8-bit images. type: by the range of the type. range, "
        "percentiles (0.5 and 99.5): of that sample. bytes: 8-bit images by their type, others by the range of all "
        "values, cut to 256 steps, as in PyTorch Connectomics. [LOW, HIGH]: these become 0 and 1. Stored with the "
        "model.",
    )


class DataConfig(Section):
    """Volumes for training, validation and test, and how they are read."""

    train: Annotated[tuple[VolumePair, ...], Lenient] = Field(
        (),
        description="Volumes to learn from, each {image, labels, mask, box, weight, teacher}: image [z, y, x]; labels, "
        '0 = background; mask, 0 = do not use; box "Z0:Z1,Y0:Y1,X0:X1", all of it by default; weight 1, how often it '
        "is drawn per voxel. Relative paths count from the current directory; ${NAME} is an environment variable.",
    )
    validation: Annotated[tuple[VolumePair, ...], Lenient] = Field(
        (), description="Volumes to choose the best checkpoint and the threshold on; never learned from."
    )
    test: VolumePair | None = Field(
        None, description="The volume that `neuropil run` segments at the end, and scores if it has labels."
    )
    voxel_size: Nanometres | None = Field(
        None,
        description="Voxel size in nm [z, y, x]. None: that of the files. Stored with the model, so that prediction "
        "can warn of an image with another voxel size.",
    )
    unlabelled: int | Annotated[tuple[int, ...], Lenient] | None = Field(
        None,
        description="A label id, or a list of them, that means 'not annotated': such voxels are neither learned from "
        "nor scored. -1 always does.",
    )
    intensity: IntensityConfig = Field(IntensityConfig(), description="How grey values are read.")
    zoom: Nanometres = Field(
        (1.0, 1.0, 1.0),
        description="Factors [z, y, x] by which volumes are enlarged as they are read: grey values linear, labels and "
        "masks nearest, as scipy.ndimage.zoom does. Predictions lie on the enlarged grid. Not with box or teacher.",
    )
    resample: bool = Field(
        False,
        description="Resample volumes to the voxel size of the first training volume (or to voxel_size): grey values "
        "linear, labels and masks nearest. Without it other voxel sizes are refused. Not with a teacher.",
    )
    min_foreground: Fraction = Field(
        0.0, description="Smallest labelled share of a sample's voxels; samples with less are drawn again."
    )
    min_ids: int = Field(
        0,
        ge=0,
        description="Fewest neurons of a sample, counted on every fourth voxel; samples with fewer are drawn again.",
    )
    memory: float = Field(
        4.0,
        gt=0,
        description="GB of volumes that each process may keep in memory, in the order of the list, and on a GPU if all "
        "of them fit; the rest is read box by box. Use training.workers if that is slow.",
    )

    @model_validator(mode="after")
    def _check_zoom(self) -> DataConfig:
        pairs = (*self.train, *self.validation, *([self.test] if self.test else []))
        if any(factor != 1 for factor in self.zoom) and any(pair.box or pair.teacher for pair in pairs):
            raise ValueError("expected no box and no teacher with zoom: both count the voxels of the files")
        return self

    @property
    def ignored(self) -> tuple[int, ...]:
        """The ids that mean "not annotated"."""
        ids = self.unlabelled
        return () if ids is None else (ids,) if isinstance(ids, int) else ids


Architecture = Literal[
    "residual_unet",
    "unetr",
    "swin_unetr",
    "dynunet",
    "mednext",
    "segresnet",
    "unet_3d",
    "unet_plus_3d",
    "fpn_3d",
    "unet_2d",
    "unet_plus_2d",
]
_UNET = ("residual_unet",)
_OWNERS = dict.fromkeys(("widths", "downsample", "anisotropic_levels", "norm", "activation", "squeeze"), _UNET) | {
    "deep_supervision": (*_UNET, "dynunet", "mednext"),
    "recompute": (*_UNET, "swin_unetr"),
}
"""For each field of ``model`` that only some architectures use, these architectures."""


class ModelConfig(Section):
    """The network, and its targets."""

    architecture: Architecture = Field(
        "residual_unet",
        description="residual_unet: the residual symmetric U-Net of Lee et al. 2017, which the fields from widths to "
        "squeeze describe but for stem. The others have a section of their own name: unetr, swin_unetr, dynunet, "
        "mednext and segresnet are MONAI's (pip install 'neuropil[monai]'), unet_3d, unet_plus_3d, fpn_3d, unet_2d and "
        "unet_plus_2d those of PyTorch Connectomics.",
    )
    widths: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Lenient, Field(min_length=1)] = Field(
        (16, 24, 32, 48),
        description="Channels at each level, finest first; their count is the depth. The default is for minutes on a "
        "CPU; on a GPU, 32, 48, 64, 80 and more are better.",
    )
    downsample: Annotated[tuple[Shape, ...], Lenient] = Field(
        ((1, 2, 2),) * 3,
        description="Factors [z, y, x] from each level to the next, one fewer than widths; [1, 2, 2] each unless "
        "given, which suits thick sections. Isotropic data: [2, 2, 2].",
    )
    anisotropic_levels: int = Field(
        1,
        ge=0,
        description="How many of the finest levels use flat 1×3×3 kernels, for thick sections, which are not aligned "
        "to a voxel. 0 = isotropic.",
    )
    stem: Shape = Field(
        (1, 1, 1),
        description="Blocks [z, y, x] of voxels folded into channels before the first level and unfolded after the "
        "last. [1, 2, 2] takes a quarter of the time and doubles the field of view, for fine pixels or short runs.",
    )
    norm: Norm = Field(
        "batch",
        description="Normalisation after each convolution; batch takes no time in prediction. sync_batch is over all "
        "GPUs of a run and needs GPUs; group is per sample, so that the number of devices makes no difference.",
    )
    activation: Activation = Field("elu", description="Nonlinearity; elu is that of the original network.")
    squeeze: bool = Field(False, description="Squeeze-and-excitation in each block.")
    deep_supervision: bool = Field(
        False, description="Also compute the loss of coarser levels in training, with the weight loss.deep."
    )
    recompute: bool = Field(
        False, description="Activation checkpointing: larger patches fit into memory, a third slower."
    )
    offsets: Annotated[tuple[Offset, ...], Lenient, BeforeValidator(named_offsets), AfterValidator(an_offset_list)] = (
        Field(
            (
                (-1, 0, 0),
                (0, -1, 0),
                (0, 0, -1),
                (-2, 0, 0),
                (-3, 0, 0),
                (0, -9, 0),
                (0, 0, -9),
                (0, -27, 0),
                (0, 0, -27),
            ),
            description="Affinity edges [z, y, x] in voxels: channel e says whether v and v + offsets[e] are one "
            "neuron. Segmentation uses the three nearest; the long ones train the network to use more context. "
            "Names for lists: nearest (3), long12 (those of Lee et al. 2017), plane (2, for single sections).",
        )
    )
    label_erosion: int = Field(
        1,
        ge=0,
        description="Voxels of background added between touching neurons, per side, in each section, so that "
        "boundaries can be learned. 0 = labels as they are.",
    )
    aux_erosions: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Lenient] = Field(
        (),
        description="Auxiliary targets: the nearest affinities of labels eroded by each of these numbers of voxels. "
        "Auxiliary targets are learned, but by default not predicted.",
    )
    aux_contour: int = Field(
        0, ge=0, description="Auxiliary target: where two neurons meet within this many voxels. 0 = none."
    )
    aux_contour_background: bool = Field(
        False, description="The contour includes borders between a neuron and background."
    )
    aux_foreground: bool = Field(False, description="Auxiliary target: where any neuron is, after label_erosion.")
    aux_distance: int = Field(
        0,
        ge=0,
        description="Auxiliary target: signed distance to the border of the neuron, exact up to this many voxels. "
        "0 = none.",
    )
    aux_descriptors: bool = Field(
        False, description="Auxiliary target: the ten local shape descriptors of Sheridan et al. 2022."
    )
    aux_descriptor_sigma: Nanometres = Field(
        (4.0, 20.0, 20.0),
        description="Standard deviation [z, y, x] in voxels of the window of shape descriptors; 120 nm at 30×6×6 nm. "
        "They are computed within the patch: use a patch several times as large.",
    )
    unetr: UnetrConfig | None = Field(None, description="Options of unetr.")
    swin_unetr: SwinUnetrConfig | None = Field(None, description="Options of swin_unetr.")
    dynunet: DynUnetConfig | None = Field(None, description="Options of dynunet.")
    mednext: MedNextConfig | None = Field(None, description="Options of mednext.")
    segresnet: SegResNetConfig | None = Field(None, description="Options of segresnet.")
    unet_3d: ClassicConfig | None = Field(None, description="Options of unet_3d.")
    unet_plus_3d: ClassicConfig | None = Field(None, description="Options of unet_plus_3d.")
    fpn_3d: ClassicConfig | None = Field(None, description="Options of fpn_3d.")
    unet_2d: ClassicConfig | None = Field(None, description="Options of unet_2d.")
    unet_plus_2d: ClassicConfig | None = Field(None, description="Options of unet_plus_2d.")

    @property
    def normalisation(self) -> str:
        """``norm`` of the chosen architecture: that of its own section, if it has one."""
        section = getattr(self, self.architecture, None)
        return str(getattr(section, "norm", self.norm))

    @model_validator(mode="before")
    @classmethod
    def _fill_downsample(cls, given: Any) -> Any:
        if (
            isinstance(given, dict)
            and given.get("downsample") is None
            and isinstance(given.get("widths"), list | tuple)
        ):
            return {**given, "downsample": [[1, 2, 2]] * (len(given["widths"]) - 1)}
        return given

    @model_validator(mode="before")
    @classmethod
    def _fill_options(cls, given: Any) -> Any:
        name = given.get("architecture") if isinstance(given, dict) else None
        if name in NETWORKS and given.get(name) is None:
            return {**given, name: {}}
        return given

    @model_validator(mode="after")
    def _check_architecture(self) -> ModelConfig:
        """Refuse options that the architecture does not use."""
        name = self.architecture
        if wrong := [other for other in NETWORKS if other != name and getattr(self, other) is not None]:
            raise ValueError(f"expected no section {wrong[0]}, since the architecture is {name}; set architecture")
        fields = ModelConfig.model_fields
        idle = [field for field, owners in _OWNERS.items() if name not in owners]
        if wrong := [field for field in idle if getattr(self, field) != fields[field].default]:
            own = "" if name == "residual_unet" else f"; the options of {name} are in model.{name}"
            raise ValueError(f"expected no {wrong[0]} with the architecture {name}, where it does nothing{own}")
        return self

    @model_validator(mode="after")
    def _check_depth(self) -> ModelConfig:
        if len(self.downsample) != len(self.widths) - 1:
            raise ValueError(
                f"expected downsample to have one factor fewer than widths has numbers, "
                f"got {len(self.downsample)} and {len(self.widths)}"
            )
        return self


class Config(Section):
    """A whole recipe. Every section and field has a default; ``check_trainable`` checks what training needs.

    >>> Config.from_dict({"training": {"minutes": 6}}).training.patch
    (16, 144, 144)
    """

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    augment: AugmentConfig = AugmentConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()
    predict: PredictConfig = PredictConfig()
    segment: SegmentConfig = SegmentConfig()

    @classmethod
    def from_dict(cls, values: dict[str, Any], source: str = "config") -> Config:
        """A recipe from plain JSON types, checked; ``source`` names it in errors.

        Raises:
            NeuropilError: an unknown key or a wrong value; the message names every one.
        """
        return validate(cls, values, lambda _: source)

    def to_dict(self) -> dict[str, Any]:
        """The recipe in plain JSON types: what a checkpoint stores. ``Config.from_dict`` is its inverse.

        >>> Config().to_dict()["optimizer"]["betas"]
        [0.9, 0.99]
        """
        return self.model_dump(mode="json")
