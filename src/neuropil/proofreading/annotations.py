"""Write ranked decisions as a Neuroglancer annotation layer in the precomputed format."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.proofreading.candidates import Candidates, Proofreading
from neuropil.proofreading.ranking import Ranking, positions
from neuropil.proofreading.sharded import Item, write_sharded

RECORD = np.dtype([("place", "<f4", 3), ("probability", "<f4"), ("gain", "<f4"), ("join", "<f4"), ("rank", "<u4")])
"""A point: x, y, z in voxels of the whole volume, then the properties."""


def write_annotations(folder: Path, state: Proofreading, ranking: Ranking) -> None:
    """Write one point for each question, with rank, probability, gain and the segments concerned.

    Format: https://github.com/google/neuroglancer, ``src/datasource/precomputed/annotations.md``.
    """
    found, count = ranking.found, len(ranking.found)
    records = np.zeros(count, RECORD)
    records["place"] = positions(state, found)[:, ::-1] + 0.5
    records["probability"], records["gain"], records["join"] = ranking.probability, ranking.gain, found.join
    records["rank"] = np.arange(1, count + 1)
    for name in ("by_id", "by_segment", "spatial0"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "spatial0" / "0_0_0").write_bytes(_several(records))
    by_id = write_sharded(folder / "by_id", _single(records, found), count)
    largest = int(max(found.id_a.max(initial=0), found.id_b.max(initial=0)))
    by_segment = write_sharded(folder / "by_segment", _of_segments(records, found), largest)
    box, size = state.fragments.box, state.fragments.metadata.voxel_size or (1.0, 1.0, 1.0)
    shape = [int(n) for n in box.shape[::-1]]
    info = {
        "@type": "neuroglancer_annotations_v1",
        "dimensions": {axis: [s * 1e-9, "m"] for axis, s in zip("xyz", size[::-1], strict=True)},
        "lower_bound": [int(n) for n in box.start[::-1]],
        "upper_bound": [int(n) for n in box.stop[::-1]],
        "annotation_type": "POINT",
        "properties": [
            {"id": "probability", "type": "float32", "description": "that the present state is wrong"},
            {"id": "gain", "type": "float32", "description": "bits of VI expected if decided"},
            {"id": "join", "type": "float32", "description": "1: should these be one? 0: was this merge wrong?"},
            {"id": "rank", "type": "uint32", "description": "1 = worth most"},
        ],
        "relationships": [{"id": "segments", "key": "by_segment", "sharding": by_segment}],
        "by_id": {"key": "by_id", "sharding": by_id},
        "spatial": [{"key": "spatial0", "grid_shape": [1, 1, 1], "chunk_size": shape, "limit": max(count, 1)}],
    }
    (folder / "info").write_text(json.dumps(info), encoding="utf-8")


def _single(records: NDArray[Any], found: Candidates) -> Iterator[Item]:
    """Each annotation by its id, with the number of segments concerned and their ids."""
    low, high = (f(found.id_a, found.id_b).tolist() for f in (np.minimum, np.maximum))
    for i, (first, second) in enumerate(zip(low, high, strict=True)):
        segments = [first] if first == second else [first, second]
        related = struct.pack(f"<I{len(segments)}Q", len(segments), *segments)
        yield Item(i + 1, records[i].tobytes() + related)


def _of_segments(records: NDArray[Any], found: Candidates) -> Iterator[Item]:
    """All annotations of each segment, in the order of ranks."""
    second = np.flatnonzero(found.id_a != found.id_b)
    ids = np.concatenate([found.id_a, found.id_b[second]])
    rows = np.concatenate([np.arange(len(found)), second])
    order = np.lexsort((rows, ids))
    names, start = np.unique(ids[order], return_index=True)
    for name, first, last in zip(names.tolist(), start, np.append(start, len(order))[1:], strict=True):
        yield Item(name, _several(records[rows[order[first:last]]]))


def _several(records: NDArray[Any]) -> bytes:
    """Encode a list of annotations: the count, all records, then all ids, which are the ranks."""
    return struct.pack("<Q", len(records)) + records.tobytes() + records["rank"].astype("<u8").tobytes()
