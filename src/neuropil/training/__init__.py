"""Learn: the loop, its checkpoints and what it shows in TensorBoard."""

from neuropil.training.loop import train
from neuropil.training.run import Layout

__all__ = ["Layout", "train"]
