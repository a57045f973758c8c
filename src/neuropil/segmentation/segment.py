"""From affinities to a segmentation with the settings of a recipe; all verbs call this.

watershed → merge tree → cut at a threshold → minimum size → filling; or the mutex watershed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.config import SegmentConfig
from neuropil.config.mistakes import changed
from neuropil.errors import NeuropilError, in_file, tell
from neuropil.geometry import Offsets, default_offsets
from neuropil.segmentation.codes import Affinities, Labels, encode_affinities
from neuropil.segmentation.edited_cut import EditedCut
from neuropil.segmentation.edits import Edit, EditLog, log_header
from neuropil.segmentation.fragments import fill_background, watershed
from neuropil.segmentation.graph import RegionGraph, region_graph
from neuropil.segmentation.merge_tree import MergeTree, agglomerate, segment_fragments
from neuropil.segmentation.mutex import mutex_watershed
from neuropil.segmentation.signed import cluster_fragments, signed_graph
from neuropil.volumes import Encoding, Metadata, Volume, array_volume, as_volume, create_volume, spare_input
from neuropil.volumes.tissue import KEY, tissue_of


def segment(
    affinities: Affinities,
    settings: SegmentConfig | None = None,
    *,
    threshold: float | None = None,
    min_size: int | None = None,
    offsets: str | Sequence[Sequence[int]] | None = None,
    encoding: Encoding | None = None,
    threads: int | None = None,
    edits: EditLog | None = None,
) -> NDArray[Any]:
    """Segment affinities: watershed, agglomeration, the cut at a threshold, and what else the settings say.

    Args:
        affinities: [edge, z, y, x] as for :func:`neuropil.watershed`.
        settings: a recipe's section ``segment``: method, score, watershed levels, minimum size, filling; the defaults
            if not given.
        threshold: affinity down to which segments merge; replaces that of the settings. If neither is given: the one
            stored with the affinities, else 0.5.
        min_size: voxels below which a segment joins its best neighbour; replaces that of the settings. If neither is
            given: for agglomeration the one stored with the affinities, else 0.
        offsets, encoding, threads: as for :func:`neuropil.watershed`.
        edits: a proofreader's decisions, applied after the minimum size and before filling.

    Returns:
        uint32 (uint64 where ids need it) [z, y, x]; ids from 1, 0 = background.

    Raises:
        NeuropilError: as :func:`neuropil.watershed`, a wrong setting, biases that do not fit the channels, edits about
            other affinities, or edits that contradict each other.

    >>> affinities = np.full((3, 1, 2, 4), 0.9)
    >>> affinities[2, :, :, 2] = 0.3
    >>> segment(affinities, threshold=0.5).tolist(), segment(affinities, threshold=0.2).max()
    ([[[1, 1, 2, 2], [1, 1, 2, 2]]], np.uint32(1))
    """
    chosen = changed(settings or SegmentConfig(), {"threshold": threshold, "min_size": min_size}, "segment")
    volume = as_volume(affinities)
    chosen, _ = settle(volume, chosen)
    with in_file(volume.path):
        codes = encode_affinities(volume, offsets, encoding, nearest=chosen.method != "mutex", threads=threads)
        laid = tissue_of(volume)
        if edits is not None:
            found = _edited(volume, codes, chosen, edits)
        else:
            found = _segments(codes, chosen, threads, None if laid is None else laid.inside(volume.box))
        found = fill_background(codes, found, threads=threads) if chosen.fill else found
        if laid is not None and chosen.fill:
            laid.clear(found, volume.box)
        return found


@dataclass(frozen=True)
class Agglomeration:
    """Fragments and their merge tree, before a threshold is chosen.

    >>> found = merge_tree(np.full((3, 2, 4, 4), 0.9))
    >>> len(found.tree), found.fragments.shape, found.segment(0.5).max()
    (0, (2, 4, 4), np.uint32(1))
    """

    affinities: Volume
    """In integer codes."""
    fragments: Volume
    """Fragments (supervoxels) [z, y, x], placed like the affinities."""
    tree: MergeTree
    threads: int | None = None

    @cached_property
    def graph(self) -> RegionGraph:
        """The region graph, made when first used: only a minimum size and edits need it."""
        histograms = self.tree.pooling.startswith("q")
        return region_graph(self.affinities, self.fragments, histograms=histograms, threads=self.threads)

    @cached_property
    def nodes(self) -> NDArray[Any]:
        """Fragments as the tree counts them."""
        return self.tree.nodes(self.fragments.read())

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Voxels of each fragment, ``[fragments + 1]``."""
        return np.bincount(self.nodes.reshape(-1), minlength=self.tree.fragments + 1)

    def cut(self, threshold: float, min_size: int = 0) -> NDArray[Any]:
        """The segment of each fragment at a threshold, ``[fragments + 1]``: see :meth:`MergeTree.lut`."""
        return self.tree.lut(threshold, min_size, self.graph if min_size > 1 else None, self.nodes)

    def segment(self, threshold: float, min_size: int = 0) -> NDArray[Any]:
        """The segmentation at a threshold, with a minimum size: see :meth:`MergeTree.segment`."""
        return self.tree.segment(self.fragments, threshold, min_size, self.graph if min_size > 1 else None)

    def placed(self, array: NDArray[Any]) -> Volume:
        """An array ``[z, y, x]`` as a volume that lies where the affinities lie."""
        return array_volume(array, self.fragments.metadata)


def merge_tree(
    affinities: Affinities,
    settings: SegmentConfig | None = None,
    *,
    fragments: Labels | None = None,
    threads: int | None = None,
) -> Agglomeration:
    """Fragments and merge tree of affinities ``[edge, z, y, x]``.

    Args:
        affinities: as for :func:`neuropil.watershed`.
        settings: ``low``, ``high`` and ``score`` are used; the defaults if not given.
        fragments: use these and run no watershed.
        threads: as many as there are cores when not given.

    Raises:
        NeuropilError: as :func:`neuropil.watershed` and :func:`neuropil.agglomerate`.

    >>> affinities = np.full((3, 1, 1, 3), 0.9)
    >>> affinities[2, 0, 0, 2] = 0.2
    >>> merge_tree(affinities, fragments=np.array([[[1, 2, 3]]])).tree.score.round(3).tolist()
    [0.9, 0.2]
    """
    settings, volume = settings or SegmentConfig(), as_volume(affinities)
    with in_file(volume.path):
        codes = encode_affinities(volume, nearest=True, threads=threads)
        if fragments is None:
            fragments = watershed(codes, low=settings.low, high=settings.high, threads=threads)
        tree = agglomerate(codes, fragments, settings.score, threads=threads)
    where = Metadata(voxel_size=volume.metadata.voxel_size, origin=volume.metadata.origin)
    placed = array_volume(fragments, where) if isinstance(fragments, np.ndarray) else as_volume(fragments)
    return Agglomeration(codes, placed, tree, threads)


def _segments(
    codes: Volume, settings: SegmentConfig, threads: int | None, inside: NDArray[np.bool_] | None
) -> NDArray[Any]:
    """Segments by the method of the settings, small ones joined; voxels not ``inside`` have codes of 0 already."""
    min_size = settings.min_size or 0
    if settings.method == "mutex":
        found = _mutex(codes, settings, threads, inside)
    else:
        found = watershed(codes, low=settings.low, high=settings.high, threads=threads)
    if settings.method != "agglomerate" and min_size <= 1:
        return found
    threshold = settings.threshold if settings.method == "agglomerate" else np.inf
    assert threshold is not None
    return segment_fragments(
        codes, found, threshold, settings.score, min_size=min_size, threads=threads, overwrite=True
    )


def _edited(affinities: Volume, codes: Volume, settings: SegmentConfig, log: EditLog) -> NDArray[Any]:
    """Segments with a proofreader's decisions."""
    check_log(affinities, settings, log)
    assert settings.threshold is not None
    made = merge_tree(codes, settings)
    lut = made.cut(settings.threshold, settings.min_size or 0)
    return edited(made, lut, settings.threshold, log.active())


def check_log(affinities: Volume, settings: SegmentConfig, log: EditLog) -> None:
    """Refuse a log whose decisions are not about the fragments that these settings make.

    Raises:
        NeuropilError: another method than agglomerate, or other affinities, ``low`` or ``high`` than the log's.
    """
    if settings.method != "agglomerate":
        raise NeuropilError(f"edits are about the merge tree of method agglomerate, got method {settings.method}")
    log.header.check(log_header(affinities, settings), log.path)


def edited(made: Agglomeration, lut: NDArray[Any], threshold: float, edits: Iterable[Edit]) -> NDArray[Any]:
    """The segmentation of fragments by ``lut`` once decisions are applied, ``[z, y, x]``.

    Raises:
        NeuropilError: as :meth:`EditedCut.apply`.
    """
    cut = EditedCut(made.tree, made.graph, made.sizes, lut, threshold)
    cut.apply(edits, made.fragments)
    return np.asarray(cut.lut[made.nodes])


def _mutex(
    codes: Volume, settings: SegmentConfig, threads: int | None, inside: NDArray[np.bool_] | None
) -> NDArray[Any]:
    """The mutex watershed, of voxels or of fragments."""
    bias = settings.bias if len(settings.bias) > 1 else settings.bias[0]
    if not settings.fragments:
        return mutex_watershed(codes, bias=bias, strides=settings.strides, mask=inside, threads=threads)
    fragments = watershed(codes, low=settings.low, high=settings.high, threads=threads)
    graph = signed_graph(codes, fragments, bias=bias, strides=settings.strides, threads=threads)
    return cluster_fragments(graph, fragments)


def segment_volume(
    affinities: Volume | Path | str, output: Path | str, settings: SegmentConfig, edits: EditLog | None = None
) -> Path:
    """Segment affinities into a file, with voxel size, origin and settings in its metadata.

    Args:
        affinities: ``[edge, z, y, x]``.
        output: where to write; an earlier output is replaced when the new one is complete.
        settings: method, score, threshold and the rest; :func:`settle` fills what is not set.
        edits: a proofreader's decisions.

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
    settings, _ = settle(volume, settings)
    shape = volume.shape[1:]
    dtype = np.dtype(np.uint32 if prod(shape) < 2**32 else np.uint64)  # ids never outnumber voxels
    metadata = segmentation_metadata(volume, settings, edits)
    with create_volume(output, shape, dtype, metadata) as file:  # fails before the work
        found = segment(volume, settings, edits=edits)
        file.write(file.box, found.astype(dtype, copy=False))
    if not found[:, ::16, ::16].any() and not found.any():
        tell(f"{output} holds no segment: all its voxels are 0")
    return Path(output)


def with_offsets(affinities: Volume, offsets: Offsets | None = None) -> Volume:
    """The same volume with one offset per channel: as given, as stored, or the default for three (or two) channels.

    Raises:
        NeuropilError: not ``[edge, z, y, x]``, not one offset per channel, or no offsets known.

    >>> from neuropil.volumes import array_volume
    >>> with_offsets(array_volume(np.zeros((3, 1, 2, 2)))).metadata.offsets
    ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
    """
    if len(affinities.shape) != 4:
        raise NeuropilError(f"expected affinities [edge, z, y, x], got shape {affinities.shape}, in {affinities.path}")
    channels = affinities.shape[0]
    offsets = offsets or affinities.metadata.offsets or default_offsets(channels)
    if offsets is None:
        raise NeuropilError(
            f"{affinities.path} has {channels} channels and no offsets; say which edges they are: "
            '--offsets "z,y,x;z,y,x;…"'
        )
    return replace(affinities, metadata=replace(affinities.metadata, offsets=offsets))


def segmentation_metadata(affinities: Volume, settings: SegmentConfig, edits: EditLog | None = None) -> Metadata:
    """Metadata of a segmentation: voxel size, origin, and the settings (of :func:`settle`) and edits that made it."""
    cut = {"threshold": settings.threshold} if settings.method == "agglomerate" else {}
    extra: dict[str, Any] = {**cut, "segment": settings.model_dump(mode="json"), "affinities": affinities.path}
    extra |= affinities.metadata.directions
    if (laid := tissue_of(affinities)) is not None:
        extra[KEY] = laid.tissue.to_json()
    if edits is not None:
        extra["edits"] = edits.summary
    return Metadata(
        affinities.metadata.voxel_size, affinities.metadata.origin, extra=extra, shift=affinities.metadata.shift
    )


DEFAULTS: Mapping[str, float] = {"threshold": 0.5, "min_size": 0}
"""Values where neither the settings nor the affinities give one."""

WORDS = {"threshold": "threshold", "min_size": "minimum size"}


def settle(affinities: Volume, settings: SegmentConfig) -> tuple[SegmentConfig, list[str]]:
    """Settings with threshold and minimum size filled in, and one line for each that says where it is from.

    Stored values are used for agglomeration only: other methods take no threshold, and a minimum size only if asked.

    Raises:
        NeuropilError: a stored threshold or minimum size that is no such number.

    >>> import numpy as np
    >>> from neuropil.volumes import Metadata, array_volume
    >>> stored = array_volume(np.zeros((3, 1, 2, 2)), Metadata(extra={"threshold": 0.3, "min_size": 400}))
    >>> settled, lines = settle(stored, SegmentConfig(min_size=100))
    >>> settled.threshold, settled.min_size, lines
    (0.3, 100, ['threshold 0.3 (stored with the affinities)', 'minimum size 100 (as asked)'])
    """
    if settings.method != "agglomerate":
        return settings.model_copy(update={"min_size": settings.min_size or 0}), []
    found: dict[str, float] = {}
    lines: list[str] = []
    for name, default in DEFAULTS.items():
        asked, stored = getattr(settings, name), affinities.metadata.extra.get(name)
        if asked is not None:
            found[name], origin = asked, "as asked"
        elif stored is not None:
            found[name], origin = _checked(name, stored, affinities.path), _origin(affinities, settings)
        else:
            found[name], origin = default, "the default, since none is stored with the affinities"
        lines.append(f"{WORDS[name]} {found[name]:g} ({origin})")
    return settings.model_copy(update=found), lines


def _model_name(affinities: Volume) -> str | None:
    """The name of the model that affinities were predicted by, as it is stored with them; None without one."""
    made_by = affinities.metadata.extra.get("made_by")
    name = made_by.get("name") if isinstance(made_by, Mapping) else None
    return name if isinstance(name, str) else None


def _origin(affinities: Volume, settings: SegmentConfig) -> str:
    """Where a stored value is from, and for which score it was chosen if that is another."""
    name, score = _model_name(affinities), affinities.metadata.extra.get("score", settings.score)
    other = "" if score == settings.score else f", where it was chosen for score {score}"
    return "stored with the affinities" + (f" by {name}" if name else "") + other


def _checked(name: str, stored: Any, path: str) -> float:
    number = isinstance(stored, int | float) and not isinstance(stored, bool)
    if name == "threshold" and number and 0 <= stored <= 1:
        return float(stored)
    if name == "min_size" and number and stored >= 0 and stored == int(stored):
        return int(stored)
    expected = "threshold from 0 to 1" if name == "threshold" else "minimum size in voxels"
    raise NeuropilError(f"{path}: expected a stored {expected}, got {stored!r}; give --{name.replace('_', '-')}")
