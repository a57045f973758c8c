"""The description of a blockwise run: its settings, its blocks, and the paths of its intermediate files."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from neuropil.blockwise.tree import BlockTree, Node, as_triple
from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError
from neuropil.geometry import NEAREST, Box, Offsets, Triple
from neuropil.segmentation.codes import face_codes, thread_count
from neuropil.segmentation.mutex import channel_biases
from neuropil.segmentation.scores import Score
from neuropil.segmentation.segment import with_offsets
from neuropil.volumes import Encoding, Tissue, Volume, in_memory, in_tissue, open_volume, stamp
from neuropil.volumes.atomic import replacing
from neuropil.volumes.location import absolute_path
from neuropil.volumes.marks import anything
from neuropil.volumes.scored import ALL, Scored
from neuropil.volumes.tissue import tissue_of

FORMAT = 7
"""Version of the intermediate files; a new number when files of the earlier one can no longer be used."""

BLOCK: Triple = (128, 512, 512)
"""Voxels of a block where none is asked for: a worker needs less than 2 GB."""


@dataclass(frozen=True)
class Job:
    """A volume to work on block by block.

    Args:
        folder: for intermediate files; all workers can reach it.
        shape: voxels of the volume.
        block: voxels of a block.
    """

    folder: str
    shape: Triple
    block: Triple

    @cached_property
    def tree(self) -> BlockTree:
        return BlockTree(self.shape, self.block)

    def threads(self, node: Node) -> int:
        """Threads for a block: all cores divided by the blocks of its level, since workers without a block are idle."""
        return max(1, thread_count(None) // self.tree.count(node[0]))

    def place(self, node: Node) -> Box:
        """The voxels of a block, as progress and errors name them."""
        return self.tree.box(node)

    def file(self, step: str, node: Node) -> Path:
        """The file of a step for a block. Folders hold at most a thousand files."""
        level, index = node
        return Path(self.folder) / f"{step}-{level}" / f"{index // 1000:06d}" / f"{index % 1000:03d}.npz"

    def save(self) -> None:
        """Write the job into its folder, where :func:`load_job` finds it."""
        path = Path(self.folder) / "job.json"
        if not path.exists():
            with replacing(path, anything, durable=False) as temporary:
                temporary.write_bytes(TypeAdapter(type(self)).dump_json(self))


@dataclass(frozen=True)
class SegmentJob(Job):
    """The segmentation of a volume of affinities.

    Args:
        affinities: path of the affinities ``[edge, z, y, x]``.
        offsets: the edge of each channel.
        encoding: what integer codes mean; None: the defaults of :func:`neuropil.watershed`.
        settings: as in a recipe's ``segment`` section.
        output: path of the array that blocks of the segmentation are written into.
        truth: path of the labels to score every threshold against; empty if none.
        scored: box of the image to score in.
        tissue: which voxels count; None: all.
        truth_as: how the labels are scored.
        segments: path of a segmentation of the same box, to look up the segment of each fragment in; empty if none.
        levels: affinities above which the faces of each edge are counted.
    """

    affinities: str
    offsets: Offsets
    encoding: Encoding | None
    settings: SegmentConfig
    output: str = ""
    truth: str = ""
    scored: str = ""
    tissue: Tissue | None = None
    truth_as: Scored = ALL
    segments: str = ""
    levels: tuple[float, ...] = ()

    @cached_property
    def score(self) -> Score:
        """How the faces between two regions are pooled."""
        return Score.parse(self.settings.score)

    @property
    def threshold(self) -> float:
        """The affinity down to which regions merge; infinite if the method merges none."""
        return float(self.settings.threshold or 0) if self.settings.method == "agglomerate" else np.inf

    @property
    def min_size(self) -> int:
        """Voxels below which a segment joins its best neighbour."""
        return self.settings.min_size or 0

    @cached_property
    def volume(self) -> Volume:
        """The affinities, opened, 0 outside of the tissue."""
        return in_tissue(with_offsets(open_volume(self.affinities), self.offsets), self.tissue)

    @cached_property
    def codes(self) -> Encoding:
        """The encoding of the faces after reading: floats become codes, too."""
        empty = np.zeros((len(self.offsets), 0, 0, 0), self.volume.dtype)
        return face_codes(empty, self.offsets, self.encoding).encoding

    @property
    def by_mutex(self) -> bool:
        """Whether fragments are joined by the mutex watershed."""
        return self.settings.method == "mutex"

    @property
    def bias(self) -> float | tuple[float, ...]:
        """The bias of all edges, or of each channel."""
        return self.settings.bias if len(self.settings.bias) > 1 else self.settings.bias[0]

    @property
    def fragments_step(self) -> str:
        """The step whose files hold the fragments of the smallest blocks."""
        return "pieces" if self.by_mutex else "merge"


def segment_job(
    affinities: Volume,
    settings: SegmentConfig,
    block: Triple,
    folder: Path,
    *,
    output: Path | str = "",
    truth: Volume | None = None,
    scored: str = "",
    segments: Volume | None = None,
    levels: tuple[float, ...] = (),
) -> SegmentJob:
    """The job for settings with a threshold, in a folder of its own inside ``folder``; not yet saved.

    Args:
        affinities: ``[edge, z, y, x]``, in a file; carries the tissue mask, if any.
        output: final path of the segmentation, if there is to be one.
        truth: the labels to score against; scored: the box, as for :class:`SegmentJob`.
        segments: the segmentation, in a file, and levels, as for :class:`SegmentJob`.

    Raises:
        NeuropilError: affinities in memory only, or of a wrong type, shape or offsets; biases that do not fit their
            channels; no threshold.
    """
    if in_memory(affinities):
        raise NeuropilError("blocks are read by any process: expected affinities in a file, got an array in memory")
    if settings.method == "agglomerate" and settings.threshold is None:
        raise NeuropilError("expected a threshold to segment at by blocks, got none")
    meta = affinities.metadata
    offsets = meta.offsets or NEAREST
    _check_affinities(affinities, settings, offsets)
    shape, path = as_triple(affinities.shape[1:]), absolute_path(affinities.path)
    block = as_triple(min(b, n) for b, n in zip(block, shape, strict=True))
    made = [settings.model_dump(mode="json"), block, absolute_path(str(output)) if output else ""]
    laid, labels, truth_as, ids = tissue_of(affinities), "", ALL, ""
    if truth is not None:
        labels, truth_as = absolute_path(truth.path), Scored.of(truth)
        made += [labels, stamp(labels), scored, *truth_as.identity()]
    if segments is not None:
        ids = absolute_path(segments.path)
        made += [ids, stamp(ids), list(levels)]
    if laid is not None:
        made += laid.tissue.identity()
    encoding = meta.encoding and meta.encoding.to_json()
    stored = [path, list(affinities.shape), str(affinities.dtype), meta.start, offsets, encoding, stamp(path)]
    place = folder.resolve() / job_name(stored, made)
    tissue = None if laid is None else laid.tissue
    return SegmentJob(
        str(place), shape, block, path, offsets, meta.encoding, settings, str(output), labels, scored, tissue, truth_as,
        ids, levels,
    )  # fmt: skip


def _check_affinities(affinities: Volume, settings: SegmentConfig, offsets: Offsets) -> None:
    """Refuse at once what would fail in every block."""
    corner = np.zeros((affinities.shape[0], *(min(n, 2) for n in affinities.shape[1:])), affinities.dtype)
    try:
        face_codes(corner, offsets, affinities.metadata.encoding)
        if settings.method == "mutex":
            channel_biases(settings.bias if len(settings.bias) > 1 else settings.bias[0], affinities.shape[0])
    except NeuropilError as error:
        raise NeuropilError(f"{affinities.path}: {error}") from None


def job_name(*known: Any) -> str:
    """A hash of everything that the intermediate files of a job depend on; jobs with one name share their files.

    Voxels are not read. A volume that was written anew has another :func:`neuropil.volumes.stamp`. A repaired chunk
    does not change the stamp, so that only the blocks that could not be read are done again.

    >>> job_name("a.zarr", {"low": 0.1}) == job_name("a.zarr", {"low": 0.2})
    False
    """
    text = json.dumps([FORMAT, version("neuropil"), *known], sort_keys=True)
    return sha256(text.encode()).hexdigest()[:16]


def load_job(kind: Any, folder: str) -> Any:
    """Load the job of this class from its folder; each process reads it once."""
    return _load_job(kind, folder)


@lru_cache(maxsize=8)
def _load_job(kind: Any, folder: str) -> Any:
    return TypeAdapter(kind).validate_json((Path(folder) / "job.json").read_bytes())


@contextmanager
def naming(volume: Volume) -> Iterator[None]:
    """Put the path of the volume in front of errors that do not name it."""
    try:
        yield
    except NeuropilError as error:
        message = str(error)
        raise NeuropilError(message if volume.path in message else f"{volume.path}: {message}") from error


def save_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any] | int]) -> None:
    """Write arrays under a temporary name, then rename, so that a file is always complete."""
    with replacing(path, anything, durable=False) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load_arrays(path: Path, *names: str) -> list[npt.NDArray[Any]]:
    """Read only these arrays of a file.

    Raises:
        NeuropilError: the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return [stored[name] for name in names]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as problem:
        # Its inputs may be removed already, so this file alone cannot be made again.
        raise NeuropilError(f"cannot read {path}: {problem}; delete {path.parents[2]} and run again") from problem
