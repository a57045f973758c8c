"""Settings of the networks of MONAI and PyTorch Connectomics, one section for each."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from neuropil.choices import Activation, Norm
from neuropil.config.section import Lenient, Section, Shape

Count = Annotated[int, Field(ge=1)]
Four = Annotated[tuple[Count, Count, Count, Count], Lenient]


class UnetrConfig(Section):
    """UNETR (A. Hatamizadeh et al. 2022, arXiv:2103.10504): a transformer over blocks of 16³ voxels, and a decoder."""

    width: int = Field(16, ge=1, description="Channels at the finest level; they double from level to level.")
    hidden: int = Field(768, ge=1, description="Channels of the transformer.")
    mlp: int = Field(3072, ge=1, description="Channels between the two layers of its perceptrons.")
    heads: int = Field(12, ge=1, description="Attention heads; hidden must be a multiple.")
    grid: Shape = Field(
        (1, 9, 9),
        description="Blocks [z, y, x] of 16³ voxels with learned position embeddings: those of the training patch. "
        "They are interpolated for patches and tiles of another size.",
    )
    norm: Literal["instance", "batch"] = Field("instance", description="Normalisation in the decoder.")
    conv_block: bool = Field(True, description="Convolutions after each upsampling of the transformer's output.")

    @model_validator(mode="after")
    def _check_heads(self) -> UnetrConfig:
        if self.hidden % self.heads:
            raise ValueError(f"expected hidden to be a multiple of heads, got {self.hidden} and {self.heads}")
        return self


class SwinUnetrConfig(Section):
    """SwinUNETR (A. Hatamizadeh et al. 2022, arXiv:2201.01266): attention in shifted windows, four stages."""

    width: int = Field(
        24, ge=12, multiple_of=12, description="Channels of the first stage, a multiple of 12; they double."
    )
    depths: Four = Field((2, 2, 2, 2), description="Transformer blocks of each stage.")
    heads: Four = Field((3, 6, 12, 24), description="Attention heads of each stage; its channels must be a multiple.")
    window: Shape = Field((7, 7, 7), description="Attention window [z, y, x] in tokens; a token is 2³ voxels.")
    norm: Literal["instance", "batch"] = Field("instance", description="Normalisation in the decoder.")
    version: Literal[1, 2] = Field(1, description="2: residual convolutions at the beginning of each stage.")

    @model_validator(mode="after")
    def _check_heads(self) -> SwinUnetrConfig:
        if any(self.width * 2**stage % heads for stage, heads in enumerate(self.heads)):
            widths = [self.width * 2**stage for stage in range(4)]
            raise ValueError(f"expected heads that divide the channels {widths} of the stages, got {list(self.heads)}")
        return self


class DynUnetConfig(Section):
    """DynUNet: the U-Net of nnU-Net (F. Isensee et al. 2021), with strided convolutions for downsampling."""

    widths: Annotated[tuple[Count, ...], Lenient, Field(min_length=3)] = Field(
        (32, 64, 128, 256), description="Channels at each level, finest first; at least three."
    )
    downsample: Annotated[tuple[Shape, ...], Lenient] = Field(
        ((1, 2, 2), (2, 2, 2), (2, 2, 2)),
        description="Factors [z, y, x] from each level to the next, one fewer than widths.",
    )
    anisotropic_levels: int = Field(1, ge=0, description="How many of the finest levels use flat 1×3×3 kernels.")
    residual: bool = Field(True, description="Convolutions in pairs with a shortcut.")
    norm: Literal["instance", "batch"] = Field("instance", description="Normalisation after each convolution.")

    @model_validator(mode="after")
    def _check_depth(self) -> DynUnetConfig:
        if len(self.downsample) != len(self.widths) - 1:
            raise ValueError(
                f"expected downsample to have one factor fewer than widths has numbers, "
                f"got {len(self.downsample)} and {len(self.widths)}"
            )
        return self


class MedNextConfig(Section):
    """MedNeXt (S. Roy et al. 2023, arXiv:2303.09975): depthwise convolutions with wide perceptrons, five levels."""

    size: Literal["S", "B", "M", "L"] = Field("S", description="Blocks and expansion of the paper's four networks.")
    width: int = Field(32, ge=1, description="Channels at the finest level; they double from level to level.")
    kernel: Literal[3, 5, 7] = Field(3, description="Voxels of a depthwise kernel along each axis.")


class SegResNetConfig(Section):
    """SegResNet (A. Myronenko 2018, arXiv:1810.11654): residual blocks, group norm, a light decoder."""

    width: int = Field(
        16, ge=8, multiple_of=8, description="Channels at the finest level, a multiple of 8; they double."
    )
    down: Annotated[tuple[Count, ...], Lenient, Field(min_length=2)] = Field(
        (1, 2, 2, 4), description="Residual blocks at each level of the encoder; their count is the depth."
    )
    up: Annotated[tuple[Count, ...], Lenient] = Field(
        (1, 1, 1), description="Residual blocks at each level of the decoder, one fewer."
    )

    @model_validator(mode="after")
    def _check_depth(self) -> SegResNetConfig:
        if len(self.up) != len(self.down) - 1:
            raise ValueError(f"expected up to have one number fewer than down, got {len(self.up)} and {len(self.down)}")
        return self


class ClassicConfig(Section):
    """A network of PyTorch Connectomics v1: the keys of MODEL in its files."""

    widths: Annotated[tuple[Count, ...], Lenient, Field(min_length=2)] = Field(
        (28, 36, 48, 64, 80), description="Channels at each level, finest first (FILTERS)."
    )
    isotropy: Annotated[tuple[bool, ...], Lenient] = Field(
        (False, False, False, True, True),
        description="Whether each level has 3-D kernels and is downsampled in z, too (ISOTROPY).",
    )
    isotropic: bool = Field(False, description="First and last kernel are 5×5×5 (IS_ISOTROPIC); else 1×5×5.")
    squeeze: bool = Field(False, description="Squeeze-and-excitation (residual_se).")
    pooling: bool = Field(False, description="Pool between levels (POOLING_LAYER), for even sizes; else strides.")
    padding: Literal["replicate", "zeros", "reflect", "circular"] = Field(
        "replicate", description="Padding of convolutions (PAD_MODE)."
    )
    norm: Norm = Field("batch", description="Normalisation after each convolution (NORM_MODE).")
    activation: Activation = Field("elu", description="Nonlinearity (ACT_MODE).")
    blocks: Four = Field((2, 2, 2, 2), description="Residual blocks of each level of fpn_3d (BLOCKS).")
    mean: float = Field(0.5, description="Subtracted from the image in [0, 1] (MEAN).")
    deviation: float = Field(0.5, gt=0, description="Divisor of the image after that (STD).")

    @model_validator(mode="after")
    def _check_depth(self) -> ClassicConfig:
        if len(self.isotropy) != len(self.widths):
            raise ValueError(
                f"expected as many values in isotropy as in widths, got {len(self.isotropy)} and {len(self.widths)}"
            )
        return self


CLASSIC = ("unet_3d", "unet_plus_3d", "fpn_3d", "unet_2d", "unet_plus_2d")
"""The networks of PyTorch Connectomics, which have a :class:`ClassicConfig` each."""

NETWORKS: dict[str, type[Section]] = {
    "unetr": UnetrConfig,
    "swin_unetr": SwinUnetrConfig,
    "dynunet": DynUnetConfig,
    "mednext": MedNextConfig,
    "segresnet": SegResNetConfig,
    **dict.fromkeys(CLASSIC, ClassicConfig),
}
"""The section of ``model`` that holds the options of an architecture; it has the architecture's name."""
