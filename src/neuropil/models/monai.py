"""MONAI's networks with the interface of neuropil's: any image size, logits of edges and auxiliary targets.

Shape suffixes: B batch, C channel, N token, Z Y X space.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuropil.config import ModelConfig
from neuropil.config.networks import DynUnetConfig, MedNextConfig, SegResNetConfig, SwinUnetrConfig, UnetrConfig
from neuropil.errors import NeuropilError
from neuropil.geometry import Triple
from neuropil.models.unet import fold, pad_to, unfold
from neuropil.targets import auxiliaries

MEDNEXT = {
    "S": ([2] * 9, [2] * 9),
    "B": ([2, 3, 4, 4, 4, 4, 4, 3, 2], [2] * 9),
    "M": ([2, 3, 4, 4, 4, 4, 4, 3, 2], [3, 4, 4, 4, 4, 4, 4, 4, 3]),
    "L": ([3, 4, 8, 8, 8, 8, 8, 4, 3], [3, 4, 8, 8, 8, 8, 8, 4, 3]),
}
"""Expansion and number of blocks of each stage: four down, the bottom, four up (S. Roy et al. 2023, table 1)."""

TOKEN = 16
"""Voxels of a token of UNETR along each axis."""


def build_monai(model: ModelConfig) -> nn.Module:
    """Build the MONAI network named by ``model.architecture``, freshly initialised.

    Returns:
        A module as :func:`neuropil.models.build_network` describes it.

    Raises:
        NeuropilError: MONAI is not installed.

    >>> model = ModelConfig.model_validate({"architecture": "segresnet", "segresnet": {"width": 8}})
    >>> tuple(build_monai(model)(torch.zeros(1, 1, 5, 17, 19)).shape)
    (1, 9, 5, 17, 19)
    """
    edges, folded = len(model.offsets), math.prod(model.stem)
    outside = (edges + sum(task.channels for task in auxiliaries(model))) * folded
    options = getattr(model, model.architecture)
    if isinstance(options, UnetrConfig):
        return Unetr(_unetr(options, folded, outside), options.grid, edges, model.stem)
    if isinstance(options, SwinUnetrConfig):
        return Adapted(_swin_unetr(options, folded, outside, model.recompute), (32, 32, 32), edges, model.stem)
    if isinstance(options, DynUnetConfig):
        factors = [math.prod(factor[axis] for factor in options.downsample) for axis in range(3)]
        return Adapted(_dynunet(options, folded, outside, model.deep_supervision), factors, edges, model.stem)
    if isinstance(options, MedNextConfig):
        return Adapted(_mednext(options, folded, outside, model.deep_supervision), (16, 16, 16), edges, model.stem)
    assert isinstance(options, SegResNetConfig)
    factors = [2 ** (len(options.down) - 1)] * 3
    return Adapted(_segresnet(options, folded, outside), factors, edges, model.stem)


class Adapted(nn.Module):
    """A MONAI network that takes any image size; output as :func:`neuropil.models.build_network` describes it.

    Args:
        network: float ``[B, folded, Z, Y, X]`` → logits of edges and auxiliary targets ``[B, channels, Z, Y, X]``,
            alone, or in training mode followed by those of coarser levels (in a tuple, or stacked on axis 1).
        pooled: factors that the input size on each axis must be a multiple of.
        edges: number of affinity channels; in evaluation mode only these are returned.
        stem: blocks of voxels that are folded into channels before the network and unfolded after it.
    """

    def __init__(self, network: nn.Module, pooled: Sequence[int], edges: int, stem: Triple) -> None:
        super().__init__()
        self.network, self.edges, self.stem = network, edges, stem
        z, y, x = (p * s for p, s in zip(pooled, stem, strict=True))
        self.multiple: Triple = (z, y, x)

    def forward(self, image_BCZYX: Tensor) -> Tensor:
        size = image_BCZYX.shape[2:]
        padded = pad_to(image_BCZYX - 0.5, self.multiple)
        if tuple(padded.shape[2:]) == self.multiple:
            # A single voxel at the coarsest level has no standard deviation for a norm.
            padded = F.pad(padded, (0, self.multiple[2], 0, 0, 0, 0), mode="replicate")
        # MONAI's layers reshape tokens, which needs the default memory layout.
        found = self._run(fold(padded, self.stem).contiguous())
        first, *coarse = found.unbind(1) if isinstance(found, Tensor) and found.ndim == 6 else [*_several(found)]
        logits = unfold(first, self.stem)
        if not self.training:
            logits = logits[:, : self.edges]
        levels = [unfold(level, self.stem)[:, : self.edges] for level in coarse]
        levels = [F.interpolate(c, size=logits.shape[2:], mode="trilinear", align_corners=False) for c in levels]
        return torch.cat([logits, *levels], dim=1)[:, :, : size[0], : size[1], : size[2]]

    def _run(self, x_BCZYX: Tensor) -> Any:
        return self.network(x_BCZYX)


def _several(found: Any) -> Sequence[Tensor]:
    return found if isinstance(found, list | tuple) else [found]


class Unetr(Adapted):
    """UNETR; its position embeddings are interpolated if a patch or tile has another number of tokens."""

    def __init__(self, network: nn.Module, grid: Triple, edges: int, stem: Triple) -> None:
        super().__init__(network, (TOKEN,) * 3, edges, stem)
        self.grid = grid
        z, y, x = (n * m for n, m in zip(grid, self.multiple, strict=True))
        self.tile: Triple = (z, y, x)
        """Tile size for prediction: attention over more tokens than in training is slow and does not help."""

    def _run(self, x_BCZYX: Tensor) -> Any:
        grid = [n // TOKEN for n in x_BCZYX.shape[2:]]
        network: Any = self.network
        network.proj_view_shape = [*grid, network.hidden_size]
        if tuple(grid) == self.grid:
            return network(x_BCZYX)
        name = "vit.patch_embedding.position_embeddings"
        learned_1NC = network.get_parameter(name)
        known = learned_1NC.transpose(1, 2).reshape(1, -1, *self.grid)
        resized = F.interpolate(known, size=grid, mode="trilinear", align_corners=False).flatten(2).transpose(1, 2)
        return torch.func.functional_call(network, {name: resized}, (x_BCZYX,))


def _monai() -> Any:
    try:
        import_module("einops")  # UNETR and SwinUNETR need it, but MONAI does not install it
        return import_module("monai.networks.nets")
    except ModuleNotFoundError as error:
        raise NeuropilError(
            f"this model.architecture is one of MONAI's and {error.name} is not installed; "
            "pip install 'neuropil[monai]', or choose residual_unet"
        ) from None


def _unetr(options: UnetrConfig, inside: int, outside: int) -> nn.Module:
    network: nn.Module = _monai().UNETR(
        inside,
        outside,
        img_size=[TOKEN * n for n in options.grid],
        feature_size=options.width,
        hidden_size=options.hidden,
        mlp_dim=options.mlp,
        num_heads=options.heads,
        norm_name=(options.norm, {"affine": True}),
        conv_block=options.conv_block,
    )
    for name, parameter in network.named_parameters():
        if "norm_cross_attn" in name:  # an unused layer: DDP would wait for its gradient
            parameter.requires_grad_(False)
    return network


def _swin_unetr(options: SwinUnetrConfig, inside: int, outside: int, recompute: bool) -> nn.Module:
    network: nn.Module = _monai().SwinUNETR(
        inside,
        outside,
        depths=options.depths,
        num_heads=options.heads,
        window_size=options.window,
        feature_size=options.width,
        norm_name=(options.norm, {"affine": True}),
        use_checkpoint=recompute,
        use_v2=options.version == 2,
    )
    return network


def _dynunet(options: DynUnetConfig, inside: int, outside: int, deep: bool) -> nn.Module:
    levels = len(options.widths)
    network: nn.Module = _monai().DynUNet(
        3,
        inside,
        outside,
        kernel_size=[(1, 3, 3) if level < options.anisotropic_levels else (3, 3, 3) for level in range(levels)],
        strides=[(1, 1, 1), *options.downsample],
        upsample_kernel_size=options.downsample,
        filters=options.widths,
        norm_name=(options.norm, {"affine": True}),
        res_block=options.residual,
        deep_supervision=deep,
        deep_supr_num=levels - 2,
    )
    return network


def _mednext(options: MedNextConfig, inside: int, outside: int, deep: bool) -> nn.Module:
    expansion, blocks = MEDNEXT[options.size]
    network: nn.Module = _monai().MedNeXt(
        init_filters=options.width,
        in_channels=inside,
        out_channels=outside,
        encoder_expansion_ratio=expansion[:4],
        bottleneck_expansion_ratio=expansion[4],
        decoder_expansion_ratio=expansion[5:],
        kernel_size=options.kernel,
        deep_supervision=deep,
        use_residual_connection=True,
        blocks_down=blocks[:4],
        blocks_bottleneck=blocks[4],
        blocks_up=blocks[5:],
    )
    return network


def _segresnet(options: SegResNetConfig, inside: int, outside: int) -> nn.Module:
    network: nn.Module = _monai().SegResNet(
        init_filters=options.width,
        in_channels=inside,
        out_channels=outside,
        blocks_down=options.down,
        blocks_up=options.up,
    )
    return network
