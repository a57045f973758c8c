"""Validation: the loss on held-out patches and, if asked for, scores of a segmentation of a held-out box."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from neuropil.choices import Metric
from neuropil.config import Config, SegmentConfig
from neuropil.evaluation import evaluate, threshold_curve
from neuropil.geometry import Box
from neuropil.inference import predict
from neuropil.inference.engine import kept_offsets
from neuropil.models.checkpoint import Model
from neuropil.segmentation import merge_tree, segment
from neuropil.training.batches import Batch, open_dataset, open_pair, prepare
from neuropil.training.objective import compute_losses
from neuropil.training.run import Run
from neuropil.volumes import Metadata, Volume, array_volume

METRICS: tuple[Metric, ...] = get_args(Metric)

PATCHES = 8
"""Number of validation patches; always the same ones, so that losses are comparable."""


class Validation:
    """Fixed patches of ``data.validation`` without augmentation; none if it is empty."""

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
        """Mean loss of the averaged weights, None without validation volumes; and scores if they are asked for."""
        if self.dataset is None:
            return None, {}
        run.average.eval()
        losses = []
        for batch in self.batches():
            with self.fabric.autocast():
                logits = run.average(batch.image_BCZYX.to(memory_format=torch.channels_last_3d))
            losses.append(compute_losses(logits, batch, self.config).loss.item())
        run.average.train()
        return sum(losses) / len(losses), self.scores(run) if self.config.training.segment_validation else {}

    def scores(self, run: Run) -> dict[str, float]:
        """:func:`segmentation_scores` on a box in the middle of the first validation volume."""
        wanted = self.config.training.segment_validation
        assert wanted is not None
        pair = open_pair(self.config.data.validation[0])
        region = pair.region()
        shape = [min(n, m) for n, m in zip(wanted, region.shape, strict=True)]
        start = [a + (n - m) // 2 for a, n, m in zip(region.start, region.shape, shape, strict=True)]
        box = Box.at(start, shape)
        assert pair.labels is not None  # check_trainable asked for them
        model = Model(run.average.module, self.config, {})
        affinities = predict(model, pair.image.read(box), tta=1, device=str(self.fabric.device), progress=False)
        run.average.train()
        offsets = kept_offsets(model.config.model.offsets, model.config.predict.keep)
        volume = array_volume(affinities, Metadata(offsets=offsets))
        return segmentation_scores(volume, pair.labels.read(box), self.config.segment)


def segmentation_scores(affinities: Volume, labels: NDArray[Any], settings: SegmentConfig) -> dict[str, float]:
    """Adapted Rand error, VI in bits and number of segments of affinities segmented with these settings.

    If the settings have no threshold, each score is that at its own best threshold; the segments are then counted at
    the best threshold for VI, before the minimum size.

    >>> import numpy as np
    >>> labels = np.repeat([[[1, 1, 2, 2]]], 4, axis=1)
    >>> affinities = np.where(np.arange(4) == 2, 0.1, 0.8) * np.ones((3, 1, 4, 4))
    >>> segmentation_scores(array_volume(affinities), labels, SegmentConfig())
    {'adapted_rand_error': 0.0, 'voi': 0.0, 'segments': 2.0}
    """
    if settings.method != "agglomerate" or settings.threshold is not None:
        segmentation = segment(affinities, settings)
        scores = evaluate(segmentation, labels)
        return {metric: getattr(scores, metric) for metric in METRICS} | {"segments": float(segmentation.max())}
    found = merge_tree(affinities, settings)
    curve = threshold_curve(found.tree, found.fragments, found.placed(labels))
    best = {metric: curve.best(metric) for metric in METRICS}
    count = {"segments": float(found.tree.cut(best["voi"][0]).max())}
    if (settings.min_size or 0) <= 1 and not settings.fill:
        return {metric: score for metric, (_, score) in best.items()} | count
    cut = {metric: segment(found.affinities, settings, threshold=at) for metric, (at, _) in best.items()}
    return {metric: getattr(evaluate(part, labels), metric) for metric, part in cut.items()} | count
