"""The verb check: facts, problems, the page."""

import numpy as np
from typer.testing import CliRunner

from neuropil import Metadata, synthetic, write_volume
from neuropil.cli import app


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
