"""From affinities to a segmentation with the settings of a recipe: watershed, merge tree, cut, sizes, filling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError
from neuropil.geometry import NEAREST, Offsets
from neuropil.segmentation import (
    MergeTree,
    RegionGraph,
    agglomerate_graph,
    fill_background,
    region_graph,
    watershed,
)
from neuropil.volumes import Encoding, Metadata, Volume


@dataclass(frozen=True, eq=False)
class Agglomerated:
    """Fragments with everything needed to merge them at any threshold."""

    affinities: NDArray[Any]
    """``[edge, z, y, x]`` as stored."""
    offsets: Offsets
    encoding: Encoding | None
    fragments: NDArray[Any]
    """``[z, y, x]``, ids from 1, 0 = background."""
    graph: RegionGraph
    tree: MergeTree

    def cut(self, threshold: float, min_size: int = 0, fill: bool = False) -> NDArray[Any]:
        """The segmentation at a threshold: uint32 or uint64 ``[z, y, x]``, ids from 1."""
        segmentation = self.tree.segment(self.fragments, threshold, min_size, self.graph)
        if not fill:
            return segmentation
        return fill_background(self.affinities, segmentation, offsets=self.offsets, encoding=self.encoding)


def agglomerated(affinities: Volume, settings: SegmentConfig, offsets: Offsets | None = None) -> Agglomerated:
    """Fragments and merge tree of affinities, read once.

    Args:
        affinities: ``[edge, z, y, x]``.
        settings: ``low`` and ``high`` of the watershed, ``score`` of the merges.
        offsets: instead of those stored with the affinities.

    Raises:
        NeuropilError: no affinities, offsets missing or without the nearest three, NaN, values outside [0, 1].

    >>> from neuropil.volumes import array_volume
    >>> parts = agglomerated(array_volume(np.full((3, 2, 4, 4), 0.9, np.float32)), SegmentConfig())
    >>> int(parts.cut(0.5).max())
    1
    """
    offsets = offsets_for(affinities, offsets)
    array, encoding = affinities.read(), affinities.metadata.encoding
    try:
        fragments = watershed(array, low=settings.low, high=settings.high, offsets=offsets, encoding=encoding)
        graph = region_graph(array, fragments, offsets=offsets, encoding=encoding)
    except NeuropilError as error:
        raise NeuropilError(f"{affinities.path}: {error}") from None
    return Agglomerated(array, offsets, encoding, fragments, graph, agglomerate_graph(graph, settings.score))


def segment(
    affinities: Volume, settings: SegmentConfig, threshold: float, offsets: Offsets | None = None
) -> NDArray[Any]:
    """The segmentation of affinities at a threshold, uint32 or uint64 ``[z, y, x]``, ids from 1.

    Args:
        affinities: ``[edge, z, y, x]``.
        settings: method, score, watershed levels, minimum size, filling.
        threshold: affinity down to which segments merge; method ``watershed`` merges none.
        offsets: instead of those stored with the affinities.

    Raises:
        NeuropilError: as :func:`agglomerated`, or a method that is not there.

    >>> from neuropil.volumes import array_volume
    >>> segment(array_volume(np.full((3, 2, 4, 4), 0.9, np.float32)), SegmentConfig(), 0.5).shape
    (2, 4, 4)
    """
    if settings.method == "mutex":
        raise NeuropilError("segment.method: expected agglomerate or watershed, got mutex, which is not there yet")
    parts = agglomerated(affinities, settings, offsets)
    level = np.inf if settings.method == "watershed" else threshold
    return parts.cut(float(level), settings.min_size, settings.fill)


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


def offsets_for(affinities: Volume, offsets: Offsets | None = None) -> Offsets:
    """The edge of each channel: as given, else as stored, else the nearest neighbourhood where there are three.

    Raises:
        NeuropilError: no ``[edge, z, y, x]``, more or fewer channels than offsets, or none known.
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
    offsets = offsets or NEAREST
    if len(offsets) != channels:
        raise NeuropilError(f"expected one offset per channel, got {len(offsets)} for {affinities.path} of {channels}")
    return offsets


def segmentation_metadata(affinities: Volume, settings: SegmentConfig, threshold: float) -> Metadata:
    """What travels with a segmentation: where it lies, and how it was made."""
    made = {**settings.model_dump(mode="json"), "threshold": threshold}
    extra: dict[str, Any] = {"threshold": threshold, "segment": made, "affinities": affinities.path}
    return Metadata(affinities.metadata.voxel_size, affinities.metadata.origin, extra=extra)
