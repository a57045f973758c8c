"""The report is one file, holds what was scored, and shows the places where it goes wrong."""

import html
import re
import shlex
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest
from typer.testing import CliRunner

import browser
from neuropil import synthetic
from neuropil.cli import app
from neuropil.config import Config, SegmentConfig, config_to_yaml
from neuropil.errors import NeuropilError
from neuropil.evaluation import evaluate, objects, placing
from neuropil.evaluation.objects import worst_errors
from neuropil.evaluation.run_length import RunLength
from neuropil.geometry import NEAREST, Box
from neuropil.segmentation import merge_tree
from neuropil.viewing import report
from neuropil.viewing.inline import crosshair
from neuropil.viewing.report import write_report, write_report_of
from neuropil.volumes import Metadata, Volume, open_volume, write_volume

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
    config = Config(segment=settings)
    (folder / "segmentation.h5.yaml").write_text(config_to_yaml(config) + "# <the end>\n")
    extra = {"segment": settings.model_dump(mode="json"), "affinities": names["affinities"], "by": "<Lee> & al."}
    segmentation = merge_tree(affinities, settings).segment(0.1)
    write_volume(names["segmentation"], segmentation, Metadata((30, 6, 6), ORIGIN, extra=extra))
    return names


@pytest.fixture(scope="module")
def page(files, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    scores = write_report(path, files["segmentation"], files["labels"])
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
    assert "&lt;Lee&gt; &amp; al." in text


def test_says_how_it_was_made(page, files):
    text = page.read_text()
    assert "threshold: 0.1" in re.sub(r"<summary>config.*", "", text, flags=re.S)  # as stored with the segmentation
    assert f"config: {files['segmentation']}.yaml" in text
    assert "&lt;the end&gt;" in text  # the whole of it
    assert text.count("<h3>its affinities</h3>") == 1
    for package in ("neuropil", "numpy", "torch", "tensorstore"):
        assert f"{package} {version(package)}" in text


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


def test_shows_the_scores_it_is_given(files, tmp_path):
    scores = evaluate(files["segmentation"], files["labels"])
    judged = replace(scores, run_length=RunLength(1234.5, 5000.0, 0.5, 0.25, 0.25, 0.0))
    assert write_report(tmp_path / "a.html", files["segmentation"], files["labels"], scores=judged) is judged
    text = (tmp_path / "a.html").read_text()
    assert "1234.5000" in text
    assert "0.2469" in text
    write_report(tmp_path / "b.html", files["segmentation"], files["labels"], scores=scores)
    assert "run length" not in (tmp_path / "b.html").read_text()


@pytest.fixture
def read_boxes(monkeypatch):
    """(path, box) of everything that is read from volumes."""
    found, read = [], Volume.read
    monkeypatch.setattr(Volume, "read", lambda self, box=None: found.append((self.path, box)) or read(self, box))
    return found


def test_reads_a_few_sections_at_a_time_and_only_the_places_shown(files, tmp_path, monkeypatch, read_boxes):
    monkeypatch.setattr(placing, "_SLAB", 1)
    monkeypatch.setattr(report, "_MOST", 1000)
    monkeypatch.setattr(report, "_WIDEST", 100)
    monkeypatch.setattr(report, "_CROP", 40)
    monkeypatch.setattr(objects, "_LARGEST", 0)  # connected parts need the box in memory
    write_report(tmp_path / "a.html", files["segmentation"], files["labels"])
    boxes = {name: [box for path, box in read_boxes if path == f"{files[name]}/main"] for name in files}
    for name in ("segmentation", "labels"):
        assert max(box.shape[0] for box in boxes[name]) <= 3  # one, and its neighbours
    for name in ("image", "affinities"):
        shown = sorted({box.shape for box in boxes[name]})
        assert shown == [(1, 40, 40), (1, 100, 100)]
        assert sum(box.shape[1] == 100 for box in boxes[name]) == 3
    text = (tmp_path / "a.html").read_text()
    assert "No curve of thresholds here" in text
    assert "The merge that joined most of it scored" not in text


@browser.needs_browser
def test_a_browser_shows_sections_curves_and_mistakes(page):
    """All pictures are drawn as large as they are said to be; sections are colourful; the curve has its lines."""
    driver = browser.start(1500, 1000)
    try:
        driver.get(page.as_uri())
        headings = [found.text for found in driver.find_elements("tag name", "h2")]
        assert headings[:3] == ["Scores", "Every threshold", "Sections"]
        pictures = driver.find_elements("tag name", "img")
        assert len(pictures) > 1 + 3 * 5
        for picture in pictures:
            assert driver.execute_script("return arguments[0].complete && arguments[0].naturalWidth > 0", picture)
            assert picture.size["width"] > 200
        curve = browser.picture_of(pictures[0])
        assert (curve.min(axis=2) > 240).mean() > 0.5  # paper
        assert (curve.max(axis=2) < 60).mean() > 0.003  # the black line of the score, axes, words
        assert ((curve[..., 0] - curve[..., 1:].max(axis=2)) > 100).any()  # the red dot of the optimum
        image, affinities, segmentation, truth, mistakes = map(browser.picture_of, pictures[1:6])
        assert np.ptp(image, axis=2).mean() < 3 < image.std()  # grey, not blank
        for coloured in (affinities, segmentation, truth):
            assert (np.ptp(coloured, axis=2) > 40).mean() > 0.2
        assert 0 < (np.ptp(mistakes, axis=2) > 60).mean() < 0.9
        assert driver.find_element("tag name", "body").text.count("Most split neurons") == 1
    finally:
        driver.quit()


def test_the_segmentation_is_counted_against_the_labels_once(files, tmp_path, monkeypatch):
    """Scores, pictures and worst mistakes share one contingency table, however the report is asked for."""
    counted = []
    count = placing.table_of
    monkeypatch.setattr(placing, "table_of", lambda placed, *rest: counted.append(placed) or count(placed, *rest))
    arguments = ["evaluate", files["segmentation"], files["labels"], "--report", str(tmp_path / "r.html")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    # The connected parts of the truth, for the worst splits, are another truth.
    given = [p for p in counted if p.labels.path.startswith(files["labels"])]
    assert len([p for p in given if p.segmentation.path.startswith(files["segmentation"])]) == 1


@pytest.mark.parametrize(("size", "cuts"), [((8.0, 8.0, 8.0), 3), ((30.0, 6.0, 6.0), 1)])
def test_isotropic_mistakes_are_cut_three_ways_and_open_in_the_viewer(tmp_path, size, cuts):
    labels = np.zeros((24, 40, 44), np.uint16)
    labels[:, 4:20], labels[:, 21:36] = 1, 2
    found = labels.copy()
    found[12:, 4:20] = 3
    for name, array in (("found", found), ("labels", labels)):
        write_volume(tmp_path / f"{name}.h5", array, Metadata(voxel_size=size))
    write_report(tmp_path / "page.html", tmp_path / "found.h5", tmp_path / "labels.h5")
    page = html.unescape((tmp_path / "page.html").read_text())
    for name in ("z–x cut: ", "z–y cut: "):
        assert page.count(f"<figcaption>{name}truth") == (cuts == 3)
    [command] = re.findall("<code>(neuropil view [^<]*)</code>", page)
    words = shlex.split(command)
    assert words[2:5] == [f"{tmp_path}/found.h5/main", "--labels", f"{tmp_path}/labels.h5/main"]
    at = [int(n) for n in words[words.index("--at") + 1].split(",")]
    assert found[tuple(at)] in (1, 3)
    assert set(words[words.index("--select") + 1].split(",")) == {"1", "3"}


def test_the_curve_has_the_minimum_size_of_the_scores(files, tmp_path):
    settings = SegmentConfig(threshold=0.3, min_size=300)
    affinities = open_volume(files["affinities"])
    array = merge_tree(affinities, settings).segment(0.3, 300)
    said = {"segment": settings.model_dump(mode="json"), "made_by": {"affinities": files["affinities"]}}
    write_volume(tmp_path / "sized.h5", array, Metadata(origin=ORIGIN, extra=said))
    placed = placing.place(tmp_path / "sized.h5", files["labels"])
    merging = report._merging(affinities, settings, placed)
    squares = dict(merging.sized)
    scores = write_report_of(placed, tmp_path / "page.html", affinities=affinities)
    assert len(squares) == 10
    assert squares[0.3].to_json() | {"box": ""} == scores.to_json() | {"box": ""}
    assert squares[0.3].voi != merging.curve.voi[merging.curve.step(0.3)], "the line is without one"
    assert "Squares have that of this segmentation, 300 voxels" in (tmp_path / "page.html").read_text()
