"""The page stands alone: nothing to load from elsewhere, nothing of the user's taken for HTML."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from neuropil import NeuropilError, evaluate, synthetic
from neuropil.pipeline.inspecting import inspect_volumes
from neuropil.pipeline.inspecting_page import write_check
from neuropil.viewing.figures import loss_figure
from neuropil.viewing.page import write_page
from neuropil.viewing.report import write_report
from neuropil.volumes import Metadata, open_volume, write_volume


class Outline(HTMLParser):
    """Tags must close, and text is kept."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.images, self.foreign = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.foreign += [name for name, _ in attrs if name.startswith("on")]
        if tag == "img":
            self.images.append(dict(attrs)["src"])
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(path):
    outline = Outline()
    outline.feed(path.read_text(encoding="utf-8"))
    assert outline.open == []
    return outline


def test_everything_is_in_the_page(tmp_path):
    labels = np.repeat(np.arange(1, 5), 10).reshape(1, 4, 10)
    scores = {"untrained": evaluate(np.ones_like(labels), labels), "trained": evaluate(labels, labels)}
    figure = loss_figure([0, 1], [1.0, 0.5], tmp_path / "loss.png")
    path = write_page(
        tmp_path / "out" / "index.html",
        "SNEMI3D <70–79>",
        scores={name: s.to_json() for name, s in scores.items()},
        figures=[("the loss & its mean", figure)],
        facts={"data": "a<b>.h5", "threshold": 0.4},
        seconds={"train": 125.2, "predict": 3.04},
    )
    page = read(path)
    text = " ".join(page.text)
    for piece in ("SNEMI3D <70–79>", "a<b>.h5", "0.4", "2 min 05 s", "3.0 s", "adapted Rand error", "0.6000", "0.0000"):
        assert piece in text
    (image,) = page.images
    assert base64.b64decode(image.removeprefix("data:image/png;base64,")) == figure.read_bytes()
    assert not re.search(r"(src|href)=\"(?!data:)", path.read_text(encoding="utf-8"))
    assert [p.name for p in path.parent.iterdir()] == ["index.html"]


def test_columns_may_lack_scores(tmp_path):
    path = write_page(tmp_path / "a.html", "t", scores={"one": {"voi": 1.0}, "two": {"rand_index": 0.5}})
    text = " ".join(read(path).text)
    assert text.count("–") >= 2
    assert "CREMI" not in text


def test_a_missing_figure_is_named(tmp_path):
    with pytest.raises(NeuropilError, match=r"nowhere\.png"):
        write_page(tmp_path / "a.html", "t", scores={}, figures=[("x", tmp_path / "nowhere.png")])
    assert not list(tmp_path.iterdir())


EVIL = "<img src=x onerror=alert(1)>&\"'<script>alert(2)</script>{{7+7}}<h2>"


def test_names_attributes_and_values_of_somebody_else_are_text(tmp_path):
    """A volume may be called anything and say anything of itself: on every page that is words, not HTML."""
    evil = EVIL.replace("/", "|")
    folder = tmp_path / evil
    folder.mkdir()
    image, labels = synthetic.neuropil((4, 64, 64), seed=1)
    said = Metadata(voxel_size=(30, 6, 6), extra={EVIL: EVIL, "made_by": {"model": EVIL, EVIL: {EVIL: [EVIL]}}})
    for name, array in (("image", image), ("found", labels), ("labels", labels)):
        write_volume(folder / f"{name}.h5/{evil}", array, said)
    (folder / "found.yaml").write_text(f"# {EVIL}\n")
    paths = {name: f"{folder}/{name}.h5/{evil}" for name in ("image", "found", "labels")}
    write_report(tmp_path / "report.html", paths["found"], paths["labels"], image=paths["image"])
    with open_volume(paths["image"]) as opened, open_volume(paths["labels"]) as truth:
        write_check(tmp_path / "check.html", inspect_volumes(opened, truth), opened, truth)
    scores = {EVIL: {"voi": 0.5}}
    write_page(tmp_path / "run.html", EVIL, scores=scores, facts={EVIL: EVIL}, seconds={EVIL: 1.0})
    for name in ("report", "check", "run"):
        page = (tmp_path / f"{name}.html").read_text()
        found = read(tmp_path / f"{name}.html")
        assert found.foreign == [], name
        assert "<script>alert" not in page, name
        assert (evil if name == "check" else EVIL) in "".join(found.text), name
