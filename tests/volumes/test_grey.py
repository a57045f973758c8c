"""How grey values of any type become shares of 1."""

import pickle

import numpy as np
import pytest
import tifffile

from neuropil.errors import NeuropilError
from neuropil.geometry import Box
from neuropil.models.checkpoint import load_model
from neuropil.volumes import array_volume, open_volume
from neuropil.volumes.grey import GreyValues, find_scale, scaled_image, warn_of_grey

BYTES = np.random.default_rng(0).integers(0, 256, (6, 40, 50)).astype(np.uint8)
BYTES[0, 0, :2] = 0, 255


@pytest.mark.parametrize(
    "stored",
    [
        BYTES.astype(np.uint16),
        BYTES.astype(np.int16),
        (BYTES.astype(np.int16) - 128).astype(np.int8),
        BYTES.astype(np.int16) - 128,
        BYTES.astype(np.uint16) * 257,
        BYTES.astype(np.uint16) * 16 + 20000,  # 12 bits that begin anywhere
        BYTES.astype(np.int32) * 100 - 5000,
        BYTES.astype(np.float32),
        BYTES.astype(np.float64) / 255,
        BYTES.astype(np.float32) * 3 - 100,
    ],
    ids=lambda array: f"{array.dtype} {array.min():g} to {array.max():g}",
)
def test_the_same_picture_in_any_type_is_seen_alike(stored):
    unit = scaled_image(array_volume(stored)).read()
    assert unit.dtype == np.float32
    assert np.abs(unit - BYTES / 255).max() < 1e-5


def test_every_box_and_process_sees_the_same(tmp_path):
    array = np.random.default_rng(1).integers(100, 60000, (40, 400, 400)).astype(np.uint16)
    array[:, :200] //= 4
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack")
    volume = scaled_image(open_volume(tmp_path / "a.tif"))
    whole = volume.read()
    box = Box((3, 20, 30), (5, 50, 60))
    for again in (volume, scaled_image(open_volume(tmp_path / "a.tif")), pickle.loads(pickle.dumps(volume))):
        assert (again.read(box) == whole[box.slices]).all()
    assert whole.min() == 0
    assert whole.max() == 1


def test_scales_by_name_and_number():
    volume = array_volume(BYTES.astype(np.uint16))
    assert find_scale(volume, "type") == (0, 65535)
    assert find_scale(volume, "range") == (0, 255)
    assert find_scale(volume, (10.0, 20.0)) == (10, 20)
    low, high = find_scale(volume, "percentiles")
    assert 0 < low < 5
    assert 250 < high <= 255
    assert find_scale(array_volume(BYTES)) is None
    assert scaled_image(array_volume(BYTES), (0.0, 51.0)).read().max() == 1
    with pytest.raises(NeuropilError, match="ascending"):
        find_scale(volume, (3.0, 3.0))


def test_no_number_is_refused():
    array = BYTES.astype(np.float32)
    array[3, 3, 3] = np.nan
    with pytest.raises(NeuropilError, match="NaN"):
        scaled_image(array_volume(array))
    with pytest.raises(NeuropilError, match="NaN"):
        scaled_image(array_volume(array), (0.0, 255.0)).read()


def test_images_unlike_those_of_training_are_told(recwarn):
    trained = GreyValues.of(array_volume(BYTES))
    warn_of_grey(array_volume(BYTES), trained)
    assert not recwarn
    dark = scaled_image(array_volume(BYTES.astype(np.uint16)), "type")  # as a wrong scale would have it
    with pytest.warns(UserWarning, match="expect worse results"):
        warn_of_grey(dark, None)
    with pytest.warns(UserWarning, match="was trained on"):
        warn_of_grey(array_volume(BYTES // 5 + 200), trained)


def test_a_histogram_tells_what_percentiles_do_not(recwarn):
    """The same darkest, middle and brightest grey, but nothing between."""
    rng = np.random.default_rng(0)
    even = rng.integers(0, 256, (4, 64, 64), np.uint8)
    ends = np.where(even < 120, 5, np.where(even > 136, 250, 128)).astype(np.uint8)
    trained = GreyValues.stored(GreyValues.of(array_volume(even)).to_info())
    warn_of_grey(array_volume(even[:2]), trained)
    assert not recwarn
    assert abs(GreyValues.of(array_volume(ends)).levels[1] - trained.levels[1]) < 0.01
    with pytest.warns(UserWarning, match=r"on average 0\.2\d away"):
        warn_of_grey(array_volume(ends), trained)
    assert GreyValues.stored({}) is None
    assert GreyValues((0.1, 0.5, 0.9)).distance(trained) is None


@pytest.mark.parametrize("name", ["snemi3d", "fib25"])
def test_models_of_the_package_know_what_they_were_trained_on(name):
    known = GreyValues.stored(load_model(name).info)
    assert sum(known.histogram) == pytest.approx(1, abs=1e-3)
    assert known.levels[0] < known.levels[1] < known.levels[2]
    dark = np.random.default_rng(0).integers(0, 60, (4, 64, 64), np.uint8)
    with pytest.warns(UserWarning, match="was trained on"):
        warn_of_grey(array_volume(dark), known)


def test_bytes_are_what_the_classic_program_makes_of_an_image():
    """Of all values, not of a sample; bytes stay as they are."""
    wide = np.random.default_rng(5).integers(1000, 3000, (40, 400, 400)).astype(np.uint16)
    wide[3, 7, 11], wide[21, 5, 5] = 7, 60001
    volume = array_volume(wide)
    assert find_scale(volume, "bytes") == (7, 60001)
    shares = (wide - wide.min()) / float(wide.max() - wide.min() + 1e-6)
    found = scaled_image(volume, "bytes")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found.read(), (shares * 255).astype(np.uint8))
    narrow = array_volume(np.full((2, 3, 4), 100, np.uint8))
    assert scaled_image(narrow, "bytes") is narrow
