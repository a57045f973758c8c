"""Prediction of local shape descriptors by a network that was trained on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neuropil.config import PredictConfig
from neuropil.errors import NeuropilError
from neuropil.geometry import Box, Offsets
from neuropil.inference.canvas import Cells, Plan
from neuropil.inference.engine import Engine
from neuropil.inference.request import Request, make_request
from neuropil.inference.stream import predict_cells
from neuropil.inference.symmetries import combine_descriptors
from neuropil.models.checkpoint import Model
from neuropil.models.folding import can_be_narrowed, for_prediction
from neuropil.progress import ProgressCallback, ProgressCounter
from neuropil.targets import auxiliaries
from neuropil.targets.descriptors import CHANNELS
from neuropil.volumes import Volume, borrowed

HERE: Offsets = ((0, 0, 0),) * CHANNELS
"""A descriptor is a value of its voxel, so it is blended like an edge of offset (0, 0, 0)."""


@dataclass(frozen=True)
class ShapeEngine(Engine):
    """An engine for a network whose channels are the ten descriptors."""

    @torch.inference_mode()
    def affinities(self, image_BZYX: Tensor) -> Tensor:
        """Descriptors of a batch of tiles, the mean of all views: float32 ``[B, 10, Z, Y, X]``."""
        image = self.shown(image_BZYX)
        found = combine_descriptors(image, lambda view: self._probabilities(view, range(CHANNELS)), self.tta)
        self.check(found)
        return found


def predict_descriptors(
    checkpoint: Model | Path | str,
    image: Volume | npt.NDArray[np.generic] | Path | str,
    settings: PredictConfig | None = None,
    *,
    box: Box | None = None,
    device: str = "auto",
    progress: ProgressCallback | None = None,
) -> npt.NDArray[np.float32]:
    """Predict the local shape descriptors of an image, in memory, by a network trained with ``model.aux_descriptors``.

    Test-time augmentation is combined by the mean; vector parts are turned as vectors.

    Args:
        checkpoint, image, settings, box, device, progress: as for :func:`neuropil.inference.predict_volume`.

    Returns:
        float32 ``[10, z, y, x]`` in [0, 1], in the order of :func:`neuropil.targets.shape_descriptors`.

    Raises:
        NeuropilError: as :func:`neuropil.predict`; a network without descriptors, or ``tta`` that does not fit them.

    >>> from neuropil.config import Config
    >>> from neuropil.models import build_network
    >>> config = Config.from_dict({"model": {"widths": [4], "aux_descriptors": True}})
    >>> model = Model(build_network(config.model), config, {})
    >>> predict_descriptors(model, np.zeros((4, 30, 40), np.uint8)).shape
    (10, 4, 30, 40)
    """
    with borrowed(image) as volume:
        request = make_request(checkpoint, volume, settings, box=box, device=device)
        channels = _channels(request)
        network = for_prediction(request.model.network, channels).to(request.device)
        views = request.settings.tta
        engine = ShapeEngine(network, HERE, HERE, views, device=request.device, bf16=request.computes == "bf16")
        out: list[npt.NDArray[np.float32]] = []
        tiling = request.tiling()
        plan = Plan(tiling, Cells(request.box, request.box.shape), request.context, request.batch(tiling))
        clock = ProgressCounter("descriptors", request.box.size, 0, progress)
        predict_cells([engine], request.image, plan, lambda _, __, found: out.append(found), clock)
        clock.finish()
    return out[0]


def _channels(request: Request) -> range:
    """The numbers of the descriptors among the network's channels; edges come first."""
    model = request.model.config.model
    if not model.aux_descriptors or not can_be_narrowed(request.model.network):
        raise NeuropilError(
            "expected a residual_unet that learned shape descriptors; train one with model.aux_descriptors: true"
        )
    _, sigma_y, sigma_x = model.aux_descriptor_sigma
    if request.settings.tta == 48:
        raise NeuropilError("expected tta 1, 4, 8 or 16 for shape descriptors, got 48")
    if request.settings.tta >= 8 and sigma_y != sigma_x:
        raise NeuropilError(
            f"tta {request.settings.tta} exchanges y and x, but model.aux_descriptor_sigma differs there "
            f"({sigma_y:g} and {sigma_x:g}); expected tta 1 or 4"
        )
    first = len(model.offsets)
    for task in auxiliaries(model):
        if task.name == "descriptors":
            return range(first, first + CHANNELS)
        first += task.channels
    raise AssertionError("a recipe with descriptors has that task")
