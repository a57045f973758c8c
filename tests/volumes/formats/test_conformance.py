"""What we write is read by others, and what they write by us: N5, TIFF, JPEG, precomputed, HDF5.

Damage is found where a format has a checksum.
"""

import gzip
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import h5py
import numcodecs
import numpy as np
import pytest
import zarr
from cloudvolume import CloudVolume
from PIL import Image
from typer.testing import CliRunner

from neuropil.cli import app
from neuropil.errors import NeuropilError
from neuropil.volumes import Metadata, open_volume, write_volume

ARRAY = np.random.default_rng(0).integers(0, 250, (5, 20, 30)).astype(np.uint8)
SIZE = (30.0, 6.0, 6.0)

BESIDE = Path(sys.prefix, "beside")
"""Folders with packages that exclude versions which ours need, made by ``make test``: zarr 2, which knows N5, and
ome-zarr-models, which wants an older pydantic."""


def blocks_of_n5(folder):
    """A dataset read as the specification of N5 has it, block by block."""
    about = json.loads((folder / "attributes.json").read_text())
    assert about["compression"]["type"] == "gzip"
    dtype = np.dtype(about["dataType"]).newbyteorder(">")
    found = np.zeros(about["dimensions"][::-1], about["dataType"])
    for file in folder.rglob("*"):
        if file.is_file() and file.name != "attributes.json":
            at = [int(part) for part in file.relative_to(folder).parts]
            data = file.read_bytes()
            mode, axes = struct.unpack_from(">HH", data)
            assert mode == 0
            size = struct.unpack_from(f">{axes}I", data, 4)
            block = np.frombuffer(gzip.decompress(data[4 + 4 * axes :]), dtype).reshape(size[::-1])
            start = [n * length for n, length in zip(at, about["blockSize"], strict=True)][::-1]
            part = tuple(slice(a, min(a + n, m)) for a, n, m in zip(start, block.shape, found.shape, strict=True))
            found[part] = block[tuple(slice(0, p.stop - p.start) for p in part)]
    return found, about


@pytest.mark.parametrize("dtype", ["u1", "u2", "u8", "i2", "f4", "f8"])
@pytest.mark.parametrize("channels", [(), (2,)])
def test_n5_is_as_its_specification_says(tmp_path, dtype, channels):
    array = np.random.default_rng(1).integers(0, 99, (*channels, 40, 150, 20)).astype(dtype)
    write_volume(tmp_path / "a.n5", array, Metadata(SIZE))
    found, about = blocks_of_n5(tmp_path / "a.n5")
    np.testing.assert_array_equal(found, array)
    assert about["pixelResolution"] == {"dimensions": [6, 6, 30], "unit": "nm"}


def beside(package, code, folder):
    """Run lines in a process that sees the packages of one of these folders, and no others."""
    if not (BESIDE / package).is_dir():
        pytest.skip(f"{BESIDE / package} is not there; make test makes it")
    environment = {**os.environ, "PYTHONPATH": str(BESIDE / package), "PYTHONNOUSERSITE": "1"}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def by_zarr_2(code, folder):
    beside("zarr2", f"import numpy, zarr, numcodecs\nassert zarr.__version__ < '3'\n{code}", folder)


@pytest.mark.parametrize("channels", [(), (2,)])
@pytest.mark.parametrize("kind", ["image", "segmentation", "pyramid"])
def test_ome_zarr_models_accept_what_we_write(tmp_path, channels, kind):
    dtype = np.uint32 if kind == "segmentation" else np.uint8
    write_volume(tmp_path / "a.ome.zarr", np.zeros((*channels, 4, 20, 32), dtype), Metadata(SIZE, origin=(1, 0, 0)))
    if kind == "pyramid":
        words = ["convert", str(tmp_path / "a.ome.zarr"), str(tmp_path / "b.ome.zarr"), "--downsample", "2"]
        assert CliRunner().invoke(app, words).exit_code == 0
    name, levels = ("b.ome.zarr", 3) if kind == "pyramid" else ("a.ome.zarr", 1)
    code = f"""
import zarr
from ome_zarr_models.v05 import Image
multiscale, = Image.from_zarr(zarr.open_group("{name}", mode="r")).attributes.ome.multiscales
assert [axis.name for axis in multiscale.axes] == list("{"c" if channels else ""}zyx")
assert multiscale.axes[-1].unit == "nanometer"
assert len(multiscale.datasets) == {levels}, multiscale.datasets
"""
    beside("ome-zarr-models", code, tmp_path)


def test_zarr_2_reads_the_n5_that_we_write(tmp_path):
    write_volume(tmp_path / "a.n5", ARRAY.astype(np.uint16), Metadata(SIZE))
    by_zarr_2(
        "numpy.save('found.npy', zarr.open_array(zarr.N5Store('a.n5'), 'r')[:])",
        tmp_path,
    )
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), ARRAY)


@pytest.mark.parametrize("packing", ["GZip()", "BZ2()", "LZMA()", "Blosc()"])
def test_n5_that_zarr_2_writes(tmp_path, packing):
    np.save(tmp_path / "array.npy", ARRAY.astype(np.uint16))
    code = f"""
array = numpy.load('array.npy')
group = zarr.open_group(zarr.N5Store('a.n5'), 'w')
made = group.create_dataset('raw', data=array, chunks=(2, 8, 16), compressor=numcodecs.{packing})
made.attrs['resolution'] = [6, 6, 30]
"""
    by_zarr_2(code, tmp_path)
    volume = open_volume(tmp_path / "a.n5/raw")
    np.testing.assert_array_equal(volume.read(), ARRAY)
    assert volume.metadata.voxel_size == SIZE


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "f4"])
def test_pillow_reads_the_tiff_that_we_write(tmp_path, dtype):
    write_volume(tmp_path / "a.tif", ARRAY.astype(dtype), Metadata(SIZE))
    with Image.open(tmp_path / "a.tif") as image:
        assert image.n_frames == len(ARRAY)
        for z, section in enumerate(ARRAY):
            image.seek(z)
            np.testing.assert_array_equal(np.asarray(image).astype(dtype), section)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_tiff_of_pillow(tmp_path, compression):
    first, *rest = [Image.fromarray(section) for section in ARRAY]
    first.save(tmp_path / "a.tif", save_all=True, append_images=rest, compression=compression)
    np.testing.assert_array_equal(open_volume(tmp_path / "a.tif").read(), ARRAY)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg"])
def test_jpeg_sections_of_pillow(tmp_path, suffix):
    """JPEG rounds: what counts is that the voxels are those that its own library reads."""
    smooth = (np.add.outer(np.arange(20), np.arange(30)) * 4).astype(np.uint8)
    for z in range(3):
        Image.fromarray(smooth + z).save(tmp_path / f"{z:03d}.{suffix}", quality=90)
    found = open_volume(f"{tmp_path}/*.{suffix}").read()
    for z in range(3):
        with Image.open(tmp_path / f"{z:03d}.{suffix}") as image:
            np.testing.assert_array_equal(found[z], np.asarray(image))
    assert np.abs(found[0].astype(int) - smooth).max() < 16
    whole = (tmp_path / "001.jpg").read_bytes() if suffix == "jpg" else b""
    if whole:
        (tmp_path / "001.jpg").write_bytes(whole[: len(whole) // 3])
        with pytest.raises(NeuropilError, match=r"001\.jpg"):
            open_volume(f"{tmp_path}/*.jpg").read()


def by_cloud_volume(path, array, encoding, sharding=None):
    layer = "segmentation" if array.dtype.itemsize > 1 and array.dtype.kind == "u" else "image"
    info = CloudVolume.create_new_info(
        1,
        layer,
        str(array.dtype),
        encoding,
        (6, 6, 30),
        (3, 2, 1),
        chunk_size=(16, 8, 4),
        volume_size=array.shape[::-1],
    )
    volume = CloudVolume(f"file://{path}", info=info, progress=False)
    if sharding:
        volume.info["scales"][0]["sharding"] = sharding
    volume.commit_info()
    volume[:] = array.T[..., np.newaxis]
    return volume


@pytest.mark.parametrize(
    ("encoding", "dtype"),
    [
        ("jpeg", "u1"),
        ("png", "u1"),
        ("fpzip", "f4"),
        ("raw", "f4"),
        ("compressed_segmentation", "u8"),
        ("crackle", "u8"),
    ],
)
def test_encodings_of_precomputed(tmp_path, encoding, dtype):
    array = ARRAY.astype(dtype) / (1 if dtype != "f4" else np.float32(7))
    volume = by_cloud_volume(tmp_path / "p", np.asarray(array, dtype), encoding)
    found = open_volume(f"precomputed://{tmp_path}/p")
    np.testing.assert_array_equal(found.read(), np.asarray(volume[:])[..., 0].T)
    if encoding != "jpeg":
        np.testing.assert_array_equal(found.read(), np.asarray(array, dtype))
    assert found.metadata.origin == (1, 2, 3)
    assert found.metadata.voxel_size == SIZE


def test_precomputed_in_shards_of_tensorstore_and_cloud_volume(tmp_path):
    """Shards as TensorStore makes them, read by cloud-volume and by us."""
    from neuropil.volumes import array_volume, convert_volume

    whole = np.random.default_rng(2).integers(0, 2**40, (70, 140, 150)).astype(np.uint64)
    convert_volume(array_volume(whole, Metadata(SIZE, (5, 6, 7))), tmp_path / "a.precomputed", sharded=True)
    files = list((tmp_path / "a.precomputed").rglob("*.shard"))
    assert 1 <= len(files) < 12
    volume = CloudVolume(f"file://{tmp_path}/a.precomputed", progress=False)
    np.testing.assert_array_equal(np.asarray(volume[:])[..., 0].T, whole)
    np.testing.assert_array_equal(open_volume(tmp_path / "a.precomputed").read(), whole)


def test_hdf5_that_is_open_elsewhere_says_so(tmp_path):
    """A process of its own holds it open for writing, as an acquisition does."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = ARRAY
    hold = "import h5py, sys\nf = h5py.File('a.h5', 'r+')\nprint('held', flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(NeuropilError, match=r"a\.h5.*(another|elsewhere|lock)"):
                open_volume(tmp_path / "a.h5")
        finally:
            holder.stdin.close()
            holder.wait()
    np.testing.assert_array_equal(open_volume(tmp_path / "a.h5").read(), ARRAY)


def fletcher(path):
    with h5py.File(path / "a.h5", "w") as file:
        file.create_dataset("x", data=ARRAY, chunks=(5, 20, 30), fletcher32=True)
        at, size = (getattr(file["x"].id.get_chunk_info(0), name) for name in ("byte_offset", "size"))
    return path / "a.h5", path / "a.h5", range(at, at + size)


def crc32c(path):
    zarr.create_array(path / "a.zarr", data=ARRAY, chunks=(5, 20, 30), compressors=[zarr.codecs.Crc32cCodec()])
    return path / "a.zarr", path / "a.zarr/c/0/0/0", None


def zstd(path):
    packing = numcodecs.Zstd(checksum=True)
    zarr.create_array(path / "b.zarr", data=ARRAY, chunks=(5, 20, 30), zarr_format=2, compressors=packing)
    return path / "b.zarr", path / "b.zarr/0.0.0", None


def gzipped(path):
    by_cloud_volume(path / "p", ARRAY, "raw")
    chunk = sorted((path / "p/6_6_30").iterdir())[0]
    return f"precomputed://{path}/p", chunk, range(10, chunk.stat().st_size)  # behind the time in the head of gzip


def n5(path):
    write_volume(path / "a.n5", ARRAY)
    chunk = path / "a.n5/0/0/0"
    return path / "a.n5", chunk, range(26, chunk.stat().st_size)  # behind the heads of N5 and gzip


def png(path):
    for z, section in enumerate(ARRAY):
        Image.fromarray(section).save(path / f"{z}.png")
    return f"{path}/*.png", path / "2.png", None


def zipped(path):
    with zarr.storage.ZipStore(path / "a.zip", mode="w") as store:
        zarr.create_array(store, data=ARRAY, chunks=(5, 20, 30), compressors=None)
    whole = (path / "a.zip").read_bytes()
    at = whole.index(ARRAY.tobytes())
    return path / "a.zip", path / "a.zip", range(at, at + ARRAY.size)


@pytest.mark.parametrize("make", [fletcher, crc32c, zstd, gzipped, n5, png, zipped], ids=lambda make: make.__name__)
def test_no_wrong_voxel_where_there_is_a_checksum(tmp_path, make):
    path, file, where = make(tmp_path)
    np.testing.assert_array_equal(open_volume(path).read(), ARRAY)
    whole = Path(file).read_bytes()
    places = list(where or range(len(whole)))
    for at in places[:: max(1, len(places) // 40)]:
        Path(file).write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        try:
            found = open_volume(path).read()
        except NeuropilError:
            continue
        np.testing.assert_array_equal(found, ARRAY)  # a byte that nobody needs
