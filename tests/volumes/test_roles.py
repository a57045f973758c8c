"""What a volume is used as: images, ids, and arrays that are laid over each other."""

import warnings

import numpy as np
import pytest
import tifffile

from neuropil.errors import NeuropilError, Note
from neuropil.volumes import Metadata, array_volume, convert_volume, open_volume, require_image, require_labels
from neuropil.volumes.roles import check_overlay


def test_labels_and_images_are_told_apart():
    with pytest.raises(NeuropilError, match=r"integer ids.*float32"):
        require_labels(array_volume(np.full((1, 2, 3), 0.5, "f4"))).read()
    with pytest.raises(NeuropilError, match=r"labels \[z, y, x\]"):
        require_labels(array_volume(np.zeros((1, 1, 2, 3), "u4")))
    with pytest.raises(NeuropilError, match=r"image \[z, y, x\]"):
        require_image(array_volume(np.zeros((1, 1, 2, 3), "u4")))
    assert require_labels(array_volume(np.zeros((1, 2, 3), "?"))).shape == (1, 2, 3)


def test_one_shape_of_which_one_alone_has_a_place_is_told():
    placed, plain = (array_volume(np.ones((2, 3, 4), "u1"), Metadata(origin=origin)) for origin in ((5, 0, 0), None))
    for pair in ((placed, plain), (plain, placed)):
        with pytest.warns(Note, match="stores no origin and is taken to begin at"):
            check_overlay(*pair)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_overlay(plain, plain)
        check_overlay(placed, placed)
        check_overlay(placed, array_volume(np.ones((9, 3, 4), "u1")))


def test_a_copy_of_what_jpeg_has_changed_is_told(tmp_path):
    """The copy itself does not say any more that it holds no ids."""
    image = np.random.default_rng(0).integers(0, 255, (2, 32, 32), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", image, compression="jpeg", photometric="minisblack")
    with pytest.warns(Note, match=r"a\.tif: its compression may have changed values .* not for ids"):
        convert_volume(open_volume(tmp_path / "a.tif"), tmp_path / "b.h5")
