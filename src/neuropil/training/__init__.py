"""Training of networks: batches, loss, training loop, checkpoints, TensorBoard."""

from neuropil.training.loop import train
from neuropil.training.run import Layout

__all__ = ["Layout", "train"]
