"""What another library writes comes back equal in voxels and nm, for formats × types × axes × units × places; and what
we write is read by others."""

import json
import random
import warnings
from itertools import product

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from neuropil.volumes import Metadata, open_volume, write_volume

DTYPES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "f4", "f8"]
AXES = ["zyx", "xyz", "yzx", "czyx", "zyxc"]
UNITS = {"nm": 1.0, "nanometers": 1.0, "um": 1e3, "micrometer": 1e3, "microns": 1e3, "mm": 1e6, "angstrom": 0.1}
COMPRESSIONS = {
    "h5": [None, "gzip", "lzf"],
    "zarr2": [None, "zstd", "blosc", "gzip"],
    "zarr3": [None, "zstd", "blosc", "gzip"],
    "ome": [None, "zstd"],
    "tiff": [None, "zlib", "zstd", "lzw"],
}
SIZE, PLACE = np.array([40.0, 5.0, 4.0]), np.array([80.0, 10.0, 4.0])
ALL = [
    (form, *rest, compression)
    for form, compressions in COMPRESSIONS.items()
    for *rest, compression in product(DTYPES, AXES, UNITS, [False, True], compressions)
    if not (form == "tiff" and (rest[0] == "u8" or not rest[1].endswith("yx")))
]
SOME = random.Random(19).sample(ALL, 400)


def zarr_codecs(compression, form):
    import numcodecs
    from zarr import codecs

    if compression is None:
        return None
    old = {"zstd": numcodecs.Zstd, "blosc": numcodecs.Blosc, "gzip": numcodecs.GZip}
    new = {"zstd": codecs.ZstdCodec, "blosc": codecs.BloscCodec, "gzip": codecs.GzipCodec}
    return (old if form == 2 else new)[compression]()


def write(folder, form, axes, unit, placed, compression, stored):
    """Write as the other library does; returns the path and whether the format holds voxel size and place."""
    order = ["zyx".index(axis) for axis in axes if axis != "c"]
    size, place = ([float(n) for n in (values / UNITS[unit])[order]] for values in (SIZE, PLACE))
    attributes = {"axis_names": list(axes), "voxel_size": size, "units": [unit] * 3}
    attributes |= {"offset": place} if placed else {}
    if form == "h5":
        with h5py.File(folder / "a.h5", "w") as file:
            data = file.create_dataset("d", data=stored, compression=compression, chunks=True)
            data.attrs.update({**attributes, "axis_names": json.dumps(list(axes))})
        return folder / "a.h5/d"
    if form == "tiff":
        metadata = {"axes": axes.upper(), **{f"PhysicalSize{a.upper()}": n for a, n in zip("zyx", size, strict=True)}}
        metadata |= {f"PhysicalSize{axis}Unit": {"nm": "nm", "nanometers": "nm"}.get(unit, "µm") for axis in "ZYX"}
        sizes = SIZE if UNITS[unit] == 1 else SIZE / 1000
        metadata |= {f"PhysicalSize{a}": float(n) for a, n in zip("ZYX", sizes, strict=True)}
        metadata = {key: value for key, value in metadata.items() if key[-1] not in "zyx"}
        tifffile.imwrite(folder / "a.ome.tif", stored, ome=True, metadata=metadata, compression=compression,
                         photometric="minisblack")  # fmt: skip
        return folder / "a.ome.tif"
    version = 2 if form != "zarr3" else 3
    group = zarr.create_group(folder / "a.zarr", zarr_format=version)
    array = group.create_array(
        "s0", shape=stored.shape, dtype=stored.dtype, chunks=tuple(-(-n // 2) for n in stored.shape),
        compressors=zarr_codecs(compression, version), dimension_names=list(axes) if version == 3 else None,
    )  # fmt: skip
    array[:] = stored
    if form != "ome":
        array.attrs.update({key: value for key, value in attributes.items() if version == 2 or key != "axis_names"})
        return folder / "a.zarr/s0"
    full = iter(zip(size, place, strict=True))
    scale, shift = zip(*[next(full) if axis != "c" else (1.0, 0.0) for axis in axes], strict=True)
    steps = [{"type": "scale", "scale": list(scale)}]
    steps += [{"type": "translation", "translation": list(shift)}] if placed else []
    named = [{"name": a, "type": "channel"} if a == "c" else {"name": a, "unit": unit, "type": "space"} for a in axes]
    group.attrs["multiscales"] = [{"axes": named, "datasets": [{"path": "s0", "coordinateTransformations": steps}]}]
    return folder / "a.zarr/s0"


@pytest.mark.parametrize("case", SOME, ids=lambda case: "-".join(str(part) for part in case))
def test_equal_in_voxels_and_nm(tmp_path, case):
    form, dtype, axes, unit, placed, compression = case
    lengths = {"c": 2, "z": 3, "y": 6, "x": 8}
    whole = np.random.default_rng(len(axes)).integers(0, 100, [lengths[a] for a in "czyx" if a in axes]).astype(dtype)
    stored = np.ascontiguousarray(whole.transpose(["czyx"[-whole.ndim :].index(axis) for axis in axes]))
    path = write(tmp_path, form, axes, unit, placed, compression, stored)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        volume = open_volume(path)
    assert volume.dtype == dtype
    assert (volume.read() == whole).all()
    assert volume.metadata.voxel_size == pytest.approx(tuple(SIZE))
    expected = PLACE if placed and form != "tiff" else np.zeros(3)
    assert volume.metadata.position == pytest.approx(tuple(expected))


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "f4"])
@pytest.mark.parametrize("channels", [(), (2,)])
def test_cloud_volume_reads_what_we_write(tmp_path, dtype, channels):
    cloudvolume = pytest.importorskip("cloudvolume")
    array = np.random.default_rng(0).integers(0, 100, (*channels, 5, 20, 30)).astype(dtype)
    array[..., :3, :, :] = 0  # whole chunks of zeros are there, too
    write_volume(f"precomputed://{tmp_path}/p", array, Metadata(voxel_size=(40, 4, 4), origin=(1, 2, 3)))
    found = cloudvolume.CloudVolume(f"file://{tmp_path}/p", progress=False)
    assert list(found.resolution) == [4, 4, 40]
    assert list(found.voxel_offset) == [3, 2, 1]
    assert (array.reshape(-1, 5, 20, 30) == np.asarray(found[:]).T).all()


@pytest.mark.parametrize("channels", [(), (2,)])
def test_judges_of_ome_zarr_accept_what_we_write(tmp_path, channels):
    array = np.zeros((*channels, 4, 20, 30), np.uint8)
    write_volume(tmp_path / "a.ome.zarr", array, Metadata(voxel_size=(30, 6, 6), origin=(1, 0, 0)))
    yaozarrs = pytest.importorskip("yaozarrs")
    yaozarrs.validate_zarr_store(str(tmp_path / "a.ome.zarr"))
    v05 = pytest.importorskip("ome_zarr_models.v05")
    image = v05.Image.from_zarr(zarr.open_group(tmp_path / "a.ome.zarr", mode="r"))
    assert image.attributes.ome.multiscales[0].axes[-1].unit == "nanometer"
