"""From a model, an image and a recipe to what the tile loop needs: engine and tiles."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from neuropil.config import Config, PredictConfig
from neuropil.errors import NeuropilError
from neuropil.geometry import Box, Offsets, Triple, VoxelSize, parse_offsets
from neuropil.inference.engine import (
    Engine,
    choose_device,
    evaluating,
    fast_bf16,
    kept_offsets,
)
from neuropil.inference.memory import bytes_per_voxel, free_memory
from neuropil.inference.tiling import Tiling, choose_tile, lay_tiles
from neuropil.models.checkpoint import Model, load_model
from neuropil.volumes import Volume, require_image

LARGEST_TILE = {"cpu": 4_000_000, "cuda": 32_000_000}
"""Voxels of a tile beyond which nothing is gained."""


@dataclass(frozen=True)
class Request:
    """What a user asks for, checked: a model, an image, the box of it to predict, and how."""

    model: Model
    image: Volume
    box: Box
    settings: PredictConfig
    offsets: Offsets
    """The edges of the model's channels."""
    keep: Offsets
    """The edges to predict."""
    device: torch.device

    def engine(self, bf16: bool | None = None) -> Engine:
        """The network as it will be run; ``bf16`` None: where the hardware does it fast and the recipe allows it."""
        if bf16 is None:
            bf16 = fast_bf16(self.device, self.model.config.training.precision)
        return Engine(
            self.model.network,
            self.offsets,
            self.keep,
            tta=self.settings.tta,
            mode=self.settings.tta_mode,
            device=self.device,
            bf16=bf16,
        )

    def tiling(self) -> Tiling:
        """The tiles: as the settings say, else the cheapest that fit into memory."""
        patch = self.model.config.training.patch
        # Sections at the end of a tile lack a neighbour that tells much; rows and columns lack less.
        overlap = self.settings.overlap or (patch[0] // 2, patch[1] // 4, patch[2] // 4)
        # Some networks are made for one size, and say which.
        tile = self.settings.tile or getattr(self.model.network, "tile", None)
        if tile is None:
            z, y, x = (max(o, *(abs(k[d]) for k in self.keep)) for d, o in enumerate(overlap))
            tile = choose_tile(self.box.shape, self._tile_voxels(), (z, y, x), self.multiple)
        return lay_tiles(self.box, tile, overlap, self.keep, self.multiple)

    def batch(self, tile: Triple) -> int:
        """Tiles in one call of the network: on a GPU as many as fill it, on a processor one."""
        if self.device.type == "cpu":
            return 1
        return min(max(self._tile_voxels() // math.prod(tile), 1), 16)

    @property
    def multiple(self) -> Triple:
        """What the network pools by on each axis, where it tells."""
        z, y, x = getattr(self.model.network, "multiple", (1, 1, 1))
        return (int(z), int(y), int(x))

    def _tile_voxels(self) -> int:
        with evaluating(self.model.network, self.device):
            each = bytes_per_voxel(self.model.network, self.device)
        return max(min(LARGEST_TILE[self.device.type], free_memory(self.device) // (3 * each)), 1)


def make_request(
    checkpoint: Model | Path | str,
    image: Volume,
    box: Box | None,
    changes: Mapping[str, Any],
    device: str,
) -> Request:
    """Load the model, apply changes to its recipe's ``predict`` section, and check that image, box and model fit.

    Raises:
        NeuropilError: no checkpoint, no image [z, y, x], a box outside of it, a wrong setting, no such device.
    """
    target = choose_device(device)
    model = checkpoint if isinstance(checkpoint, Model) else load_model(checkpoint, target)
    settings = change_settings(model.config.predict, changes)
    require_image(image)
    whole = image.box
    box = whole if box is None else box
    if box.size == 0 or not whole.contains(box):
        raise NeuropilError(
            f"expected a box inside the image, which holds {whole}, got {box}; the image is {image.path}"
        )
    offsets = parse_offsets(model.config.model.offsets)
    warn_of_voxel_size(image, model.info.get("voxel_size") or model.config.data.voxel_size)
    return Request(model, image, box, settings, offsets, kept_offsets(offsets, settings.keep), target)


def change_settings(settings: PredictConfig, changes: Mapping[str, Any]) -> PredictConfig:
    """A ``predict`` section with some values replaced, checked as a recipe is; None leaves a value as it is.

    Raises:
        NeuropilError: an unknown name or a wrong value.

    >>> change_settings(PredictConfig(), {"tta": 4, "tile": None}).tta
    4
    """
    given = {key: value for key, value in changes.items() if value is not None}
    return Config.from_dict({"predict": settings.model_dump(mode="json") | given}, "the arguments of predict").predict


def warn_of_voxel_size(image: Volume, trained: VoxelSize | None) -> None:
    """Warn where an axis of the image is more than 20 % finer or coarser than what the network was trained on."""
    size = image.metadata.voxel_size
    if size is None or trained is None:
        return
    if any(max(a, b) > 1.2 * min(a, b) for a, b in zip(size, trained, strict=True)):
        warnings.warn(
            f"{image.path} has voxels of {size} nm (z, y, x), the model was trained on {tuple(trained)}: "
            "expect worse results, or resample the image",
            stacklevel=3,
        )
