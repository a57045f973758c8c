"""Exports, read again by the programs' own libraries: cloud-volume for Neuroglancer; layouts of the others."""

import json

import h5py
import numpy as np
import pytest
import tensorstore as ts
from typer.testing import CliRunner

from neuropil import Metadata, open_volume, write_volume
from neuropil.cli import app

SIZE = (30, 6, 6)


def call(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, f"{done.output}\n{done.exception!r}"
    return done.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two thick rods with a weak wall, and their segmentation; the origin is not 0."""
    folder = tmp_path_factory.mktemp("export")
    affinities = np.full((3, 10, 24, 60), 0.9, np.float32)
    affinities[1, :, 12] = 0.3
    affinities[2, :, :, 30] = 0.6
    where = Metadata(voxel_size=SIZE, origin=(7, 20, 30))
    write_volume(folder / "affinities.h5", affinities, where)
    call("segment", folder / "affinities.h5", "-o", folder / "segmentation.h5", "--threshold", 0.5)
    return folder


def export(folder, out, to):
    words = folder / "segmentation.h5", "-o", out, "--to", to, "--affinities", folder / "affinities.h5"
    return call("export", *words)


def test_neuroglancer_as_cloud_volume_reads_it(folder, tmp_path):
    cloudvolume = pytest.importorskip("cloudvolume")
    export(folder, tmp_path / "out", "neuroglancer")
    volume = cloudvolume.CloudVolume(
        f"precomputed://file://{tmp_path}/out/segmentation", progress=False, fill_missing=True
    )
    array = open_volume(folder / "segmentation.h5").read()
    assert volume.bounds.minpt.tolist() == [30, 20, 7]
    assert np.array_equal(np.asarray(volume[:, :, :])[..., 0].T, array)
    low, high = np.array((30, 20, 7)) * SIZE[::-1], np.array((90, 44, 17)) * SIZE[::-1]
    for number in (1, 2):
        vertices = np.asarray(volume.mesh.get(number)[number].vertices)
        assert (vertices >= low - np.array(SIZE[::-1])).all()
        assert (vertices <= high + np.array(SIZE[::-1])).all()
        wide = vertices.max(axis=0) - vertices.min(axis=0)
        assert wide == pytest.approx((60 * 6, 12 * 6, 10 * 30), abs=31)
        skeleton = volume.skeleton.get(number)
        assert len(skeleton.edges) > 5
        assert (skeleton.vertices >= low).all()
        assert (skeleton.vertices < high).all()
    properties = json.loads((tmp_path / "out/segmentation/properties/info").read_text())["inline"]
    assert properties["ids"] == ["1", "2"]
    assert properties["properties"][0]["values"] == [7200, 7200]
    assert "confidence" in {column["id"] for column in properties["properties"]}


def test_annotations_have_one_point_for_each_decision(folder, tmp_path):
    export(folder, tmp_path / "out", "neuroglancer")
    call("rank", folder / "affinities.h5", folder / "segmentation.h5", "-o", tmp_path / "d.csv")
    rows = [line.split(",") for line in (tmp_path / "d.csv").read_text().splitlines()[1:]]
    content = (tmp_path / "out/decisions/spatial0/0_0_0").read_bytes()
    kind = np.dtype([("place", "<f4", 3), ("probability", "<f4"), ("gain", "<f4"), ("join", "<f4"), ("rank", "<u4")])
    (count,) = np.frombuffer(content, "<u8", 1)
    points = np.frombuffer(content, kind, int(count), offset=8)
    assert [points["rank"].tolist(), len(content)] == [list(range(1, len(rows) + 1)), 8 + 36 * len(rows)]
    assert [p.tolist() for p in points["place"]] == [[int(r[4]) + 0.5, int(r[3]) + 0.5, int(r[2]) + 0.5] for r in rows]
    assert [bool(j) for j in points["join"]] == [row[1] == "join" for row in rows]
    info = json.loads((tmp_path / "out/decisions/info").read_text())
    stores = [
        ts.KvStore.open({"driver": "neuroglancer_uint64_sharded", "metadata": part["sharding"],
                         "base": f"file://{tmp_path}/out/decisions/{part['key']}/"}).result()
        for part in (info["by_id"], *info["relationships"])
    ]  # fmt: skip
    of_segment = {}
    for i, row in enumerate(rows):
        segments = sorted({int(row[8]), int(row[9])})
        single = stores[0][(i + 1).to_bytes(8, "big")]
        assert single[:28] == points[i].tobytes()
        assert np.frombuffer(single, "<u4", 1, 28)[0] == len(segments)
        assert np.frombuffer(single, "<u8", offset=32).tolist() == segments
        for segment in segments:
            of_segment.setdefault(segment, []).append(i)
    assert len(of_segment) > 1
    for segment, wanted in of_segment.items():
        several = stores[1][segment.to_bytes(8, "big")]
        assert np.frombuffer(several, "<u8", 1)[0] == len(wanted)
        assert several[8 : 8 + 28 * len(wanted)] == points[wanted].tobytes()
        assert np.frombuffer(several, "<u8", offset=8 + 28 * len(wanted)).tolist() == [i + 1 for i in wanted]
    assert [len(list(store.list().result())) for store in stores] == [len(rows), len(of_segment)]


def test_annotations_as_cloud_volume_reads_them(folder, tmp_path):
    pytest.importorskip("cloudvolume")
    from cloudvolume.datasource.precomputed.annotation import PrecomputedAnnotationSource

    export(folder, tmp_path / "out", "neuroglancer")
    source = PrecomputedAnnotationSource(f"precomputed://file://{tmp_path}/out/decisions")
    whole = source.get_all()
    content = (tmp_path / "out/decisions/spatial0/0_0_0").read_bytes()
    places = np.frombuffer(content, "<f4", offset=8)[: 7 * len(whole.ids)].reshape(-1, 7)[:, :3]
    assert whole.geometry.reshape(-1, 3).tolist() == places.tolist()
    assert len(source.get_by_relationship("segments", 1)) > 0


def test_no_decisions_make_an_empty_layer(tmp_path):
    write_volume(tmp_path / "a.h5", np.full((3, 4, 12, 12), 0.9, np.float32), Metadata(voxel_size=SIZE))
    call("segment", tmp_path / "a.h5", "-o", tmp_path / "s.h5", "--threshold", 0.5)
    words = "--to", "neuroglancer", "--affinities", tmp_path / "a.h5"
    assert "0 ranked decisions" in call("export", tmp_path / "s.h5", "-o", tmp_path / "out", *words)
    assert (tmp_path / "out/decisions/spatial0/0_0_0").read_bytes() == bytes(8)


def test_agglomerates_of_webknossos(folder, tmp_path):
    said = export(folder, tmp_path / "out", "webknossos")
    assert "agglomerates" in said
    described = json.loads((tmp_path / "out/datasource-properties.json").read_text())
    assert described["scale"] == {"factor": [6, 6, 30], "unit": "nanometer"}
    assert described["id"]["name"] == "out"
    fragments = open_volume(f"{tmp_path}/out/segmentation/1").read()
    segmentation = open_volume(folder / "segmentation.h5").read()
    with h5py.File(tmp_path / "out/segmentation/agglomerates/neuropil.hdf5") as file:
        arrays = {name: file[name][:] for name in file}
    assert np.array_equal(arrays["segment_to_agglomerate"][fragments], segmentation)
    offsets, ends = arrays["agglomerate_to_segments_offsets"], arrays["agglomerate_to_edges_offsets"]
    assert offsets.tolist()[:2] == [0, 0]
    for number in (1, 2):
        members = arrays["agglomerate_to_segments"][int(offsets[number]) : int(offsets[number + 1])]
        assert set(arrays["segment_to_agglomerate"][members].tolist()) == {number}
        edges = arrays["agglomerate_to_edges"][int(ends[number]) : int(ends[number + 1])]
        assert edges.max(initial=0) < len(members)
        places = arrays["agglomerate_to_positions"][int(offsets[number]) : int(offsets[number + 1])]
        for fragment, (x, y, z) in zip(members, places, strict=True):
            assert fragments[z, y, x] == fragment


def test_supervoxels_and_edges_of_pychunkedgraph(folder, tmp_path):
    export(folder, tmp_path / "out", "pychunkedgraph")
    edges = np.load(tmp_path / "out/edges.npy")
    pairs = dict(np.load(tmp_path / "out/agglomeration.npy").tolist())
    supervoxels = open_volume(f"precomputed://{tmp_path}/out/supervoxels")
    assert supervoxels.dtype == np.uint64
    segmentation = open_volume(folder / "segmentation.h5").read()
    assert np.array_equal(np.vectorize(pairs.get)(supervoxels.read()), segmentation)
    assert edges.dtype.names == ("sv1", "sv2", "aff", "area")
    assert set(np.round(edges["aff"], 1).tolist()) <= {np.float32(0.3), np.float32(0.6), np.float32(0.9), 0.3, 0.6, 0.9}
    assert edges["area"].sum() > 0


def test_swc_is_a_forest_in_nanometres(folder, tmp_path):
    export(folder, tmp_path / "out", "swc")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1.swc", "2.swc"]
    lines = (tmp_path / "out/1.swc").read_text().splitlines()
    rows = np.array([[float(word) for word in line.split()] for line in lines if line[0] != "#"])
    assert rows[:, 0].tolist() == list(range(1, len(rows) + 1))
    assert (rows[:, 6] < rows[:, 0]).all()
    assert (rows[:, 6] == -1).sum() == 1
    assert rows[:, 4].min() >= 7 * 30


def test_what_an_export_needs_is_said(folder, tmp_path):
    words = folder / "segmentation.h5", "-o", tmp_path / "out", "--to", "webknossos"
    assert "--affinities" in call("export", *words, code=2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    assert "empty folder" in call("export", folder / "segmentation.h5", "-o", tmp_path / "full", "--to", "swc", code=2)
    write_volume(tmp_path / "plain.h5", np.ones((2, 3, 4), np.uint32))
    assert "voxel size" in call("export", tmp_path / "plain.h5", "-o", tmp_path / "p", "--to", "swc", code=2)
    write_volume(tmp_path / "small.h5", np.ones((2, 3, 4), np.uint32), Metadata(voxel_size=(30, 6, 6)))
    assert "1,000 voxels" in call("export", tmp_path / "small.h5", "-o", tmp_path / "p", "--to", "swc", code=2)


def test_an_export_that_fails_leaves_nothing(folder, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("neuropil.proofreading.export._write_skeletons", full)
    words = folder / "segmentation.h5", "-o", tmp_path / "out", "--to", "neuroglancer"
    assert "No space left" in call("export", *words, code=2)
    assert list(tmp_path.iterdir()) == []
