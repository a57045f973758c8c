"""The viewer as people use it: the command in a process of its own, the link in a browser."""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

import browser
from neuropil import synthetic
from neuropil.errors import NeuropilError
from neuropil.geometry import NEAREST
from neuropil.viewing.layers import layers_of
from neuropil.viewing.viewer import close_viewer, how_to_reach, is_own_host, mistakes_in, open_viewer
from neuropil.volumes import LOGIT8, Metadata, array_volume, write_volume

pytest.importorskip("neuroglancer", reason="the extra `view` is not installed")

PLACED = Metadata((30, 6, 6), (60, 10, 20))
AT = (63, 80, 110)
MIDDLE = (70, 90)  # y and x of it, from where the volume begins


@pytest.fixture(scope="module")
def tissue():
    """Image, labels, affinities and a segmentation in which all neurons right of the middle are one."""
    image, labels = synthetic.neuropil((8, 140, 180), seed=4)
    segmentation = labels.astype(np.uint32)
    segmentation[:, :, 90:][labels[:, :, 90:] > 0] = 1000
    return image, labels, synthetic.affinities(labels, seed=4), segmentation


@pytest.fixture(scope="module")
def files(tissue, tmp_path_factory):
    folder = tmp_path_factory.mktemp("view")
    image, labels, affinities, segmentation = tissue
    names = {n: str(folder / n) for n in ("image.tif", "affinities.zarr", "segmentation.h5", "labels.h5")}
    write_volume(names["image.tif"], image, PLACED)
    logits = Metadata(PLACED.voxel_size, PLACED.origin, NEAREST, LOGIT8)
    write_volume(names["affinities.zarr"], LOGIT8.encode(affinities), logits)
    write_volume(names["segmentation.h5"], segmentation, PLACED)
    write_volume(names["labels.h5"], labels.astype(np.uint16), PLACED)
    return names


@contextmanager
def viewing(*arguments):
    """(process, link, all that was printed) of ``neuropil view``; stopped with Ctrl-C."""
    command = [sys.executable, "-m", "neuropil", "view", *arguments]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # shells ignore Ctrl-C in the background
    ) as process:
        try:
            lines = []
            for line in process.stdout:
                lines.append(line)
                if "Ctrl-C" in line:
                    break
            text = "".join(lines)
            link = re.search(r"http://\S+", text)
            assert link, text
            yield process, link[0], text
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)


def test_a_session(files):
    with viewing(files["image.tif"], files["segmentation.h5"], "--labels", files["labels.h5"]) as (process, link, text):
        port = re.match(r"http://127\.0\.0\.1:(\d+)/v/[0-9a-f]{20,}/$", link)[1]
        assert f"ssh -N -L {port}:127.0.0.1:{port} " in text
        assert re.findall(r"^(image|segmentation) ", text, re.M) == ["image", "segmentation", "segmentation"]
        with urllib.request.urlopen(link) as answer:
            assert b"<html" in answer.read().lower()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(re.sub("/v/.*", "/v/guessed/", link))
        with pytest.raises(OSError, match="refused"):  # not on any other address of this machine
            socket.create_connection(("127.0.0.2", int(port)), timeout=5)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert "stopped" in process.stdout.read()
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(link)


@pytest.fixture(scope="module")
def driver():
    found = browser.start()
    yield found
    found.quit()


@browser.needs_browser
def test_a_browser_shows_image_and_segmentation_of_a_section(files, tissue, driver):
    """x to the right, y down; with colours by segment, and without them once the key 2 has switched them off."""
    from selenium.webdriver import ActionChains

    image, segmentation = (array[AT[0] - PLACED.origin[0]] for array in (tissue[0], tissue[3]))
    at = ",".join(map(str, AT))
    with viewing(files["image.tif"], files["segmentation.h5"], "--at", at) as (_, link, _):
        driver.get(link)

        def seen(shot):
            return browser.panel_around(driver, shot, MIDDLE, image.shape)

        def complete(shot):
            return browser.colour_by(segmentation, seen(shot)) > 0.9 and browser.shows_background(
                seen(shot), image, segmentation
            )

        coloured = seen(browser.wait_for(driver, complete))
        assert browser.colour_by(segmentation, coloured) > 0.9
        assert browser.colour_by(np.roll(segmentation, 9, axis=1), coloured) < 0.9
        assert browser.shows_background(coloured, image, segmentation)
        ActionChains(driver).send_keys("2").perform()
        grey = seen(browser.wait_for(driver, lambda shot: browser.likeness(seen(shot), 1, image) > 0.98))
        inside = ~browser.lines_in(grey)
        assert inside.mean() > 0.9
        assert (grey == image[..., None])[inside].mean() > 0.98


@browser.needs_browser
def test_a_browser_shows_affinities_as_colours(files, tissue, driver):
    affinities = tissue[2][:, AT[0] - PLACED.origin[0]]
    with viewing(files["affinities.zarr"], "--at", ",".join(map(str, AT))) as (_, link, _):
        driver.get(link)

        def alike(shot):
            seen = browser.panel_around(driver, shot, MIDDLE, affinities.shape[1:])
            return [browser.likeness(seen, 2 - e, affinities[e]) for e in range(3)]  # z blue, y green, x red

        shot = browser.wait_for(driver, lambda shot: min(alike(shot)) > 0.95)
        assert min(alike(shot)) > 0.95


@browser.needs_browser
def test_a_browser_shows_a_mesh_where_its_segment_is(files, tissue, driver):
    """Segment 1000 fills the right of the volume, and so does what 3-D shows of it."""
    pytest.importorskip("zmesh", reason="the extra `mesh` is not installed")
    arguments = (files["segmentation.h5"], "--select", "1000", "--at", "64,80,110")
    with viewing(*arguments) as (_, link, _):
        driver.get(link)

        def shades(shot):
            """Colours in the left and right half of the 3-D panel: a section has few, a lit surface has many."""
            panel = shot[100:600, shot.shape[1] // 2 + 40 : -40]
            return [len(np.unique(half.reshape(-1, 3), axis=0)) for half in np.array_split(panel, 2, axis=1)]

        left, right = shades(browser.wait_for(driver, lambda shot: shades(shot)[1] > 200))
        assert right > 200 > 2 * left


def test_opens_at_the_worst_mistake(tissue):
    pytest.importorskip("neuroglancer")
    _, labels, _, segmentation = (array_volume(array, PLACED if array.ndim == 3 else None) for array in tissue)
    layers = layers_of([segmentation], labels)
    worst = mistakes_in(layers)
    assert worst[0].kind == "merge"
    assert worst[0].id == 1000
    try:
        viewer = open_viewer(layers, mistakes=worst)
        z, y, x = worst[0].position
        assert viewer.state.position.tolist() == [x + 0.5, y + 0.5, z + 0.5]
        assert viewer.state.dimensions.names == ("x", "y", "z")
        assert viewer.state.dimensions.scales.tolist() == pytest.approx([6e-9, 6e-9, 30e-9])
        assert len(viewer.state.layers["worst mistakes"].annotations) == len(worst)
    finally:
        close_viewer()


def test_an_image_taken_for_ids_has_no_mistakes(tissue):
    image, labels, _, segmentation = (array_volume(array) for array in tissue)
    assert mistakes_in(layers_of([image, image], labels)) == []
    assert mistakes_in(layers_of([segmentation], image)) == []


def test_refuses(tissue):
    layers = layers_of([array_volume(tissue[0], PLACED)])
    with pytest.raises(NeuropilError, match="--at 0,0,0 lies outside 60:68,10:150,20:200"):
        open_viewer(layers, at=(0, 0, 0))
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(NeuropilError, match="cannot listen on"):
        open_viewer(layers, port=taken.getsockname()[1])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "segmentation.h5 --select 1000,4711",
            "--select 1000,4711: expected ids of .*segmentation.h5/main, where no .* 4711",
        ),
        ("segmentation.h5 --select 0", "--select 0: expected ids from 1, got 0; 0 is background"),
        ("segmentation.h5 --select -3", "expected ids from 1, got -3"),
        ("image.tif --select 5", "--select 5: expected a segmentation to take segments from, got none"),
        ("segmentation.h5 --select 5.5", "--select 5.5"),
    ],
)
def test_segments_that_cannot_be_drawn_are_named(files, words, said):
    """One message, exit code 2, before a link is printed."""
    pytest.importorskip("zmesh", reason="the extra `mesh` is not installed")
    first, *more = words.split()
    command = [sys.executable, "-m", "neuropil", "view", files[first], *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert re.search(said, done.stderr)
    assert "Traceback" not in done.stderr
    assert "http" not in done.stdout


def test_meshes_without_zmesh_are_refused_when_asked_for(tissue, monkeypatch):
    monkeypatch.setitem(sys.modules, "zmesh", None)
    with pytest.raises(NeuropilError, match=r"meshes need zmesh: pip install 'neuropil\[mesh\]'"):
        open_viewer(layers_of([array_volume(tissue[3], PLACED)]), segments=[1000])


def test_an_image_taken_for_ids_is_told(files, tissue, tmp_path):
    """Bytes may be labels, so it is said and not refused."""
    few = str(tmp_path / "few.h5")
    write_volume(few, (tissue[1] % 256).astype(np.uint8), PLACED)
    for labels, told in ((files["image.tif"], True), (few, False)):
        with viewing(files["image.tif"], "--labels", labels) as (_, _, text):
            assert (f"warning: {labels} is taken for ids and looks like an image: most" in text) == told


def test_says_who_can_connect():
    assert "anyone who can reach 0.0.0.0" in " ".join(how_to_reach("http://me:7/v/a/", "0.0.0.0", 7))
    assert "ssh" not in " ".join(how_to_reach("http://me:7/v/a/", "0.0.0.0", 7))


def answer(link, **headers):
    """The status of a request."""
    try:
        with urllib.request.urlopen(urllib.request.Request(link, headers=headers), timeout=10) as found:
            return found.status
    except urllib.error.HTTPError as error:
        return error.code


def test_answers_with_its_token_under_its_own_name_only(tissue):
    """Another token finds nothing; a page whose own name was made to point here (DNS rebinding) gets nothing either."""
    pytest.importorskip("neuroglancer")
    try:
        viewer = open_viewer(layers_of([array_volume(tissue[0], PLACED)]))
        link = viewer.get_viewer_url()
        voxels = viewer.state.layers[0].source[0].url.removeprefix("python://volume/")
        server = link.split("/v/")[0]
        data = f"{server}/neuroglancer/info/{voxels}"
        port = server.rpartition(":")[2]
        for name in ("127.0.0.1", "localhost", "[::1]"):
            assert answer(link, Host=f"{name}:{port}") == 200
            assert answer(data, Host=f"{name}:{port}") == 200
        for name in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", ""):
            assert answer(link, Host=f"{name}:{port}") == 403
            assert answer(data, Host=f"{name}:{port}") == 403
        token = link.rstrip("/").rpartition("/")[2]
        assert answer(link.replace(token, "0" * len(token))) == 404
        assert answer(data[:-8] + "0" * 8) == 404
        assert answer(f"{server}/v/{token}/../../../../etc/passwd") == 404
    finally:
        close_viewer()


def test_a_change_that_came_too_late_is_answered_with_the_state(tissue):
    """Otherwise a page that has missed the state would never be heard again."""
    try:
        viewer = open_viewer(layers_of([array_volume(tissue[0], PLACED)]))
        state, generation = viewer.shared_state.raw_state_and_generation
        link = viewer.get_viewer_url().replace("/v/", "/state/").rstrip("/")
        late = {"pg": "missed", "g": 1, "s": {}, "c": "page"}
        with pytest.raises(urllib.error.HTTPError, match="412"):
            urllib.request.urlopen(link, json.dumps(late).encode(), timeout=10)
        assert viewer.shared_state.raw_state == state
        assert viewer.shared_state.state_generation != generation  # so it is sent
        in_time = {**late, "pg": viewer.shared_state.state_generation}
        with urllib.request.urlopen(link, json.dumps(in_time).encode(), timeout=10) as answered:
            assert json.load(answered) == {"g": "page/1"}
    finally:
        close_viewer()


@pytest.mark.parametrize("host", ["0.0.0.0", "lab.example"])
def test_its_own_names_where_others_may_connect(host):
    own = [host, "192.168.7.7", "::1", "localhost", socket.gethostname().upper()]
    assert [name for name in own if not is_own_host(name, host)] == []
    assert not is_own_host("evil.example", host)


def test_a_request_to_end_that_another_thread_receives_ends_it():
    """The system gives a signal to any thread of a process; only the first one handles it in Python."""
    code = """
import signal, sys, threading
from types import SimpleNamespace
from neuropil.cli.app import Stopped, stopped_by_signals
from neuropil.viewing.viewer import serve
other = threading.Timer(1, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM))
viewer = SimpleNamespace(get_viewer_url=lambda: "http://127.0.0.1:1/v/t/")
try:
    with stopped_by_signals():
        serve(viewer, "127.0.0.1", lambda line: None if other.ident else other.start())
except Stopped as stop:
    sys.exit(128 + stop.number)
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=60, capture_output=True, text=True, check=False)
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
