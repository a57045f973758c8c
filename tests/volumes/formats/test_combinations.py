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
    "n5": [None, "gzip", "bzip2", "zstd"],
    "nrrd": ["raw", "gzip", "bzip2"],
    "mrc": [None],
    "nifti": [None, "gz"],
}
SIZE, PLACE = np.array([40.0, 5.0, 4.0]), np.array([80.0, 10.0, 4.0])
ALL = [
    (form, *rest, compression)
    for form, compressions in COMPRESSIONS.items()
    for *rest, compression in product(DTYPES, AXES, UNITS, [False, True], compressions)
    if not (form == "tiff" and (rest[0] == "u8" or not rest[1].endswith("yx")))
    and not (form == "mrc" and (rest[0] not in ("i1", "i2", "u2", "f4") or "c" in rest[1]))
    and not (form == "nifti" and (rest[1] != "xyz" or rest[2] not in ("um", "mm") or rest[3]))
]
BY_FORM = [[case for case in ALL if case[0] == form] for form in COMPRESSIONS]
SOME = [case for cases in BY_FORM for case in random.Random(19).sample(cases, min(len(cases), 56))]


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
    if form in OTHERS:
        return OTHERS[form](folder, axes, unit, size, place if placed else None, compression, stored)
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


def n5(folder, axes, unit, size, place, compression, stored):
    """By TensorStore; x, y, z where NumPy counts z, y, x."""
    import tensorstore as ts

    about = {
        "dimensions": stored.shape[::-1], "blockSize": [4] * stored.ndim, "dataType": str(stored.dtype),
        "compression": {"type": compression or "raw"}, "axes": list(axes[::-1]),
    }  # fmt: skip
    kept = {"driver": "file", "path": f"{folder}/a.n5/d"}
    ts.open({"driver": "n5", "kvstore": kept, "metadata": about}, create=True).result().write(stored.T).result()
    described = json.loads((folder / "a.n5/d/attributes.json").read_text())
    described |= {"resolution": size[::-1], "units": [unit] * 3, **({"offset": place[::-1]} if place else {})}
    (folder / "a.n5/d/attributes.json").write_text(json.dumps(described))
    return folder / "a.n5/d"


def nrrd(folder, axes, unit, size, place, compression, stored):
    """By pynrrd, whose axes have labels, spacings and beginnings, the last stored one first."""
    pynrrd = pytest.importorskip("nrrd")
    full = iter(zip(size, place or [0.0] * 3, strict=True))
    steps, mins = zip(*[next(full) if axis != "c" else (np.nan, np.nan) for axis in axes], strict=True)
    header = {"encoding": compression, "labels": list(axes[::-1]), "units": [unit] * len(axes), "spacings": steps[::-1]}
    header |= {"axis mins": mins[::-1]} if place else {}
    pynrrd.write(str(folder / "a.nrrd"), stored, header, index_order="C")
    return folder / "a.nrrd"


def mrc(folder, axes, unit, size, place, compression, stored):
    """By mrcfile, in Å, whose cells and places count x, y, z, and starts columns, rows and sections."""
    mrcfile = pytest.importorskip("mrcfile")
    with mrcfile.new(folder / "a.mrc") as file:
        file.set_data(stored)
        lengths = dict(zip(axes, stored.shape, strict=True))
        file.header.mx, file.header.my, file.header.mz = (lengths[axis] for axis in "xyz")
        file.header.cella = tuple(lengths[axis] * 10 * n for axis, n in zip("xyz", SIZE[::-1], strict=True))
        file.header.maps, file.header.mapr, file.header.mapc = ("xyz".index(axis) + 1 for axis in axes)
        file.header.origin = tuple(PLACE[::-1] * 10) if place else (0, 0, 0)
    return folder / "a.mrc"


def nifti(folder, axes, unit, size, place, compression, stored):
    """By nibabel, which counts x, y, z."""
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(stored, np.diag([*size, 1]), dtype=stored.dtype)
    image.header.set_xyzt_units({"um": "micron"}.get(unit, unit))
    name = f"a.nii{'.gz' if compression else ''}"
    nibabel.save(image, folder / name)
    return folder / name


OTHERS = {"n5": n5, "nrrd": nrrd, "mrc": mrc, "nifti": nifti}
"""Formats that have an order or units of their own."""


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
