"""What tells that an array of a bucket or server was made anew."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from neuropil.volumes import Metadata, stamp, write_volume


class Server(ThreadingHTTPServer):
    """Files of a folder, each with the same ETag, or none."""

    tag = ""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def end_headers(self):
        if self.server.tag:
            self.send_header("ETag", self.server.tag)
        super().end_headers()


@pytest.fixture
def server(tmp_path):
    with Server(("127.0.0.1", 0), partial(Handler, directory=tmp_path)) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


@pytest.mark.parametrize(
    ("path", "scheme"),
    [
        ("v.zarr", ""),
        ("v.zarr/volumes/raw", ""),
        ("v.zarr", "zarr2://"),
        ("v.n5/raw", ""),
        ("v", "precomputed://"),
    ],
)
def test_a_new_description_or_generation_is_a_new_stamp(tmp_path, monkeypatch, server, path, scheme):
    monkeypatch.chdir(tmp_path)
    container = f"{scheme}{server.url}/{path}"
    found = []
    for name, size in [("before", (30, 6, 6)), ("after", (40, 6, 6))]:
        write_volume(f"{scheme}{path}", np.zeros((2, 4, 4), np.uint8), Metadata(voxel_size=size))
        # A weak ETag does not say that bytes are the same, so TensorStore takes it for none.
        for tag in ("", '"1"', '"2"', f'W/"{name}"'):
            server.tag = tag
            found.append(stamp(container))
            assert found[-1] == stamp(container)
    zarr2 = scheme == "zarr2://"  # its description has no voxel size, which is in a file of its own
    assert [found.index(one) for one in found] == [0, 1, 2, 0, *([0, 1, 2, 0] if zarr2 else [4, 5, 6, 4])]


def test_no_array_has_no_stamp(server):
    assert stamp(f"{server.url}/v.zarr/raw") == []
