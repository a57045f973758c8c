"""Proofreading in a browser: questions answered by keys, a killed server, undo."""

import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
from typer.testing import CliRunner

import browser
from neuropil import Metadata, open_volume, synthetic, write_volume
from neuropil.cli import app
from neuropil.proofreading import load_calibration, open_proofreading
from neuropil.proofreading.session import Session
from neuropil.segmentation.edited_cut import EditedCut
from neuropil.segmentation.edits import EditLog, log_header
from neuropil.targets import affinities_from_labels
from neuropil.viewing.proofreader import Proofreader
from neuropil.viewing.viewer import close_viewer

pytest.importorskip("neuroglancer", reason="the extra `view` is not installed")


def call(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("proofread")
    image, labels = synthetic.neuropil((12, 160, 160), seed=1)
    clean = np.asarray(affinities_from_labels(labels, "nearest")[0], np.float32)
    noisy = np.clip(0.15 + 0.6 * clean + np.random.default_rng(3).normal(0, 0.2, clean.shape), 0, 1).astype(np.float32)
    where = Metadata(voxel_size=(30, 6, 6), origin=(5, 10, 20))
    write_volume(folder / "image.h5", image, where)
    write_volume(folder / "affinities.h5", noisy, where)
    call("segment", folder / "affinities.h5", "-o", folder / "segmentation.h5", "--threshold", 0.5)
    return folder


@contextmanager
def served(folder, log):
    """The link and the process of ``neuropil proofread``."""
    words = [folder / f"{name}.h5" for name in ("image", "affinities", "segmentation")]
    command = [sys.executable, "-m", "neuropil", "proofread", *map(str, words), "--edits", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            text = ""
            for line in process.stdout:
                text += line
                if "Ctrl-C" in line:
                    break
            link = re.search(r"http://\S+", text)
            assert link, text
            yield link[0], process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)


def until(true, what):
    end = time.monotonic() + 180
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def opened(driver, link):
    """Open the page and wait until it shows the question: keys that come earlier are lost."""
    driver.get(link)
    until(lambda: " decided, " in driver.page_source, "no question is shown")


def press(driver, log, key, count):
    """Press a key once and wait until the log has so many lines."""
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(driver).send_keys(key).perform()
    until(lambda: len(EditLog.read(log).edits) >= count, f"the log has no line {count} after the key {key}")


def answer(driver, log, count):
    """Answer the question that is shown after ``count`` decisions with a change: join or separate."""
    until(lambda: f"{count} decided, " in driver.page_source, f"no question is shown after {count} decisions")
    press(driver, log, "j" if "one neuron?" in driver.page_source else "x", count + 1)


@pytest.fixture
def page(folder, tmp_path):
    """The page of a session in this process, with one decision, a join."""
    with ExitStack() as stack:
        image, affinities, segmentation = (
            stack.enter_context(open_volume(folder / f"{name}.h5")) for name in ("image", "affinities", "segmentation")
        )
        state, settings = open_proofreading(affinities, segmentation, str)
        log = EditLog.begin(tmp_path / "log", log_header(affinities, settings))
        session = Session(state, log, load_calibration())
        while not session.question.join:
            session.skip()
        session.answer("join")
        stack.callback(close_viewer)
        yield Proofreader(image, session, state.cut.tree.cut)


def partition(lut):
    """The ids of a table in the order in which they first come: equal where the same entries have one id."""
    _, first, which = np.unique(lut, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[which].tolist()


def expected(page, threshold):
    """The table of fragments at a threshold, with the decisions of the log."""
    cut = page.session.base.cut
    found = EditedCut(cut.tree, cut.graph, cut.sizes, cut.tree.cut(threshold), threshold)
    found.apply(EditLog.read(page.session.log.path).active(), page.session.state.fragments)
    return found.lut


def followed(page):
    """Whether the session is where the slider stands."""
    return page.session.base.cut.threshold == page.slider.value


def said(page, name):
    return page.viewer.config_state.state.status_messages[name]


def test_keys_move_the_slider_and_decisions_stay(page):
    ids = set(page.session.state.cut.lut.tolist())
    for name, threshold in (("lower", 0.49), ("lower", 0.48), ("higher", 0.49)):
        page.act(name)
        assert page.slider.value == threshold
    until(lambda: said(page, "question").startswith("threshold 0.49: "), "the slider is not followed")
    lut = page.session.state.cut.lut
    assert partition(lut) == partition(expected(page, 0.49))
    assert set(lut.tolist()) < ids  # so segments keep their colours
    page.act("next")
    assert " 1 decided, " in said(page, "question")
    assert len(EditLog.read(page.session.log.path).edits) == 1


def test_an_answer_right_after_the_threshold_changed_is_asked_for_again(page):
    """The question may be another one by then; the view moves only when a question is gone to."""
    at = page.viewer.state.position.tolist()
    page._moved(0.45)
    assert page.viewer.state.position.tolist() == at
    page.act("keep")
    assert "answer again" in said(page, "message")
    assert len(EditLog.read(page.session.log.path).edits) == 1
    question = page.session.question
    assert page.viewer.state.position.tolist() == (np.add(question.a, question.b) / 2 + 0.5)[::-1].tolist()
    page.act("keep")
    assert len(EditLog.read(page.session.log.path).edits) == 2


@browser.needs_browser
def test_the_segmentation_follows_the_slider_while_it_is_dragged(page):
    """Colours on the screen are those of the cut at the slider's threshold, before the mouse is released and after."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    driver = browser.start()
    try:
        opened(driver, page.viewer.get_viewer_url())
        with page.viewer.txn() as state:  # one pixel a voxel, and no second layer of ids over the segments
            state.layers["question"].visible = False
            state.layout = "xy"
            state.cross_section_scale = 1.0
            state.position = [100.5, 90.5, 11.5]
        fragments = page.session.state.fragments
        nodes = page.session.base.cut.tree.nodes(fragments.read())[6]

        def explained(shot, lut):
            picture = browser.panel_around(driver, shot, (80, 80), nodes.shape)
            return browser.colour_by(lut[nodes], picture) if picture.shape[:2] == nodes.shape else 0.0

        def shows(lut):
            return explained(browser.wait_for(driver, lambda shot: explained(shot, lut) > 0.9), lut) > 0.9

        before = page.session.state.cut.lut.copy()
        assert shows(before)
        asked, cut = [], page.cut
        page.cut = lambda threshold: (asked.append(threshold), cut(threshold))[1]
        handle = driver.find_element(By.CSS_SELECTOR, "input[type=range]")
        drag = ActionChains(driver).click_and_hold(handle)
        for _ in range(3):  # what follows the first moves does not end the drag
            drag.move_by_offset(-8, 0).pause(3)
        drag.perform()  # the button stays pressed
        until(lambda: page.slider.value < 0.4 and followed(page), "nothing follows the mouse")
        assert len(asked) >= 3
        assert asked == sorted(asked, reverse=True)
        assert asked[-1] == page.slider.value
        merged = expected(page, asked[-1])
        assert len(np.unique(merged)) < len(np.unique(before))
        assert shows(merged)
        ActionChains(driver).release().perform()
        shown = driver.find_element(By.CSS_SELECTOR, "input[type=number]").get_attribute("value")
        assert float(shown) == page.slider.value
        ActionChains(driver).send_keys("n").perform()  # keys go to the viewer, though the slider has the focus
        until(lambda: page.session.question is not None, "no question after the key n")
        press(driver, page.session.log.path, "k", 2)
    finally:
        driver.quit()
    assert [edit.kind for edit in EditLog.read(page.session.log.path).edits] == ["join", "keep"]


@browser.needs_browser
def test_twenty_questions_by_keys_with_a_kill_between(folder, tmp_path):
    log = tmp_path / "log"
    driver = browser.start()
    try:
        with served(folder, log) as (link, process):
            opened(driver, link)
            for i in range(10):
                answer(driver, log, i)
            process.kill()
        assert len(EditLog.read(log).edits) == 10
        with served(folder, log) as (link, process):
            opened(driver, link)
            for i in range(10, 20):
                answer(driver, log, i)
            words = folder / "segmentation.h5", log, "--affinities", folder / "affinities.h5"
            call("apply", *words, "-o", tmp_path / "before.h5")
            for i in range(20, 40):
                press(driver, log, "z", i + 1)
    finally:
        driver.quit()
    found = EditLog.read(log)
    assert {edit.kind for edit in found.edits[:20]} == {"join", "separate"}
    assert len({(edit.a, edit.b) for edit in found.edits[:20]}) == 20
    assert found.active() == []
    call("apply", folder / "segmentation.h5", log, "-o", tmp_path / "after.h5")
    answered, undone = (open_volume(tmp_path / f"{name}.h5").read() for name in ("before", "after"))
    for edit in found.edits[:20]:
        a, b = (answered[tuple(np.subtract(point, (5, 10, 20)))] for point in (edit.a, edit.b))
        assert (a == b) == (edit.kind == "join"), edit
    assert np.array_equal(undone, open_volume(folder / "segmentation.h5").read())


def test_a_second_person_is_told_who_has_the_log(folder, tmp_path):
    with served(folder, tmp_path / "log") as (_, process):
        words = [str(folder / f"{name}.h5") for name in ("image", "affinities", "segmentation")]
        done = CliRunner().invoke(app, ["proofread", *words, "--edits", str(tmp_path / "log")])
        assert done.exit_code == 2
        assert f"process {process.pid}" in done.output
