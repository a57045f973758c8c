"""MRC, NIfTI, NRRD and NPY, as mrcfile, nibabel, pynrrd and NumPy write them."""

import warnings

import numpy as np
import pytest

from neuropil.errors import NeuropilError
from neuropil.geometry import Box
from neuropil.volumes import open_volume, write_volume

IMAGE = np.random.default_rng(0).integers(1, 250, (4, 20, 30)).astype(np.uint8)


def same(path, expected, size, start=(0, 0, 0)):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        volume = open_volume(path)
    assert volume.shape == expected.shape
    assert (volume.read() == expected).all()
    box = Box.at([n + 1 for n in volume.box.start], (2, 3, 2))
    assert (volume.read(box) == expected[1:3, 1:4, 1:3]).all()
    assert volume.metadata.voxel_size == (None if size is None else pytest.approx(size, rel=1e-4))
    assert volume.metadata.start == start


def test_npy(tmp_path):
    np.save(tmp_path / "a.npy", np.asfortranarray(IMAGE))
    same(tmp_path / "a.npy", IMAGE, None)
    write_volume(tmp_path / "b.npy", IMAGE)
    assert (np.load(tmp_path / "b.npy") == IMAGE).all()
    (tmp_path / "b.npy").write_bytes((tmp_path / "b.npy").read_bytes()[:500])
    with pytest.raises(NeuropilError, match=r"b\.npy"):
        open_volume(tmp_path / "b.npy")


@pytest.mark.parametrize("name", ["a.mrc", "a.nii", "a.nrrd"])
def test_damaged_files_are_told(tmp_path, name):
    for content in (b"", b"\0" * 100, b"\0" * 2000):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(NeuropilError, match=name):
            open_volume(tmp_path / name).read()
    with pytest.raises(NeuropilError, match="only read, not written"):
        write_volume(tmp_path / name, IMAGE)
