"""The watershed: affinities to fragments (supervoxels); and filling of background voxels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from neuropil import _native
from neuropil.errors import NeuropilError
from neuropil.segmentation.codes import Affinities, Labels, face_codes, label_array, thread_count
from neuropil.segmentation.columns import described
from neuropil.volumes import Encoding

Seeds = Literal["maxima_distance", "minima", "grid"]
"""How the seeds of a section's watershed are chosen."""


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
        NeuropilError: wrong affinities (type, shape, NaN, outside [0, 1]), nearest offsets missing, or not
            0 <= low < high.

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


def flood_sections(
    boundary: npt.NDArray[Any], seeds: Seeds = "maxima_distance", *, spacing: int = 10, threads: int | None = None
) -> npt.NDArray[np.uint32]:
    """Fragments of a boundary map by a seeded 2-D watershed of each section.

    For stacks of thick sections, where neighbouring sections fit together badly. Pixels are neighbours if they share an
    edge; of pixels with equal boundary values the one reached first is flooded first.

    Args:
        boundary: floats [z, y, x], 0 inside and 1 between neurons, such as 1 − the mean of the y and x affinities.
        seeds: ``maxima_distance``: local maxima of the distance to boundaries of at least 0.5; ``minima``: local
            minima of the boundary map; ``grid``: a regular grid.
        spacing: pixels between the seeds of a grid.
        threads: as many as there are cores when not given.

    Returns:
        uint32 [z, y, x]; ids from 1, in the order of sections and, in each, of the seeds.

    Raises:
        NeuropilError: a boundary map that is not floats [z, y, x], NaN, other seeds, a spacing below 1.

    Beucher and Meyer, "The morphological approach to segmentation: the watershed transformation" (1993).

    >>> flood_sections(np.array([[[0.1, 0.2, 0.9, 0.3, 0.1]]], np.float32), "minima").tolist()
    [[[1, 1, 1, 2, 2]]]
    """
    if boundary.ndim != 3 or boundary.dtype.kind != "f" or np.isnan(boundary).any():
        raise NeuropilError(f"expected a boundary map of floats [z, y, x] without NaN, got {described(boundary)}")
    if seeds not in get_args(Seeds):
        raise NeuropilError(f"expected seeds {', '.join(get_args(Seeds))}, got {seeds!r}")
    if spacing < 1:
        raise NeuropilError(f"the spacing of seeds counts pixels and must be >= 1, got {spacing}")
    labels = np.empty(boundary.shape, np.uint32)
    values = np.ascontiguousarray(boundary, np.float32)
    _native.flood_sections(values, get_args(Seeds).index(seeds), spacing, labels, thread_count(threads))
    return labels


def fill_background(
    affinities: Affinities,
    segmentation: Labels,
    *,
    offsets: str | Sequence[Sequence[int]] | None = None,
    encoding: Encoding | None = None,
    threads: int | None = None,
) -> npt.NDArray[Any]:
    """Grow segments into the background, one layer of voxels per round.

    In each round every 0 voxel that touches a segment takes the label across its best face (ties in the order
    −x, −y, −z, +x, +y, +z); labels of a round count from the next round on. No voxel stays 0 if there is any segment.

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
