"""Figures are written whole, show what they are told, and need no display."""

import subprocess
import sys

import numpy as np
import pytest

from neuropil import Box, NeuropilError, evaluate, synthetic
from neuropil.viewing.figures import demo_figure, loss_figure, panel_figure, result_figure
from neuropil.volumes.marks import PICTURE


@pytest.fixture(scope="module")
def result():
    image, labels = synthetic.neuropil((3, 60, 80), seed=1)
    segmentation = labels.copy()
    segmentation[labels == 2] = 1
    return image, synthetic.affinities(labels), segmentation, labels, evaluate(segmentation, labels)


def size_of(path):
    from PIL import Image

    with Image.open(path) as picture:
        picture.load()
        return picture.size


def test_the_demo_figure_is_five_panels_wide(result, tmp_path):
    path = demo_figure(*result, tmp_path / "new" / "demo.png", title="made up")
    width, height = size_of(path)
    assert width > 4 * height
    assert [p.name for p in path.parent.iterdir()] == ["demo.png"]


def test_a_part_of_a_section_can_be_shown(result, tmp_path):
    size_of(demo_figure(*result, tmp_path / "part.png", show=Box((1, 10, 20), (2, 50, 60))))


@pytest.mark.parametrize("show", ["0:2,0:60,0:80", "1:2,0:61,0:80", "1:1,0:60,0:80"])
def test_other_boxes_are_refused(result, tmp_path, show):
    with pytest.raises(NeuropilError, match="one section"):
        demo_figure(*result, tmp_path / "x.png", show=Box.parse(show))


def test_shapes_must_agree(result, tmp_path):
    image, *rest = result
    with pytest.raises(NeuropilError, match="same voxels"):
        demo_figure(image[:2], *rest, tmp_path / "x.png")


def test_the_loss_figure(tmp_path):
    for n in (1, 2, 19, 500):
        size_of(loss_figure(range(0, 10 * n, 10), np.linspace(1, 0.1, n), tmp_path / f"{n}.png", title="loss"))
    with pytest.raises(NeuropilError, match="as many losses"):
        loss_figure([1, 2], [0.5], tmp_path / "x.png")
    with pytest.raises(NeuropilError, match="as many losses"):
        loss_figure([], [], tmp_path / "x.png")


def test_matplotlib_is_imported_when_a_figure_is_drawn_and_no_earlier():
    code = "import sys, neuropil.viewing.figures; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_panels_have_their_names_and_one_shape():
    figure = panel_figure({"a": np.zeros((4, 5, 3), np.uint8), "b": np.ones((4, 5))}, heading="both")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["a", "b"]
    assert figure.get_suptitle() == "both"
    assert (figure.axes[1].images[0].get_array() == 1).all()
    for wrong in ({}, {"a": np.zeros((4, 5)), "b": np.zeros((5, 4))}, {"a": np.zeros(4)}):
        with pytest.raises(NeuropilError, match="pictures of one shape"):
            panel_figure(wrong)


def test_the_result_figure_is_what_the_demo_writes(result, tmp_path):
    figure = result_figure(*result, title="made up")
    assert len(figure.axes) == 5
    assert figure.get_suptitle().startswith("made up")
    figure.savefig(tmp_path / "a.png", metadata=PICTURE)  # the mark by which neuropil knows it
    assert (tmp_path / "a.png").read_bytes() == demo_figure(*result, tmp_path / "b.png", title="made up").read_bytes()
