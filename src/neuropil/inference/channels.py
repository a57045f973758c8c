"""Prediction of all channels of a network: edges and auxiliary targets.

Edges that leave a tile are kept, too: every channel counts as a value of its voxel, as in other programs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neuropil.augment import Symmetry, apply_symmetry, edges_inside, readings, undone
from neuropil.config import ModelConfig
from neuropil.geometry import NEAREST, Offsets, Triple
from neuropil.inference.engine import Engine
from neuropil.inference.symmetries import symmetries
from neuropil.targets import auxiliaries

HERE: Triple = (0, 0, 0)


@dataclass(frozen=True)
class Channel:
    """The meaning of one channel of a network."""

    target: str
    """Name of the target; symmetries permute edges among the channels of one target."""
    offset: Triple
    """Its edge; (0, 0, 0) for a value of the voxel itself."""


def all_channels(model: ModelConfig) -> tuple[Channel, ...]:
    """The channels of a recipe's network, in their order.

    >>> [c.offset for c in all_channels(ModelConfig(offsets=((0, -1, 0), (0, 0, -1)), aux_contour=1))]
    [(0, -1, 0), (0, 0, -1), (0, 0, 0)]
    """
    channels = [Channel("edges", offset) for offset in model.offsets]
    nearest = [o for o in model.offsets if o in NEAREST or (-o[0], -o[1], -o[2]) in NEAREST]
    for task in auxiliaries(model):
        offsets = nearest if task.name.startswith("erosion") else [HERE] * task.channels
        channels += [Channel(task.name, offset) for offset in offsets]
    return tuple(channels)


@dataclass(frozen=True)
class ChannelEngine(Engine):
    """An engine that predicts all channels of a network."""

    about: tuple[Channel, ...] = ()
    turn_edges: bool = True
    """Whether undoing a view also maps edges to each other; else only voxels are moved back."""

    @torch.inference_mode()
    def affinities(self, image_BZYX: Tensor) -> Tensor:
        """Probabilities of a batch of tiles, all views combined: float32 ``[B, C, Z, Y, X]``."""
        image = self.shown(image_BZYX)
        total: Tensor | None = None
        seen = torch.zeros((len(self.about), *image.shape[1:]), device=image.device)
        for view in symmetries(self.tta):
            found = undone(self._probabilities(apply_symmetry(image, view), range(len(self.about))), view)
            total = torch.zeros_like(found) if total is None else total
            for channel in range(len(self.about)):
                self._add(total[:, channel], seen[channel], found, channel, view)
        assert total is not None
        if self.mode == "mean":
            total /= seen
        self.check(total)
        return total

    def _add(self, into_BZYX: Tensor, seen_ZYX: Tensor, found_BCZYX: Tensor, channel: int, view: Symmetry) -> None:
        """Combine a channel of a view with those of earlier views; edges that the view does not have are skipped."""
        source, shift = channel, HERE
        about = self.about[channel]
        if self.turn_edges and about.offset != HERE:
            alike = [number for number, one in enumerate(self.about) if one.target == about.target]
            offsets: Offsets = tuple(self.about[number].offset for number in alike)
            (reading,) = readings(view, offsets, (about.offset,))
            if reading is None:
                return
            source, shift = alike[reading.channel], reading.shift
        here = edges_inside(shift, into_BZYX.shape[1:])
        there = tuple(slice(part.start + d, part.stop + d) for part, d in zip(here, shift, strict=True))
        values, target, count = found_BCZYX[:, source][:, *there], into_BZYX[:, *here], seen_ZYX[here]
        if self.mode == "mean":
            target += values
        else:
            better = torch.minimum if self.mode == "min" else torch.maximum
            target.copy_(torch.where(count > 0, better(target, values), values))
        count += 1
