"""Learn: the loop, its checkpoints and what it shows in TensorBoard."""

from neuropil.training.loop import train

__all__ = ["train"]
