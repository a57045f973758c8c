"""Affinities to fragments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil import _native
from neuropil.errors import NeuropilError
from neuropil.segmentation.codes import Affinities, face_codes, thread_count
from neuropil.volumes import Encoding


def watershed(
    affinities: Affinities,
    *,
    low: float = 1e-4,
    high: float = 0.9999,
    offsets: str | Sequence[Sequence[int]] | None = None,
    encoding: Encoding | None = None,
    threads: int | None = None,
) -> npt.NDArray[Any]:
    """Fragments: every voxel unites with its best neighbour.

    A voxel unites across the largest of its six faces (ties in the order −x, −y, −z, +x, +y, +z) if that is above
    ``low``, and across every face that is at least ``high``. Voxels with no face above ``low`` are background, 0.
    The result depends on each voxel's own six faces only: it is the same for any number of threads, and for any way of
    cutting the volume into blocks with a halo of one voxel.

    Args:
        affinities: [edge, z, y, x], uint8 (code/255 where no encoding says otherwise), uint16 with an encoding, or
            floats in [0, 1], which become 16-bit codes; or a volume of these.
        low, high: affinities, compared with the values of the codes.
        offsets: one (z, y, x) per channel, of either sign; the three nearest are used.
        encoding: what integer codes mean; the volume's own when not given.
        threads: as many as there are cores when not given.

    Returns:
        uint32 (uint64 from 1.4 gigavoxel on) [z, y, x]; ids from 1 in the order of their first voxel.

    Raises:
        NeuropilError: no affinities (type, shape, NaN, outside [0, 1]), no nearest offsets, or not 0 <= low < high.

    After Zlateski and Seung, "Image Segmentation by Size-Dependent Single Linkage Clustering of a Watershed Basin
    Graph" (2015), with a rule for ties in place of their plateau search.

    >>> affinities = np.full((3, 1, 1, 4), 0.5)
    >>> affinities[2, 0, 0, 2] = 0.1
    >>> watershed(affinities).tolist()
    [[[1, 1, 2, 2]]]
    """
    if not 0 <= low < high:
        raise NeuropilError(f"expected 0 <= low < high, got low {low} and high {high}")
    faces = face_codes(affinities, offsets, encoding, threads)
    fragments = np.empty(faces.shape, faces.index)
    _native.watershed(
        *faces.arguments, faces.first_above(low), faces.last_below(high), fragments, thread_count(threads)
    )
    return fragments
