"""From affinities to a segmentation with the settings of a recipe: watershed, merge tree, cut, sizes, filling."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError
from neuropil.geometry import NEAREST, Offsets
from neuropil.segmentation import (
    agglomerate,
    cluster_fragments,
    fill_background,
    mutex_watershed,
    region_graph,
    signed_graph,
    watershed,
)
from neuropil.volumes import Encoding, Metadata, Volume, as_volume, create_volume, spare_input


def segment(affinities: Volume, settings: SegmentConfig, threshold: float) -> NDArray[Any]:
    """The segmentation of affinities at a threshold, uint32 or uint64 ``[z, y, x]``, ids from 1.

    Args:
        affinities: ``[edge, z, y, x]`` with offsets; see :func:`with_offsets`.
        settings: method, score, watershed levels, minimum size, filling.
        threshold: affinity down to which segments merge; only method ``agglomerate`` uses it.

    Raises:
        NeuropilError: no affinities, NaN or values outside [0, 1] in them, or biases
            that do not fit its channels.

    >>> from neuropil.volumes import array_volume
    >>> segment(array_volume(np.full((3, 2, 4, 4), 0.9, np.float32)), SegmentConfig(), 0.5).shape
    (2, 4, 4)
    """
    array, offsets = affinities.read(), with_offsets(affinities).metadata.offsets
    encoding = affinities.metadata.encoding
    try:
        if settings.method == "mutex":
            found = _mutex(array, offsets, encoding, settings)
        else:
            found = watershed(array, low=settings.low, high=settings.high, offsets=offsets, encoding=encoding)
    except NeuropilError as error:
        raise NeuropilError(f"{affinities.path}: {error}") from None
    if settings.method == "agglomerate" or settings.min_size > 1:
        tree = agglomerate(array, found, settings.score, offsets=offsets, encoding=encoding)
        graph = None
        if settings.min_size > 1:
            quantile = settings.score.startswith("q")
            graph = region_graph(array, found, histograms=quantile, offsets=offsets, encoding=encoding)
        level = threshold if settings.method == "agglomerate" else np.inf
        found = tree.segment(found, float(level), settings.min_size, graph)
    return fill_background(array, found, offsets=offsets, encoding=encoding) if settings.fill else found


def _mutex(
    array: NDArray[Any], offsets: Offsets | None, encoding: Encoding | None, settings: SegmentConfig
) -> NDArray[Any]:
    """The mutex watershed, of voxels or of fragments."""
    bias = settings.bias if len(settings.bias) > 1 else settings.bias[0]
    if not settings.fragments:
        return mutex_watershed(array, offsets, bias=bias, strides=settings.strides, encoding=encoding)
    pieces = watershed(array, low=settings.low, high=settings.high, offsets=offsets, encoding=encoding)
    graph = signed_graph(array, pieces, offsets, bias=bias, strides=settings.strides, encoding=encoding)
    return cluster_fragments(graph, pieces)


def segment_volume(affinities: Volume | Path | str, output: Path | str, settings: SegmentConfig) -> Path:
    """Segment affinities into a file, which carries voxel size, origin, and the settings it was made with.

    Args:
        affinities: ``[edge, z, y, x]``.
        output: where to write; what was there is replaced when the new one is complete.
        settings: method, score, threshold and the rest; without a threshold the one stored with the affinities, or
            0.5, as :func:`threshold_for` has it.

    Raises:
        NeuropilError: as :func:`segment`, or an output that cannot be written.

    >>> import tempfile
    >>> from neuropil.volumes import open_volume
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = segment_volume(as_volume(np.full((3, 2, 4, 4), 0.9)), f"{folder}/seg.h5", SegmentConfig())
    ...     open_volume(path).metadata.extra["threshold"]
    0.5
    """
    volume = with_offsets(as_volume(affinities))
    spare_input(volume, output)
    threshold = threshold_for(volume, settings)[0]
    shape = volume.shape[1:]
    dtype = np.dtype(np.uint32 if prod(shape) < 2**32 else np.uint64)  # ids never outnumber voxels
    with create_volume(
        output, shape, dtype, segmentation_metadata(volume, settings, threshold)
    ) as file:  # fails before the work
        file.write(file.box, segment(volume, settings, threshold).astype(dtype, copy=False))
    return Path(output)


def threshold_for(affinities: Volume, settings: SegmentConfig) -> tuple[float, str]:
    """The threshold to segment at, and where it is from: asked for, stored with the affinities, or 0.5.

    Raises:
        NeuropilError: what is stored as a threshold is none.

    >>> from neuropil.volumes import Metadata, array_volume
    >>> stored = array_volume(np.zeros((3, 1, 2, 2)), Metadata(extra={"threshold": 0.3}))
    >>> threshold_for(stored, SegmentConfig()), threshold_for(stored, SegmentConfig(threshold=0.7))
    ((0.3, 'stored with the affinities'), (0.7, 'as asked'))
    """
    if settings.threshold is not None:
        return settings.threshold, "as asked"
    stored = affinities.metadata.extra.get("threshold")
    if stored is None:
        return 0.5, "the default, since none is stored with the affinities"
    if isinstance(stored, bool) or not isinstance(stored, int | float) or not 0 <= stored <= 1:
        raise NeuropilError(
            f"{affinities.path}: expected a stored threshold from 0 to 1, got {stored!r}; give --threshold"
        )
    return float(stored), "stored with the affinities"


def with_offsets(affinities: Volume, offsets: Offsets | None = None) -> Volume:
    """The same volume with the edge of each channel: as given, as stored, or the nearest ones where there are three.

    Raises:
        NeuropilError: no ``[edge, z, y, x]``, more or fewer channels than offsets, or none known.

    >>> from neuropil.volumes import array_volume
    >>> with_offsets(array_volume(np.zeros((3, 1, 2, 2)))).metadata.offsets
    ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
    """
    if len(affinities.shape) != 4:
        raise NeuropilError(f"expected affinities [edge, z, y, x], got shape {affinities.shape}, in {affinities.path}")
    channels = affinities.shape[0]
    offsets = offsets or affinities.metadata.offsets
    if offsets is None and channels != len(NEAREST):
        raise NeuropilError(
            f"{affinities.path} has {channels} channels and no offsets; say which edges they are: "
            '--offsets "z,y,x;z,y,x;…"'
        )
    return replace(affinities, metadata=replace(affinities.metadata, offsets=offsets or NEAREST))


def segmentation_metadata(affinities: Volume, settings: SegmentConfig, threshold: float) -> Metadata:
    """What travels with a segmentation: where it lies, and how it was made."""
    cut = {"threshold": threshold} if settings.method == "agglomerate" else {}
    made = {**settings.model_dump(mode="json"), **cut}
    extra: dict[str, Any] = {**cut, "segment": made, "affinities": affinities.path}
    return Metadata(affinities.metadata.voxel_size, affinities.metadata.origin, extra=extra)
