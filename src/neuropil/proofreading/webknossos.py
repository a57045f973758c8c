"""Write a webKnossos dataset: fragments as a layer, and agglomerates that join them to segments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from neuropil.proofreading.candidates import Proofreading

NAME = "neuropil"
"""Name of the agglomerate file."""


def write_webknossos(folder: Path, dataset: str, state: Proofreading, nanometres: NDArray[np.float64]) -> None:
    """Write ``datasource-properties.json``, the layer ``segmentation`` in Zarr 3, and agglomerates as HDF5 and Zarr 3.

    Args:
        folder: a new dataset.
        dataset: its name.
        state: fragments, graph, and which segment each fragment is in.
        nanometres: voxel size x, y, z.

    The dataset counts voxels from the first one of the array: webKnossos has no place for an origin.
    """
    kind = np.uint32 if state.cut.tree.fragments < 2**32 else np.uint64
    nodes = state.cut.tree.nodes(state.fragments.read()).astype(kind)
    layer = folder / "segmentation"
    shape = [int(n) for n in nodes.shape[::-1]]
    _zarr(layer / "1", nodes.transpose(2, 1, 0)[None], chunks=[1, 32, 32, 32])
    arrays = agglomerates(state)
    (layer / "agglomerates").mkdir(parents=True)
    with h5py.File(layer / "agglomerates" / f"{NAME}.hdf5", "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
    store = layer / "agglomerates" / NAME
    for name, array in arrays.items():
        _zarr(store / name, array, chunks=[max(1, min(len(array), 1 << 15)), *array.shape[1:]])
    made_by = {"voxelytics": {"artifact_schema_version": 4, "artifact_class": "AgglomerateViewArtifact"}}
    group = {"zarr_format": 3, "node_type": "group", "attributes": made_by}
    (store / "zarr.json").write_text(json.dumps(group), encoding="utf-8")
    described = {
        "id": {"name": dataset, "team": ""},
        "scale": {"factor": [float(n) for n in nanometres], "unit": "nanometer"},
        "version": 1,
        "dataLayers": [
            {
                "name": "segmentation",
                "category": "segmentation",
                "boundingBox": {
                    "topLeft": [0, 0, 0], "width": shape[0], "height": shape[1], "depth": shape[2],
                },
                "elementClass": nodes.dtype.name,
                "dataFormat": "zarr3",
                "numChannels": 1,
                "largestSegmentId": int(state.cut.tree.fragments),
                "mappings": [],
                "mags": [
                    {
                        "mag": [1, 1, 1], "path": "./segmentation/1",
                        "axisOrder": {"c": 0, "x": 1, "y": 2, "z": 3},
                    }
                ],
                "attachments": {
                    "agglomerates": [
                        {"name": NAME, "path": f"./segmentation/agglomerates/{NAME}", "dataFormat": "zarr3"}
                    ]
                },
            }
        ],
    }  # fmt: skip
    (folder / "datasource-properties.json").write_text(json.dumps(described, indent=1), encoding="utf-8")


def agglomerates(state: Proofreading) -> dict[str, NDArray[Any]]:
    """The arrays of an agglomerate file, for fragments 1…n.

    An agglomerate is a segment; agglomerates are numbered from 1 in the order of their smallest fragments. A fragment
    of segment 0 is an agglomerate of its own. Edges are those of the region graph within a segment, as positions in
    the segment's list of fragments.
    """
    lut, count = state.cut.lut, state.cut.tree.fragments
    fragment = np.arange(1, count + 1)
    segment = np.where(lut[1:] > 0, lut[1:].astype(np.int64), -fragment)
    _, first, number = np.unique(segment, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(1, len(first) + 1)
    agglomerate = np.concatenate([[0], rank[number]])
    order = np.argsort(agglomerate[1:], kind="stable")
    ends = np.cumsum(np.bincount(agglomerate[1:], minlength=len(first) + 1))
    offsets = np.concatenate([[0], ends])
    place = np.zeros(count + 1, np.int64)
    place[order + 1] = np.arange(count) - offsets[agglomerate[order + 1]]
    graph = state.cut.graph
    u, v = graph.a.astype(np.int64), graph.b.astype(np.int64)
    inside = np.flatnonzero(agglomerate[u] == agglomerate[v])
    inside = inside[np.lexsort((place[v[inside]], place[u[inside]], agglomerate[u[inside]]))]
    edge_ends = np.cumsum(np.bincount(agglomerate[u[inside]], minlength=len(first) + 1))
    return {
        "segment_to_agglomerate": agglomerate.astype(np.uint64),
        "agglomerate_to_segments_offsets": offsets.astype(np.uint64),
        "agglomerate_to_segments": (order + 1).astype(np.uint64),
        "agglomerate_to_positions": _places(state)[order].astype(np.int32),
        "agglomerate_to_edges_offsets": np.concatenate([[0], edge_ends]).astype(np.uint64),
        "agglomerate_to_edges": np.stack([place[u[inside]], place[v[inside]]], axis=1).astype(np.uint64),
        "agglomerate_to_affinities": graph.mean[inside].astype(np.float32),
    }


def _places(state: Proofreading) -> NDArray[np.int64]:
    """A voxel of each fragment, the middle one in raster order; x y z in the array, ``[fragment, 3]``."""
    nodes = state.cut.tree.nodes(state.fragments.read()).reshape(-1)
    order = np.argsort(nodes, kind="stable")
    ends = np.cumsum(state.cut.sizes)
    middle = order[ends[:-1] + (state.cut.sizes[1:] - 1) // 2]
    return np.stack(np.unravel_index(middle, state.fragments.shape)[::-1], axis=1)


def _zarr(path: Path, array: NDArray[Any], chunks: list[int]) -> None:
    """Write one Zarr 3 array."""
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": f"{path}/"},
        "metadata": {
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "zstd"}],
        },
    }
    store = ts.open(spec, create=True, dtype=array.dtype, shape=array.shape).result()
    store[...].write(array).result()
