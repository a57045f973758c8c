"""Which files a pattern names: every voxel, place and size as meant, or refused by name."""

import h5py
import pytest
from PIL import Image

from foreign import IMAGE, same
from neuropil.errors import NeuropilError
from neuropil.volumes import open_volume


def test_a_file_of_another_kind_in_a_stack_is_refused(tmp_path):
    for z in range(3):
        Image.fromarray(IMAGE[z]).save(tmp_path / f"s{z}.png")
    same(tmp_path / "*.png", IMAGE[:3])
    Image.fromarray(IMAGE[0]).convert("RGB").save(tmp_path / "s3.png")
    with pytest.raises(NeuropilError, match=r"RGB.*s3\.png"):
        open_volume(tmp_path / "*.png")
    Image.fromarray(IMAGE[0]).save(tmp_path / "s3.png")
    Image.fromarray(IMAGE[0]).save(tmp_path / "overview.png")
    with pytest.raises(NeuropilError, match=r"called alike.*overview\.png"):
        open_volume(tmp_path / "*.png")


def test_a_folder_with_brackets_in_its_name(tmp_path):
    (tmp_path / "run [1]").mkdir()
    for z in range(3):
        Image.fromarray(IMAGE[z]).save(tmp_path / f"run [1]/s{z}.png")
    same(tmp_path / "run [1]/*.png", IMAGE[:3])
    with h5py.File(tmp_path / "run [1]/a.h5", "w") as file:
        file["raw"] = IMAGE
    same(tmp_path / "run [1]/a.h5/raw", IMAGE)
