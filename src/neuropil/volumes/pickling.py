"""Pickling of volumes: another process opens them again, with their scaling, masks and ignored ids."""

from __future__ import annotations

import copyreg
from dataclasses import replace
from typing import Any

from neuropil.volumes.grey import ScaledStore, scaled_between
from neuropil.volumes.opening import open_volume
from neuropil.volumes.roles import WholeStore, require_labels
from neuropil.volumes.scored import UnlabelledStore, scored_labels
from neuropil.volumes.tissue import MaskStore, TissueStore, in_tissue, open_mask
from neuropil.volumes.volume import Volume, array_volume, in_memory


def _pickled(volume: Volume) -> tuple[Any, ...]:
    """The function and arguments that pickle stores: a file is opened again, an array in memory is copied."""
    if isinstance(volume.store, ScaledStore):
        inner = Volume(volume.path, volume.store.inner, volume.metadata, volume.mode)
        return scaled_between, (inner, volume.store.low, volume.store.high)
    if isinstance(volume.store, UnlabelledStore):
        return scored_labels, (replace(volume, store=volume.store.inner), volume.store.ignore)
    if isinstance(volume.store, TissueStore):
        return in_tissue, (replace(volume, store=volume.store.inner), volume.store.map.tissue)
    if isinstance(volume.store, MaskStore):
        return open_mask, (volume.path, volume.store.image)
    if isinstance(volume.store, WholeStore):
        return require_labels, (replace(volume, store=volume.store.inner),)
    if in_memory(volume):
        return array_volume, (volume.read(), volume.metadata)
    return open_volume, (volume.path, volume.mode)


copyreg.pickle(Volume, _pickled)
