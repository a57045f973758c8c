"""3-D convolutions that keep the size of their input, are correct in bfloat16 on CPUs, and fast in float32.

In float32 torch leaves oneDNN out if the first four sizes of an input multiply to 20,480 or less, and convolves by a
matrix in memory instead, which takes up to 12 times as long. So here oneDNN is called for all sizes.

The oneDNN of torch 2.13 and 2.14 computes bf16 3-D convolutions wrongly: weight gradients of inputs with two sections,
on CPUs with AVX512; with AMX weight gradients of many more shapes, and the output of inputs with one section. So here
kernels of one section run as 2-D convolutions, with z folded into the batch, which copies nothing; and weight gradients
of deeper kernels are computed by 2-D convolutions.

Shape suffixes: B batch, C channel in, O channel out, N batch and section, Z Y X space, K L M kernel.
"""

from __future__ import annotations

import itertools
import platform
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuropil.geometry import Triple

_backward = torch.ops.aten.convolution_backward


class Convolution(nn.Conv3d):
    """``nn.Conv3d`` with a kernel of odd sizes and zero padding, so that the output is as large as the input.

    Parameters and their names are those of ``nn.Conv3d``.

    >>> tuple(Convolution(2, 3, (1, 5, 5))(torch.zeros(1, 2, 4, 8, 8)).shape)
    (1, 3, 4, 8, 8)
    """

    def __init__(self, inside: int, outside: int, kernel: Triple = (1, 1, 1), bias: bool = True) -> None:
        z, y, x = kernel
        super().__init__(inside, outside, kernel, padding=(z // 2, y // 2, x // 2), bias=bias)

    def forward(self, x_BCZYX: Tensor) -> Tensor:
        if self.kernel_size[0] == 1:
            return _by_section(x_BCZYX, self.weight.squeeze(2), self.bias)
        if x_BCZYX.shape[2] == 1:  # the other sections of the kernel see only zero padding
            return _by_section(x_BCZYX, self.weight[:, :, self.kernel_size[0] // 2], self.bias)
        if x_BCZYX.device.type != "cpu":
            return super().forward(x_BCZYX)
        # Cast outside of the function, so that autograd records it.
        dtype = _dtype(x_BCZYX)
        x = x_BCZYX.to(dtype).contiguous(memory_format=torch.channels_last_3d)
        bias = None if self.bias is None else self.bias.to(dtype)
        if not torch.is_grad_enabled():
            return _convolve(x, self.weight.to(dtype), bias)
        out: Tensor = _Careful.apply(x, self.weight.to(dtype), bias)  # type: ignore[no-untyped-call]
        return out


def convolves_with_ours(network: nn.Module) -> bool:
    """Whether a network has convolutions and all are :class:`Convolution`, which is correct with AMX.

    >>> convolves_with_ours(nn.Sequential(Convolution(1, 2))), convolves_with_ours(nn.Conv3d(1, 2, 1))
    (True, False)
    """
    found = [part for part in network.modules() if isinstance(part, nn.modules.conv._ConvNd)]
    return bool(found) and all(type(part) is Convolution for part in found)


def _by_section(x_BCZYX: Tensor, weight_OCLM: Tensor, bias_O: Tensor | None) -> Tensor:
    """2-D convolution of every section."""
    padding = (weight_OCLM.shape[2] // 2, weight_OCLM.shape[3] // 2)
    return by_section(lambda x_NCYX: F.conv2d(x_NCYX, weight_OCLM, bias_O, padding=padding), x_BCZYX)


def by_section(function: Callable[[Tensor], Tensor], x_BCZYX: Tensor) -> Tensor:
    """Apply a 2-D function to every section; channels last.

    Args:
        function: from ``[N, C, Y, X]`` to ``[N, O, V, U]``.
        x_BCZYX: its sections become the batch; not copied if channels are last.

    >>> tuple(by_section(lambda x: F.max_pool2d(x, 2), torch.zeros(1, 2, 5, 8, 8)).shape)
    (1, 2, 5, 4, 4)
    """
    out_NOVU = function(_sections(x_BCZYX)).permute(0, 2, 3, 1)
    return out_NOVU.reshape(len(x_BCZYX), -1, *out_NOVU.shape[1:]).permute(0, 4, 1, 2, 3)


def _sections(x_BCZYX: Tensor) -> Tensor:
    """Sections as a batch, ``[B, C, Z, Y, X]`` → ``[B·Z, C, Y, X]``; a view if channels are last already."""
    last = x_BCZYX.contiguous(memory_format=torch.channels_last_3d).permute(0, 2, 3, 4, 1)
    return last.reshape(-1, *last.shape[2:]).permute(0, 3, 1, 2)


def _convolve(x_BCZYX: Tensor, weight_OCKLM: Tensor, bias_O: Tensor | None) -> Tensor:
    """conv3d on a CPU, in float32 by oneDNN whatever the size."""
    # Compilers do not know this operator; they choose their own.
    if x_BCZYX.dtype == torch.float32 and not torch.compiler.is_compiling() and _has_onednn():
        out: Tensor = torch.ops.aten.mkldnn_convolution(
            x_BCZYX, weight_OCKLM, bias_O, _padding(weight_OCKLM), [1, 1, 1], [1, 1, 1], 1
        )
        return out
    return F.conv3d(x_BCZYX, weight_OCKLM, bias_O, padding=_padding(weight_OCKLM))


def _has_onednn() -> bool:
    """Whether torch has oneDNN here, with kernels for this processor, and may use it."""
    onednn = torch.backends.mkldnn
    known = platform.machine() in ("x86_64", "AMD64")
    return known and bool(onednn.is_available() and onednn.enabled)  # type: ignore[no-untyped-call]


def _dtype(x: Tensor) -> torch.dtype:
    """The dtype in which a convolution of this input computes."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


class _Careful(torch.autograd.Function):
    """conv3d on a CPU, with a weight gradient by 2-D convolutions. Inputs are channels last and of one dtype.

    The gradient of the input is a convolution with the mirrored kernel.
    """

    @staticmethod
    def forward(ctx: Any, x_BCZYX: Tensor, weight_OCKLM: Tensor, bias_O: Tensor | None) -> Tensor:
        ctx.save_for_backward(x_BCZYX, weight_OCKLM)
        return _convolve(x_BCZYX, weight_OCKLM, bias_O)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last_3d)
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_x = _convolve(gradient, weight.flip(2, 3, 4).transpose(0, 1), None)
        if ctx.needs_input_grad[1]:
            to_weight = weight_gradient(gradient, x, weight)
        if ctx.needs_input_grad[2]:
            to_bias = gradient.sum((0, 2, 3, 4))
        return to_x, to_weight, to_bias


def weight_gradient(gradient_BOZYX: Tensor, x_BCZYX: Tensor, weight_OCKLM: Tensor) -> Tensor:
    """The gradient of a weight by 2-D convolutions, one for each sample and section of the kernel.

    Section k of the kernel connects section z of the input with section z - k + K/2 of the gradient. With channels last
    both are views and nothing is copied; samples are added in float32.

    >>> weight_gradient(torch.ones(1, 1, 2, 4, 4), torch.ones(1, 1, 2, 4, 4), torch.zeros(1, 1, 3, 1, 1)).flatten()
    tensor([16., 32., 16.])
    """
    wide, inside, depth, y, x = weight_OCKLM.shape
    sections = x_BCZYX.shape[2]
    like_OCLM = weight_OCKLM.new_empty(wide, inside, y, x)
    total_KOCLM = torch.zeros(depth, wide, inside, y, x, device=weight_OCKLM.device)
    ones, padding, wanted = [1, 1], [y // 2, x // 2], [False, True, False]
    for k, sample in itertools.product(range(depth), range(len(x_BCZYX))):
        shift = k - depth // 2
        start, stop = max(shift, 0), sections + min(shift, 0)
        if start < stop:
            gradient_NOYX = _sections(gradient_BOZYX[sample : sample + 1, :, start - shift : stop - shift])
            given = gradient_NOYX, _sections(x_BCZYX[sample : sample + 1, :, start:stop]), like_OCLM
            total_KOCLM[k] += _backward(*given, None, ones, padding, ones, False, [0, 0], 1, wanted)[1]
    return total_KOCLM.permute(1, 2, 0, 3, 4).to(weight_OCKLM.dtype)


def _padding(weight_OCKLM: Tensor) -> list[int]:
    return [n // 2 for n in weight_OCKLM.shape[2:]]
