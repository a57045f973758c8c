"""Masks are read once, as long as their file is the same."""

import os

import numpy as np
import pytest
from PIL import Image

from neuropil.errors import NeuropilError
from neuropil.geometry import Box
from neuropil.volumes import Metadata, array_volume, in_tissue, write_volume
from neuropil.volumes import kept as module
from neuropil.volumes.formats import hdf5
from neuropil.volumes.skipping import choose_tissue

MASK = np.random.default_rng(0).random((6, 20, 24)) < 0.9


@pytest.fixture
def read(monkeypatch):
    """Voxels read of HDF5 files."""
    counts = []
    inner = hdf5.Hdf5Store.read

    def counting(self, index):
        found = inner(self, index)
        counts.append(found.size)
        return found

    monkeypatch.setattr(hdf5.Hdf5Store, "read", counting)
    return counts


def lay(path):
    """As a verb does: the share of tissue is told, then labels are read by blocks."""
    labels = array_volume(np.ones(MASK.shape, np.uint8), Metadata((30, 6, 6)))
    tissue, lines = choose_tissue(labels, path, None)
    laid = in_tissue(labels, tissue)
    parts = [laid.read(Box((z, 0, 0), (z + 2, 20, 24))) for z in (0, 2, 4)]
    return np.concatenate(parts), lines[0]


def test_a_mask_is_read_once_until_it_changes(tmp_path, read):
    path = f"{tmp_path}/m.h5"
    write_volume(path, MASK.astype(np.uint8), Metadata((30, 6, 6)))
    for _ in range(2):
        found, line = lay(path)
        np.testing.assert_array_equal(found, MASK)
        assert f"{100 * MASK.mean():.1f} % of" in line
    assert sum(read) == MASK.size
    write_volume(path, 1 - MASK.astype(np.uint8), Metadata((30, 6, 6)))
    os.utime(path, ns=(1, 1))
    np.testing.assert_array_equal(lay(path)[0], ~MASK)
    assert sum(read) == 2 * MASK.size


def test_a_large_mask_is_read_once_too_and_not_counted(tmp_path, read, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 10)
    path = f"{tmp_path}/m.h5"
    write_volume(path, MASK.astype(np.uint8), Metadata((30, 6, 6)))
    found, line = lay(path)
    np.testing.assert_array_equal(found, MASK)
    assert "%" not in line
    assert sum(read) == MASK.size


@pytest.mark.parametrize("kept", [10, 1 << 28])
@pytest.mark.parametrize("value", [0.5, np.nan, -1, 1, 7])
def test_a_mask_is_of_0_and_1(tmp_path, monkeypatch, value, kept):
    monkeypatch.setattr(module, "KEPT", kept)
    path = f"{tmp_path}/m.h5"
    write_volume(path, np.where(MASK, np.float32(value), np.float32(0)), Metadata((30, 6, 6)))
    if value >= 1:
        np.testing.assert_array_equal(lay(path)[0], MASK)
        return
    with pytest.raises(NeuropilError, match=r"a mask of 0 \(outside\) and 1 \(tissue\).*m\.h5"):
        lay(path)


def test_jpeg_is_no_place_for_a_mask(tmp_path):
    for z, section in enumerate(MASK):
        Image.fromarray(section.astype(np.uint8) * 255).save(tmp_path / f"{z}.jpg")
    with pytest.raises(NeuropilError, match="got JPEG or another"):
        module.open_kept(f"{tmp_path}/*.jpg")
