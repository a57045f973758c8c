"""Ensembles: several trained networks as one, by the mean, minimum or maximum of their affinities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from neuropil.choices import TtaMode
from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError
from neuropil.models.checkpoint import Model, load_model

LEAST = 1e-6
"""Probabilities are clipped to [LEAST, 1 - LEAST], since logits of 0 and 1 are infinite."""


class Ensemble(nn.Module):
    """Networks that predict the same edges, run one after the other on each tile.

    >>> first, second = (nn.Conv3d(1, 3, 1) for _ in range(2))
    >>> tuple(Ensemble([first, second], "mean")(torch.zeros(1, 1, 2, 8, 8)).shape)
    (1, 3, 2, 8, 8)
    """

    def __init__(self, networks: Sequence[nn.Module], mode: TtaMode) -> None:
        super().__init__()
        self.networks, self.mode = nn.ModuleList(networks), mode
        sizes = [getattr(network, "multiple", (1, 1, 1)) for network in networks]
        self.multiple = tuple(math.lcm(*axis) for axis in zip(*sizes, strict=True))

    def forward(self, image_BCZYX: Tensor) -> Tensor:
        """Logits ``[B, E, Z, Y, X]`` of the mean, the lowest or the highest of the networks' probabilities."""
        logits = torch.stack([network(image_BCZYX) for network in self.networks])
        if self.mode == "min":
            return logits.amin(0)
        if self.mode == "max":
            return logits.amax(0)
        mean = logits.float().sigmoid().mean(0).clamp(LEAST, 1 - LEAST)
        return torch.logit(mean).to(logits.dtype)


def load_ensemble(names: Sequence[Path | str], mode: TtaMode = "mean") -> Model:
    """Load an ensemble with the recipe of the first model, but without threshold, since none was tuned for it.

    Args:
        names: checkpoints, or names of models of the package; all with the same offsets and about one voxel size.
        mode: how their affinities are combined.

    Raises:
        NeuropilError: models of other offsets, grey scale or voxel size (by more than 20 %); no such checkpoint.

    >>> load_ensemble(["snemi3d", "snemi3d"]).goes_with
    {}
    """
    models = [load_model(name) for name in names]
    first = models[0]
    for name, model in zip(names[1:], models[1:], strict=True):
        ours = (first.config.model.offsets, first.config.data.intensity.scale)
        theirs = (model.config.model.offsets, model.config.data.intensity.scale)
        for what, wanted, found in zip(("model.offsets", "data.intensity.scale"), ours, theirs, strict=True):
            if wanted != found:
                raise NeuropilError(f"expected the {what} of {names[0]}, {wanted}, got {found}, in {name}")
        if first.voxel_size and model.voxel_size:
            ratios = [a / b for a, b in zip(first.voxel_size, model.voxel_size, strict=True)]
            if max(max(ratios), 1 / min(ratios)) > 1.2:
                raise NeuropilError(
                    f"expected voxels of about {first.voxel_size} nm, as {names[0]} learned from, got "
                    f"{model.voxel_size} nm, in {name}"
                )
    network = Ensemble([model.network for model in models], mode).eval()
    config = first.config.model_copy(update={"segment": SegmentConfig()})
    info = {key: value for key, value in first.info.items() if key != "threshold"}
    return replace(first, network=network, config=config, info={**info, "name": "+".join(map(str, names))})
