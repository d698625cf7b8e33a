"""A gigabyte through the server to S3 and back: in neither its memory nor its disk."""

import contextlib
import hashlib
import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import Server, make_server
from tests.s3_server import S3Server

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]

MIB = 2**20
SIZE = 1024 * MIB
CHUNK = 128 * MIB
GROWTH = 150 * MIB
"""How much larger the server may become, however large the object is."""
BUCKET = "large-objects"
BLOCK = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(MIB // 32))


class Watch(threading.Thread):
    """Takes the most memory that a process has had."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.process = psutil.Process(pid)
        self.before = self.peak = self.process.memory_info().rss
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.02):
            self.peak = max(self.peak, self.process.memory_info().rss)

    @property
    def growth(self) -> int:
        return self.peak - self.before


@contextlib.contextmanager
def watching(server: Server) -> Iterator[Watch]:
    assert server.process is not None
    watch = Watch(server.process.pid)
    watch.start()
    try:
        yield watch
    finally:
        watch.over.set()
        watch.join()


def call(
    server: Server,
    method: str,
    path: str,
    body: object = None,
    headers: dict[str, str] | None = None,
) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
    sent = {"Authorization": f"Bearer {server.token}"} | (headers or {})
    connection.request(method, path, body, sent)
    return connection.getresponse()


def blocks(size: int) -> Iterator[bytes]:
    for _ in range(size // MIB):
        yield BLOCK


@pytest.fixture
def place(s3: S3Server, tmp_path: Path) -> Iterator[Server]:
    server = make_server(tmp_path / "data", "--object-store", f"s3://{s3.make_bucket()}")
    server.variables.update(s3.environ())
    server.start()
    reply = call(server, "POST", "/storage/v1/b?project=p", json.dumps({"name": BUCKET}))
    assert reply.status == 200
    reply.read()
    yield server
    server.kill()


def digest(reply: http.client.HTTPResponse) -> str:
    found = hashlib.md5()  # noqa: S324 -- a checksum
    while piece := reply.read(MIB):
        found.update(piece)
    return found.hexdigest()


def test_a_gigabyte_needs_no_memory_and_no_disk(place: Server) -> None:
    wanted = hashlib.md5()  # noqa: S324 -- a checksum
    for block in blocks(SIZE):
        wanted.update(block)
    # What a first call loads is no growth by an object.
    small = f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=small"
    assert call(place, "POST", small, b"x" * 12 * MIB).status == 200
    growth = {}

    with watching(place) as watch:
        path = f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=once"
        length = {"Content-Length": str(SIZE)}
        assert call(place, "POST", path, blocks(SIZE), length).status == 200
    growth["upload in one request"] = watch.growth

    with watching(place) as watch:
        start = f"/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable&name=chunks"
        location = call(place, "POST", start).headers["location"].removeprefix(place.url)
        for begin in range(0, SIZE, CHUNK):
            span = f"bytes {begin}-{begin + CHUNK - 1}/{SIZE}"
            headers = {"Content-Range": span, "Content-Length": str(CHUNK)}
            reply = call(place, "PUT", location, blocks(CHUNK), headers)
            assert reply.status == (200 if begin + CHUNK == SIZE else 308)
    growth["upload in chunks"] = watch.growth

    with watching(place) as watch:
        for name in ("once", "chunks"):
            reply = call(place, "GET", f"/storage/v1/b/{BUCKET}/o/{name}?alt=media")
            assert digest(reply) == wanted.hexdigest()
    growth["download"] = watch.growth

    with watching(place) as watch:
        headers = {"Range": f"bytes={SIZE - 10}-"}
        reply = call(place, "GET", f"/storage/v1/b/{BUCKET}/o/once?alt=media", headers=headers)
        assert reply.read() == BLOCK[-10:]
    growth["the last ten bytes"] = watch.growth

    on_disk = sum(path.stat().st_size for path in place.data_dir.rglob("*") if path.is_file())
    assert max(growth.values()) < GROWTH, growth
    assert on_disk < 50 * MIB
