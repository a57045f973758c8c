"""Training and inference."""

from neuropil.compat.connectomics.engine.trainer import Trainer

__all__ = ["Trainer"]
