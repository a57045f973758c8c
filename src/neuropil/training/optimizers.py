"""Optimizers, and the moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from neuropil.config import Config
from neuropil.training.muon import Muon


def make_optimizer(network: nn.Module, config: Config, device: str = "cpu") -> torch.optim.Optimizer:
    """The optimizer of a recipe, without weight decay on normalisation layers and biases.

    Args:
        network: the network to train.
        config: the recipe.
        device: type of the weights' device, such as ``cuda``. On GPUs Adam is fused, except with the scaler of fp16.
    """
    settings = config.optimizer
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0},
    ]
    fused = True if device == "cuda" and config.training.precision != "fp16" else None
    if settings.name == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum)
    if settings.name == "muon":
        groups[0]["orthogonal"] = True
        return Muon(groups, settings.learning_rate, settings.betas, fused=fused)
    kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
    return kind(groups, lr=settings.learning_rate, betas=settings.betas, fused=fused)


def start_average(network: nn.Module) -> AveragedModel:
    """The moving average of the weights, used for validation and prediction; :func:`update_average` updates it."""
    return AveragedModel(network, use_buffers=True)


@torch.no_grad()
def update_average(average: AveragedModel, network: nn.Module, config: Config, done: float) -> None:
    """Add the weights of this step to the average, without synchronising with the GPU.

    An exponential moving average whose decay grows up to ``optimizer.ema``, so that the random start is soon forgotten.
    With ``optimizer.swa``: the mean over the last ``swa`` share of the run; before that a copy.
    """
    settings, seen = config.optimizer, int(average.n_averaged)  # the count is in CPU memory
    keep = seen / (seen + 1) if settings.swa else min(settings.ema, (1 + seen) / (10 + seen))
    held, new = ([*part.parameters(), *part.buffers()] for part in (average.module, network))
    pairs = list(zip(held, new, strict=True))
    floats = [pair for pair in pairs if pair[0].is_floating_point()] if seen else []
    copied = [pair for pair in pairs if not (seen and pair[0].is_floating_point())]
    if floats:
        torch._foreach_lerp_([into for into, _ in floats], [by for _, by in floats], 1 - keep)
    if copied:
        torch._foreach_copy_([into for into, _ in copied], [by for _, by in copied])
    average.n_averaged += 1
    if settings.swa and done < 1 - settings.swa:
        average.n_averaged.zero_()


@torch.no_grad()
def measure_norms(average: AveragedModel, images: Iterable[Tensor]) -> None:
    """Measure the running statistics of batch norms for the averaged weights; averaged statistics would be wrong."""
    norms = [m for m in average.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    average.train()
    for image in images:
        average(image)
    for norm in norms:
        norm.momentum = 0.1
