"""Open a segmentation for proofreading with the settings it was made with, and apply a log of edits to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.blockwise import BLOCK
from neuropil.blockwise.edited import edit_blocks
from neuropil.blockwise.executor import Executor
from neuropil.blockwise.graph import GraphOfBlocks, graph_blocks
from neuropil.blockwise.relabel import chunks_for
from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError
from neuropil.geometry import Triple, blocks
from neuropil.progress import ProgressCallback
from neuropil.proofreading.calibration import Calibration
from neuropil.proofreading.candidates import (
    LIKELY,
    SMALLEST,
    STRONG,
    Contacts,
    Proofreading,
    Segmented,
    proofreading_of,
)
from neuropil.segmentation import fill_background, merge_tree, settle
from neuropil.segmentation.edited_cut import Dendrogram, segments_of, voxel_at
from neuropil.segmentation.edits import Edit, EditLog, affinities_digest
from neuropil.segmentation.segment import edited
from neuropil.volumes import Metadata, Volume, create_volume, spare_input
from neuropil.volumes.tissue import tissue_of


@dataclass(frozen=True, eq=False)
class ExportInput:
    """A segmentation to export and, if affinities were given, its fragments and merge tree."""

    segmentation: Volume
    state: Proofreading | None = None
    calibration: Calibration | None = None

    @property
    def nanometres(self) -> NDArray[np.float64]:
        """Voxel size in nm, x y z; 1 if none is stored."""
        return np.array((self.segmentation.metadata.voxel_size or (1.0, 1.0, 1.0))[::-1], np.float64)


def settings_of(segmentation: Volume, affinities: Volume) -> SegmentConfig:
    """The settings stored with a segmentation, else the defaults; threshold and minimum size are always set.

    Raises:
        NeuropilError: it was not made by agglomeration.
    """
    stored = segmentation.metadata.extra.get("segment")
    values = stored if isinstance(stored, dict) else {}
    settings = SegmentConfig.model_validate({k: v for k, v in values.items() if k in SegmentConfig.model_fields})
    if settings.method != "agglomerate":
        raise NeuropilError(
            f"expected a segmentation made by method agglomerate, got {settings.method}, in {segmentation.path}"
        )
    return settle(affinities, settings)[0]


def open_proofreading(
    affinities: Volume, segmentation: Volume, say: Callable[[str], None]
) -> tuple[Proofreading, SegmentConfig]:
    """:func:`proofreading_of` with the settings stored with the segmentation; returns these, too.

    Args:
        affinities: ``[edge, z, y, x]`` with offsets.
        segmentation: ``[z, y, x]`` of the same box.
        say: called with a line that names the settings.

    Raises:
        NeuropilError: as :func:`settings_of` and :func:`proofreading_of`.
    """
    settings = _told_settings(affinities, segmentation, say)
    return proofreading_of(affinities, segmentation, settings), settings


@contextmanager
def open_by_blocks(
    affinities: Volume,
    segmentation: Volume,
    say: Callable[[str], None],
    *,
    smallest: int = SMALLEST,
    block: Triple | None = None,
    executor: Executor | None = None,
    work: Path | str | None = None,
    progress: ProgressCallback | None = None,
) -> Iterator[Segmented]:
    """:func:`open_proofreading` of volumes of any size, for ranking: the same questions, without a voxel in memory.

    Args:
        affinities, segmentation, say: as for ``open_proofreading``; volumes in files.
        smallest: fewest voxels of each side of a question.
        block, executor, work, progress: as for :func:`neuropil.blockwise.graph.graph_blocks`.

    Raises:
        NeuropilError: as :func:`settings_of` and ``graph_blocks``.
        BlocksFailed: blocks that could not be done; the same call does only what is missing.
    """
    settings = _told_settings(affinities, segmentation, say)
    where = replace(segmentation.metadata, voxel_size=affinities.metadata.voxel_size)
    with graph_blocks(
        affinities, segmentation, settings, (LIKELY, STRONG), block=block, executor=executor, work=work,
        progress=progress,
    ) as found:  # fmt: skip
        yield _ByBlocks(found, replace(segmentation, metadata=where), smallest)


class _ByBlocks(Segmented):
    """A segmentation whose edges are read from intermediate files, block by block."""

    def __init__(self, found: GraphOfBlocks, place: Volume, smallest: int) -> None:
        super().__init__(Dendrogram.of(found.tree), found.sizes, place, found.scale, smallest)
        self._found = found

    @property
    def lut(self) -> NDArray[Any]:
        return self._found.lut

    @property
    def outer(self) -> NDArray[Any]:
        return self._found.outer

    @property
    def centres(self) -> NDArray[np.int64]:
        return self._found.centres

    def contacts(self) -> Iterator[Contacts]:
        for a, b, count, total, key, likely, strong in self._found.edges():
            yield Contacts(a, b, count, total, key, likely, strong, self.layout.common_merge(a, b))


def _told_settings(affinities: Volume, segmentation: Volume, say: Callable[[str], None]) -> SegmentConfig:
    """:func:`settings_of`, and a line about them."""
    settings = settings_of(segmentation, affinities)
    where = "as stored with the segmentation" if "segment" in segmentation.metadata.extra else "the defaults"
    say(
        f"low {settings.low:g}, high {settings.high:g}, score {settings.score}, threshold {settings.threshold:g}, "
        f"minimum size {settings.min_size} ({where})"
    )
    return settings


def apply_log(segmentation: Volume, log: EditLog, affinities: Volume | None, output: Path | str) -> Path:
    """Write a segmentation with the decisions of a log; ids of segments that no decision touches stay.

    Args:
        segmentation: ``[z, y, x]``, made from the log's affinities.
        log: the decisions.
        affinities: needed only if a decision separates; always compared with the log's.
        output: where to write.

    Raises:
        NeuropilError: points in the background or outside; other affinities than the log's, or a segmentation of other
            ``low`` or ``high``; if a decision separates, also: no affinities, contradicting decisions, or a
            segmentation of other fragments.
    """
    known = _needed_affinities(segmentation, log, affinities)
    spare_input(segmentation, output)
    if known is None:
        _, y, x = segmentation.box.shape
        return _write_joined(segmentation, log, output, (1, y, x))
    settings = _settings_of_log(segmentation, log, known)
    whole = _edited(segmentation, known, settings, log.active()).astype(segmentation.dtype, copy=False)
    with create_volume(output, segmentation.shape, segmentation.dtype, _edited_metadata(segmentation, log)) as file:
        file.write(file.box, whole)
    return Path(output)


def apply_by_blocks(
    segmentation: Volume,
    log: EditLog,
    affinities: Volume | None,
    output: Path | str,
    *,
    block: Triple | None = None,
    executor: Executor | None = None,
    work: Path | str | None = None,
    progress: ProgressCallback | None = None,
) -> Path:
    """:func:`apply_log` of volumes of any size: the same voxels, without keeping one in memory.

    Joins alone only rename ids; this process does so, block by block.

    Args:
        segmentation, log, affinities, output: as for ``apply_log``; volumes in files.
        block, executor, work, progress: as for :func:`neuropil.blockwise.edited.edit_blocks`.

    Raises:
        NeuropilError: as ``apply_log`` and ``edit_blocks``; separations in a filled segmentation.
        BlocksFailed: blocks that could not be done; the same call does only what is missing.
    """
    known = _needed_affinities(segmentation, log, affinities)
    if known is None:
        spare_input(segmentation, output)
        part = block or BLOCK
        return _write_joined(segmentation, log, output, part, chunks_for(segmentation.box.shape, part), progress)
    settings = _settings_of_log(segmentation, log, known)
    if settings.fill:
        raise NeuropilError(
            f"{segmentation.path} was made with segment.fill, which looks across the whole volume; leave out the block "
            "options"
        )
    edit_blocks(
        known, segmentation, output, settings, log.active(), _edited_metadata(segmentation, log), block=block,
        executor=executor, work=work, progress=progress,
    )  # fmt: skip
    return Path(output)


def _needed_affinities(segmentation: Volume, log: EditLog, affinities: Volume | None) -> Volume | None:
    """The affinities, compared with those of the log, if a decision of it separates; else None."""
    stored = segmentation.metadata.extra.get("segment")
    if isinstance(stored, dict):
        of_segmentation = {name: stored[name] for name in ("low", "high") if name in stored}
        log.header.check(replace(log.header, **of_segmentation), log.path)
    separates = any(edit.kind == "separate" for edit in log.active())
    if separates and affinities is None:
        raise NeuropilError(f"{log.path} separates segments, which needs the affinities: give --affinities")
    if affinities is not None and (digest := affinities_digest(affinities)) != log.header.affinities_digest:
        raise NeuropilError(
            f"{log.path}: expected the affinities that the log was begun with, {log.header.affinities_digest}; "
            f"{affinities.path} is {digest}"
        )
    return affinities if separates else None


def _settings_of_log(segmentation: Volume, log: EditLog, affinities: Volume) -> SegmentConfig:
    """The settings that the segmentation was made with, and those that make the fragments and the tree of the log."""
    of_log = {"low": log.header.low, "high": log.header.high, "score": log.header.score}
    return settings_of(segmentation, affinities).model_copy(update=of_log)


def _edited_metadata(segmentation: Volume, log: EditLog) -> Metadata:
    """The metadata of a segmentation after the decisions of a log."""
    extra = {**segmentation.metadata.extra, "edits": log.summary}
    return Metadata(segmentation.metadata.voxel_size, segmentation.metadata.origin, extra=extra)


def _write_joined(
    segmentation: Volume,
    log: EditLog,
    output: Path | str,
    part: Triple,
    chunks: Triple | None = None,
    progress: ProgressCallback | None = None,
) -> Path:
    """Write a segmentation whose ids were joined, one part after the other."""
    names = joined_ids(segmentation, log.active())
    parts = list(blocks(segmentation.box, part))
    with create_volume(
        output, segmentation.shape, segmentation.dtype, _edited_metadata(segmentation, log), chunks
    ) as file:
        for done, box in enumerate(parts, 1):
            file.write(box, _renamed(segmentation.read(box), names))
            if progress is not None:
                progress("writing", done, len(parts))
    return Path(output)


def joined_ids(segmentation: Volume, edits: Sequence[Edit]) -> dict[int, int]:
    """The new id of each segment that joins rename: the smallest id of the joined segments."""
    parent: dict[int, int] = {}

    def root(n: int) -> int:
        while parent.get(n, n) != n:
            n = parent[n]
        return n

    for edit in edits:
        if edit.kind != "join":
            continue
        ends = (int(voxel_at(segmentation, point, edit).reshape(-1)[0]) for point in (edit.a, edit.b))
        low, high = sorted(map(root, ends))
        parent[high] = low
    return {n: root(n) for n in parent if root(n) != n}


def _renamed(array: NDArray[Any], names: dict[int, int]) -> NDArray[Any]:
    """An array with some ids replaced."""
    if not names:
        return array
    old = np.array(sorted(names), array.dtype)
    new = np.array([names[int(n)] for n in old], array.dtype)
    at = np.minimum(np.searchsorted(old, array), len(old) - 1)
    return np.where(old[at] == array, new[at], array)


def _edited(segmentation: Volume, affinities: Volume, settings: SegmentConfig, edits: Sequence[Edit]) -> NDArray[Any]:
    """The whole segmentation with joins and separations applied to the fragments of the log."""
    made = merge_tree(affinities, settings)
    lut = segments_of(made.placed(made.nodes), segmentation, made.tree.fragments)
    assert settings.threshold is not None
    found = edited(made, lut, settings.threshold, edits)
    found = fill_background(made.affinities, found) if settings.fill else found
    if settings.fill and (laid := tissue_of(affinities)) is not None:
        laid.clear(found, affinities.box)
    return found
