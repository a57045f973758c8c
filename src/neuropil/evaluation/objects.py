"""The largest errors of a segmentation: split neurons and merging segments, with positions to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from neuropil.errors import NeuropilError
from neuropil.evaluation.blame import Blame, Cut
from neuropil.evaluation.components import with_connected_parts
from neuropil.evaluation.contact import Meeting, meetings
from neuropil.evaluation.placing import Placed, Readable, place, read_box
from neuropil.evaluation.table import Contingency, contingency, from_pairs, sizes_of_pairs
from neuropil.geometry import Box, Triple

_LARGEST = 1 << 28
"""Largest box, in voxels, in which the truth is split into connected components, which needs it in memory."""
_PIECES = 12
"""Pieces listed of an object; smaller ones are only counted."""


@dataclass(frozen=True)
class Piece:
    """A part of an object: of a neuron in a segment, or of a segment in a neuron."""

    id: int
    """Segment (of a split neuron) or neuron (of a merging segment); segment 0: voxels in no segment."""
    voxels: int


@dataclass(frozen=True)
class ObjectError:
    """One neuron in several segments (split), or one segment in several neurons (merge)."""

    kind: Literal["split", "merge"]
    id: int
    """The neuron that is split, or the segment that merges."""
    voxels: int
    """Its voxels with truth > 0."""
    bits: float
    """Its share of VI split or VI merge."""
    pieces: tuple[Piece, ...]
    """Largest first, a dozen at most."""
    more: int
    """Number of further pieces."""
    position: Triple
    """A voxel of the image, z y x, where the second largest piece meets the rest of the object."""
    score: float | None = None
    """Merge: score of the merge that joined the most voxels wrongly. Split: score at which the two largest pieces would
    have been joined. None where no tree was given, or the tree never joins them."""

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return {**asdict(self), "pieces": [asdict(piece) for piece in self.pieces], "position": list(self.position)}


@dataclass(frozen=True)
class WorstErrors:
    """The splits and merges with the largest share of VI, worst first."""

    splits: tuple[ObjectError, ...]
    merges: tuple[ObjectError, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers."""
        return {"splits": [e.to_json() for e in self.splits], "merges": [e.to_json() for e in self.merges]}


def worst_errors(
    segmentation: Readable, labels: Readable, *, count: int = 10, box: Box | None = None, cut: Cut | None = None
) -> WorstErrors:
    """Find the objects with the largest errors, and where these are.

    Objects are ranked by their share of the variation of information: a neuron of t voxels in pieces n_j adds
    Σ n_j log2(t / n_j) / N bits to VI split, a segment likewise to VI merge. A neuron that leaves the box and comes
    back is no error: splits are counted within the connected components of neurons in the box (in boxes of up to 268
    million voxels).

    Files are read twice, a few sections at a time; connected components and ``cut`` need the whole box in memory.

    Args:
        segmentation: ids ``[z, y, x]``: an array, a volume or a path.
        labels: truth ids; 0 is left out.
        count: how many of each kind.
        box: which voxels of the image to compare, as for ``evaluate``.
        cut: merge tree, fragments and threshold that the segmentation was made with, to name the wrong merges.

    Raises:
        NeuropilError: as ``evaluate``.

    >>> labels = np.repeat([[[1, 1, 1, 2, 2, 2]]], 3, axis=1)
    >>> worst = worst_errors(np.where(labels == 2, 5, [4, 5, 5, 5, 5, 5]), labels)
    >>> worst.splits[0].id, worst.merges[0].id, [piece.voxels for piece in worst.merges[0].pieces]
    (1, 5, [9, 6])
    """
    return worst_errors_in(place(segmentation, labels, box), count=count, cut=cut)


def worst_errors_in(placed: Placed, *, count: int = 10, cut: Cut | None = None) -> WorstErrors:
    """:func:`worst_errors` of volumes that are placed already."""
    table = placed.table.without_truth(0)
    if not len(table):
        raise NeuropilError(f"nothing to judge: no voxel of {placed.box} has a label above 0")
    turned = from_pairs(table.segment, table.truth, table.count)
    merges = _located(placed, _worst("merge", turned, count), cut)
    if placed.box.size > _LARGEST:
        return WorstErrors(_located(placed, _worst("split", table, count), cut), merges)
    parted = with_connected_parts(placed)
    splits = _located(parted, _worst("split", parted.table.without_truth(0), count), cut)
    owner = contingency(read_box(placed.labels, placed.box), read_box(parted.labels, parted.box))
    neuron = dict(zip(owner.truth.tolist(), owner.segment.tolist(), strict=True))
    return WorstErrors(tuple(replace(error, id=neuron[error.id]) for error in splits), merges)


def _located(placed: Placed, found: Sequence[ObjectError], cut: Cut | None) -> tuple[ObjectError, ...]:
    """Errors with their positions and, if the tree is given, the scores of their merges."""
    if not found:
        return ()
    shown = [_shown(error) for error in found]
    pairs = zip(found, shown, strict=True)
    wanted = [Meeting(error.kind == "split", error.id, ids[min(1, len(ids) - 1)]) for error, ids in pairs]
    blame = Blame(cut, placed) if cut else None
    return tuple(_judged(error, at, blame) for error, at in zip(found, meetings(placed, wanted), strict=True))


def _worst(kind: Literal["split", "merge"], table: Contingency, count: int) -> list[ObjectError]:
    """The objects (``table.truth``) with the largest cost of their pieces (``table.segment``), without positions."""
    n = table.count.astype(np.float64)
    order = np.lexsort((-n, table.truth))
    whole, _ = sizes_of_pairs(table)
    bits = (n * np.log2(whole / n) / n.sum())[order]
    owner, piece, voxels = table.truth[order], table.segment[order], table.count[order]
    first = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])
    cost, stop = np.add.reduceat(bits, first), np.r_[first[1:], len(owner)]
    ranked = [k for k in np.argsort(-cost, kind="stable") if cost[k] > 0 and owner[first[k]] > 0]
    errors = []
    for k in ranked[:count]:
        own = slice(int(first[k]), int(stop[k]))
        pieces = [Piece(int(p), int(v)) for p, v in zip(piece[own][:_PIECES], voxels[own][:_PIECES], strict=True)]
        more, size = len(piece[own]) - len(pieces), int(voxels[own].sum())
        errors.append(ObjectError(kind, int(owner[own][0]), size, float(cost[k]), tuple(pieces), more, (0, 0, 0)))
    return errors


def _shown(error: ObjectError) -> list[int]:
    """The ids of an object's pieces without 0, unless there is no other."""
    return [piece.id for piece in error.pieces if piece.id > 0] or [error.pieces[0].id]


def _judged(error: ObjectError, position: Triple, blame: Blame | None) -> ObjectError:
    """An error with its position and, if the tree is given, the score of its merge."""
    score, shown = None, _shown(error)
    if blame and error.kind == "merge":
        score, place = blame.worst_merge_in(error.id)
        position = place or position
    elif blame and len(shown) > 1:
        score = blame.joining(error.id, shown[0], shown[1])
    return replace(error, position=position, score=score)
