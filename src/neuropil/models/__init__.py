"""Networks: from a float image to one logit per voxel and offset."""

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
        training mode the logits of auxiliary targets and of coarser levels follow, if the recipe has them; a network of
        PyTorch Connectomics always returns those of auxiliary targets. A network may have the attributes ``multiple``,
        its pooling factor on each axis, and ``tile``, the tile size for prediction.

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
