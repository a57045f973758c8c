"""Absent chunks are counted, stray files are no chunks, and chunks under two kinds of names are refused."""

import json
import shutil
import threading
import warnings
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts
import zarr

from foreign import IMAGE, numbers, same, write_n5
from neuropil.errors import NeuropilError, Note
from neuropil.geometry import Box
from neuropil.volumes import Metadata, create_volume, open_volume
from neuropil.volumes.formats import presence

BIG = numbers((5, 20, 30))


class RangeHandler(SimpleHTTPRequestHandler):
    """Files of a folder, whole or the range that is asked for, as buckets give them."""

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data, asked = path.read_bytes(), self.headers.get("Range")
        start, stop = 0, len(data)
        if asked:
            first, last = asked.removeprefix("bytes=").split("-")
            start = int(first) if first else max(len(data) - int(last), 0)
            stop = min(int(last) + 1, stop) if first and last else stop
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        self.wfile.write(data[start:stop])

    def log_message(self, *_):
        pass


@pytest.fixture
def bucket(tmp_path):
    """The address of a server of the files in a folder."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(RangeHandler, directory=tmp_path))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def write_sharded(store, filled, **options):
    """Shards of 4×16×16, chunks of 2×8×8, of which those outside of ``filled`` are never written."""
    shard = {"shards": (4, 16, 16), "chunks": (2, 8, 8)}
    array = zarr.create_array(store, shape=BIG.shape, dtype="u1", fill_value=7, **(shard | options))
    array[filled] = BIG[filled]
    return array


def expected(filled):
    found = np.full_like(BIG, 7)
    found[filled] = BIG[filled]
    return found


@pytest.mark.parametrize("options", [{}, {"order": (2, 0, 1)}, {"at": "start"}, {"zip": True}])
@pytest.mark.parametrize(
    ("filled", "absent"),
    [
        ((slice(0, 2), slice(0, 8), slice(0, 8)), 35),
        ((slice(0, 5), slice(0, 20), slice(0, 24)), 9),
        ((slice(2, 5), slice(0, 20), slice(0, 30)), 12),
        ((slice(0, 5), slice(0, 20), slice(0, 30)), 0),
    ],
)
def test_chunks_absent_in_shards(tmp_path, options, filled, absent):
    how = {}
    if "order" in options:
        how["filters"] = [zarr.codecs.TransposeCodec(order=options["order"])]
    if "at" in options:
        how["shards"] = {"shape": (4, 16, 16), "index_location": "start"}
    path = tmp_path / ("a.zarr.zip" if "zip" in options else "a.zarr")
    if "zip" in options:
        with zarr.storage.ZipStore(path, mode="w") as store:
            write_sharded(store, filled)
    else:
        write_sharded(path, filled, **how)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        same(path, expected(filled))
    notes = [str(one.message) for one in told if issubclass(one.category, Note)]
    assert [f"{absent} of 36 chunks" in note for note in notes] == ([True] if absent else [])


@pytest.mark.parametrize("shards", [True, False])
def test_many_chunks_are_looked_for_when_they_are_read(tmp_path, monkeypatch, shards):
    monkeypatch.setattr(presence, "COUNTED", 3)
    filled = (slice(0, 4), slice(0, 16), slice(0, 8))
    array = write_sharded(tmp_path / "a.zarr", filled, **({} if shards else {"shards": None}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        volume = open_volume(tmp_path / "a.zarr")
        assert (volume.read(Box((0, 0, 0), (4, 16, 8))) == BIG[filled]).all()
    with pytest.warns(Note, match=f"of the {8 if shards else 36} chunks .* missing"):
        assert (volume.read() == expected(filled)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        volume.read()
    array[:] = BIG
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(tmp_path / "a.zarr", BIG)


@pytest.mark.parametrize("shards", [True, False])
@pytest.mark.parametrize("form", ["zarr", "n5"])
def test_chunks_absent_in_a_bucket(tmp_path, bucket, shards, form):
    """They are told once, and values that are there and all the same are not."""
    if form == "n5" and shards:
        pytest.skip("N5 has none")
    filled = (slice(0, 4), slice(0, 16), slice(0, 24 if shards else 16))
    image = expected(filled)
    image[:2, :8, :8] = 7
    if form == "zarr":
        write_sharded(tmp_path / "a.zarr", (slice(0, 0),) * 3, **({} if shards else {"shards": None}))
        with zarr.config.set({"array.write_empty_chunks": True}):
            zarr.open_array(tmp_path / "a.zarr")[filled] = image[filled]
    else:
        write_n5(tmp_path / "a.n5", image[:, :, :16], {})
        described = json.loads((tmp_path / "a.n5/attributes.json").read_text())
        (tmp_path / "a.n5/attributes.json").write_text(json.dumps(described | {"dimensions": [30, 20, 5]}))
        image = np.where(np.arange(30) < 16, image, 0).astype("u1")
    volume = open_volume(f"{form}://{bucket}/a.{form}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (volume.read(Box((0, 0, 0), (4, 16, 16))) == image[:4, :16, :16]).all()
    with pytest.warns(Note, match="some that are read are missing"):
        assert (volume.read() == image).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        volume.read()


def test_a_shard_without_room_for_its_list_is_refused(tmp_path):
    write_sharded(tmp_path / "a.zarr", ...)
    (tmp_path / "a.zarr/c/0/0/0").write_bytes(b"short")
    with pytest.raises(NeuropilError, match=r"c/0/0/0.*truncated"):
        open_volume(tmp_path / "a.zarr")


@pytest.mark.parametrize("form", [2, 3])
def test_stray_files_are_no_chunks(tmp_path, form):
    array = zarr.create_array(tmp_path / "a.zarr", shape=IMAGE.shape, chunks=(2, 10, 10), dtype="u1", zarr_format=form)
    array[:2] = IMAGE[:2]
    for stray in ("0.0.00", "0.0", "0.0.0~", "notes.txt", "c/0/0/00", "c/0/0/0.tmp"):
        (tmp_path / "a.zarr" / stray).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "a.zarr" / stray).write_bytes(b"stray")
    with pytest.warns(Note, match="6 of 12 chunks"):
        open_volume(tmp_path / "a.zarr")


@pytest.mark.parametrize("most", [100_000, 3])
@pytest.mark.parametrize("separator", [".", "/", None])
def test_chunks_under_two_kinds_of_names_are_refused(tmp_path, monkeypatch, separator, most):
    """As two programs leave them that each took another separator for granted."""
    monkeypatch.setattr(presence, "COUNTED", most)
    array = zarr.create_array(tmp_path / "a.zarr", shape=IMAGE.shape, chunks=(2, 10, 10), dtype="u1", zarr_format=2)
    array[:] = IMAGE
    for flat in list((tmp_path / "a.zarr").glob("1.*")):
        nested = tmp_path / "a.zarr" / flat.name.replace(".", "/")
        nested.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(flat, nested)
    described = json.loads((tmp_path / "a.zarr/.zarray").read_text())
    described["dimension_separator"] = separator
    if separator is None:
        del described["dimension_separator"]
    (tmp_path / "a.zarr/.zarray").write_text(json.dumps(described))
    with pytest.raises(NeuropilError, match="two kinds of names"):
        open_volume(tmp_path / "a.zarr").read()


@pytest.mark.parametrize("name", ["a.zarr", "a.n5", "zarr2://a.zarr"])
def test_zeros_that_were_written_here_are_there(tmp_path, name):
    """So a chunk that is absent was lost, which is told, or lies outside of a mask."""
    path = name.replace("a.", f"{tmp_path}/a.")
    for at, extra in enumerate(({}, {"tissue": {}})):
        metadata = Metadata(extra=extra)
        with create_volume(path, (8, 20, 20), "u1", metadata, chunks=(4, 10, 10)) as volume:
            volume.write(Box((0, 0, 0), (4, 20, 20)), BIG[:4, :, :20] * (np.arange(20) < 10))
        with open_volume(path, "r+") as volume:
            volume.write(Box((4, 0, 0), (8, 20, 20)), np.zeros((4, 20, 20), "u1"))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert not open_volume(path).read()[4:, :, :].any()
        chunks = [one for one in (tmp_path / Path(path).name).rglob("*") if one.name[-1].isdigit()]
        next(one for one in chunks if one.is_file()).unlink()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            open_volume(path)
        assert ["1 of 8 chunks" in str(one.message) for one in told] == [True] * (1 - at)


def test_blocks_of_no_fixed_length_are_refused(tmp_path):
    """As Paintera writes label multisets, here without the attribute that says so."""
    write_n5(tmp_path / "a.n5", IMAGE, {})
    block = tmp_path / "a.n5/0/0/0"
    data = block.read_bytes()
    block.write_bytes(b"\0\1" + data[2:16] + (IMAGE.size).to_bytes(4) + data[16:])
    with pytest.raises(NeuropilError, match="got mode 1"):
        open_volume(tmp_path / "a.n5").read()


def test_shards_within_shards_are_read_and_told(tmp_path):
    import tensorstore as ts

    plain = {"name": "bytes", "configuration": {"endian": "little"}}
    inner = {"chunk_shape": [1, 4, 4], "codecs": [plain], "index_codecs": [plain, {"name": "crc32c"}]}
    outer = inner | {"chunk_shape": [2, 8, 8], "codecs": [{"name": "sharding_indexed", "configuration": inner}]}
    described = {
        "shape": list(BIG.shape), "data_type": "uint8", "fill_value": 7,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 16, 16]}},
        "codecs": [{"name": "sharding_indexed", "configuration": outer}],
    }  # fmt: skip
    spec = {"driver": "zarr3", "kvstore": f"file://{tmp_path}/a.zarr/", "metadata": described}
    ts.open(spec, create=True).result().write(BIG).result()
    with pytest.warns(Note, match="shards are nested"):
        same(tmp_path / "a.zarr", BIG)


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_blocks_that_end_too_early_are_refused(tmp_path, bucket, place):
    write_n5(tmp_path / "a.n5", IMAGE, {})
    (tmp_path / "b.n5").mkdir()
    write_n5(tmp_path / "b.n5/s", IMAGE[:, :, :20], {})
    (tmp_path / "b.n5/s/attributes.json").write_bytes((tmp_path / "a.n5/attributes.json").read_bytes())
    where = f"n5://{bucket}" if place == "bucket" else tmp_path
    same(f"{where}/a.n5", IMAGE)
    with pytest.raises(NeuropilError, match=r"expected 30 × 20 × 4 voxels .* got 20 × 20 × 4"):
        open_volume(f"{where}/b.n5/s").read()


@pytest.mark.parametrize("form", ["zarr", "n5"])
def test_chunks_beyond_the_shape_are_told_and_with_others_absent_refused(tmp_path, form):
    """As where an array was made smaller and its files left; or where its description is that of another one."""
    if form == "zarr":
        zarr.create_array(tmp_path / "a.zarr", data=BIG, chunks=(2, 8, 8), zarr_format=2)
        path, shape, chunk = tmp_path / "a.zarr/.zarray", {"shape": [4, *BIG.shape[1:]]}, {"chunks": [4, 8, 4]}
    else:
        about = {"dimensions": BIG.shape[::-1], "blockSize": [8, 8, 2], "dataType": "uint8"}
        spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{tmp_path}/a.n5"}}
        spec["metadata"] = about | {"compression": {"type": "raw"}}
        ts.open(spec, create=True).result().write(BIG.T).result()
        path, shape = tmp_path / "a.n5/attributes.json", {"dimensions": [*BIG.shape[:0:-1], 4]}
        chunk = {"blockSize": [4, 8, 4]}
    described = json.loads(path.read_text())
    path.write_text(json.dumps(described | shape))
    with pytest.warns(Note, match=r"12 files of .* beyond its shape.*not read"):
        same(path.parent, BIG[:4])
    path.write_text(json.dumps(described | chunk))
    with pytest.raises(NeuropilError, match=r"beyond its shape.* of its own are missing: correct its metadata"):
        open_volume(path.parent)
