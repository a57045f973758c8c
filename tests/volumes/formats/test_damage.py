"""Flipped bytes and files cut short: an error that names the file, or voxels; never a crash or another exception."""

import random
import warnings
from pathlib import Path

import h5py
import numcodecs
import numpy as np
import pytest
import zarr
from PIL import Image

from neuropil.errors import NeuropilError
from neuropil.volumes import open_volume, write_volume

IMAGE = np.random.default_rng(0).integers(0, 250, (4, 20, 30)).astype(np.uint8)


def by_mrcfile(path):
    mrcfile = pytest.importorskip("mrcfile")
    with mrcfile.new(path) as file:
        file.set_data((IMAGE // 2).astype(np.int8))


def by_nibabel(path):
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(IMAGE.T, np.diag([6.0, 6, 30, 1])), path)


def by_nrrd(path):
    pytest.importorskip("nrrd").write(str(path), IMAGE.T, {"encoding": "gzip"})


def by_pillow(path):
    path.parent.mkdir()
    for z, section in enumerate(IMAGE):
        Image.fromarray(section).save(path.with_name(f"{z}.jpg"))


def by_zip_store(path):
    with zarr.storage.ZipStore(path, mode="w") as store:
        zarr.create_array(store, data=IMAGE, chunks=(2, 20, 30))


def by_numcodecs(path):
    zarr.create_array(path, data=IMAGE, chunks=(2, 20, 30), zarr_format=2, compressors=numcodecs.LZ4())


def by_matlab(path):
    with h5py.File(path, "w", userblock_size=512) as file:
        file["raw"] = IMAGE.T


MAKERS = {
    "j/*.jpg": by_pillow, "a.zip": by_zip_store, "b.zarr": by_numcodecs, "a.mat": by_matlab,
    "a.h5": None, "a.tif": None, "a.zarr": None, "zarr2://a.zarr": None, "a.n5": None, "precomputed://p": None,
    "a.npy": None, "s/*.png": None, "a.mrc": by_mrcfile, "a.nii": by_nibabel, "a.nii.gz": by_nibabel, "a.nrrd": by_nrrd,
}  # fmt: skip


@pytest.mark.parametrize("name", MAKERS)
def test_damage_is_told_or_harmless(tmp_path, name):
    prefix, _, rest = name.rpartition("://")
    path = f"{prefix}://{tmp_path}/{rest}" if prefix else f"{tmp_path}/{rest}"
    maker = MAKERS[name]
    if maker is None:
        write_volume(path, IMAGE)
    else:
        maker(Path(path))
    files = sorted(file for file in tmp_path.rglob("*") if file.is_file())
    draw = random.Random(7)
    told = 0
    for number in range(40):
        file = files[number % len(files)]
        whole = file.read_bytes()
        if number % 4 == 3:
            damaged = whole[: draw.randrange(len(whole))]
        else:
            at = draw.randrange(min(len(whole), 2000))
            damaged = whole[:at] + bytes([whole[at] ^ (1 << draw.randrange(8))]) + whole[at + 1 :]
        file.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with open_volume(path) as volume:
                    if volume.box.size <= 2**24:
                        volume.read()
            except NeuropilError:
                told += 1
        file.write_bytes(whole)
    assert told
