"""The download: checked, atomic, laid out, and found again."""

import errno
import hashlib
import io
import shutil
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from neuropil import NeuropilError
from neuropil.pipeline import fetch as module
from neuropil.pipeline.fetch import fetch, find_snemi3d

LAYOUT = ["image/test-input.tif", "image/train-input.tif", "seg/train-labels.tif"]


def bundle(*names: str) -> bytes:
    """A zip whose files hold their own names."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, f"this is {name}")
    return packed.getvalue()


GOOD = bundle("snemi/image/train-input.tif", "snemi/seg/train-labels.tif", "test-input.tif", "__MACOSX/train-input.tif")


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def server(monkeypatch):
    """A local server; ``server.content`` is what it gives, ``server.cut`` how many bytes it keeps back."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server.hits += 1
            if self.path != "/snemi.zip":
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(server.content)))
            self.end_headers()
            self.wfile.write(server.content[: len(server.content) - server.cut])

        def log_message(self, format, *args):  # noqa: A002 - http.server's name
            pass

    for name in ("NEUROPIL_DATA", "NEUROPIL_SNEMI3D_URL", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.content, server.cut, server.hits = GOOD, 0, 0
    server.url = f"http://127.0.0.1:{server.server_port}/snemi.zip"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_download_is_laid_out_and_made_once(server, tmp_path):
    folder = tmp_path / "deep" / "down"
    assert fetch("snemi3d", folder, url=server.url, md5=md5(GOOD)) == folder
    assert files(folder) == LAYOUT
    assert (folder / "image/train-input.tif").read_text() == "this is snemi/image/train-input.tif"
    fetch("snemi3d", folder, url=server.url, md5=md5(GOOD))
    assert server.hits == 1


def test_the_cache_and_the_environment_are_used(server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("NEUROPIL_SNEMI3D_URL", server.url)
    assert find_snemi3d() is None
    assert fetch(md5=md5(GOOD).upper()) == tmp_path / "neuropil" / "snemi3d"
    found = find_snemi3d()
    assert found is not None
    assert found.image == str(tmp_path / "neuropil/snemi3d/image/train-input.tif")
    assert found.voxel_size == (30, 6, 6)


def test_other_files_in_the_folder_stay(server, tmp_path):
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "mine.txt").write_text("mine")
    fetch(folder=tmp_path, url=server.url, md5=md5(GOOD))
    assert files(tmp_path) == sorted([*LAYOUT, "image/mine.txt"])


def refused(server, folder: Path, match: str, **options: str) -> None:
    with pytest.raises(NeuropilError, match=match):
        fetch("snemi3d", folder, **{"url": server.url, "md5": md5(server.content), **options})
    assert files(folder) == [], "nothing may look finished"
    assert not list(folder.glob(".fetch-*")), "nothing may be left behind"


def test_a_wrong_checksum_is_refused(server, tmp_path):
    refused(server, tmp_path, "wrong checksum: expected md5 0000", md5="0" * 32)


def test_the_published_checksum_is_the_default(server, tmp_path):
    with pytest.raises(NeuropilError, match="3d25a7025f66698f33c7850ace885939"):
        fetch("snemi3d", tmp_path, url=server.url)


def test_a_truncated_transfer_is_refused(server, tmp_path):
    server.cut = 100
    refused(server, tmp_path, f"the connection broke after {len(GOOD) - 100} of {len(GOOD)} bytes")


def test_a_missing_page_is_named(server, tmp_path):
    refused(server, tmp_path, "404", url=server.url + "x")


def test_no_network(server, tmp_path):
    refused(server, tmp_path, "cannot reach http://127.0.0.1:9/", url="http://127.0.0.1:9/")


@pytest.mark.parametrize("url", ["nonsense", "gopher://somewhere", "http://[broken"])
def test_no_address(server, tmp_path, url):
    refused(server, tmp_path, "cannot reach", url=url)


def test_a_zip_without_the_files(server, tmp_path):
    server.content = bundle("image/train-input.tif", "readme.txt")
    refused(server, tmp_path, r"has no test-input.tif, only readme.txt, train-input.tif")


def test_no_zip_at_all(server, tmp_path):
    server.content = b"<html>please log in</html>"
    refused(server, tmp_path, "no valid zip file")


def test_a_damaged_zip(server, tmp_path):
    server.content = GOOD.replace(b"this is test-input", b"this is zest-input")
    refused(server, tmp_path, "no valid zip file")


def test_paths_in_the_zip_lead_nowhere(server, tmp_path):
    server.content = bundle("../../train-input.tif", "/abs/test-input.tif", "seg/../../train-labels.tif", "../evil.txt")
    folder = tmp_path / "a" / "b"
    fetch(folder=folder, url=server.url, md5=md5(server.content))
    assert files(tmp_path) == [f"a/b/{name}" for name in LAYOUT]


def test_a_full_disk(server, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    refused(server, tmp_path, "the disk is full")


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NeuropilError, match=r"cannot write to .*file/in"):
        fetch(folder=tmp_path / "file" / "in", url=server.url)


def test_an_unfinished_folder_is_fetched_again(server, tmp_path):
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "test-input.tif").write_text("old")
    fetch(folder=tmp_path, url=server.url, md5=md5(GOOD))
    assert files(tmp_path) == LAYOUT
    assert "test-input" in (tmp_path / "image" / "test-input.tif").read_text()


def test_only_snemi3d_is_known():
    with pytest.raises(NeuropilError, match="snemi3d"):
        fetch("cremi")


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


@pytest.mark.parametrize("inside", ["", "snemi3d"])
@pytest.mark.parametrize("by", ["argument", "environment"])
def test_both_layouts_are_found(tmp_path, monkeypatch, inside, by):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("NEUROPIL_DATA", raising=False)
    tiffs = put(tmp_path / "tiffs" / inside, "image/train-input.tif", "seg/train-labels.tif")
    arrays = put(tmp_path / "arrays" / inside, "image.h5", "labels_z000-099.h5")
    for folder, image, labels in (
        ("tiffs", f"{tiffs}/image/train-input.tif", f"{tiffs}/seg/train-labels.tif"),
        ("arrays", f"{arrays}/image.h5/main", f"{arrays}/labels_z000-099.h5/main"),
    ):
        if by == "environment":
            monkeypatch.setenv("NEUROPIL_DATA", str(tmp_path / folder))
        found = find_snemi3d(tmp_path / folder if by == "argument" else None)
        assert found is not None
        assert (found.image, found.labels) == (image, labels)


def test_labels_without_the_scored_sections_are_refused(tmp_path):
    put(tmp_path, "image.h5", "labels_z000-079.h5")
    with pytest.raises(NeuropilError, match=r"expected labels_z000-099\.h5.*got labels_z000-079\.h5 alone"):
        find_snemi3d(tmp_path)
    put(tmp_path, "labels_z000-099.h5")
    assert find_snemi3d(tmp_path).labels == f"{tmp_path}/labels_z000-099.h5/main"


def test_the_argument_comes_first_and_must_be_right(tmp_path, monkeypatch):
    put(tmp_path / "env", "image.h5", "labels_z000-099.h5")
    monkeypatch.setenv("NEUROPIL_DATA", str(tmp_path / "env"))
    with pytest.raises(NeuropilError, match=r"expected SNEMI3D in .*other"):
        find_snemi3d(tmp_path / "other")


def test_an_environment_that_names_nothing_is_refused_and_one_without_snemi3d_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NEUROPIL_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(NeuropilError, match="NEUROPIL_DATA"):
        find_snemi3d()
    monkeypatch.setenv("NEUROPIL_DATA", str(tmp_path))
    assert find_snemi3d() is None
    put(tmp_path / "cache/neuropil/snemi3d", "image/train-input.tif", "seg/train-labels.tif")
    assert find_snemi3d() is not None


def test_sections_are_divided_as_the_scores_say():
    snemi = module.Snemi3d("image", "labels")
    assert [box.start[0] for box in (snemi.train, snemi.validation, snemi.test)] == [0, 60, 80]
    assert snemi.train.stop[0] == snemi.validation.start[0]
    assert snemi.validation.stop[0] == snemi.test.start[0]
    assert snemi.test.stop[0] == 100
