"""Networks: a float image in, one logit per voxel and offset out."""

from __future__ import annotations

from torch import nn

from neuropil.config import ModelConfig
from neuropil.config.networks import CLASSIC
from neuropil.models.unet import ResidualUNet, check_spread
from neuropil.targets import auxiliaries

__all__ = ["ResidualUNet", "build_network", "check_spread"]


def build_network(model: ModelConfig) -> nn.Module:
    """Build the network of a config's ``model`` section, freshly initialised.

    Returns:
        A module from float ``[B, 1, Z, Y, X]`` in [0, 1], any size, to logits ``[B, len(offsets), Z, Y, X]``. In
        training mode the logits of auxiliary targets and of coarser levels follow, where the recipe asks for them; a
        network of PyTorch Connectomics returns those of auxiliary targets always. A network may tell ``multiple``, by
        how much it pools along each axis, and ``tile``, the one size that it takes.

    Raises:
        NeuropilError: a network of MONAI, which is not installed.

    >>> sum(p.numel() for p in build_network(ModelConfig()).parameters()) > 100_000
    True
    """
    channels = len(model.offsets) + sum(task.channels for task in auxiliaries(model))
    if model.architecture in CLASSIC:
        from neuropil.models.classic import build_classic

        return build_classic(model.architecture, getattr(model, model.architecture), channels)
    if model.architecture != "residual_unet":
        from neuropil.models.monai import build_monai

        return build_monai(model)
    return ResidualUNet(
        len(model.offsets),
        widths=model.widths,
        downsample=model.downsample,
        anisotropic_levels=model.anisotropic_levels,
        stem=model.stem,
        norm=model.norm,
        activation=model.activation,
        squeeze=model.squeeze,
        auxiliary_channels=channels - len(model.offsets),
        deep_supervision=model.deep_supervision,
        recompute=model.recompute,
    )
