"""The residual symmetric U-Net of K. Lee et al. 2017 (arXiv:1706.00120), with configurable widths, pooling and norm.

Shape suffixes: B batch, C channel, E edge, Z Y X space.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from neuropil.config import ModelConfig
from neuropil.errors import NeuropilError
from neuropil.geometry import Triple
from neuropil.models.convolution import Convolution, by_section

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


def _norm(kind: str, width: int) -> nn.Module:
    if kind in ("batch", "sync_batch"):  # training on several GPUs replaces it by SyncBatchNorm
        return nn.BatchNorm3d(width)
    if kind == "group":
        return nn.GroupNorm(math.gcd(8, width), width)
    if kind == "instance":
        return nn.InstanceNorm3d(width, affine=True)
    if kind == "none":
        return nn.Identity()
    raise NeuropilError(f"unknown norm {kind!r}; expected batch, sync_batch, group, instance or none")


def check_spread(model: ModelConfig, patch: Triple, batch: int) -> None:
    """Refuse a training patch that pooling shrinks to one voxel if the norm needs more for a standard deviation.

    Args:
        model: a recipe's section; MONAI's networks are padded beyond one voxel.
        patch: voxels (z, y, x) of a sample.
        batch: number of samples with common statistics.

    Raises:
        NeuropilError: the norm would have one value per channel, or per group of channels.

    >>> check_spread(ModelConfig(), (1, 16, 16), 1)
    >>> check_spread(ModelConfig(), (1, 8, 8), 1)
    Traceback (most recent call last):
    ...
    neuropil.errors.NeuropilError: training.patch: expected more than 1×8×8 voxels, ...
    """
    factors = [model.stem, *model.downsample]
    shrunk = [math.prod(factor[axis] for factor in factors) for axis in range(3)]
    if model.architecture != "residual_unet" or any(n > s for n, s in zip(patch, shrunk, strict=True)):
        return
    alone = [w for i, w in enumerate(model.widths) if all(f == (1, 1, 1) for f in model.downsample[i:])]
    values = {"instance": 1, "group": min(batch * w // math.gcd(8, w) for w in alone), "none": 2}
    if values.get(model.norm, batch) > 1:
        return
    more = "" if model.norm == "instance" else "training.batch of 2 or more, "
    raise NeuropilError(
        f"training.patch: expected more than {'×'.join(map(str, shrunk))} voxels, which become one at the deepest of "
        f"the {len(model.widths)} levels of model.widths, where model.norm {model.norm} needs more than one value; got "
        f"{patch}: take a larger patch, fewer levels, {more}or model.norm none"
    )


def _conv(inside: int, outside: int, kernel: Triple, norm: str) -> Convolution:
    # A bias before a norm has no effect, and costs time on GPUs.
    return Convolution(inside, outside, kernel, bias=norm == "none")


class Squeeze(nn.Module):
    """Squeeze-and-excitation: weights of channels from their means (J. Hu et al. 2018, arXiv:1709.01507)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        narrow = max(4, width // 8)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool3d(1), Convolution(width, narrow), nn.ReLU(), Convolution(narrow, width), nn.Sigmoid()
        )

    def forward(self, x_BCZYX: Tensor) -> Tensor:
        out: Tensor = x_BCZYX * self.gate(x_BCZYX)
        return out


class ResidualBlock(nn.Module):
    """Three convolutions with norm and activation, a shortcut over the last two: ``h = conv(x); h + conv(conv(h))``."""

    def __init__(
        self, inside: int, outside: int, kernel: Triple, norm: str, activation: str, squeeze: bool = False
    ) -> None:
        super().__init__()
        act = ACTIVATIONS[activation]
        self.enter = nn.Sequential(_conv(inside, outside, kernel, norm), _norm(norm, outside), act())
        self.body = nn.Sequential(
            _conv(outside, outside, kernel, norm),
            _norm(norm, outside),
            act(),
            _conv(outside, outside, kernel, norm),
            _norm(norm, outside),
            *([Squeeze(outside)] if squeeze else []),
        )
        self.leave = act()

    def forward(self, x_BCZYX: Tensor) -> Tensor:
        h = self.enter(x_BCZYX)
        out: Tensor = self.leave(h + self.body(h))
        return out


class Up(nn.Module):
    """Change the width by a 1×1×1 convolution, at the coarse level where it is cheap, then upsample by a factor."""

    def __init__(self, inside: int, outside: int, factor: Triple) -> None:
        super().__init__()
        self.project = Convolution(inside, outside)
        self.factor = factor

    def forward(self, x_BCZYX: Tensor) -> Tensor:
        return _linear_upsample(self.project(x_BCZYX), self.factor)


def _linear_upsample(x_BCZYX: Tensor, factor: Triple) -> Tensor:
    scale = [float(f) for f in factor]
    if scale[0] != 1:
        return F.interpolate(x_BCZYX, scale_factor=scale, mode="trilinear", align_corners=False)
    with torch.autocast(x_BCZYX.device.type, enabled=False):  # autocast would compute it in float32
        return by_section(lambda x: F.interpolate(x, scale_factor=scale[1:], mode="bilinear"), x_BCZYX)


class ResidualUNet(nn.Module):
    """Residual symmetric U-Net: encoder and decoder of residual blocks, max-pooling, summed skips.

    Args:
        out_channels: number of logits per voxel, one per offset.
        widths: channels of each level, finest first.
        downsample: pooling (z, y, x) between the levels, one fewer than ``widths``.
        anisotropic_levels: how many of the finest levels use 1×3×3 kernels instead of 3×3×3 (0 = isotropic data).
        stem: fold (z, y, x) blocks of voxels into channels before the first level and unfold them after the last.
            (1, 1, 1) works at full resolution; (1, 2, 2) costs a quarter and sees twice as far.
        norm: ``batch``, ``group``, ``instance`` or ``none``.
        activation: ``elu``, ``relu``, ``leaky_relu``, ``gelu`` or ``silu``.
        squeeze: squeeze-and-excitation in each block.
        auxiliary_channels: more logits per voxel, in training mode only, after the others.
        deep_supervision: in training mode, also the ``out_channels`` logits of each coarser level, finest first, after
            the auxiliary ones; upsampled, so that they have the same targets.
        recompute: activation checkpointing: less memory, a third slower.

    Takes float ``[B, 1, Z, Y, X]`` in [0, 1] of any size and returns logits ``[B, out_channels, Z, Y, X]``.

    >>> import torch
    >>> net = ResidualUNet(3, widths=(4, 8), downsample=((1, 2, 2),))
    >>> tuple(net(torch.zeros(1, 1, 5, 17, 19)).shape)
    (1, 3, 5, 17, 19)
    """

    def __init__(
        self,
        out_channels: int,
        *,
        widths: Sequence[int] = (16, 24, 32, 48),
        downsample: Sequence[Triple] = ((1, 2, 2), (1, 2, 2), (1, 2, 2)),
        anisotropic_levels: int = 1,
        stem: Triple = (1, 1, 1),
        norm: str = "batch",
        activation: str = "elu",
        squeeze: bool = False,
        auxiliary_channels: int = 0,
        deep_supervision: bool = False,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        if len(downsample) != len(widths) - 1:
            raise NeuropilError(
                f"model.downsample needs one factor between each two of the {len(widths)} widths, "
                f"that is {len(widths) - 1}; got {len(downsample)}"
            )
        self.stem, self.out_channels, self.recompute = stem, out_channels, recompute
        self.downsample = [tuple(f) for f in downsample]
        self.multiple = tuple(s * math.prod(f[a] for f in self.downsample) for a, s in enumerate(stem))
        folded = math.prod(stem)
        kernels: list[Triple] = [(1, 3, 3) if i < anisotropic_levels else (3, 3, 3) for i in range(len(widths))]
        embed: Triple = (1, 5, 5) if anisotropic_levels else (3, 3, 3)
        self.embed = nn.Sequential(_conv(folded, widths[0], embed, "none"), ACTIVATIONS[activation]())
        self.encoder = nn.ModuleList(
            ResidualBlock(widths[max(i - 1, 0)], width, kernels[i], norm, activation, squeeze)
            for i, width in enumerate(widths)
        )
        levels = range(len(widths) - 1)
        self.up = nn.ModuleList(Up(widths[i + 1], widths[i], downsample[i]) for i in levels)
        self.decoder = nn.ModuleList(
            ResidualBlock(widths[i], widths[i], kernels[i], norm, activation, squeeze) for i in levels
        )
        self.head = Convolution(widths[0], out_channels * folded)
        self.auxiliary = Convolution(widths[0], auxiliary_channels * folded) if auxiliary_channels else None
        coarser = levels[1:] if deep_supervision else []
        self.coarse = nn.ModuleList(Convolution(widths[i], out_channels) for i in coarser)

    def forward(self, image_BCZYX: Tensor) -> Tensor:
        size = image_BCZYX.shape[2:]
        x = self.embed(fold(pad_to(image_BCZYX - 0.5, self.multiple), self.stem))
        skips: list[Tensor] = []
        for i, block in enumerate(self.encoder):
            if i > 0:
                skips.append(x)
                x = F.max_pool3d(x, self.downsample[i - 1])
            x = self._run(block, x)
        coarse: list[Tensor] = []
        for i in reversed(range(len(self.up))):
            x = self._run(self.decoder[i], self.up[i](x) + skips[i])
            if self.training and 1 <= i <= len(self.coarse):
                coarse.insert(0, self.coarse[i - 1](x))
        out = [unfold(self.head(x), self.stem)]
        if self.training and self.auxiliary is not None:
            out.append(unfold(self.auxiliary(x), self.stem))
        out += [F.interpolate(c, size=out[0].shape[2:], mode="trilinear", align_corners=False) for c in coarse]
        logits = torch.cat(out, dim=1) if len(out) > 1 else out[0]
        return logits[:, :, : size[0], : size[1], : size[2]]

    def _run(self, block: nn.Module, x_BCZYX: Tensor) -> Tensor:
        """Run a block, with activation checkpointing if ``recompute`` is set."""
        if self.recompute and self.training:
            again: Tensor = checkpoint(
                block, x_BCZYX, use_reentrant=False, context_fn=lambda: (nullcontext(), _statistics_kept(block))
            )
            return again
        out: Tensor = block(x_BCZYX)
        return out


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """A context in which batch norms do not change their running statistics, as the first pass has done that."""
    norms = [m for m in block.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        # Momentum 0 changes no statistics; without the buffers the second pass would compute something else.
        norm.momentum = 0.0
        norm.num_batches_tracked = None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


def pad_to(x_BCZYX: Tensor, multiple: Sequence[int]) -> Tensor:
    """Pad by repeating the last voxels until every axis is a multiple of ``multiple``.

    >>> import torch
    >>> tuple(pad_to(torch.zeros(1, 1, 3, 5, 8), (1, 4, 4)).shape)
    (1, 1, 3, 8, 8)
    """
    missing = [(-n) % m for n, m in zip(x_BCZYX.shape[2:], multiple, strict=True)]
    if not any(missing):
        return x_BCZYX
    return F.pad(x_BCZYX, (0, missing[2], 0, missing[1], 0, missing[0]), mode="replicate")


def fold(x_BCZYX: Tensor, factor: Triple) -> Tensor:
    """Fold blocks of voxels into channels (space to depth): ``[B, C, Z·f, Y·g, X·h]`` → ``[B, C·f·g·h, Z, Y, X]``.

    >>> import torch
    >>> tuple(fold(torch.zeros(1, 1, 2, 4, 6), (1, 2, 2)).shape)
    (1, 4, 2, 2, 3)
    """
    f, g, h = factor
    b, c, z, y, x = x_BCZYX.shape
    if f == g == h == 1:
        return x_BCZYX
    blocks = x_BCZYX.reshape(b, c, z // f, f, y // g, g, x // h, h)
    return blocks.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(b, c * f * g * h, z // f, y // g, x // h)


def unfold(x_BCZYX: Tensor, factor: Triple) -> Tensor:
    """The inverse of :func:`fold`.

    >>> import torch
    >>> x = torch.randn(1, 3, 2, 4, 6)
    >>> bool((unfold(fold(x, (1, 2, 2)), (1, 2, 2)) == x).all())
    True
    """
    f, g, h = factor
    if f == g == h == 1:
        return x_BCZYX
    b, c, z, y, x = x_BCZYX.shape
    blocks = x_BCZYX.reshape(b, c // (f * g * h), f, g, h, z, y, x)
    return blocks.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(b, c // (f * g * h), z * f, y * g, x * h)
