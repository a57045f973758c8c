"""How weights follow the gradient, and what is averaged over the run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from neuropil.config import Config


def make_optimizer(network: nn.Module, config: Config) -> torch.optim.Optimizer:
    """The optimizer of a recipe; norms and biases are not decayed, since pulling them to 0 only fights the norm."""
    settings = config.optimizer
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0}]
    if settings.name == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum)
    kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
    return kind(groups, lr=settings.learning_rate, betas=settings.betas)


def start_average(network: nn.Module, config: Config) -> AveragedModel:
    """The average of the weights that is judged, predicted with and shipped."""
    decay = None if config.optimizer.swa else config.optimizer.ema
    return AveragedModel(network, multi_avg_fn=moving_average(decay), use_buffers=True)


def moving_average(decay: float | None) -> Any:
    """How an average takes up new weights: a running average whose memory grows with the run, so that the random start
    is forgotten at once; with None, the plain mean of all.
    """

    @torch.no_grad()
    def update(averages: list[Tensor], currents: list[Tensor], count: Tensor | int) -> None:
        seen = int(count)
        keep = seen / (seen + 1) if decay is None else min(decay, (1 + seen) / (10 + seen))
        for average, current in zip(averages, currents, strict=True):
            if average.is_floating_point():
                average.lerp_(current, 1 - keep)
            else:
                average.copy_(current)

    return update


def update_average(average: AveragedModel, network: nn.Module, config: Config, done: float) -> None:
    """Take up the weights of this step; with ``optimizer.swa``, only copy them until its share of the run begins."""
    average.update_parameters(network)
    if config.optimizer.swa and done < 1 - config.optimizer.swa:
        average.n_averaged.zero_()


@torch.no_grad()
def measure_norms(average: AveragedModel, images: Iterable[Tensor]) -> None:
    """Measure the statistics of batch norms anew: those of averaged weights are not the average of statistics."""
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
