"""A file of each format, written by another library, as the table of docs/formats.md measures them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import tensorstore as ts
import tifffile
import zarr
from PIL import Image

ARRAY = np.random.default_rng(0).integers(0, 120, (48, 56, 64)).astype(np.uint8)
"""Of no two equal axes, and nothing that a codec could shrink much."""
SIZE = (30.0, 7.0, 6.0)
ORIGIN = (2, 0, 1)
PLACE = [30.0 * 2, 0.0, 6.0]
CHUNK = (8, 16, 16)


def hdf5(folder: Path, packing: str = "raw") -> str:
    import hdf5plugin

    plugins = {
        "bitshuffle": hdf5plugin.Bitshuffle, "LZ4": hdf5plugin.LZ4, "zstd": hdf5plugin.Zstd,
        "Blosc": hdf5plugin.Blosc, "Blosc2": hdf5plugin.Blosc2,
    }  # fmt: skip
    plain = {"raw": {}, "gzip": {"compression": "gzip"}, "LZF": {"compression": "lzf"}}
    options = plain[packing] if packing in plain else plugins[packing]()
    with h5py.File(folder / "a.h5", "w") as file:
        data = file.create_dataset("x", data=ARRAY.T, chunks=CHUNK[::-1], **options)
        data.attrs.update({"axis_names": json.dumps(list("xyz")), "resolution": SIZE[::-1], "offset": PLACE[::-1]})
    return str(folder / "a.h5")


def tiff(folder: Path, packing: str = "raw") -> str:
    compression = {"raw": None, "deflate": "zlib", "JPEG 2000": "jpeg2000"}.get(packing, packing.lower())
    described = {"voxel_size": SIZE, "origin": ORIGIN}
    lossless = {"compressionargs": {"level": 0}} if packing == "JPEG 2000" else {}
    tifffile.imwrite(
        folder / "a.tif", ARRAY, compression=compression, metadata=described, photometric="minisblack", **lossless
    )
    return str(folder / "a.tif")


def sections(folder: Path, packing: str = "PNG") -> str:
    for z, section in enumerate(ARRAY):
        Image.fromarray(section).save(folder / f"{z:03d}.png")
    return f"{folder}/*.png"


def tiles(folder: Path, packing: str = "PNG") -> str:
    sections(folder)
    about = {"image": [f"{z:03d}.png" for z in range(len(ARRAY))], "tile_size": ARRAY.shape[1:], "tile_st": [0, 0]}
    about |= dict(zip(("depth", "height", "width"), ARRAY.shape, strict=True))
    (folder / "tiles.json").write_text(json.dumps({**about, "voxel_size": SIZE, "origin": ORIGIN}))
    return str(folder / "tiles.json")


def zarr_array(folder: Path, packing: str = "raw") -> str:
    import numcodecs
    from zarr import codecs

    if packing in ("LZ4", "LZMA", "filters", "zstd with checksum"):  # of version 2
        old = {"LZ4": numcodecs.LZ4(), "LZMA": numcodecs.LZMA(), "zstd with checksum": numcodecs.Zstd(checksum=True)}
        more = {"filters": [numcodecs.Delta(dtype="|u1")]} if packing == "filters" else {}
        made = {"zarr_format": 2, "compressors": old.get(packing), **more}
    else:
        new = {"zstd": codecs.ZstdCodec, "Blosc": codecs.BloscCodec, "gzip": codecs.GzipCodec}
        made = {"compressors": new[packing]() if packing in new else None, "dimension_names": list("xyz")}
        made |= {"shards": tuple(2 * n for n in CHUNK[::-1])} if packing == "shards" else {}
    array = zarr.create_array(folder / "a.zarr", shape=ARRAY.T.shape, dtype="u1", chunks=CHUNK[::-1], **made)
    array[:] = ARRAY.T
    names = {"_ARRAY_DIMENSIONS": list("xyz")} if "zarr_format" in made else {}
    array.attrs.update({**names, "resolution": list(SIZE[::-1]), "offset": PLACE[::-1], "units": ["nm"] * 3})
    if packing != "ZIP":
        return str(folder / "a.zarr")
    with zarr.storage.ZipStore(folder / "a.zip", mode="w") as store:
        copy = zarr.create_array(store, data=ARRAY.T, chunks=CHUNK[::-1], dimension_names=list("xyz"), compressors=None)
        copy.attrs.update(array.attrs.asdict())
    return str(folder / "a.zip")


def n5(folder: Path, packing: str = "raw") -> str:
    about = {"dimensions": ARRAY.shape, "blockSize": CHUNK, "dataType": "uint8", "compression": {"type": packing}}
    if packing == "Blosc":
        about["compression"] = {"type": "blosc", "cname": "lz4", "clevel": 3, "shuffle": 1}
    place = {"driver": "file", "path": f"{folder}/a.n5"}
    extra = {"axes": list("zyx"), "resolution": SIZE, "offset": PLACE, "units": ["nm"] * 3}
    made = ts.open({"driver": "n5", "kvstore": place, "metadata": {**about, **extra}}, create=True).result()
    made.write(ARRAY).result()
    return str(folder / "a.n5")


def precomputed(folder: Path, packing: str = "raw") -> str:
    from cloudvolume import CloudVolume

    layer = "segmentation" if packing[0] == "c" else "image"
    dtype = {"segmentation": "uint32", "image": "float32" if packing == "fpzip" else "uint8"}[layer]
    packed = {"gzip": True, "Brotli": "br"}.get(packing, False)
    encoding = "raw" if packing in ("raw", "gzip", "Brotli") else packing
    info = CloudVolume.create_new_info(
        1, layer, dtype, encoding, SIZE[::-1], ORIGIN[::-1], chunk_size=CHUNK[::-1], volume_size=ARRAY.shape[::-1]
    )
    volume = CloudVolume(f"file://{folder}/p", info=info, progress=False, compress=packed)
    volume.commit_info()
    volume[:] = ARRAY.astype(dtype).T[..., np.newaxis]
    return f"precomputed://{folder}/p"


def npy(folder: Path, packing: str = "raw") -> str:
    np.save(folder / "a.npy", ARRAY)
    return str(folder / "a.npy")


def mrc(folder: Path, packing: str = "raw") -> str:
    import mrcfile

    with mrcfile.new(folder / "a.mrc") as file:
        file.set_data(np.ascontiguousarray(ARRAY.T.astype(np.int8)))
        file.voxel_size = tuple(10 * n for n in SIZE[::-1])  # Å, x, y, z
        file.header.origin = tuple(10 * n for n in PLACE[::-1])
        file.header.mapc, file.header.maps = 3, 1  # columns are z, sections are x
    return str(folder / "a.mrc")


def nifti(folder: Path, packing: str = "raw") -> str:
    import nibabel

    image = nibabel.Nifti1Image(ARRAY.T, np.diag([*(n / 1000 for n in SIZE[::-1]), 1]))
    image.header.set_xyzt_units("micron")
    name = str(folder / f"a.nii{'.gz' if packing == 'gzip' else ''}")
    nibabel.save(image, name)
    return name


def nrrd(folder: Path, packing: str = "raw") -> str:
    import nrrd as pynrrd

    header = {
        "space directions": np.diag(SIZE[::-1]), "space units": ["nm"] * 3, "encoding": packing,
        "space origin": PLACE[::-1], "space dimension": 3, "kinds": ["domain"] * 3,
    }  # fmt: skip
    pynrrd.write(str(folder / "a.nrrd"), ARRAY.T, header)
    return str(folder / "a.nrrd")


WRITERS: dict[str, tuple[Callable[..., str], tuple[str, ...]]] = {
    "hdf5": (hdf5, ("raw", "gzip", "LZF", "bitshuffle", "LZ4", "zstd", "Blosc", "Blosc2")),
    "tiff": (tiff, ("raw", "deflate", "LZW", "zstd", "PackBits", "JPEG 2000")),
    "sections": (sections, ("PNG",)),
    "tiles": (tiles, ("PNG",)),
    "zarr": (
        zarr_array,
        ("raw", "zstd", "Blosc", "gzip", "shards", "LZ4", "LZMA", "filters", "zstd with checksum", "ZIP"),
    ),
    "n5": (n5, ("raw", "gzip", "bzip2", "xz", "zstd", "Blosc")),
    "precomputed": (
        precomputed, ("raw", "gzip", "Brotli", "compressed_segmentation", "crackle", "compresso", "fpzip"),
    ),
    "npy": (npy, ("raw",)),
    "mrc": (mrc, ("raw",)),
    "nifti": (nifti, ("raw", "gzip")),
    "nrrd": (nrrd, ("raw", "gzip", "bzip2")),
}  # fmt: skip
"""By format: how a file is written, and packed in which ways."""
