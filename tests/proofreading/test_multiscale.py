"""Meshes in several levels: cut without loss, as the format says, and read by cloud-volume."""

import json
import shutil
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from browser import needs_browser, start
from neuropil import Metadata
from neuropil.errors import NeuropilError
from neuropil.proofreading import multiscale
from neuropil.proofreading.export import export
from neuropil.proofreading.multiscale import Octree, cut_at_grid, multiscale_mesh
from neuropil.proofreading.sources import ExportInput
from neuropil.volumes import array_volume


def sphere(steps=40):
    """Vertices and faces of a ball of radius 1, closed."""
    around, up = np.linspace(0, 2 * np.pi, 2 * steps, endpoint=False), np.linspace(0, np.pi, steps + 1)[1:-1]
    ring = np.stack([np.cos(around), np.sin(around)], axis=1)
    rows = [np.column_stack([np.sin(u) * ring, np.full(len(ring), np.cos(u))]) for u in up]
    vertices = np.concatenate([*rows, [[0, 0, 1], [0, 0, -1]]])
    n, faces = len(ring), []
    for i in range(n):
        j = (i + 1) % n
        faces += [(len(vertices) - 2, i, j), (len(vertices) - 1, (len(rows) - 1) * n + j, (len(rows) - 1) * n + i)]
        for r in range(len(rows) - 1):
            faces += [(r * n + i, (r + 1) * n + i, (r + 1) * n + j), (r * n + i, (r + 1) * n + j, r * n + j)]
    return vertices, np.array(faces)


def area(triangles):
    return np.linalg.norm(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), axis=1) / 2


def volume_inside(triangles):
    return np.einsum("ij,ij->i", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2])).sum() / 6


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("whole", [False, True])
def test_cutting_keeps_area_and_orientation_and_stays_in_cells(seed, whole):
    rng = np.random.default_rng(seed)
    triangles = rng.random((300, 3, 3)) * 5
    triangles = np.round(triangles) + 0.0 if whole else triangles  # corners on the planes
    pieces, cells = cut_at_grid(triangles, 1.0)
    assert area(pieces).sum() == pytest.approx(area(triangles).sum())
    inside = (pieces >= cells[:, None] - 1e-12) & (pieces <= cells[:, None] + 1 + 1e-12)
    real = area(pieces) > 0  # a triangle in a plane may count for the cell on either side
    assert inside[real].all()
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]).sum(axis=0)
    assert np.cross(pieces[:, 1] - pieces[:, 0], pieces[:, 2] - pieces[:, 0]).sum(axis=0) == pytest.approx(normal)


def test_a_closed_surface_stays_closed():
    vertices, faces = sphere()
    triangles = (vertices + 1.1)[faces]
    pieces, _ = cut_at_grid(triangles, 0.3)
    assert len(pieces) > 1.5 * len(triangles)
    assert volume_inside(pieces) == pytest.approx(volume_inside(triangles))
    _, corner = np.unique(pieces.reshape(-1, 3), axis=0, return_inverse=True)
    around = corner.reshape(-1, 3)
    around = around[[len(set(corners)) == 3 for corners in around.tolist()]]
    edges = np.concatenate([around[:, [0, 1]], around[:, [1, 2]], around[:, [2, 0]]])
    pairs, count = np.unique(np.sort(edges, axis=1), axis=0, return_counts=True)
    assert (count[pairs[:, 0] != pairs[:, 1]] == 2).all()  # the same points on both sides of every cut


def parsed(item, levels):
    """The manifest as the format describes it: scales, and for each level node positions and fragments."""
    words = np.frombuffer(item.content, "<u4")
    floats = np.frombuffer(item.content, "<f4")
    assert words[6] == levels
    scales, counts = floats[7 : 7 + levels], words[7 + 4 * levels : 7 + 5 * levels]
    at, begin, found = 7 + 5 * levels, 0, []
    for count in counts:
        nodes = words[at : at + 3 * count].reshape(3, count).T
        sizes = words[at + 3 * count : at + 4 * count]
        ends = begin + np.concatenate([[0], np.cumsum(sizes)]).astype(int)
        found.append((nodes, [item.before[a:b] for a, b in pairwise(ends)]))
        at, begin = at + 4 * count, ends[-1]
    assert (at, begin) == (len(words), len(item.before))
    return floats[:3], floats[3:6], scales, found


def test_fragments_are_as_neuroglancer_needs_them():
    draco = pytest.importorskip("DracoPy", reason="the extra `mesh` is not installed")
    vertices, faces = sphere()
    vertices = vertices * 350 + (1000, 2000, 500)
    octree = Octree.around(vertices, 100.0)
    assert octree.levels == 4
    coarse = sphere(12)
    levels = [(vertices, faces), *[(coarse[0] * 350 + (1000, 2000, 500), coarse[1])] * 3]
    item = multiscale_mesh(5, levels, octree, 30.0)
    shape, origin, scales, found = parsed(item, 4)
    assert shape.tolist() == [100, 100, 100]
    assert scales.tolist() == [30, 60, 120, 240]
    assert len(found[3][0]) == 1
    for level, (nodes, fragments) in enumerate(found):
        assert len({tuple(node) for node in nodes.tolist()}) == len(nodes)
        if level:
            parents = {tuple(node) for node in (found[level - 1][0] // 2).tolist()}
            assert parents <= {tuple(node) for node in nodes.tolist()}
        total = 0.0
        for node, fragment in zip(nodes, fragments, strict=True):
            if not fragment:
                continue
            mesh = draco.decode(fragment)
            points, corners = np.asarray(mesh.points, np.float64), np.asarray(mesh.faces).reshape(-1, 3)
            assert (points == np.rint(points)).all()
            assert points.min() >= 0
            assert points.max() <= 65535
            triangles = points[corners]
            if level:  # no triangle crosses the middle of a node
                assert ((triangles <= 32768).all(axis=1) | (triangles >= 32768).all(axis=1)).all()
            real = origin + shape * 2**level * (node + triangles / 65535)
            away = np.linalg.norm(real - (1000, 2000, 500), axis=2)
            assert away.max() < 351
            assert away.min() > (349 if level == 0 else 330)
            total += area(real).sum()
        given = levels[level][0][levels[level][1]]
        assert total == pytest.approx(area(given).sum(), rel=1e-3)


def test_vertices_far_from_zero_are_not_before_the_first_node():
    for at in (16_777_217.5, 33_554_435.0, 1e9 + 1):
        vertices = np.array([[at, at, at], [at + 300, at, at + 20]])
        octree = Octree.around(vertices, 100.0)
        assert (octree.origin.astype(np.float32) == octree.origin).all()
        assert (octree.origin <= vertices.min(axis=0)).all()
        assert (vertices.max(axis=0) - octree.origin <= 100 * 2 ** (octree.levels - 1)).all()


PAGE = """<body>wait</body><script>
let module, found, parts
const env = {emscripten_notify_memory_growth() {}, proc_exit(code) { throw code },
    neuroglancer_draco_receive_decoded_mesh(faces, points, corners, places, starts) {
        const take = (at, n) => Array.from(new Uint32Array(module.exports.memory.buffer, at, n))
        found = {corners: take(corners, 3 * faces), places: take(places, 3 * points), starts: take(starts, parts + 1)}}}
window.decode = async (data, partition) => {
    if (!module) {
        const made = await WebAssembly.instantiateStreaming(fetch("draco.wasm"), {env, wasi_snapshot_preview1: env})
        module = made.instance
        module.exports._initialize()
    }
    parts = partition ? 8 : 1
    const at = module.exports.malloc(data.length)
    new Uint8Array(module.exports.memory.buffer).set(new Uint8Array(data), at)
    const code = module.exports.neuroglancer_draco_decode(at, data.length, partition, 16, true)
    return code ? {code} : found
}</script>"""


@needs_browser
def test_the_decoder_of_neuroglancer_reads_every_fragment(tmp_path):
    draco = pytest.importorskip("DracoPy", reason="the extra `mesh` is not installed")
    neuroglancer = pytest.importorskip("neuroglancer")
    static = Path(neuroglancer.__file__).parent / "static/client"
    (decoder,) = (path for path in static.glob("*.wasm") if b"neuroglancer_draco_decode" in path.read_bytes())
    shutil.copy(decoder, tmp_path / "draco.wasm")
    (tmp_path / "index.html").write_text(PAGE)
    vertices, faces = sphere(20)
    octree = Octree.around(vertices * 350, 200.0)
    _, _, _, found = parsed(multiscale_mesh(5, [(vertices * 350, faces)] * 3, octree, 30.0), 3)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser = start()
    try:
        browser.get(f"http://127.0.0.1:{server.server_port}/index.html")
        seen = 0
        for level, (_, fragments) in enumerate(found):
            for fragment in filter(None, fragments):
                script = "decode(arguments[0], arguments[1]).then(arguments[2])"
                read = browser.execute_async_script(script, list(fragment), level > 0)
                mesh = draco.decode(fragment)
                points = np.array(read["places"]).reshape(-1, 3)
                triangles = points[np.array(read["corners"]).reshape(-1, 3)]
                wanted = np.asarray(mesh.points, np.int64)[np.asarray(mesh.faces).reshape(-1, 3)]
                assert sorted(triangles.tolist()) == sorted(wanted.tolist())
                ends = np.array(read["starts"]) // 3
                assert ends[-1] == len(triangles)
                for part, (a, b) in enumerate(pairwise(ends) if level else ()):
                    for axis in range(3):
                        inside = triangles[a:b, :, axis]
                        assert ((inside >= 32768) if part >> axis & 1 else (inside <= 32768)).all()
                seen += 1
        assert seen > 50
    finally:
        browser.quit()
        server.shutdown()
        server.server_close()


def test_nodes_stand_along_the_z_order_curve():
    nodes = np.array([(x, y, z) for z in range(4) for y in range(4) for x in range(4)])
    place = multiscale._z_order(nodes)
    assert sorted(place.tolist()) == list(range(64))
    first = nodes[np.argsort(place)][:9].tolist()
    assert first == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1], [2, 0, 0]]


def test_every_level_of_an_export_as_cloud_volume_reads_it(tmp_path):
    cloudvolume = pytest.importorskip("cloudvolume")
    pytest.importorskip("DracoPy", reason="the extra `mesh` is not installed")
    z, y, x = np.ogrid[:40, :180, :190]
    ball = ((z - 20) * 30) ** 2 + ((y - 90) * 6) ** 2 + ((x - 95) * 6) ** 2 <= 480**2
    array = np.where(ball, 70, 0).astype(np.uint32)
    array[:, :8] = 9000
    source = ExportInput(array_volume(array, Metadata(voxel_size=(30, 12, 12), origin=(7, 20, 30))))
    export(source, tmp_path / "out", "neuroglancer")
    volume = cloudvolume.CloudVolume(f"precomputed://file://{tmp_path}/out/segmentation", progress=False)
    assert json.loads((tmp_path / "out/segmentation/mesh/info").read_text())["sharding"]["shard_bits"] == 1
    assert volume.mesh.get_manifest(70).num_lods == 2
    assert volume.mesh.get_manifest(71) is None
    centre = np.array(((95.5 + 30) * 12, (90.5 + 20) * 12, (20.5 + 7) * 30))
    faces = []
    for level in range(2):
        mesh = volume.mesh.get(70, lod=level)[70]
        away = (np.asarray(mesh.vertices) - centre) / (2, 2, 1)
        length = np.linalg.norm(away, axis=1)
        assert 480 - 45 * 2**level < length.min()
        assert length.max() < 480 + 45 * 2**level
        faces.append(len(mesh.faces))
    assert faces[1] < faces[0]
    assert len(volume.mesh.get(9000, lod=0)[9000].faces) > 10
    assert len(volume.skeleton.get(9000).edges) > 5
    assert len(volume.skeleton.get(70).vertices) > 0


def test_without_draco_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "DracoPy", None)
    with pytest.raises(NeuropilError, match=r"neuropil\[mesh\]"):
        multiscale.needs_draco()
