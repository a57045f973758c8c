"""Connected components of labels in a box."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.errors import NeuropilError
from neuropil.evaluation.placing import Placed, read_box
from neuropil.geometry import NEAREST
from neuropil.segmentation import watershed
from neuropil.volumes import Metadata, array_volume


def connected_parts(labels: NDArray[Any]) -> NDArray[Any]:
    """Give every 6-connected component of an object its own id.

    A neuron that leaves the volume and comes back has one id but several parts in it. No segmentation can join these
    from the voxels inside, so that a perfect one of ten sections of SNEMI3D has an adapted Rand error of about 0.1.

    Args:
        labels: integers ``[z, y, x]``, 0 = background.

    Returns:
        Ids from 1, uint32 or uint64 ``[z, y, x]``; 0 where the labels are 0.

    Raises:
        NeuropilError: not three axes, or no integers.

    >>> connected_parts(np.array([[[7, 7, 0, 7, 9]]])).tolist()
    [[[1, 1, 0, 2, 3]]]
    """
    if labels.ndim != 3 or labels.dtype.kind not in "iu":
        raise NeuropilError(f"expected integer labels [z, y, x], got {labels.dtype} of shape {labels.shape}")
    codes = np.zeros((len(NEAREST), *labels.shape), np.uint8)
    for axis in range(3):
        along = np.moveaxis(labels, axis, 0)
        same = (along[1:] == along[:-1]) & (along[1:] != 0)
        np.moveaxis(codes[axis], axis, 0)[1:][same] = 255
    # With affinities of 0 and 1 only, the fragments of the watershed are the connected components.
    parts = watershed(codes, low=0.25, high=0.75, offsets=NEAREST)
    alone = (parts == 0) & (labels != 0)
    parts[alone] = int(parts.max(initial=0)) + 1 + np.arange(np.count_nonzero(alone), dtype=parts.dtype)
    return parts


def with_connected_parts(placed: Placed) -> Placed:
    """The same comparison with the labels split into connected components; reads the labels of the box into memory."""
    parts = connected_parts(read_box(placed.labels, placed.box))
    known = placed.labels.metadata
    return replace(placed, labels=array_volume(parts, Metadata(known.voxel_size, placed.box.start)))
