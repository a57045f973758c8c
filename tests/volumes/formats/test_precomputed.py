"""Precomputed volumes as other programs write them: every voxel, place and size as meant, or refused by name."""

import gzip
import json
import math

import numpy as np
import pytest

from foreign import IMAGE, numbers, same
from neuropil.errors import NeuropilError, Note
from neuropil.geometry import Box
from neuropil.volumes import open_volume
from neuropil.volumes.roles import require_labels


def cloud_volume(path, array, **options):
    cloudvolume = pytest.importorskip("cloudvolume")
    info = cloudvolume.CloudVolume.create_new_info(
        1,
        options.pop("layer_type", "image"),
        str(array.dtype),
        options.pop("encoding", "raw"),
        (4, 4, 40),
        options.pop("voxel_offset", (3, 2, 1)),
        chunk_size=(16, 8, 2),
        volume_size=array.shape[::-1],
    )
    volume = cloudvolume.CloudVolume(f"file://{path}", info=info, progress=False, **options)
    volume.commit_info()
    volume[:] = array.T[..., np.newaxis]
    return volume


@pytest.mark.parametrize("compress", [True, "br", "bz2", False])
@pytest.mark.parametrize("encoding", ["raw", "compressed_segmentation", "crackle", "compresso"])
def test_precomputed_of_cloud_volume(tmp_path, compress, encoding):
    labels = encoding != "raw"
    array = numbers((5, 20, 30), "u4" if labels else "u1")
    cloud_volume(
        tmp_path / "p", array, compress=compress, encoding=encoding, layer_type="segmentation" if labels else "image"
    )
    metadata = same(f"precomputed://{tmp_path}/p", array, voxel_size=(40, 4, 4))
    assert metadata.origin == (1, 2, 3)


def test_absent_chunks_of_precomputed_are_refused_as_cloud_volume_does(tmp_path, monkeypatch):
    cloud_volume(tmp_path / "p", IMAGE)
    chunks = sorted((tmp_path / "p/4_4_40").iterdir())
    chunks[0].unlink()
    with pytest.raises(NeuropilError, match=r"1 of 12 chunks .* are missing.*--allow-gaps"):
        open_volume(f"precomputed://{tmp_path}/p").read()
    monkeypatch.setenv("NEUROPIL_ALLOW_GAPS", "1")
    with pytest.warns(Note, match="1 of 12 chunks"):
        assert (open_volume(f"precomputed://{tmp_path}/p").read() == 0).sum() == 14 * 8 * 2
    chunks[1].write_bytes(gzip.compress(b"short"))
    with pytest.raises(NeuropilError):
        open_volume(f"precomputed://{tmp_path}/p").read()


@pytest.mark.parametrize("stray", ["notes.txt", "0-16_0-8_0-2", "3-19_2-10_1-3.tmp", "notes.gz"])
def test_stray_files_are_no_chunks_of_precomputed(tmp_path, stray):
    cloud_volume(tmp_path / "p", IMAGE, compress=False)
    next((tmp_path / "p/4_4_40").iterdir()).unlink()
    (tmp_path / "p/4_4_40" / stray).write_bytes(b"stray")
    with pytest.raises(NeuropilError, match=r"1 of 12 chunks .* are missing.*--allow-gaps"):
        open_volume(f"precomputed://{tmp_path}/p").read()


def test_chunks_under_two_endings_are_refused(tmp_path):
    """cloud-volume reads the newer ones here, and leaves the older ones where they are."""
    for compress, array in (("gzip", IMAGE // 2), ("br", IMAGE)):
        cloud_volume(tmp_path / "p", array, compress=compress)
    volume = open_volume(f"precomputed://{tmp_path}/p")
    with pytest.raises(NeuropilError, match=r"exists twice, as .*_1-3.gz and as .*_1-3.br: .* not clear"):
        volume.read()


def test_flipped_bytes_of_crackle_are_found(tmp_path):
    """Over damaged borders between ids the package ends the process that it is in; reading goes on."""
    codec = pytest.importorskip("crackle").codec
    ids = (IMAGE % 3 + 1).astype("u4")
    cloud_volume(tmp_path / "p", ids, compress=False, encoding="crackle", layer_type="segmentation")
    chunk = next((tmp_path / "p/4_4_40").iterdir())
    whole = chunk.read_bytes()
    borders = sum(
        len(part) for name, part in codec.components(whole).items() if name in ("header", "z_index", "labels")
    )
    for at in (*range(5, len(whole), 19), *range(borders, borders + 10)):  # 4 is the version
        damaged = bytearray(whole)
        damaged[at] ^= 2
        chunk.write_bytes(damaged)
        with pytest.raises(NeuropilError, match="is damaged"):
            open_volume(f"precomputed://{tmp_path}/p").read()
    chunk.write_bytes(whole)
    assert np.array_equal(open_volume(f"precomputed://{tmp_path}/p").read(), ids)


SHARDING = {
    "@type": "neuroglancer_uint64_sharded_v1", "hash": "murmurhash3_x86_128", "preshift_bits": 1, "minishard_bits": 2,
    "shard_bits": 1, "minishard_index_encoding": "gzip", "data_encoding": "gzip",
}  # fmt: skip


def write_shards(path, array, encoding="raw", absent=0):
    """Shards as cloud-volume makes them, without the last chunks."""
    cloudvolume = pytest.importorskip("cloudvolume")
    from cloudvolume import chunks
    from cloudvolume.datasource.precomputed.common import compressed_morton_code
    from cloudvolume.datasource.precomputed.sharding import ShardingSpecification

    info = cloudvolume.CloudVolume.create_new_info(
        1, "image" if encoding == "jxl" else "segmentation", str(array.dtype), encoding, (4, 4, 40), (3, 2, 1),
        chunk_size=(16, 8, 2), volume_size=array.shape[::-1],
    )  # fmt: skip
    info["scales"][0]["sharding"] = SHARDING
    (path / "4_4_40").mkdir(parents=True)
    (path / "info").write_text(json.dumps(info))
    grid = [-(-n // c) for n, c in zip(array.shape[::-1], (16, 8, 2), strict=True)]
    packed = {}
    for x, y, z in list(np.ndindex(*grid))[: math.prod(grid) - absent]:
        part = array[z * 2 : z * 2 + 2, y * 8 : y * 8 + 8, x * 16 : x * 16 + 16].T[..., np.newaxis]
        data = chunks.encode(np.asfortranarray(part), encoding, (8, 8, 8) if "seg" in encoding else None)
        packed[int(compressed_morton_code((x, y, z), grid))] = data
    for name, data in ShardingSpecification.from_dict(SHARDING).synthesize_shards(packed).items():
        (path / "4_4_40" / name).write_bytes(data)
    return f"precomputed://{path}"


@pytest.mark.parametrize("encoding", ["raw", "compressed_segmentation", "crackle", "compresso"])
def test_shards_of_cloud_volume(tmp_path, encoding):
    array = numbers((5, 20, 30), "u4")
    assert same(write_shards(tmp_path / "p", array, encoding), array).origin == (1, 2, 3)


def test_chunks_absent_in_shards(tmp_path, monkeypatch):
    array = numbers((5, 20, 30), "u4")
    volume = open_volume(write_shards(tmp_path / "p", array, absent=2))
    with pytest.raises(NeuropilError, match=r"2 of 18 chunks .* are missing, such as 19-33_18-22.*--allow-gaps"):
        volume.read()
    assert (volume.read(Box((1, 2, 3), (3, 22, 33))) == array[:2]).all()
    monkeypatch.setenv("NEUROPIL_ALLOW_GAPS", "1")
    with pytest.warns(Note, match="2 of 18 chunks"):
        assert (volume.read() == 0).sum() == 14 * 4 * 3


@pytest.mark.parametrize("sharded", [False, True])
def test_chunks_that_we_left_out_are_told(tmp_path, sharded):
    from neuropil.volumes import create_volume

    with create_volume(tmp_path / "a.precomputed", (4, 20, 30), "u1", chunks=(2, 10, 10), sharded=sharded) as volume:
        volume.write(Box((0, 0, 0), (2, 20, 30)), IMAGE[:2])
    with pytest.warns(Note, match="6 of 12 chunks"):
        assert (open_volume(tmp_path / "a.precomputed").read()[:2] == IMAGE[:2]).all()


@pytest.mark.parametrize(("encoding", "dtype"), [("jxl", "u1"), ("kempressed", "f4"), ("fpzip", "f4")])
def test_encodings_of_images(tmp_path, encoding, dtype):
    """As cloud-volume reads them back, in files and in shards."""
    image = numbers((5, 20, 30), dtype) / (1 if dtype == "u1" else np.float32(7))
    volume = cloud_volume(tmp_path / "p", image.astype(dtype), encoding=encoding)
    expected = np.asarray(volume[:])[..., 0].T
    assert np.abs(expected - image).max() < (40 if encoding == "jxl" else 1e-5)  # of 250
    same(f"precomputed://{tmp_path}/p", expected)
    same(write_shards(tmp_path / "s", image.astype(dtype), encoding), expected)


@pytest.mark.parametrize("encoding", ["zfpc", "npz", "secret"])
def test_encodings_that_are_not_read_are_named(tmp_path, encoding):
    cloud_volume(tmp_path / "p", IMAGE)
    info = json.loads((tmp_path / "p/info").read_text())
    info["scales"][0]["encoding"] = encoding
    (tmp_path / "p/info").write_text(json.dumps(info))
    with pytest.raises(NeuropilError, match=f"encoded by {encoding}, which is not read here; known are raw, .*jxl"):
        open_volume(f"precomputed://{tmp_path}/p")


def test_a_chunk_of_another_type_than_described_is_refused(tmp_path):
    cloud_volume(tmp_path / "p", numbers((4, 20, 30), "u4"), encoding="crackle", layer_type="segmentation")
    info = json.loads((tmp_path / "p/info").read_text())
    (tmp_path / "p/info").write_text(json.dumps(info | {"data_type": "uint8"}))
    with pytest.raises(NeuropilError, match=r"expected uint8 in chunk .* got uint"):
        open_volume(f"precomputed://{tmp_path}/p").read()


@pytest.mark.parametrize("compress", [False, "br"])
def test_jpeg_is_no_place_for_ids(tmp_path, compress):
    cloud_volume(tmp_path / "p", IMAGE, encoding="jpeg", compress=compress)
    volume = open_volume(f"precomputed://{tmp_path}/p")
    with pytest.raises(NeuropilError, match="without lossy compression, got JPEG or another"):
        require_labels(volume)
    cloud_volume(tmp_path / "q", IMAGE, compress=compress)
    assert require_labels(open_volume(f"precomputed://{tmp_path}/q")).dtype == np.uint8


def test_jpeg_xl_is_a_place_for_ids_at_its_highest_quality_only(tmp_path):
    for name, level in (("p", 90), ("q", 100)):
        cloud_volume(tmp_path / name, IMAGE, encoding="jxl")
        info = json.loads((tmp_path / name / "info").read_text())
        info["scales"][0]["jxl_quality"] = level
        (tmp_path / name / "info").write_text(json.dumps(info))
    with pytest.raises(NeuropilError, match="without lossy compression, got JPEG or another"):
        require_labels(open_volume(f"precomputed://{tmp_path}/p"))
    assert require_labels(open_volume(f"precomputed://{tmp_path}/q")).dtype == np.uint8


@pytest.mark.parametrize("encoding", ["jpeg", "jxl"])
def test_a_segmentation_in_jpeg_is_refused(tmp_path, encoding):
    cloud_volume(tmp_path / "p", IMAGE, encoding=encoding)
    info = json.loads((tmp_path / "p/info").read_text())
    (tmp_path / "p/info").write_text(json.dumps(info | {"type": "segmentation"}))
    with pytest.raises(NeuropilError, match=f"a segmentation encoded by {encoding}"):
        open_volume(f"precomputed://{tmp_path}/p")


def test_an_info_of_something_else_is_refused_by_name(tmp_path):
    cloud_volume(tmp_path / "p", IMAGE)
    info = json.loads((tmp_path / "p/info").read_text())
    (tmp_path / "p/info").write_text(json.dumps({**info, "@type": "neuroglancer_skeletons"}))
    with pytest.raises(NeuropilError, match=r"got neuroglancer_skeletons, in .*p$"):
        open_volume(f"precomputed://{tmp_path}/p")


def test_the_finest_scale_is_opened_wherever_it_stands(tmp_path):
    cloud_volume(tmp_path / "p", IMAGE)
    info = json.loads((tmp_path / "p/info").read_text())
    coarse = info["scales"][0] | {"key": "8_8_40", "resolution": [8, 8, 40], "size": [15, 10, 4]}
    (tmp_path / "p/info").write_text(json.dumps(info | {"scales": [coarse, *info["scales"]]}))
    same(f"precomputed://{tmp_path}/p", IMAGE, voxel_size=(40, 4, 4))
