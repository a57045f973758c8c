"""``connectomics.data.dataset``: samples drawn from volumes, and batches of them."""

from neuropil.compat.connectomics.data.dataset.batches import TestBatch, TrainBatch, build_dataloader
from neuropil.compat.connectomics.data.dataset.build import get_dataset
from neuropil.compat.connectomics.data.dataset.volume import ClassicDataset as VolumeDataset

__all__ = ["TestBatch", "TrainBatch", "VolumeDataset", "build_dataloader", "get_dataset"]
