"""Check a request to predict (model, image, settings), and choose engines and tiles for it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from neuropil.config import PredictConfig
from neuropil.errors import NeuropilError
from neuropil.geometry import Box, Offsets, Triple, VoxelSize, parse_offsets
from neuropil.inference.channels import HERE, Channel, ChannelEngine, all_channels
from neuropil.inference.engine import Engine, choose_devices, kept_offsets
from neuropil.inference.memory import bytes_per_voxel, free_memory, reusing_memory
from neuropil.inference.resampling import Factors, ResamplingEngine, factors
from neuropil.inference.symmetries import channels_read
from neuropil.inference.tiling import Tiling, choose_tile, lay_tiles, step_tiles
from neuropil.inference.trial import compiled_if_faster
from neuropil.models.checkpoint import Model, as_model
from neuropil.models.convolution import convolves_with_ours
from neuropil.models.eight_bits import in_eight_bits
from neuropil.models.folding import can_be_cast, can_be_narrowed, for_prediction, in_bfloat16
from neuropil.models.precision import NumberFormat, numbers_for
from neuropil.volumes import Volume, require_image
from neuropil.volumes.grey import GreyValues, scaled_image, warn_of_grey
from neuropil.volumes.tissue import Tissue, TissueMap, tissue_map
from neuropil.volumes.zoom import zoomed

SAME: Factors = (1.0, 1.0, 1.0)

MOST_NUMBERS = 2**31 - 1
"""Most numbers in one layer of a batch: kernels index them with 32 bits."""

CALLS = 4
"""Fewest calls of the network on each GPU, if there are as many tiles."""

LARGEST_TILE = {"cpu": 4_000_000, "cuda": 32_000_000}
"""Voxels of a tile; larger ones are not faster."""


@dataclass(frozen=True)
class Request:
    """A checked request: model, image, box to predict, settings and devices."""

    model: Model
    image: Volume
    box: Box
    settings: PredictConfig
    offsets: Offsets
    """The offsets of the model's channels."""
    keep: Offsets
    """The offsets to predict."""
    devices: tuple[torch.device, ...]
    computes: NumberFormat
    """The numbers in which convolutions compute; see :func:`neuropil.models.precision.numbers_for`."""
    factor: Factors = SAME
    """Voxels of the model's grid for one of the image's; all 1 without resampling."""
    tissue: TissueMap | None = None
    """Which voxels count; None: all."""

    @property
    def device(self) -> torch.device:
        """The first of the devices."""
        return self.devices[0]

    @property
    def patch(self) -> Triple:
        """The patch trained on, in voxels of the image."""
        z, y, x = (max(round(n / f), 1) for n, f in zip(self.model.config.training.patch, self.factor, strict=True))
        return (z, y, x)

    @property
    def frame(self) -> Box:
        """The box with the surroundings that the network sees, as far as the image (with padding) reaches."""
        z, y, x = self.patch
        around = (z // 4, y // 4, x // 4) if self.settings.surround is None else self.settings.surround
        pad = self.settings.pad
        z, y, x = (max(a, b) for a, b in zip(around, pad, strict=True))
        return self.box.grow((z, y, x)).intersect(self.image.box.grow(pad))

    @cached_property
    def about(self) -> tuple[Channel, ...] | None:
        """All channels of the network for ``keep: channels``; None if edges are asked for."""
        if self.settings.keep != "channels":
            return None
        channels = all_channels(self.model.config.model)
        return channels if can_be_narrowed(self.model.network) else channels[: len(self.offsets)]

    @property
    def found(self) -> Offsets | None:
        """The offsets of the channels that are written; None if some are no edges, or are equal."""
        edges = self.keep if self.about is None else tuple(channel.offset for channel in self.about)
        return edges if HERE not in edges and len(set(edges)) == len(edges) else None

    @cached_property
    def channels(self) -> Offsets:
        """The offsets that the network computes: those that some view needs."""
        if self.about is not None:
            return self.keep
        if not can_be_narrowed(self.model.network):
            return self.offsets
        return tuple(self.offsets[c] for c in channels_read(self.settings.tta, self.offsets, self.keep))

    @cached_property
    def networks(self) -> tuple[nn.Module, ...]:
        """The network prepared for prediction, once for each device."""
        return tuple(self._network_on(device) for device in self.devices)

    def engines(self, computes: NumberFormat, compiled: bool = False) -> tuple[Engine, ...]:
        """An engine for each device; in bfloat16 only if this process may use it, too (``self.computes``)."""
        bf16 = computes == self.computes == "bf16"
        whole = bf16 and self.device.type == "cpu" and can_be_cast(self.model.network)
        prepare = in_eight_bits if computes == "int8" else in_bfloat16 if whole else nn.Module.eval
        networks = [prepare(network) for network in self.networks]
        return tuple(
            self._engine(torch.compile(network, dynamic=False) if compiled else network, device, bf16 and not whole)
            for network, device in zip(networks, self.devices, strict=True)
        )

    def _engine(self, network: Callable[[Tensor], Tensor], device: torch.device, bf16: bool) -> Engine:
        views, mode = self.settings.tta, self.settings.tta_mode
        if self.about is None:
            if self.factor != SAME:
                return ResamplingEngine(
                    network, self.channels, self.keep, views, mode, device=device, bf16=bf16, factor=self.factor
                )
            return Engine(network, self.channels, self.keep, views, mode, device=device, bf16=bf16)
        turn = self.settings.views == "edges"
        return ChannelEngine(
            network, self.keep, self.keep, views, mode, device=device, bf16=bf16, about=self.about, turn_edges=turn
        )

    def faster_compiled(self, tiling: Tiling, computes: NumberFormat) -> bool:
        """Whether ``torch.compile`` is asked for and faster on tiles of this size."""
        if not self.settings.compile:
            return False
        shape = [n + 2 * c for n, c in zip(tiling.shape, self.context, strict=True)]
        window = torch.zeros(self.batch(tiling), *shape, device=self.device)
        with reusing_memory():
            return compiled_if_faster(self.engines(computes)[0], window)

    def tiling(self) -> Tiling:
        """The tiles: as in the settings, else the cheapest that fit into memory."""
        patch = self.patch
        # More overlap in z: a missing neighbour section changes the result more than missing rows or columns.
        overlap = self.settings.overlap or (patch[0] // 2, patch[1] // 4, patch[2] // 4)
        # Some networks have a fixed tile size.
        tile = self.settings.tile or getattr(self.model.network, "tile", None)
        if tile is None:
            z, y, x = (max(o, *(abs(k[d]) for k in self.keep)) for d, o in enumerate(overlap))
            tile = choose_tile(self.frame.shape, self._tile_voxels(), (z, y, x), self.multiple, self.context)
        if self.settings.stride is not None:
            return step_tiles(self.frame, tile, self.settings.stride, self.keep, self.settings.blend)
        return replace(lay_tiles(self.frame, tile, overlap, self.keep, self.multiple), blend=self.settings.blend)

    def batch(self, tiling: Tiling) -> int:
        """Tiles in one call of the network: as in the settings, else one on a CPU, and on a GPU as many as fit into its
        memory, but at least a few calls in all, so that reading and blending run in parallel to computing."""
        if self.settings.batch is not None:
            return self.settings.batch
        if self.device.type == "cpu":
            return 1
        voxels = math.prod(n + 2 * c for n, c in zip(tiling.shape, self.context, strict=True))
        room = min(self._room(), MOST_NUMBERS * 32 // self._each) // voxels
        return max(min(room, math.ceil(math.prod(tiling.counts) / (CALLS * len(self.devices)))), 1)

    @property
    def context(self) -> Triple:
        """Voxels around each tile whose result is dropped, rounded up to multiples of the network's pooling."""
        z, y, x = (m * math.ceil(c / m) for c, m in zip(self.settings.context, self.multiple, strict=True))
        return (z, y, x)

    @property
    def multiple(self) -> Triple:
        """The pooling factor of the network on each axis; 1 if it has no such attribute."""
        z, y, x = getattr(self.model.network, "multiple", (1, 1, 1))
        return (int(z), int(y), int(x))

    def _tile_voxels(self) -> int:
        return min(LARGEST_TILE[self.device.type], self._room())

    def _room(self) -> int:
        """Voxels that fit into the memory of the device at once."""
        sharing = self.devices.count(self.device)
        return max(free_memory(self.device) // (3 * self._each * sharing), 1)

    @cached_property
    def _each(self) -> int:
        """Bytes needed per voxel; measured by running the network once, which also warms up a GPU."""
        return math.ceil(bytes_per_voxel(self.networks[0], self.device) * max(math.prod(self.factor), 1))

    def _network_on(self, device: torch.device) -> nn.Module:
        wanted = [self.offsets.index(o) for o in self.channels] if self.about is None else range(len(self.about))
        copied = for_prediction(self.model.network, wanted)
        return copied.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload, no-any-return]


_WIDEST = 64
"""Voxels of context and overlap that are allowed for images of any size."""


def make_request(
    checkpoint: Model | Path | str,
    image: Volume,
    settings: PredictConfig | None = None,
    *,
    box: Box | None = None,
    device: str = "auto",
    devices: int = 1,
    tissue: Tissue | None = None,
) -> Request:
    """Load the model, and check that image, box and model fit; by default with the settings of the model's recipe.

    Raises:
        NeuropilError: no checkpoint, no image [z, y, x], a box outside of it, no such device, a mask that does not fit.
    """
    targets = choose_devices(device, devices)
    model = as_model(checkpoint)
    own = convolves_with_ours(model.network)
    settings = settings or model.config.predict
    computes = numbers_for(targets[0], settings.precision, model.config.training.precision, own)
    image = scaled_image(require_image(image), model.config.data.intensity.scale)
    image = zoomed(image, model.config.data.zoom)
    whole = image.box
    for name in ("context", "overlap"):
        asked = getattr(settings, name)
        # Tiles larger than the image are clipped to it, so that their overlap may be larger, too.
        room = settings.tile if name == "overlap" and settings.tile is not None else (0, 0, 0)
        most = [max(m, t, _WIDEST) for m, t in zip(whole.shape, room, strict=True)]
        if asked is not None and any(n > m for n, m in zip(asked, most, strict=True)):
            raise NeuropilError(f"{name} {','.join(map(str, asked))}: expected no more than the image has, {whole}")
    box = whole if box is None else box
    if box.size == 0 or not whole.contains(box):
        raise NeuropilError(
            f"expected a box inside the image, which holds {whole}, got {box}; the image is {image.path}"
        )
    if settings.tta == 48:
        require_isotropic(model)
    offsets = parse_offsets(model.config.model.offsets)
    warn_of_grey(image, GreyValues.stored(model.info))
    factor = _factor(image, model, settings)
    keep = () if settings.keep == "channels" else kept_offsets(offsets, settings.keep)
    laid = tissue_map(image, tissue) if tissue else None
    request = Request(model, image, box, settings, offsets, keep, targets, computes, factor, laid)
    # A channel is a value of its voxel, so it is blended like an edge of offset (0, 0, 0).
    return request if request.about is None else replace(request, keep=(HERE,) * len(request.about))


def _factor(image: Volume, model: Model, settings: PredictConfig) -> Factors:
    """The resampling factors; without resampling a warning if the voxel sizes differ."""
    if not settings.resample:
        warn_of_voxel_size(image, model.voxel_size)
        return SAME
    if settings.keep != "nearest":
        raise NeuropilError(
            f"--resample: expected --keep nearest, got {settings.keep}: longer edges of the model's grid lead to no "
            "voxels of the image's; leave --keep out"
        )
    return factors(image.metadata.voxel_size, model.voxel_size, image.path)


def require_isotropic(model: Model) -> None:
    """Refuse to exchange z with other axes for a model that is not isotropic.

    Raises:
        NeuropilError: voxels that are not cubes, or a network that treats z by itself.
    """
    size, network = model.voxel_size, model.config.model
    cubes = size is not None and max(size) <= 1.2 * min(size)
    even = all(len(set(factor)) == 1 for factor in (network.stem, *network.downsample))
    own = network.architecture == "residual_unet" and (network.anisotropic_levels > 0 or not even)
    if not cubes or own:
        raise NeuropilError(
            f"tta 48 puts axes in any order: expected a model of isotropic voxels, got voxels of {size} nm, stem "
            f"{network.stem}, downsample {network.downsample}, anisotropic_levels {network.anisotropic_levels}; use 16"
        )


def warn_of_voxel_size(image: Volume, trained: VoxelSize | None) -> None:
    """Warn if the image's voxel size differs by more than 20 % on an axis from that of the training volumes."""
    size = image.metadata.voxel_size
    if size is None or trained is None:
        return
    if any(max(a, b) > 1.2 * min(a, b) for a, b in zip(size, trained, strict=True)):
        warnings.warn(
            f"{image.path} has voxels of {size} nm (z, y, x), the model was trained on {tuple(trained)}: "
            "expect worse results, or give --resample",
            stacklevel=3,
        )
