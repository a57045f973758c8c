"""Proofreading in a browser: questions answered by keys, a killed server, undo."""

import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
from typer.testing import CliRunner

import browser
from neuropil import Metadata, open_volume, synthetic, write_volume
from neuropil.cli import app
from neuropil.segmentation.edits import EditLog
from neuropil.targets import affinities_from_labels

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


@browser.needs_browser
def test_twenty_questions_by_keys_with_a_kill_between(folder, tmp_path):
    log = tmp_path / "log"
    driver = browser.start()
    try:
        with served(folder, log) as (link, process):
            opened(driver, link)
            for i in range(10):
                press(driver, log, "ku"[i % 2], i + 1)
            process.kill()
        assert len(EditLog.read(log).edits) == 10
        with served(folder, log) as (link, process):
            opened(driver, link)
            for i in range(10, 20):
                press(driver, log, "k", i + 1)
            call("apply", folder / "segmentation.h5", log, "-o", tmp_path / "before.h5")
            for i in range(20, 40):
                press(driver, log, "z", i + 1)
    finally:
        driver.quit()
    found = EditLog.read(log)
    assert [edit.kind for edit in found.edits[:20]] == ["keep", "unsure"] * 5 + ["keep"] * 10
    assert len({(edit.a, edit.b) for edit in found.edits[:20]}) == 20
    assert found.active() == []
    call("apply", folder / "segmentation.h5", log, "-o", tmp_path / "after.h5")
    assert np.array_equal(open_volume(tmp_path / "after.h5").read(), open_volume(folder / "segmentation.h5").read())


def test_a_second_person_is_told_who_has_the_log(folder, tmp_path):
    with served(folder, tmp_path / "log") as (_, process):
        words = [str(folder / f"{name}.h5") for name in ("image", "affinities", "segmentation")]
        done = CliRunner().invoke(app, ["proofread", *words, "--edits", str(tmp_path / "log")])
        assert done.exit_code == 2
        assert f"process {process.pid}" in done.output
