"""The networks of PyTorch Connectomics (v1) by their names: strided residual U-Nets and a feature pyramid, 3-D and 2-D.

Written from their published description (Z. Lin et al. 2021, arXiv:2112.05754) and from the contents of their
checkpoints, so that weights trained there can be used here. A 2-D network is the same with flat kernels, section by
section.

Shape suffixes: B batch, C channel, Z Y X space.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuropil.config.networks import ClassicConfig
from neuropil.geometry import Triple

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "elu": nn.ELU, "gelu": nn.GELU, "silu": nn.SiLU}


def build_classic(name: str, config: ClassicConfig, out_channels: int) -> nn.Module:
    """The network of a classic name, initialised with orthogonal kernels, as in the original.

    Args:
        name: ``unet_3d``, ``unet_plus_3d``, ``unet_2d``, ``unet_plus_2d`` or ``fpn_3d``.
        config: the recipe's section of that name.
        out_channels: logits per voxel.

    >>> net = build_classic("unet_3d", ClassicConfig(widths=(8, 8), isotropy=(False, True)), 3)
    >>> tuple(net(torch.zeros(1, 1, 5, 17, 19)).shape)
    (1, 3, 5, 17, 19)
    """
    flat = name.endswith("_2d")
    if name == "fpn_3d":
        network: nn.Module = FeaturePyramid(config, out_channels)
    else:
        network = StridedUNet(config, out_channels, plus="plus" in name, flat=flat)
    for part in network.modules():
        if isinstance(part, nn.Conv3d | nn.Linear) and part.weight.numel():
            nn.init.orthogonal_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    if isinstance(network, StridedUNet) and network.attend is not None:
        network.attend.begin()
    return network


class _Style:
    """Settings of all layers of a network: padding, norm, activation, and whether it is 2-D (``flat``)."""

    def __init__(self, config: ClassicConfig, flat: bool) -> None:
        self.padding, self.norm_kind, self.activation = config.padding, config.norm, config.activation
        self.squeeze, self.flat = config.squeeze, flat

    def act(self) -> nn.Module:
        return nn.LeakyReLU(0.2) if self.activation == "leaky_relu" else ACTIVATIONS[self.activation]()

    def norm(self, width: int) -> nn.Module:
        if self.norm_kind in ("batch", "sync_batch"):
            return nn.BatchNorm3d(width)
        if self.norm_kind == "group":
            # The original only allows widths that are multiples of its 8 or 16 groups.
            return nn.GroupNorm(math.gcd(16 if self.flat else 8, width), width)
        return nn.InstanceNorm3d(width) if self.norm_kind == "instance" else nn.Identity()

    def head(self, inside: int, outside: int, kernel: Triple) -> nn.Conv3d:
        """The last convolution."""
        around = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        return nn.Conv3d(inside, outside, kernel, padding=around, padding_mode=self.padding)

    def layer(
        self,
        inside: int,
        outside: int,
        kernel: Triple,
        stride: Triple = (1, 1, 1),
        *,
        act: bool = True,
        around: Triple | None = None,
    ) -> nn.Sequential:
        """Convolution, norm and activation."""
        pad = around or (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        conv = nn.Conv3d(inside, outside, kernel, stride, pad, bias=False, padding_mode=self.padding)
        return nn.Sequential(conv, self.norm(outside), *([self.act()] if act else []))


def _kernel(isotropic: bool, size: int = 3) -> Triple:
    return (size if isotropic else 1, size, size)


def _step(isotropic: bool) -> Triple:
    return (2 if isotropic else 1, 2, 2)


class ClassicSqueeze(nn.Module):
    """Squeeze-and-excitation (J. Hu et al. 2018, arXiv:1709.01507): weights of channels by two layers without bias."""

    def __init__(self, width: int, style: _Style) -> None:
        super().__init__()
        narrow = width // (16 if style.flat else 4)
        # With fewer than 16 channels the 2-D form has none between its layers; all weights are then one half.
        self.down = nn.Linear(width, narrow, bias=False) if narrow else None
        self.up = nn.Linear(narrow, width, bias=False) if narrow else None
        self.act = style.act()

    def forward(self, x_BCZYX: Tensor) -> Tensor:
        if self.down is None or self.up is None:
            return x_BCZYX * 0.5
        weight = self.up(self.act(self.down(x_BCZYX.mean((2, 3, 4))))).sigmoid()
        out: Tensor = x_BCZYX * weight[:, :, None, None, None]
        return out


class Block(nn.Module):
    """Two convolutions with a shortcut, which is projected where width or size change."""

    def __init__(
        self, inside: int, outside: int, style: _Style, *, isotropic: bool = False, stride: Triple = (1, 1, 1)
    ) -> None:
        super().__init__()
        kernel = _kernel(isotropic)
        self.first = style.layer(inside, outside, kernel, stride)
        self.second = style.layer(outside, outside, kernel, act=False)
        self.squeeze = ClassicSqueeze(outside, style) if style.squeeze else None
        same = inside == outside and stride == (1, 1, 1)
        self.project = None if same else style.layer(inside, outside, (1, 1, 1), stride, act=False)
        self.act = style.act()

    def forward(self, x_BCZYX: Tensor) -> Tensor:
        y = self.second(self.first(x_BCZYX))
        if self.squeeze is not None:
            y = self.squeeze(y)
        out: Tensor = self.act(y + (x_BCZYX if self.project is None else self.project(x_BCZYX)))
        return out


class Attend(nn.Module):
    """Non-local block, self-attention of all voxels added to the input (X. Wang et al. 2018, arXiv:1711.07971)."""

    def __init__(self, width: int, style: _Style) -> None:
        super().__init__()
        half = max(width // 2, 1)
        self.query, self.key, self.value = (nn.Conv3d(width, half, 1) for _ in range(3))
        self.merge = nn.Sequential(nn.Conv3d(half, width, 1), style.norm(width))

    def begin(self) -> None:
        """Initialise as the identity."""
        weight = getattr(self.merge[1], "weight", None)
        if weight is not None:
            nn.init.zeros_(weight)

    def forward(self, x_BCZYX: Tensor) -> Tensor:
        query, key, value = (part(x_BCZYX).flatten(2) for part in (self.query, self.key, self.value))
        share_BQK = torch.softmax(query.transpose(1, 2) @ key, dim=-1)
        seen = (share_BQK @ value.transpose(1, 2)).transpose(1, 2).reshape(-1, value.shape[1], *x_BCZYX.shape[2:])
        out: Tensor = x_BCZYX + self.merge(seen)
        return out


class _Classic(nn.Module):
    """Common part of the networks: normalisation of grey values, 2-D by sections, and the last layer."""

    head: nn.Conv3d

    def __init__(self, config: ClassicConfig, flat: bool) -> None:
        super().__init__()
        self.mean, self.deviation, self.flat = config.mean, config.deviation, flat

    def forward(self, image_BCZYX: Tensor) -> Tensor:
        x = (image_BCZYX - self.mean) / self.deviation
        if not self.flat:
            return self._logits(x)
        batch, channels, depth = x.shape[:3]  # sections are samples
        x = x.transpose(1, 2).reshape(batch * depth, channels, 1, *x.shape[3:])
        found = self._logits(x)
        return found.reshape(batch, depth, -1, *found.shape[3:]).transpose(1, 2)

    def _logits(self, x_BCZYX: Tensor) -> Tensor:
        raise NotImplementedError


def _enlarge(x_BCZYX: Tensor, like_BCZYX: Tensor, corners: bool) -> Tensor:
    return F.interpolate(x_BCZYX, size=like_BCZYX.shape[2:], mode="trilinear", align_corners=corners)


class StridedUNet(_Classic):
    """Residual U-Net with summed skips; downsampling by strides (or pooling), upsampling by linear interpolation.

    With ``plus``, the coarsest level has self-attention and is added to every level of the decoder.
    """

    def __init__(self, config: ClassicConfig, out_channels: int, *, plus: bool, flat: bool) -> None:
        super().__init__(config, flat)
        style, widths = _Style(config, flat), config.widths
        thick = [False if flat else one for one in config.isotropy]
        ends = _kernel(config.isotropic and not flat, 5)
        # Strides are undone with aligned corners (odd sizes), pooling without (even sizes).
        self.corners = not config.pooling
        self.enter = style.layer(1, widths[0], ends)
        self.head = style.head(widths[0], out_channels, ends)
        self.encoder = nn.ModuleList()
        for i, width in enumerate(widths):
            step = _step(thick[i]) if i else (1, 1, 1)
            pool = nn.MaxPool3d(step, step) if config.pooling and i else nn.Identity()
            stride: Triple = (1, 1, 1) if config.pooling else step
            enter = style.layer(widths[max(i - 1, 0)], width, _kernel(thick[i]), stride)
            self.encoder.append(nn.Sequential(pool, enter, Block(width, width, style)))
        levels = range(len(widths) - 1)
        self.up = nn.ModuleList(style.layer(widths[i + 1], widths[i], _kernel(thick[i + 1])) for i in levels)
        self.decoder = nn.ModuleList(Block(widths[i], widths[i], style) for i in levels)
        self.attend = Attend(widths[-1], style) if plus else None
        # The original pads the input of its 1×1×1 kernels by a voxel, and upsamples the padding, too.
        rim: Triple = (0 if flat else 1, 1, 1)
        share = (style.layer(widths[-1], widths[i], (1, 1, 1), around=rim) for i in levels)
        self.share = nn.ModuleList(share) if plus else None

    def _logits(self, x_BCZYX: Tensor) -> Tensor:
        x = self.enter(x_BCZYX)
        skips: list[Tensor] = []
        for level in self.encoder:
            x = level(x)
            skips.append(x)
        if self.attend is not None:
            x = self.attend(x)
        deepest = x
        for i in reversed(range(len(self.up))):
            x = _enlarge(self.up[i](x), skips[i], self.corners) + skips[i]
            if self.share is not None:
                x = x + _enlarge(self.share[i](deepest), x, self.corners)
            x = self.decoder[i](x)
        out: Tensor = self.head(x)
        return out


class FeaturePyramid(_Classic):
    """Feature pyramid network (T.-Y. Lin et al. 2017, arXiv:1612.03144) on a residual encoder."""

    def __init__(self, config: ClassicConfig, out_channels: int) -> None:
        super().__init__(config, flat=False)
        style, widths, thick = _Style(config, False), config.widths, config.isotropy
        narrow = widths[0]
        self.enter = style.layer(1, narrow, _kernel(thick[0], 5))
        self.encoder = nn.ModuleList(
            nn.Sequential(
                Block(widths[i - 1], widths[i], style, isotropic=thick[i], stride=_step(thick[i])),
                *(Block(widths[i], widths[i], style, isotropic=thick[i]) for _ in range(config.blocks[i - 1] - 1)),
            )
            for i in range(1, len(widths))
        )
        self.side = nn.ModuleList(style.layer(width, narrow, (1, 1, 1)) for width in widths)
        self.smooth = nn.ModuleList(style.layer(narrow, narrow, _kernel(one)) for one in thick)
        self.head = style.head(narrow, out_channels, _kernel(thick[0], 5))

    def _logits(self, x_BCZYX: Tensor) -> Tensor:
        features = [self.enter(x_BCZYX)]
        for level in self.encoder:
            features.append(level(features[-1]))
        features = [side(x) for side, x in zip(self.side, features, strict=True)]
        x = features[-1]
        for i in reversed(range(1, len(features))):
            x = self.smooth[i](_enlarge(x, features[i - 1], True)) + features[i - 1]
        out: Tensor = self.head(self.smooth[0](x))
        return out


def narrow_head(network: nn.Module, channels: Sequence[int]) -> None:
    """Keep only these channels of the last layer, in this order."""
    assert isinstance(network, _Classic)
    network.head.weight = nn.Parameter(network.head.weight[list(channels)])
    assert network.head.bias is not None
    network.head.bias = nn.Parameter(network.head.bias[list(channels)])
    network.head.out_channels = len(channels)
