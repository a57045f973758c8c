"""Auxiliary targets, which a network learns in addition to affinities; by default prediction ignores them."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from neuropil.config import ModelConfig
from neuropil.geometry import NEAREST, Offsets
from neuropil.targets.affinities import affinity_targets
from neuropil.targets.descriptors import CHANNELS, shape_descriptors
from neuropil.targets.distance import signed_distance
from neuropil.targets.erosion import erode_inside, meetings

ChannelKind = Literal["binary", "unit", "signed"]
"""Values of a channel: bool, a number in [0, 1], or one in (-1, 1)."""

THIN = 4
"""Descriptors are computed at every fourth voxel in y and x: they are smooth, and this is sixteen times cheaper."""


class Auxiliary(NamedTuple):
    """One auxiliary target."""

    name: str
    channels: int
    kind: ChannelKind


class AuxiliaryTarget(NamedTuple):
    """An auxiliary target of a batch, and where it is valid."""

    task: Auxiliary
    target_BCZYX: Tensor
    """bool where the kind is binary, else float32."""
    validity_BCZYX: Tensor
    """bool."""


def auxiliaries(model: ModelConfig) -> tuple[Auxiliary, ...]:
    """The auxiliary targets of a recipe, in the order of the network's channels.

    >>> [task.channels for task in auxiliaries(ModelConfig(aux_erosions=(2, 4), aux_contour=1))]
    [3, 3, 1]
    """
    tasks = [Auxiliary(f"erosion {steps}", len(_nearest(model)), "binary") for steps in model.aux_erosions]
    if model.aux_contour:
        tasks.append(Auxiliary("contour", 1, "binary"))
    if model.aux_foreground:
        tasks.append(Auxiliary("foreground", 1, "binary"))
    if model.aux_distance:
        tasks.append(Auxiliary("distance", 1, "signed"))
    if model.aux_descriptors:
        tasks.append(Auxiliary("descriptors", CHANNELS, "unit"))
    return tuple(tasks)


def label_margin(model: ModelConfig) -> int:
    """Voxels of labels needed around a patch in y and x, so that its valid targets equal those of the whole volume.

    >>> label_margin(ModelConfig(label_erosion=1, aux_distance=8))
    8
    """
    return max(model.label_erosion, *model.aux_erosions, model.aux_contour, model.aux_distance)


def auxiliary_targets(
    labels_BZHW: Tensor, mask_BZHW: Tensor, model: ModelConfig, margin: int
) -> tuple[AuxiliaryTarget, ...]:
    """The auxiliary targets of a batch of labels that are ``margin`` voxels wider than the patch in y and x.

    Masked voxels, and voxels beyond the volume, are 0 in the labels, but they are unknown, not background. So
    distances, and contours to the background, are valid only where all voxels that they depend on are known.

    Args:
        labels_BZHW: signed integers, 0 = background.
        mask_BZHW: bool, of the same shape.
        model: has the auxiliary targets.
        margin: see :func:`label_margin`.

    >>> labels = torch.ones(1, 2, 10, 10, dtype=torch.int32)
    >>> made = auxiliary_targets(labels, labels > 0, ModelConfig(aux_contour=1), margin=1)
    >>> [tuple(one.target_BCZYX.shape) for one in made]
    [(1, 1, 2, 8, 8)]
    """
    inner = (..., slice(margin, labels_BZHW.shape[-2] - margin), slice(margin, labels_BZHW.shape[-1] - margin))
    labels, mask = labels_BZHW[inner], mask_BZHW[inner]
    made = []
    for task in auxiliaries(model):
        if task.name.startswith("erosion"):
            eroded = erode_inside(labels_BZHW, int(task.name.split()[1]), margin)
            target, valid = affinity_targets(eroded, _nearest(model), mask)
        elif task.name == "contour":
            solid, valid = labels_BZHW, mask[:, None]
            if model.aux_contour_background:  # treat background as one more neuron
                solid = torch.where(labels_BZHW > 0, labels_BZHW, labels_BZHW.max() + 1)
                valid = _known_around(mask_BZHW, model.aux_contour, margin)[:, None]
            target = meetings(solid, model.aux_contour)[inner][:, None]
        elif task.name == "foreground":
            target, valid = (erode_inside(labels_BZHW, model.label_erosion, margin) > 0)[:, None], mask[:, None]
        elif task.name == "distance":
            target = signed_distance(labels_BZHW, model.aux_distance)[inner][:, None]
            # Distances are cut off at ``reach``, so voxels farther away need not be known.
            valid = _known_around(mask_BZHW, model.aux_distance - 1, margin)[:, None]
        else:
            target = torch.stack([shape_descriptors(one, model.aux_descriptor_sigma, THIN) for one in labels_BZHW])[
                inner
            ]
            # Descriptors are defined inside neurons only.
            valid = (mask & (labels > 0))[:, None].expand_as(target)
        made.append(AuxiliaryTarget(task, target, valid))
    return tuple(made)


def _known_around(mask_BZHW: Tensor, steps: int, margin: int) -> Tensor:
    """Voxels of the patch whose whole window of (2·steps+1)² voxels is unmasked; beyond the labels all is masked.

    >>> _known_around(torch.tensor([[[[True] * 5 + [False]] * 3]]), 1, 1)[0, 0].tolist()
    [[True, True, True, False]]
    """
    lack = max(0, steps - margin)
    if mask_BZHW.device.type == "cpu" and not lack and bool(mask_BZHW.all()):  # on a GPU this would synchronise
        return mask_BZHW[..., margin : mask_BZHW.shape[-2] - margin, margin : mask_BZHW.shape[-1] - margin]
    # Known voxels get id 1, others 2: erosion leaves 1 where the window holds only known voxels.
    ids = F.pad(2 - mask_BZHW.to(torch.int8), (lack,) * 4, value=2)
    return erode_inside(ids, steps, margin + lack) == 1


def _nearest(model: ModelConfig) -> Offsets:
    """The nearest-neighbour offsets, of either sign, among those of the recipe."""
    return tuple(o for o in model.offsets if o in NEAREST or (-o[0], -o[1], -o[2]) in NEAREST)
