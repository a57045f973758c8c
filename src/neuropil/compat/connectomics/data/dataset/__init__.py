"""``connectomics.data.dataset``: samples of volumes."""

from neuropil.compat.connectomics.data.dataset.build import get_dataset
from neuropil.compat.connectomics.data.dataset.volume import ClassicDataset as VolumeDataset

__all__ = ["VolumeDataset", "get_dataset"]
