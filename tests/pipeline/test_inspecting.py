"""The verb check: facts, problems, the page."""

import re

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from typer.testing import CliRunner

from neuropil import Metadata, array_volume, synthetic, write_volume
from neuropil.cli import app
from neuropil.pipeline.inspecting import inspect_volumes
from neuropil.pipeline.inspecting_labels import label_facts


def call(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    return done.output


def test_good_volumes_and_bad_ones(tmp_path):
    image, labels = synthetic.neuropil((8, 96, 96), seed=3)
    where = Metadata(voxel_size=(30, 6, 6))
    write_volume(tmp_path / "image.h5", image, where)
    assert "nothing wrong was found" in call("check", tmp_path / "image.h5")
    image[3], labels[5] = 0, 0
    labels[0, 0, 0], labels[7, 95, 95] = 9999, 9999
    write_volume(tmp_path / "bad.h5", image)
    write_volume(tmp_path / "labels.h5", labels, Metadata(voxel_size=(40, 4, 4)))
    said = call("check", tmp_path / "bad.h5", tmp_path / "labels.h5", "--report", tmp_path / "page.html")
    for text in ("no voxel size", "section 3 is black", "1 sections have no label: 5", "fewer than 100 voxels", "9999"):
        assert text in said, text
    assert "section 3 is black" in (tmp_path / "page.html").read_text()
    said = call("check", tmp_path / "image.h5", tmp_path / "labels.h5")
    assert "the image has voxels of" in said


def test_labels_outside_the_image_are_told(tmp_path):
    write_volume(tmp_path / "i.h5", np.arange(4 * 16 * 16, dtype=np.uint8).reshape(4, 16, 16))
    write_volume(tmp_path / "l.h5", np.ones((4, 16, 16), np.uint32), Metadata(origin=(9, 0, 0)))
    assert "do not lie inside the image" in call("check", tmp_path / "i.h5", tmp_path / "l.h5")


def test_what_labels_hold_is_counted():
    labels = np.zeros((6, 40, 40), np.int32)
    labels[:, :20, :20] = 1
    labels[:2, :20, 20:], labels[4:, :20, 20:] = 2, 2  # split in z
    labels[3] = 0  # an empty section is no gap of every id
    labels[0, 30, 30], labels[5, 38, 38] = 7, 7  # tiny, and in two places
    labels[1, 35:, :5] = -1  # not labelled
    found = label_facts(array_volume(labels, Metadata(origin=(10, 0, 0))))
    assert found.empty == (13,)
    assert found.gaps == {2: 12, 7: 11}
    assert found.ids[found.sizes < 100].tolist() == [7]
    assert found.scattered == (1, 2, 7)
    assert any("2 ids are split in z" in line for line in found.problems())


@pytest.mark.parametrize("shift", [(0, 0), (5, -6)])
def test_labels_that_are_moved_are_told(shift):
    image, labels = synthetic.neuropil((4, 128, 128), seed=5)
    moved = np.roll(labels, shift, (1, 2))
    found = inspect_volumes(array_volume(image), array_volume(moved))
    told = [line for line in found.problems if "better when they are moved" in line]
    assert len(told) == (shift != (0, 0))
    if told:
        y, x = map(int, re.search(r"shifted by \((-?\d+), (-?\d+)\)", told[0]).groups())
        assert max(abs(y + shift[0]), abs(x + shift[1])) <= 2  # borders are a few voxels wide


def test_the_voxel_size_is_told_with_its_place_and_the_model_with_its_grey_values(tmp_path):
    """Files of tifffile, h5py and zarr."""
    image = synthetic.neuropil((4, 64, 64), seed=3)[0]
    tifffile.imwrite(
        tmp_path / "a.tif", image, imagej=True, resolution=(1 / 6, 1 / 6), metadata={"spacing": 30, "unit": "nm"}
    )
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["x"] = image
        file["x"].attrs["resolution"] = (10, 10, 10)
    array = zarr.create_array(tmp_path / "c.zarr", data=image)
    array.attrs["voxel_size"] = [30, 6, 6]
    for name, told in (
        ("a.tif", "30×6×6 nm (z, y, x), found in ImageJ's description"),
        ("b.h5", "10×10×10 nm (z, y, x), found in attribute resolution"),
        ("c.zarr", "found in attribute voxel_size"),
    ):
        assert told in call("check", tmp_path / name)
    assert "model fib25" in call("check", tmp_path / "b.h5")
    assert "model snemi3d" in call("check", tmp_path / "a.tif")
    assert "model fib25" in call("check", tmp_path / "a.tif", "--model", "fib25")
    tifffile.imwrite(tmp_path / "dark.tif", (image // 6).astype(np.uint8), photometric="minisblack")
    assert "the image differs from the training images of" in call("check", tmp_path / "dark.tif")
    margin = image.copy()
    margin[:, :, :30] = 0
    tifffile.imwrite(tmp_path / "margin.tif", margin, photometric="minisblack")
    assert "a margin without tissue" in call("check", tmp_path / "margin.tif")


def test_the_page_shows_bad_sections_between_their_neighbours(tmp_path):
    image, labels = synthetic.neuropil((9, 64, 64), seed=3)
    image[4] = 0
    write_volume(tmp_path / "i.h5", image)
    write_volume(tmp_path / "l.h5", labels)
    assert "--skip-sections 4" in call("check", tmp_path / "i.h5", tmp_path / "l.h5", "--report", tmp_path / "p.html")
    page = (tmp_path / "p.html").read_text()
    captions = ["section 3", "section 4, damaged", "section 5", "labels of section 4", "Grey values of a fixed sample"]
    assert [text for text in captions if f"<figcaption>{text}" in page] == captions


def test_exchanged_arguments_are_told(tmp_path):
    image, labels = synthetic.neuropil((4, 64, 64), seed=3)
    found = inspect_volumes(array_volume(labels.astype(np.uint8)), array_volume(image))
    assert sum("are the two exchanged?" in line for line in found.problems) == 2


def test_a_page_over_an_input_is_refused_before_the_work(tmp_path):
    write_volume(tmp_path / "image.h5", np.zeros((2, 16, 16), np.uint8))
    done = CliRunner().invoke(app, ["check", str(tmp_path / "image.h5"), "--report", str(tmp_path / "image.h5")])
    assert done.exit_code == 2
    assert done.stdout == ""
