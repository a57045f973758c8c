"""Absent chunks are counted, stray files are no chunks, and chunks under two kinds of names are refused."""

import json
import shutil
import warnings

import numpy as np
import pytest
import zarr

from foreign import IMAGE, numbers, same
from neuropil.errors import NeuropilError, Note
from neuropil.geometry import Box
from neuropil.volumes import open_volume
from neuropil.volumes.formats import presence

BIG = numbers((5, 20, 30))


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
    with pytest.warns(Note, match=f"of the {8 if shards else 36} chunks .* absent"):
        assert (volume.read() == expected(filled)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        volume.read()
    array[:] = BIG
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(tmp_path / "a.zarr", BIG)


def test_a_shard_without_room_for_its_list_is_refused(tmp_path):
    write_sharded(tmp_path / "a.zarr", ...)
    (tmp_path / "a.zarr/c/0/0/0").write_bytes(b"short")
    with pytest.raises(NeuropilError, match=r"c/0/0/0.*truncated"):
        open_volume(tmp_path / "a.zarr")


@pytest.mark.parametrize("form", [2, 3])
def test_stray_files_are_no_chunks(tmp_path, form):
    array = zarr.create_array(tmp_path / "a.zarr", shape=IMAGE.shape, chunks=(2, 10, 10), dtype="u1", zarr_format=form)
    array[:2] = IMAGE[:2]
    for stray in ("9.0.0", "0.0.00", "0.0", "0.0.0~", "notes.txt", "c/9/0/0", "c/0/0/00", "c/0/0/0.tmp"):
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
