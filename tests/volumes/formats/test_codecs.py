"""Zarr and N5 packed by what TensorStore lacks, and Zarr in ZIP files: written by zarr-python, numcodecs, zipfile."""

import json
import struct
import sys
import zipfile
from itertools import product

import numcodecs
import numpy as np
import pytest
import tensorstore as ts
import zarr
import zarr.codecs.numcodecs as packers

from neuropil import Box, NeuropilError
from neuropil.volumes import convert_volume, list_arrays, open_volume, require_labels
from neuropil.volumes.formats import codecs

ARRAY = np.random.default_rng(0).integers(0, 200, (9, 17, 20)).astype(np.uint16)
BOX = Box((2, 3, 5), (8, 15, 19))

PACKED_2 = {
    "zstd with checksum": {"compressors": numcodecs.Zstd(level=3, checksum=True)},
    "lz4": {"compressors": numcodecs.LZ4()},
    "lzma": {"compressors": numcodecs.LZMA()},
    "delta": {"filters": [numcodecs.Delta(dtype="<u2")], "compressors": numcodecs.Zlib()},
    "shuffle and lz4": {"filters": [numcodecs.Shuffle(elementsize=2)], "compressors": numcodecs.LZ4()},
    "packed into 8 bits": {"filters": [numcodecs.FixedScaleOffset(0, 1, "<u2", "|u1")], "compressors": None},
}
PACKED_3 = {
    "lz4": {"compressors": [packers.LZ4()]},
    "lzma": {"compressors": [packers.LZMA()]},
    "bz2": {"compressors": [packers.BZ2()]},
    "delta": {"filters": [packers.Delta(dtype="<u2")], "compressors": [packers.Zlib()]},
}


def write(store, packing, form=2):
    array = zarr.create_array(
        store, shape=ARRAY.shape, chunks=(4, 8, 16), dtype=ARRAY.dtype, zarr_format=form, **packing
    )
    array[:] = ARRAY
    array.attrs["resolution"] = [30, 6, 6]


@pytest.mark.parametrize("name", PACKED_2)
def test_zarr_2(tmp_path, name):
    write(tmp_path / "a.zarr", PACKED_2[name])
    check(tmp_path / "a.zarr")


@pytest.mark.parametrize("name", ["Htj2k", "Jpegls", "Zstd"])
def test_codecs_of_pictures_are_no_place_for_ids(tmp_path, name):
    codec = getattr(pytest.importorskip("imagecodecs.numcodecs"), name)()
    numcodecs.register_codec(type(codec))
    labels = np.tile(ARRAY[:, :16, :16], (1, 4, 4)).astype("u1")
    options = {"chunks": (1, 64, 64), "zarr_format": 2, "compressors": codec}
    zarr.create_array(tmp_path / "a.zarr", data=labels, **options)
    volume = open_volume(tmp_path / "a.zarr")
    if name == "Zstd":
        assert (require_labels(volume).read() == labels).all()
    else:
        with pytest.raises(NeuropilError, match="without lossy compression, got JPEG or another"):
            require_labels(volume)


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr")
@pytest.mark.parametrize("form", [2, 3])
def test_codecs_that_round_are_no_place_for_ids(tmp_path, form):
    rounding = [numcodecs.BitRound(3) if form == 2 else packers.BitRound(keepbits=3)]
    zarr.create_array(tmp_path / "a.zarr", data=ARRAY.astype("f4"), filters=rounding, zarr_format=form)
    with pytest.raises(NeuropilError, match="without lossy compression, got JPEG or another"):
        require_labels(open_volume(tmp_path / "a.zarr"))


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr")
@pytest.mark.parametrize("name", PACKED_3)
def test_zarr_3(tmp_path, name):
    write(tmp_path / "a.zarr", PACKED_3[name], 3)
    check(tmp_path / "a.zarr")


def check(path):
    volume = open_volume(path)
    assert volume.metadata.voxel_size == (30, 6, 6)
    assert volume.chunks == (4, 8, 16)
    np.testing.assert_array_equal(volume.read(BOX), ARRAY[BOX.slices])
    np.testing.assert_array_equal(volume.read(), ARRAY)
    convert_volume(volume, path.with_name("copy.zarr"))
    np.testing.assert_array_equal(zarr.open_array(path.with_name("copy.zarr"), mode="r")[:], ARRAY)


def test_only_the_chunks_of_a_box_are_unpacked(tmp_path):
    write(tmp_path / "a.zarr", PACKED_2["lz4"])
    (tmp_path / "a.zarr/2.2.1").write_bytes(b"nothing that LZ4 has made")
    volume = open_volume(tmp_path / "a.zarr")
    np.testing.assert_array_equal(volume.read(Box((0, 0, 0), (8, 8, 16))), ARRAY[:8, :8, :16])
    with pytest.raises(NeuropilError, match="damaged or truncated"):
        volume.read()


def test_flipped_bytes_are_found_where_there_is_a_checksum(tmp_path):
    write(tmp_path / "a.zarr", PACKED_2["zstd with checksum"])
    file = tmp_path / "a.zarr/0.0.0"
    whole = file.read_bytes()
    for at in range(5, len(whole), 37):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        with pytest.raises(NeuropilError, match="damaged or truncated"):
            open_volume(tmp_path / "a.zarr").read()


def test_without_the_extra_the_message_names_it(tmp_path, monkeypatch):
    write(tmp_path / "a.zarr", PACKED_2["shuffle and lz4"])
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(NeuropilError, match=r"compressed by shuffle, lz4: pip install 'neuropil\[formats\]'"):
        open_volume(tmp_path / "a.zarr")


def test_an_unknown_codec_is_named(tmp_path):
    write(tmp_path / "a.zarr", PACKED_2["lz4"])
    values = json.loads((tmp_path / "a.zarr/.zarray").read_text())
    (tmp_path / "a.zarr/.zarray").write_text(json.dumps({**values, "compressor": {"id": "secret"}}))
    with pytest.raises(NeuropilError, match="compressed by secret"):
        open_volume(tmp_path / "a.zarr")


@pytest.mark.parametrize(("form", "ending"), list(product([2, 3], [".zarr.zip", ".zip"])))
def test_zipped_by_zarr(tmp_path, form, ending):
    path = tmp_path / f"a{ending}"
    with zarr.storage.ZipStore(path, mode="w") as store:
        group = zarr.create_group(store, zarr_format=form)
        for name in ("raw", "more/labels"):
            group.create_array(name, data=ARRAY, chunks=(4, 8, 16))
    assert sorted(list_arrays(path)) == ["more/labels", "raw"]
    volume = open_volume(f"{path}/more/labels")
    np.testing.assert_array_equal(volume.read(BOX), ARRAY[BOX.slices])
    with pytest.raises(NeuropilError, match="several arrays"):
        open_volume(path)
    with pytest.raises(NeuropilError, match="read-only here"):
        open_volume(f"{path}/raw", "r+")
    with pytest.raises(NeuropilError, match="a ZIP file of Zarr is read-only here"):
        convert_volume(volume, tmp_path / f"b{ending}")


@pytest.mark.parametrize("packing", ["zstd with checksum", "lz4"])
def test_zipped_by_zip_with_its_folder_and_a_codec_of_numcodecs(tmp_path, packing):
    write(tmp_path / "a.zarr", PACKED_2[packing])
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for file in sorted((tmp_path / "a.zarr").rglob("*")):
            if file.is_file():
                packed.write(file, file.relative_to(tmp_path))
    volume = open_volume(tmp_path / "a.zip")
    np.testing.assert_array_equal(volume.read(BOX), ARRAY[BOX.slices])
    assert volume.metadata.voxel_size == (30, 6, 6)


def test_a_truncated_zip_file_is_refused(tmp_path):
    with zarr.storage.ZipStore(tmp_path / "a.zip", mode="w") as store:
        zarr.create_array(store, data=ARRAY)
    whole = (tmp_path / "a.zip").read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 5):
        (tmp_path / "a.zip").write_bytes(whole[:cut])
        with pytest.raises(NeuropilError):
            open_volume(tmp_path / "a.zip").read()


def java_lz4(data):
    """As LZ4BlockOutputStream writes it, which N5 uses: blocks, the last one empty."""
    packed = bytes(numcodecs.LZ4().encode(data))[4:]  # numcodecs puts the size in front
    head = struct.pack("<BIII", 0x20 | 10, len(packed), len(data), 0)
    end = struct.pack("<BIII", 0x10 | 10, 0, 0, 0)
    return b"LZ4Block" + head + packed + b"LZ4Block" + end


def write_n5(folder):
    """Blocks as the N5 specification has them: x, y, z; big-endian; smaller at the ends."""
    folder.mkdir()
    size, shape = (16, 8, 4), ARRAY.shape[::-1]
    about = {"dimensions": shape, "blockSize": size, "dataType": "uint16", "compression": {"type": "lz4"}}
    (folder / "attributes.json").write_text(json.dumps({**about, "resolution": [6, 6, 30]}))
    for at in np.ndindex(*[-(-n // s) for n, s in zip(shape, size, strict=True)]):
        part = ARRAY[tuple(slice(i * s, (i + 1) * s) for i, s in zip(at[::-1], size[::-1], strict=True))]
        file = folder.joinpath(*map(str, at))
        file.parent.mkdir(parents=True, exist_ok=True)
        head = struct.pack(">HH3I", 0, 3, *part.shape[::-1])
        file.write_bytes(head + java_lz4(part.astype(">u2").tobytes()))


def test_n5_packed_by_lz4(tmp_path):
    write_n5(tmp_path / "a.n5")
    volume = open_volume(tmp_path / "a.n5")
    assert volume.metadata.voxel_size == (30, 6, 6)
    np.testing.assert_array_equal(volume.read(), ARRAY)
    np.testing.assert_array_equal(volume.read(BOX), ARRAY[BOX.slices])
    (tmp_path / "a.n5/0/0/0").unlink()
    with pytest.warns(UserWarning, match="1 of 18 chunks"):
        found = open_volume(tmp_path / "a.n5").read()
    assert not found[:4, :8, :16].any()
    (tmp_path / "a.n5/1/1/1").write_bytes((tmp_path / "a.n5/1/1/1").read_bytes()[:50])
    with pytest.raises(NeuropilError, match="block 1/1/1"):
        open_volume(tmp_path / "a.n5").read(BOX)


def test_n5_packed_by_zstd(tmp_path):
    about = {"dimensions": ARRAY.shape[::-1], "blockSize": [16, 8, 4], "dataType": "uint16"}
    packing = {"compression": {"type": "zstd", "level": 3}}
    place = {"driver": "file", "path": f"{tmp_path}/a.n5"}
    made = ts.open({"driver": "n5", "kvstore": place, "metadata": about | packing}, create=True).result()
    made.T.write(ARRAY).result()
    np.testing.assert_array_equal(open_volume(tmp_path / "a.n5").read(), ARRAY)


def test_an_lz4_frame_is_unpacked_too():
    from imagecodecs import lz4f_encode

    assert codecs.unpack_lz4(bytes(lz4f_encode(b"neurites" * 40)), 320) == b"neurites" * 40
    with pytest.raises(ValueError, match="expected 300 bytes"):
        codecs.unpack_lz4(bytes(lz4f_encode(b"neurites" * 40)), 300)
