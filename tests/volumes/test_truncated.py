"""Files cut off or damaged anywhere: one readable error, or the right voxels; never others, never another exception."""

import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuropil.errors import NeuropilError
from neuropil.volumes import Metadata, open_volume, write_volume

ARRAY = np.random.default_rng(0).integers(0, 255, (5, 40, 50)).astype("u1")
NAMES = ["a.h5", "a.tif", "a.zarr", "zarr2://a.zarr", "a.n5", "a.precomputed", "a/*.png", "b/*.tif"]


def at(folder, name):
    prefix, _, rest = name.rpartition("://")
    return f"{prefix}://{folder}/{rest}" if prefix else f"{folder}/{name}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folders = {}
    for name in NAMES:
        folders[name] = tmp_path_factory.mktemp("whole")
        metadata = Metadata() if "png" in name else Metadata(voxel_size=(30, 6, 6), origin=(0, 0, 0))
        write_volume(at(folders[name], name), ARRAY, metadata)
    return folders


def damaged(whole, name, folder):
    """A fresh copy, and its files."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole[name], folder)
    return sorted(file for file in folder.rglob("*") if file.is_file())


def read(path):
    """Voxels, or None where a NeuropilError says why not."""
    try:
        return open_volume(path).read()
    except NeuropilError:
        return None


@pytest.mark.parametrize("name", NAMES)
@settings(suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_cut_off(whole, tmp_path, name, data):
    files = damaged(whole, name, tmp_path / "x")
    file = data.draw(st.sampled_from(files))
    content = file.read_bytes()
    file.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    found = read(at(tmp_path / "x", name))
    assert found is None or np.array_equal(found, ARRAY)


@pytest.mark.parametrize("name", NAMES)
@settings(suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_bytes_turned(whole, tmp_path, name, data):
    """Not every damage can be seen, as formats without checksums hold any voxels; but none may bring another error."""
    files = damaged(whole, name, tmp_path / "x")
    file = data.draw(st.sampled_from(files))
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(len(content), 600) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(content)
    read(at(tmp_path / "x", name))
