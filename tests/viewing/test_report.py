"""The report is one file, holds what was scored, and shows the places where it goes wrong."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from neuropil import synthetic
from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError
from neuropil.evaluation import evaluate
from neuropil.evaluation.objects import worst_errors
from neuropil.evaluation.tuning import merging
from neuropil.geometry import NEAREST, Box
from neuropil.viewing.inline import crosshair
from neuropil.viewing.report import write_report
from neuropil.volumes import Metadata, open_volume, write_volume

ORIGIN = (60, 0, 0)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Image, affinities and a segmentation that merges too much, placed in an image with their settings."""
    folder = tmp_path_factory.mktemp("report")
    image, labels = synthetic.neuropil((6, 170, 180), seed=4)
    affinities = synthetic.affinities(labels, seed=4)
    settings = SegmentConfig(threshold=0.1)
    names = {name: str(folder / f"{name}.h5") for name in ("image", "labels", "affinities", "segmentation")}
    write_volume(names["image"], np.concatenate([image] * 11))
    write_volume(names["labels"], labels, Metadata(origin=ORIGIN))
    made_by = {"made_by": {"image": names["image"]}}
    write_volume(names["affinities"], affinities, Metadata(origin=ORIGIN, offsets=NEAREST, extra=made_by))
    extra = {"segment": settings.model_dump(mode="json"), "affinities": names["affinities"]}
    segmentation = merging(affinities, settings).segment(0.1).read()
    write_volume(names["segmentation"], segmentation, Metadata((30, 6, 6), ORIGIN, extra=extra))
    return names


@pytest.fixture(scope="module")
def page(files, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    scores = write_report(path, files["segmentation"], files["labels"], facts={"<data>": "Kasthuri & al."})
    assert scores == evaluate(files["segmentation"], files["labels"])
    return path


def test_needs_nothing_beside_it(page):
    text = page.read_text()
    assert set(re.findall(r'(?:src|href)="([^"]{5})', text)) == {"data:"}
    assert "http" not in re.sub(r'"data:[^"]*"', "", text)
    assert [path.name for path in page.parent.iterdir()] == ["report.html"]


def test_says_what_was_scored(page, files):
    text, scores = page.read_text(), evaluate(files["segmentation"], files["labels"])
    for value in (scores.adapted_rand_error, scores.voi_split, scores.voi_merge, scores.scikit_image.error):
        assert f"{value:.4f}" in text
    assert "60:66,0:170,0:180" in text
    assert "30 × 6 × 6 nm" in text
    assert "&lt;data&gt;" in text
    assert "Kasthuri &amp; al." in text
    assert "neuropil " in text


def test_finds_affinities_image_and_the_guilty_merges(page, files):
    text = page.read_text()
    worst = worst_errors(files["segmentation"], files["labels"])
    for error in [*worst.splits[:3], *worst.merges[:3]]:
        assert re.search(rf"(neuron|segment) {error.id}, at z y x", text)
    assert "This segmentation was cut at 0.1000" in text
    assert re.search(r"The merge that joined most of it scored 0\.\d{4}", text)
    assert "affinities (x red" in text
    sections = re.findall(r"<h3>section (\d+)</h3>", text)
    assert sections == ["61", "63", "65"]


def test_without_image_and_affinities(files, tmp_path):
    seg, labels = (open_volume(files[name]).read() for name in ("segmentation", "labels"))
    write_report(tmp_path / "plain.html", seg, labels)
    text = (tmp_path / "plain.html").read_text()
    assert "affinities (x red" not in text
    assert "Every threshold" not in text
    assert "Most split neurons" in text


def test_a_perfect_segmentation_has_no_errors_to_show(tmp_path):
    labels = np.repeat([[[1, 1, 2, 2]]], 4, axis=1)
    write_report(tmp_path / "perfect.html", labels, labels)
    assert (tmp_path / "perfect.html").read_text().count("<p>None.</p>") == 2


def test_refuses(files, tmp_path):
    image = np.zeros((6, 170, 180), np.uint8)
    with pytest.raises(NeuropilError, match="does not cover the box 60:66"):
        write_report(tmp_path / "no.html", files["segmentation"], files["labels"], image=image)
    with pytest.raises(NeuropilError, match=r"does not cover|is not inside"):
        write_report(
            tmp_path / "no.html", files["segmentation"], files["labels"], affinities=np.zeros((3, 6, 170, 180))
        )
    with pytest.raises(NeuropilError, match="is not inside"):
        write_report(tmp_path / "no.html", files["segmentation"], files["labels"], box=Box((0, 0, 0), (6, 9, 9)))
    assert not list(tmp_path.iterdir())


def test_crosshair_leaves_the_place_free():
    marked = crosshair(np.zeros((30, 30, 3), np.uint8), (2, 15))
    assert marked[2, 15].max() == 0
    assert marked[2, 20].min() == 255
    assert marked[:2].max() == 0  # cut off at the edge


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium to open the page with")
def test_a_browser_shows_sections_and_curves(page, tmp_path):
    from PIL import Image

    shot = tmp_path / "shot.png"
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    options = [f"--user-data-dir={tmp_path}/profile", "--window-size=1500,2400", f"--screenshot={shot}"]
    subprocess.run([*command, *options, page.as_uri()], check=True, capture_output=True, timeout=120)
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    colourful = (pixels.max(axis=2) - pixels.min(axis=2) > 60).mean()
    assert pixels.shape == (2400, 1500, 3)
    assert colourful > 0.05  # segmentations, truth and mistakes
    assert (pixels.std(axis=(1, 2)) > 20).sum() > 600  # rows with pictures, not blank ones
