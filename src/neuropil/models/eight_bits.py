"""Convolutions in 8 bits, for prediction: products of whole numbers, which processors with VNNI add four at a time.

Weights are rounded once, by output channel. Activations are rounded in each tile, to 255 even steps between their least
and largest value, so that nothing needs to be calibrated and the result depends on the tile alone. Sums are exact
32-bit integers; everything between convolutions is bfloat16.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from neuropil import _native
from neuropil.models.convolution import Convolution
from neuropil.models.folding import in_bfloat16
from neuropil.models.unet import ResidualUNet, Squeeze

_ONES = [1, 1, 1]


class EightBitConvolution(nn.Module):
    """A convolution whose input and weights are rounded to 8 bits.

    Args:
        convolution: the convolution to imitate.
        rectify: apply ReLU to the input first, which costs nothing here.

    Takes ``[B, C, Z, Y, X]`` of any float type; returns bfloat16, or NaN if a value of the input is not finite.

    >>> exact = Convolution(2, 3, (1, 3, 3))
    >>> image = torch.rand(1, 2, 4, 8, 8)
    >>> bool((EightBitConvolution(exact)(image) - exact(image)).abs().max() < 0.05)
    True
    """

    def __init__(self, convolution: Convolution, rectify: bool = False) -> None:
        super().__init__()
        weight = convolution.weight.detach().float()
        self.steps = (weight.flatten(1).abs().amax(1) / 127).clamp(min=torch.finfo(torch.float32).tiny)
        self.zeros = torch.zeros(len(weight), dtype=torch.int64)
        self.codes = (weight / self.steps.view(-1, 1, 1, 1, 1)).round().to(torch.int8)
        self.bias = None if convolution.bias is None else convolution.bias.detach().float()
        self.rectify = rectify
        self._packed: dict[tuple[int, ...], tuple[Tensor, list[int]]] = {}

    def forward(self, x_BCZYX: Tensor) -> Tensor:
        x = x_BCZYX.to(torch.bfloat16).contiguous(memory_format=torch.channels_last_3d)
        return self._sample(x) if len(x) == 1 else torch.cat([self._sample(one.unsqueeze(0)) for one in x])

    def _sample(self, x_1CZYX: Tensor) -> Tensor:
        """Samples have steps of their own, so that a result does not depend on the batch."""
        codes = torch.empty_like(x_1CZYX, dtype=torch.uint8)
        flat = (part.as_strided((part.numel(),), (1,)) for part in (x_1CZYX.view(torch.uint16), codes))
        values, into = (part.numpy() for part in flat)
        step, zero = _native.to_codes(values, self.rectify, into, torch.get_num_threads())
        weight, padding = self._weights(tuple(codes.shape))
        if math.isnan(step):
            shape = (1, len(self.steps), *x_1CZYX.shape[2:])
            return torch.full(shape, math.nan, dtype=torch.bfloat16).to(memory_format=torch.channels_last_3d)
        found: Tensor = torch.ops.onednn.qconv3d_pointwise(
            *(codes, step, zero, weight, self.steps, self.zeros, self.bias, _ONES, padding, _ONES, 1),
            *(1.0, 0, torch.bfloat16, "none", [], ""),
        )
        return found

    def _weights(self, shape: tuple[int, ...]) -> tuple[Tensor, list[int]]:
        """The weights as oneDNN orders them for inputs of this shape, and the padding."""
        if shape not in self._packed:
            codes = self.codes
            if shape[2] == 1:  # the other sections of the kernel see only zero padding
                codes = codes[:, :, codes.shape[2] // 2].unsqueeze(2).contiguous()
            padding = [n // 2 for n in codes.shape[2:]]
            packed = torch.ops.onednn.qconv_prepack(codes, self.steps, 1.0, 0, _ONES, padding, _ONES, 1, list(shape))
            self._packed = {shape: (packed, padding)}  # tiles have one shape, rarely two
        return self._packed[shape]


def in_eight_bits(network: nn.Module) -> nn.Module:
    """A copy of a network of ours that convolves in 8 bits, but for its last layer and for squeeze-and-excitation.

    Args:
        network: a network as :func:`neuropil.models.folding.for_prediction` returns it.

    >>> from neuropil.models.folding import for_prediction
    >>> network = for_prediction(ResidualUNet(3, widths=(4, 8), downsample=((1, 2, 2),)))
    >>> image = torch.rand(1, 1, 4, 16, 16)
    >>> bool((in_eight_bits(network)(image) - network(image)).abs().max() < 0.1)
    True
    """
    copied = copy.deepcopy(network)
    for part in copied.modules():
        for name, child in list(part.named_children()):
            if type(child) is Convolution and not (isinstance(part, ResidualUNet) or _in_squeeze(copied, child)):
                setattr(part, name, EightBitConvolution(child, _drop_activation(part, name)))
    return in_bfloat16(copied)


def _in_squeeze(network: nn.Module, convolution: nn.Module) -> bool:
    return any(convolution in part.modules() for part in network.modules() if isinstance(part, Squeeze))


def _drop_activation(part: nn.Module, name: str) -> bool:
    """Whether the layer before a convolution is a ReLU, which is then left out, since the convolution does it."""
    if not isinstance(part, nn.Sequential):
        return False
    for before in range(int(name) - 1, -1, -1):
        if type(part[before]) is nn.ReLU:
            part[before] = nn.Identity()
            return True
        if not isinstance(part[before], nn.Identity):
            return False
    return False
