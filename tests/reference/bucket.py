"""A bucket on this machine: as much of Google's storage server as TensorStore asks for, in memory, with a log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Lock, Thread
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Bucket:
    """Objects by ``bucket/name``, and what was asked: (method, ``bucket/name``)."""

    url: str = ""
    objects: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)
    generations: Iterator[int] = field(default_factory=lambda: count(1))

    def environment(self) -> dict[str, str]:
        """What makes ``gs://`` mean this bucket, in a new process and its workers."""
        return {"TENSORSTORE_GCS_HTTP_URL": self.url, "GOOGLE_AUTH_TOKEN_FOR_TESTING": "anybody"}

    def count(self, method: str, start: str) -> dict[str, int]:
        """How often each object whose name begins so was asked for."""
        found: dict[str, int] = {}
        for asked, name in self.log:
            if asked == method and name.startswith(start):
                found[name] = found.get(name, 0) + 1
        return found


class Server(ThreadingHTTPServer):
    """A server that holds one bucket."""

    bucket: Bucket


class Handler(BaseHTTPRequestHandler):
    """What TensorStore's driver of ``gs://`` asks for, of the bucket that the server holds."""

    server: Server
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body in one packet: the second of two waits 40 ms for the receipt of the first

    def log_message(self, *_) -> None:
        pass

    def answer(self, code: int, body: bytes = b"", generation: int | None = None, form: str = "") -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        if form:
            self.send_header("Content-Type", form)
        if generation is not None:
            self.send_header("x-goog-generation", str(generation))
        self.end_headers()
        self.wfile.write(body)

    def json(self, value: object) -> None:
        self.answer(200, json.dumps(value).encode(), form="application/json")

    def asked(self) -> tuple[str, str, dict[str, str]]:
        """(bucket, object, query)."""
        parts = urlsplit(self.path)
        place = parts.path.partition("/b/")[2]
        where, _, name = place.partition("/o")
        return where, unquote(name.removeprefix("/")), {k: v[0] for k, v in parse_qs(parts.query).items()}

    def do_GET(self) -> None:
        where, name, query = self.asked()
        if not name:
            keys = sorted(key.partition("/")[2] for key in self.server.bucket.objects if key.startswith(f"{where}/"))
            start, end = query.get("startOffset", query.get("prefix", "")), query.get("endOffset", "\uffff")
            items = [{"name": key, "size": "0"} for key in keys if start <= key < end]
            self.json({"kind": "storage#objects", "items": items})
            return
        self.server.bucket.log.append(("GET", f"{where}/{name}"))
        found = self.server.bucket.objects.get(f"{where}/{name}")
        if found is None:
            self.answer(404)
            return
        body, code = found[0], 200
        if "Range" in self.headers:
            first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
            body, code = body[int(first) : int(last) + 1 if last else None], 206
        self.answer(code, body, found[1])

    def do_POST(self) -> None:
        where, _, query = self.asked()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        key = f"{where}/{query['name']}"
        with self.server.bucket.lock:
            now = self.server.bucket.objects.get(key, (b"", 0))[1]
            self.server.bucket.log.append(("POST", key))
            if "ifGenerationMatch" in query and int(query["ifGenerationMatch"]) != now:
                self.answer(412)
                return
            new = next(self.server.bucket.generations)  # never used again, even for an object that was deleted
            self.server.bucket.objects[key] = (body, new)
        self.json({"name": query["name"], "generation": str(new), "size": str(len(body))})

    def do_DELETE(self) -> None:
        where, name, _ = self.asked()
        self.server.bucket.log.append(("DELETE", f"{where}/{name}"))
        self.answer(204 if self.server.bucket.objects.pop(f"{where}/{name}", None) else 404)


@contextmanager
def running_bucket() -> Iterator[Bucket]:
    """The server, until the end of the block."""
    server = Server(("127.0.0.1", 0), Handler)
    server.bucket = Bucket(f"http://127.0.0.1:{server.server_port}")
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server.bucket
    finally:
        server.shutdown()
        server.server_close()
