"""Zarr 2 and 3, N5 and Neuroglancer precomputed, in folders, buckets and on web servers, through TensorStore.

TensorStore presents N5 and precomputed as x, y, z, channel; here all are z, y, x after channels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import tensorstore as ts

from neuropil.errors import NeuropilError
from neuropil.volumes.arrays import Listed, volume_shape
from neuropil.volumes.metadata import JSON, Metadata, to_json
from neuropil.volumes.store_metadata import n5_metadata, ome_metadata, precomputed_metadata
from neuropil.volumes.volume import Index, Volume, first_line, readable, writable

Driver = Literal["zarr3", "zarr", "n5", "neuroglancer_precomputed"]

_MARKERS: dict[Driver, str] = {
    "zarr3": "zarr.json",
    "zarr": ".zarray",
    "n5": "attributes.json",
    "neuroglancer_precomputed": "info",
}
