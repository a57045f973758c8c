"""Real EM data, where it is at hand ($NEUROPIL_DATA, or a folder shared/data beside the checkout)."""

import h5py
import numpy as np
import pytest

from neuropil.geometry import Box
from neuropil.volumes import convert_volume, open_volume, require_image, require_labels
from real_data import data_file


@pytest.mark.parametrize(
    ("name", "shape", "voxel_size"),
    [
        ("snemi3d/image.h5", (100, 1024, 1024), (30, 6, 6)),
        ("snemi3d/labels_z000-099.h5", (100, 1024, 1024), (30, 6, 6)),
        ("fib_mini/train_image.h5", (50, 100, 200), (10, 10, 10)),
        ("cortex_labels/labels.h5", (512, 512, 512), None),
    ],
)
def test_opened_as_they_are(name, shape, voxel_size):
    volume = open_volume(data_file(name))
    assert volume.shape == shape
    assert volume.metadata.voxel_size == voxel_size
    box = Box((13, 11, 7), (17, 99, 100))
    with h5py.File(data_file(name)) as stored:
        assert (volume.read(box) == stored["main"][13:17, 11:99, 7:100]).all()
    (require_labels if "labels" in name else require_image)(volume)


@pytest.mark.parametrize("target", ["a.tif", "a.zarr", "a.n5", "a.precomputed", "a/*.png"])
@pytest.mark.filterwarnings("ignore:PNG holds no metadata")
@pytest.mark.parametrize("name", ["fib_mini/test_image.h5", "fib_mini/test_labels.h5"])
def test_to_every_format_and_back(tmp_path, name, target):
    source = open_volume(data_file(name))
    convert_volume(source, tmp_path / target)
    copy = open_volume(tmp_path / target)
    assert copy.dtype == source.dtype
    assert (copy.read() == source.read()).all()
    if target != "a/*.png":
        assert copy.metadata == source.metadata
        convert_volume(copy, tmp_path / "back.h5")
        assert open_volume(tmp_path / "back.h5").metadata == source.metadata
        assert np.array_equal(open_volume(tmp_path / "back.h5").read(), source.read())
