"""What is to be done, and where its files lie: all that a worker needs to know, in one small file."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from neuropil.blockwise.tree import BlockTree, Node
from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError
from neuropil.geometry import NEAREST, Offsets, Triple, parse_offsets
from neuropil.segmentation.codes import face_codes
from neuropil.segmentation.mutex import channel_biases
from neuropil.segmentation.scores import Score
from neuropil.volumes import Encoding, Metadata, Volume, in_memory, open_volume, stamp
from neuropil.volumes.atomic import replacing
from neuropil.volumes.location import absolute_path

FORMAT = 6
"""Raised when files of an earlier version of this room can no longer be used."""


@dataclass(frozen=True)
class Job:
    """The segmentation of a volume of affinities, block by block.

    Args:
        folder: where files lie that all workers can reach.
        affinities: path of the affinities ``[edge, z, y, x]``.
        offsets: the edge of each channel.
        encoding: what integer codes mean; None: as :func:`neuropil.watershed` has it.
        shape: voxels of the volume.
        block: voxels of a block.
        low, high, score, threshold, min_size: as for :func:`neuropil.watershed` and :func:`neuropil.agglomerate`.
        output: path of the array that blocks of the segmentation are written into.
        truth: path of the labels to score every threshold against, where that is wanted.
        scored: where, in voxels of the image.
        method, bias, strides: as in a recipe's ``segment`` section.
    """

    folder: str
    affinities: str
    offsets: Offsets
    encoding: Mapping[str, Any] | None
    shape: Triple
    block: Triple
    low: float
    high: float
    score: str
    threshold: float
    min_size: int
    output: str
    truth: str = ""
    scored: str = ""
    method: str = "agglomerate"
    bias: tuple[float, ...] = ()
    strides: Triple = (1, 1, 1)

    @cached_property
    def tree(self) -> BlockTree:
        return BlockTree(self.shape, self.block)

    @cached_property
    def pooling(self) -> Score:
        return Score.parse(self.score)

    @cached_property
    def volume(self) -> Volume:
        """The affinities, opened."""
        return open_volume(self.affinities)

    @property
    def meaning(self) -> Encoding | None:
        return None if self.encoding is None else Encoding.from_json(self.encoding)

    @property
    def first_step(self) -> str:
        """The step that leaves the fragments of the smallest blocks."""
        return "pieces" if self.method == "mutex" else "merge"

    def file(self, step: str, node: Node) -> Path:
        """What a step leaves for a block. Folders hold at most a thousand."""
        level, index = node
        return Path(self.folder) / f"{step}-{level}" / f"{index // 1000:06d}" / f"{index % 1000:03d}.npz"

    def save(self) -> None:
        """Leave the job in its folder, where :func:`load_job` finds it."""
        path = Path(self.folder) / "job.json"
        if not path.exists():
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(asdict(self)))


def plan(
    affinities: Volume,
    settings: SegmentConfig,
    block: Triple,
    folder: Path,
    *,
    output: Path | str = "",
    truth: str = "",
    scored: str = "",
) -> Job:
    """The job for settings with a threshold, in a folder of its own among all jobs of ``folder``; not yet saved.

    Args:
        affinities: ``[edge, z, y, x]``, in a file.
        output: where the segmentation goes in the end, if there is to be one.
        truth, scored: as for :class:`Job`.

    Raises:
        NeuropilError: affinities that are in memory only, or are none; biases that do not fit their channels.
    """
    if in_memory(affinities):
        raise NeuropilError("blocks are read by any process: expected affinities in a file, got an array in memory")
    _refuse_for_all(affinities, settings)
    z, y, x = (int(min(b, n)) for b, n in zip(block, affinities.shape[1:], strict=True))
    made = {
        **settings.model_dump(mode="json"),
        "block": [z, y, x],
        "output": absolute_path(str(output)) if output else "",
    }
    if truth:
        truth = absolute_path(truth)
        made |= {"truth": [truth, *stamp(truth)], "scored": scored}
    place = folder.resolve() / fingerprint(affinities, made)
    threshold = settings.threshold if settings.method == "agglomerate" else np.inf
    if threshold is None:
        raise NeuropilError("expected a threshold to segment at by blocks, got none")
    meaning = affinities.metadata.encoding
    return Job(
        str(place), absolute_path(affinities.path), affinities.metadata.offsets or NEAREST,
        None if meaning is None else meaning.to_json(), _triple(affinities.shape[1:]), (z, y, x), settings.low,
        settings.high, settings.score, float(threshold), settings.min_size, str(output), truth, scored,
        settings.method, settings.bias, settings.strides,
    )  # fmt: skip


def _refuse_for_all(affinities: Volume, settings: SegmentConfig) -> None:
    """Refuse at once what every block would stumble over."""
    meta = affinities.metadata
    corner = np.zeros((affinities.shape[0], *(min(n, 2) for n in affinities.shape[1:])), affinities.dtype)
    try:
        face_codes(corner, meta.offsets or NEAREST, meta.encoding)
        if settings.method == "mutex":
            channel_biases(settings.bias if len(settings.bias) > 1 else settings.bias[0], affinities.shape[0])
    except NeuropilError as error:
        raise NeuropilError(f"{affinities.path}: {error}") from None


@lru_cache(maxsize=8)
def load_job(folder: str) -> Job:
    """The job in a folder; each process reads it once."""
    stored = json.loads((Path(folder) / "job.json").read_text())
    triples = {name: _triple(stored[name]) for name in ("shape", "block", "strides")}
    return Job(**{**stored, **triples, "offsets": parse_offsets(stored["offsets"]), "bias": tuple(stored["bias"])})


def fingerprint(affinities: Volume, settings: Mapping[str, Any]) -> str:
    """A name for all that the files of a job depend on.

    Voxels are not read. That affinities were made anew shows in the file that describes the array; that a damaged
    chunk was repaired does not, so that only the blocks that could not be read are done again.

    >>> import tempfile
    >>> from neuropil.volumes import write_volume
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_volume(f"{folder}/a.zarr", np.zeros((3, 1, 2, 2), np.uint8))
    ...     volume = open_volume(f"{folder}/a.zarr")
    ...     fingerprint(volume, {"low": 0.1}) == fingerprint(volume, {"low": 0.2})
    False
    """
    meta = affinities.metadata
    known = [
        FORMAT, version("neuropil"), absolute_path(affinities.path), list(affinities.shape), str(affinities.dtype),
        _plain(meta), stamp(affinities.path), dict(settings),
    ]  # fmt: skip
    return sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def naming(volume: Volume) -> Iterator[None]:
    """What is wrong with the voxels of a volume is told with its path."""
    try:
        yield
    except NeuropilError as error:
        told = str(error)
        raise NeuropilError(told if volume.path in told else f"{volume.path}: {told}") from error


def save_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any] | int]) -> None:
    """Write arrays under another name, then rename: the file is there whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load_arrays(path: Path, *names: str) -> list[npt.NDArray[Any]]:
    """Some of the arrays of a file, and only these are read.

    Raises:
        NeuropilError: the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return [stored[name] for name in names]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as problem:
        # What it was made of may be gone; alone it cannot be made again.
        raise NeuropilError(f"cannot read {path}: {problem}; delete {path.parents[2]} and run again") from problem


def _plain(metadata: Metadata) -> Any:
    return [list(metadata.start), metadata.offsets or NEAREST, metadata.encoding and metadata.encoding.to_json()]


def _triple(numbers: Any) -> Triple:
    z, y, x = (int(n) for n in numbers)
    return (z, y, x)
