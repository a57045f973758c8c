"""What the weights are worth on volumes that training never sees: a loss, and if wanted a segmentation."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from lightning_fabric import Fabric

from neuropil.config import Config
from neuropil.evaluation import threshold_curve
from neuropil.geometry import Box
from neuropil.inference import predict
from neuropil.models.checkpoint import Model
from neuropil.segmentation import agglomerate, watershed
from neuropil.training.batches import Batch, open_dataset, open_pair, prepare
from neuropil.training.objective import judge
from neuropil.training.run import Run

PATCHES = 8
"""Held-out patches on which a checkpoint is judged: always the same ones, so that losses compare."""


class Validation:
    """Fixed, unaugmented patches of ``data.validation``; none where that is empty."""

    def __init__(self, config: Config, fabric: Fabric) -> None:
        self.config, self.fabric = config, fabric
        pairs = config.data.validation
        self.dataset = open_dataset(pairs, config, seed=0, device=fabric.device) if pairs else None

    def batches(self) -> Iterator[Batch]:
        for number in range(PATCHES if self.dataset else 0):
            assert self.dataset is not None
            samples = self.fabric.to_device([self.dataset[number]])
            yield prepare(samples, self.config, 0, augment=None)

    @torch.no_grad()
    def judge(self, run: Run) -> tuple[float | None, dict[str, float]]:
        """Mean loss of the averaged weights, None without validation volumes; and scores where they are asked for."""
        if self.dataset is None:
            return None, {}
        run.average.eval()
        losses = []
        for batch in self.batches():
            with self.fabric.autocast():
                logits = run.average(batch.image_BCZYX.to(memory_format=torch.channels_last_3d))
            losses.append(judge(logits, batch, self.config).loss.item())
        run.average.train()
        return sum(losses) / len(losses), self.scores(run) if self.config.training.segment_validation else {}

    def scores(self, run: Run) -> dict[str, float]:
        """Adapted Rand error and VI in bits at their best thresholds, on a box in the middle of the first volume."""
        wanted = self.config.training.segment_validation
        assert wanted is not None
        pair = open_pair(self.config.data.validation[0])
        region = pair.region()
        shape = [min(n, m) for n, m in zip(wanted, region.shape, strict=True)]
        start = [a + (n - m) // 2 for a, n, m in zip(region.start, region.shape, shape, strict=True)]
        box = Box.at(start, shape)
        model = Model(run.average.module, self.config, {})
        affinities = predict(model, pair.image.read(box), tta=1, device=str(self.fabric.device))
        run.average.train()
        fragments = watershed(affinities)
        curve = threshold_curve(agglomerate(affinities, fragments), fragments, pair.labels.read(box))
        return {score: curve.best(score)[1] for score in ("adapted_rand_error", "voi")}
