"""Write ranked decisions as a Neuroglancer annotation layer in the precomputed format."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

from neuropil.proofreading.candidates import Proofreading
from neuropil.proofreading.ranking import Ranking, positions


def write_annotations(folder: Path, state: Proofreading, ranking: Ranking) -> None:
    """Write one point for each question, with rank, probability, gain and the segments concerned.

    Format: https://github.com/google/neuroglancer, ``src/datasource/precomputed/annotations.md``.
    """
    found = ranking.found
    places = positions(state, found.edge)[:, ::-1] + 0.5
    records = [
        struct.pack("<6f", *places[i], ranking.probability[i], ranking.gain[i], 1.0 if found.join[i] else 0.0)
        + struct.pack("<I", i + 1)
        for i in range(len(found))
    ]
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
        "relationships": [{"id": "segments", "key": "by_segment"}],
        "by_id": {"key": "by_id"},
        "spatial": [{"key": "spatial0", "grid_shape": [1, 1, 1], "chunk_size": shape, "limit": max(len(found), 1)}],
    }
    for name in ("by_id", "by_segment", "spatial0"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "info").write_text(json.dumps(info), encoding="utf-8")
    (folder / "spatial0" / "0_0_0").write_bytes(_several(records, list(range(1, len(found) + 1))))
    of_segment: dict[int, list[int]] = {}
    for i, record in enumerate(records):
        segments = sorted({int(found.id_a[i]), int(found.id_b[i])})
        for segment in segments:
            of_segment.setdefault(segment, []).append(i)
        related = struct.pack("<I", len(segments)) + np.array(segments, "<u8").tobytes()
        (folder / "by_id" / str(i + 1)).write_bytes(record + related)
    for segment, rows in of_segment.items():
        content = _several([records[i] for i in rows], [i + 1 for i in rows])
        (folder / "by_segment" / str(segment)).write_bytes(content)


def _several(records: list[bytes], ids: list[int]) -> bytes:
    """Encode a list of annotations: the count, all records, then all ids."""
    return struct.pack("<Q", len(records)) + b"".join(records) + np.array(ids, "<u8").tobytes()
