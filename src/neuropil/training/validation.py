"""The loss on patches that training never sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from neuropil.config import Config
from neuropil.dataset import collate
from neuropil.training.batches import Batch, open_dataset, open_pair, prepare

PATCHES = 8
"""Held-out patches on which a checkpoint is judged: always the same ones, so that losses compare."""


class Validation:
    """Fixed, unaugmented patches of ``data.validation``; none where that is empty."""

    def __init__(self, config: Config, fabric: Fabric) -> None:
        self.config, self.fabric = fit_patch(config), fabric
        pairs = config.data.validation
        self.dataset = open_dataset(pairs, self.config, seed=0) if pairs else None

    def batches(self) -> Iterator[Batch]:
        for number in range(PATCHES if self.dataset else 0):
            assert self.dataset is not None
            samples = self.fabric.to_device(collate([self.dataset[number]]))
            yield prepare(samples, self.config, 0, augment=None)

    @torch.no_grad()
    def loss(self, average: nn.Module, judge: Callable[[Tensor, Batch, Config], Tensor]) -> float | None:
        """Mean loss of the averaged weights; None without validation volumes."""
        average.eval()
        losses = []
        for batch in self.batches():
            with self.fabric.autocast():
                logits = average(batch.image_BCZYX.to(memory_format=torch.channels_last_3d))
            losses.append(judge(logits, batch, self.config).item())
        average.train()
        return sum(losses) / len(losses) if losses else None


def fit_patch(config: Config) -> Config:
    """The config with a patch that fits into every validation volume: a few sections are enough to choose with."""
    shapes = [open_pair(pair).region().shape for pair in config.data.validation]
    z, y, x = (min(sizes) for sizes in zip(config.training.patch, *shapes, strict=True))
    return config.model_copy(update={"training": config.training.model_copy(update={"patch": (z, y, x)})})
