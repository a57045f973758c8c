"""Make networks faster for prediction, with the same output.

Batch norms are folded into the convolutions before them, activations overwrite their input, and the last layer computes
only the channels asked for. Networks other than neuropil's are changed only where that is known to be safe.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from neuropil.models.classic import FeaturePyramid, StridedUNet, narrow_head
from neuropil.models.convolution import Convolution
from neuropil.models.unet import ResidualBlock, ResidualUNet


def for_prediction(network: nn.Module, channels: Sequence[int] | None = None) -> nn.Module:
    """A copy of a network in evaluation mode that computes the same faster; the original is not changed.

    Args:
        network: any module.
        channels: the output channels to keep, in this order; auxiliary ones count from ``out_channels`` on. Networks of
            MONAI keep all. None: all but the auxiliary ones.

    >>> net = ResidualUNet(9, widths=(4, 8), downsample=((1, 2, 2),)).eval()
    >>> tuple(for_prediction(net, [2, 0])(torch.zeros(1, 1, 4, 8, 8)).shape)
    (1, 2, 4, 8, 8)
    """
    copied = copy.deepcopy(network).eval()
    with torch.no_grad():
        for part in list(copied.modules()):
            if type(part) is nn.Sequential:
                _fold_norms(part)
                _overwrite(part)
            elif isinstance(part, ResidualBlock):
                _in_place(part.leave)  # its input is a sum that nothing else uses
        if channels is not None and isinstance(copied, ResidualUNet):
            _narrow(copied, channels)
        elif channels is not None and isinstance(copied, StridedUNet | FeaturePyramid):
            narrow_head(copied, channels)
    return copied


def can_be_cast(network: nn.Module) -> bool:
    """Whether all weights of a network are in convolutions and norms, as :func:`in_bfloat16` needs it.

    >>> can_be_cast(nn.Conv3d(1, 3, 1)), can_be_cast(nn.Linear(3, 3))
    (True, False)
    """
    holders = [part for part in network.modules() if next(part.parameters(recurse=False), None) is not None]
    norms = (nn.BatchNorm3d, nn.SyncBatchNorm, nn.GroupNorm, nn.InstanceNorm3d)
    return any(_convolves(part) for part in holders) and all(
        _convolves(part) or isinstance(part, norms) for part in holders
    )


def in_bfloat16(network: nn.Module) -> nn.Module:
    """A copy whose convolutions, and all layers between them, work in bfloat16.

    Autocast does the same for convolutions, but pads, upsamples and adds in float32, with casts in between. Norms
    compute in float32 for any input.

    >>> in_bfloat16(nn.Sequential(nn.Conv3d(1, 3, 1)))(torch.zeros(1, 1, 2, 2, 2)).dtype
    torch.bfloat16
    """
    copied = copy.deepcopy(network)
    for part in copied.modules():
        if _convolves(part):
            part.to(torch.bfloat16)
            part.register_forward_pre_hook(_to_bfloat16)
    return copied


def _convolves(part: nn.Module) -> bool:
    """Whether a module is exactly a convolution, not another subclass."""
    return type(part) in (nn.Conv3d, Convolution)


def _to_bfloat16(_: nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(x.to(torch.bfloat16) for x in given)


def can_be_narrowed(network: object) -> bool:
    """Whether :func:`for_prediction` can drop channels of this network.

    >>> can_be_narrowed(nn.Conv3d(1, 3, 1))
    False
    """
    return isinstance(network, ResidualUNet | StridedUNet | FeaturePyramid)


def _fold_norms(part: nn.Sequential) -> None:
    """Fold each batch norm that follows a convolution into its weights."""
    for i in range(len(part) - 1):
        conv, norm = part[i], part[i + 1]
        if isinstance(conv, nn.Conv3d) and isinstance(norm, nn.BatchNorm3d | nn.SyncBatchNorm):
            if norm.running_mean is None:  # it uses the statistics of each batch, and cannot be folded
                continue
            part[i], part[i + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()


def _overwrite(part: nn.Sequential) -> None:
    """Make activations after a convolution or norm work in place, since nothing else uses its output."""
    before: nn.Module | None = None
    for module in part:
        if isinstance(before, nn.Conv3d | nn.BatchNorm3d | nn.GroupNorm | nn.InstanceNorm3d):
            _in_place(module)
        if not isinstance(module, nn.Identity):
            before = module


def _in_place(module: nn.Module) -> None:
    if isinstance(module, nn.ReLU | nn.ELU | nn.LeakyReLU | nn.SiLU):
        module.inplace = True


def _narrow(network: ResidualUNet, channels: Sequence[int]) -> None:
    """Keep only these channels of the last layer; each has a row of weights per voxel of the stem's blocks."""
    heads = [head for head in (network.head, network.auxiliary) if head is not None]
    folded = network.head.out_channels // network.out_channels
    weights = torch.cat([head.weight for head in heads])
    biases = torch.cat([head.bias for head in heads if head.bias is not None])
    rows = torch.tensor([channel * folded + row for channel in channels for row in range(folded)])
    head = Convolution(network.head.in_channels, len(rows)).to(weights)
    head.weight.copy_(weights[rows])
    assert head.bias is not None
    head.bias.copy_(biases[rows])
    network.head, network.out_channels, network.auxiliary = head, len(channels), None
