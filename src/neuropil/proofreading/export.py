"""Export a segmentation to Neuroglancer, webKnossos, PyChunkedGraph or SWC."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.errors import NeuropilError
from neuropil.evaluation.run_length import Skeleton, skeletonize
from neuropil.proofreading.annotations import write_annotations
from neuropil.proofreading.candidates import Proofreading
from neuropil.proofreading.meshes import needs_zmesh
from neuropil.proofreading.multiscale import BITS, Octree, multiscale_mesh, needs_draco
from neuropil.proofreading.objects import SegmentRow, objects_of, with_confidence
from neuropil.proofreading.ranking import rank
from neuropil.proofreading.sharded import Item, write_sharded
from neuropil.proofreading.sources import ExportInput
from neuropil.proofreading.webknossos import write_webknossos
from neuropil.volumes import Metadata, require_labels, write_volume
from neuropil.volumes.atomic import replacing
from neuropil.volumes.marks import anything

LARGE = 1000
"""Fewest voxels of a segment that gets a mesh and a skeleton."""


def to_neuroglancer(source: ExportInput, folder: Path, final: Path) -> list[str]:
    """A precomputed segmentation with segment properties, meshes, skeletons, and ranked decisions as annotations.

    Args:
        source: the segmentation; decisions need affinities.
        folder: temporary folder for ``segmentation/`` and, with affinities, ``decisions/``.
        final: final path of the folder, for the lines.

    Returns:
        Lines that say what was written and how to open it.
    """
    target = folder / "segmentation"
    volume = require_labels(source.segmentation)
    array = volume.read()
    kind = np.uint64 if array.dtype.itemsize == 8 else np.uint32
    place = Metadata(volume.metadata.voxel_size, volume.metadata.origin)
    write_volume(f"precomputed://{target}", array.astype(kind), place)
    rows = _rows(source)
    _write_properties(target / "properties", rows)
    meshes = _write_meshes(target / "mesh", source, array, [row.id for row in rows if row.voxels >= LARGE])
    skeletons = _skeletons(source)
    _write_skeletons(target / "skeletons", source, skeletons)
    info = json.loads((target / "info").read_text(encoding="utf-8"))
    info |= {"segment_properties": "properties", "mesh": "mesh", "skeletons": "skeletons"}
    (target / "info").write_text(json.dumps(info), encoding="utf-8")
    said = [f"wrote {final / 'segmentation'}: {len(rows)} segments, {meshes} meshes, {len(skeletons)} skeletons"]
    layers: list[dict[str, Any]] = [
        {"type": "segmentation", "name": "segmentation", "source": "precomputed://http://localhost:8000/segmentation"}
    ]
    if source.state is not None and source.calibration is not None:
        ranking = rank(source.state, source.calibration)
        write_annotations(folder / "decisions", source.state, ranking)
        said.append(f"wrote {final / 'decisions'}: {len(ranking.found)} ranked decisions")
        layers.append(
            {"type": "annotation", "name": "decisions", "source": "precomputed://http://localhost:8000/decisions"}
        )
    (folder / "state.json").write_text(json.dumps({"layers": layers}, indent=1), encoding="utf-8")
    said.append(
        f"open it: neuropil view {final / 'segmentation'}; or serve {final} (CORS, range requests, port 8000) "
        "and load state.json of it"
    )
    return said


def to_webknossos(source: ExportInput, folder: Path, final: Path) -> list[str]:
    """A webKnossos dataset: fragments (supervoxels) as segmentation layer, and an agglomerate file with the segments.

    Raises:
        NeuropilError: no affinities were given.
    """
    write_webknossos(folder, final.name, _needs_state(source, "webknossos"), source.nanometres)
    return [
        f"wrote {final}: fragments (supervoxels) as a layer, agglomerates as HDF5 and Zarr 3",
        "open it: copy the folder into webKnossos' binary data folder, or `webknossos upload`",
    ]


PCG_EDGE = np.dtype([("sv1", "<u8"), ("sv2", "<u8"), ("aff", "<f4"), ("area", "<u8")])
"""An edge, with the columns of PyChunkedGraph's."""


def to_pychunkedgraph(source: ExportInput, folder: Path, final: Path) -> list[str]:
    """Fragments as a precomputed volume of uint64, their weighted edges, and which segment each fragment is in.

    ``edges.npy`` holds records sv1, sv2, aff (mean affinity), area (faces) of all pairs of touching fragments,
    ``agglomeration.npy`` pairs of fragment and segment. Ids of fragments count from 1. PyChunkedGraph wants layer and
    chunk in the upper bits of ids, fragments cut at its chunks, and files by chunk: these depend on the chunk size that
    is chosen for the ingest, and are to be made from these arrays before it.

    Raises:
        NeuropilError: no affinities were given.
    """
    state = _needs_state(source, "pychunkedgraph")
    graph, tree = state.cut.graph, state.cut.tree
    place = Metadata(source.segmentation.metadata.voxel_size, source.segmentation.metadata.origin)
    nodes = tree.nodes(state.fragments.read()).astype(np.uint64)
    write_volume(f"precomputed://{folder / 'supervoxels'}", nodes, place)
    edges = np.zeros(len(graph), PCG_EDGE)
    edges["sv1"], edges["sv2"], edges["aff"], edges["area"] = graph.a, graph.b, graph.mean, graph.count
    np.save(folder / "edges.npy", edges)
    pairs = np.stack([np.arange(len(state.cut.lut), dtype=np.uint64), state.cut.lut.astype(np.uint64)], axis=1)
    np.save(folder / "agglomeration.npy", pairs[1:])
    return [f"wrote {final}: supervoxels/, edges.npy ({len(edges)} edges), agglomeration.npy"]


def to_swc(source: ExportInput, folder: Path, final: Path) -> list[str]:
    """One SWC file for each skeleton of a segment of at least 1,000 voxels; nm, x y z.

    Raises:
        NeuropilError: no segment is so large.
    """
    skeletons = _skeletons(source)
    if not skeletons:
        raise NeuropilError(
            f"expected a segment of at least 1,000 voxels for a skeleton, got none, in {source.segmentation.path}"
        )
    for skeleton in skeletons:
        lines = [f"# segment {skeleton.id}; x y z in nm", *_swc(skeleton, source.nanometres)]
        (folder / f"{skeleton.id}.swc").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [f"wrote {final}: {len(skeletons)} files"]


TARGETS: dict[str, Callable[[ExportInput, Path, Path], list[str]]] = {
    "neuroglancer": to_neuroglancer,
    "webknossos": to_webknossos,
    "pychunkedgraph": to_pychunkedgraph,
    "swc": to_swc,
}


def export(source: ExportInput, folder: Path, target: str) -> list[str]:
    """Write one of ``TARGETS`` into a new or empty folder; returns the lines to print.

    Raises:
        NeuropilError: the folder is not empty, no voxel size, or as the target's function.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise NeuropilError(f"expected a new or empty folder to export into, got {folder}")
    if source.segmentation.metadata.voxel_size is None:
        raise NeuropilError(f"expected a voxel size, which exports need; none is in {source.segmentation.path}")
    with replacing(folder, anything) as temporary:
        temporary.mkdir()
        return TARGETS[target](source, temporary, folder)


def _rows(source: ExportInput) -> list[SegmentRow]:
    """The object table, with confidence if affinities were given."""
    rows = objects_of(source.segmentation)
    if source.state is None or source.calibration is None:
        return rows
    return with_confidence(rows, source.state, source.calibration)


def _needs_state(source: ExportInput, target: str) -> Proofreading:
    if source.state is None:
        raise NeuropilError(f"--to {target} exports fragments (supervoxels) and their edges: give --affinities")
    return source.state


def _skeletons(source: ExportInput) -> list[Skeleton]:
    return skeletonize(source.segmentation, dust=LARGE)


def _write_properties(folder: Path, rows: list[SegmentRow]) -> None:
    """Segment properties of Neuroglancer: size and, where known, confidence and the weakest merge."""
    columns = [("voxels", "size in voxels", [float(row.voxels) for row in rows])]
    if any(row.confidence is not None for row in rows):
        columns.append(("confidence", "probability of being right", [row.confidence or 0.0 for row in rows]))
        columns.append(("weakest_merge", "lowest affinity of a merge", [row.weakest_merge or 1.0 for row in rows]))
    properties = [
        {"id": name, "type": "number", "description": text, "data_type": "float32", "values": values}
        for name, text, values in columns
    ]
    inline = {"ids": [str(row.id) for row in rows], "properties": properties}
    folder.mkdir(parents=True)
    text = json.dumps({"@type": "neuroglancer_segment_properties", "inline": inline})
    (folder / "info").write_text(text, encoding="utf-8")


_FINEST = 1000.0
"""Smallest edge in nm of a node of the octree of a mesh."""
_VOXELS = 32
"""Fewest voxels along the edge of a node."""
_FEWEST = 12
"""Faces of a mesh that is not simplified further."""
_PLAIN = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]
"""The transform of coordinates that are nm already."""


def _write_meshes(folder: Path, source: ExportInput, array: NDArray[Any], ids: list[int]) -> int:
    """Write meshes in nm in Neuroglancer's multi-resolution format, sharded; returns their number.

    The error of the finest level is at most the largest side of a voxel; each further one has a quarter of the faces.
    """
    needs_draco()
    zmesh, size = needs_zmesh(), source.nanometres
    largest = float(size.max())
    finest = max(_FINEST, _VOXELS * largest)
    mesher = zmesh.Mesher(tuple(size))
    mesher.mesh(np.asfortranarray(np.pad(array, 1).transpose(2, 1, 0)))
    start = (np.array(source.segmentation.box.start[::-1]) - 1) * size  # of the padded array

    def item(number: int) -> Item:
        mesh = mesher.get(number, reduction_factor=50, max_error=largest, voxel_centered=True)
        mesher.erase(number)
        octree = Octree.around(mesh.vertices + start, finest)
        levels = []
        for _ in range(octree.levels):
            levels.append((mesh.vertices + start, mesh.faces))
            simpler = zmesh.simplify_fqmr(mesh, target_count=max(len(mesh.faces) // 4, _FEWEST))
            mesh = simpler if len(simpler.faces) else mesh
        return multiscale_mesh(number, levels, octree, largest)

    chosen = sorted(set(ids) & {int(n) for n in mesher.ids()})
    folder.mkdir(parents=True)
    sharding = write_sharded(folder, map(item, chosen), max(chosen, default=0))
    info = {"@type": "neuroglancer_multilod_draco", "vertex_quantization_bits": BITS, "transform": _PLAIN,
            "lod_scale_multiplier": 1, "sharding": sharding}  # fmt: skip
    (folder / "info").write_text(json.dumps(info), encoding="utf-8")
    return len(chosen)


def _write_skeletons(folder: Path, source: ExportInput, skeletons: list[Skeleton]) -> None:
    """Write skeletons in nm in Neuroglancer's sharded format."""
    folder.mkdir(parents=True)

    def items() -> Iterator[Item]:
        for skeleton in sorted(skeletons, key=lambda one: one.id):
            places = (skeleton.nodes[:, ::-1] * source.nanometres).astype("<f4")
            counts = np.array([len(places), len(skeleton.edges)], "<u4").tobytes()
            yield Item(skeleton.id, counts + places.tobytes() + skeleton.edges.astype("<u4").tobytes())

    sharding = write_sharded(folder, items(), max((skeleton.id for skeleton in skeletons), default=0))
    info = {"@type": "neuroglancer_skeletons", "transform": _PLAIN, "vertex_attributes": [], "sharding": sharding}
    (folder / "info").write_text(json.dumps(info), encoding="utf-8")


def _swc(skeleton: Skeleton, nanometres: NDArray[np.float64]) -> list[str]:
    """Lines of SWC: number, type 0, x, y, z, radius, parent; each part of the skeleton begins with a root, -1."""
    near: dict[int, list[int]] = {}
    for u, v in skeleton.edges.tolist():
        near.setdefault(u, []).append(v)
        near.setdefault(v, []).append(u)
    lines: list[str] = []
    number: dict[int, int] = {}
    for root in sorted(near):
        waiting = [] if root in number else [(root, -1)]
        while waiting:
            node, parent = waiting.pop()
            if node in number:
                continue
            number[node] = len(number) + 1
            x, y, z = (skeleton.nodes[node, ::-1] * nanometres).tolist()
            lines.append(f"{number[node]} 0 {x:g} {y:g} {z:g} {nanometres.min():g} {parent}")
            waiting += [(other, number[node]) for other in sorted(near[node], reverse=True)]
    return lines
