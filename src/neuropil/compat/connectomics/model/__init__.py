"""``connectomics.model``: the network of a configuration."""

from __future__ import annotations

from typing import Any

from torch import nn

from neuropil.compat.connectomics.config import Cfg
from neuropil.compat.pytc.translation import translate
from neuropil.models import build_network


def build_model(cfg: Cfg, device: Any = "cpu", rank: int | None = None) -> nn.Module:
    """The network that a configuration describes, freshly initialised, on a device.

    It takes grey values from 0 to 1 and normalises them itself, where the classic one takes them normalised.
    """
    return build_network(translate(cfg.settings).config.model).to(device)
