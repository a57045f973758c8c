"""Training: the loop, its checkpoints, and TensorBoard."""

from neuropil.training.loop import train
from neuropil.training.run import Layout

__all__ = ["Layout", "train"]
