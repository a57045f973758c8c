"""Growing segments into the background."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil import _native
from neuropil.segmentation.codes import Affinities, Labels, face_codes, label_array, thread_count
from neuropil.volumes import Encoding


def fill_background(
    affinities: Affinities,
    segmentation: Labels,
    *,
    offsets: str | Sequence[Sequence[int]] | None = None,
    encoding: Encoding | None = None,
    threads: int | None = None,
) -> npt.NDArray[Any]:
    """Give every background voxel the label of a segment, layer by layer.

    In each round every 0 voxel that touches a segment takes the label across its best face (ties in the order
    −x, −y, −z, +x, +y, +z); what a round gives is seen in the next. Nothing is left 0 if there is any segment.

    Args:
        affinities: [edge, z, y, x] as for :func:`neuropil.watershed`.
        segmentation: [z, y, x], integers, 0 = to be filled; not changed.
        offsets, encoding, threads: as for :func:`neuropil.watershed`.

    Returns:
        uint32, or uint64 where the segmentation is, [z, y, x].

    Raises:
        NeuropilError: as :func:`neuropil.region_graph`.

    >>> fill_background(np.zeros((3, 1, 1, 4)), np.array([[[0, 7, 0, 0]]])).tolist()
    [[[7, 7, 7, 7]]]
    """
    faces = face_codes(affinities, offsets, encoding, threads)
    labels = label_array(segmentation, faces.shape, "the segmentation")
    filled: npt.NDArray[Any] = labels.astype(np.uint64 if labels.dtype.itemsize == 8 else np.uint32)
    _native.fill_background(*faces.arguments, filled, thread_count(threads))
    return filled
