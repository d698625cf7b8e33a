"""`kill -9` of the whole server in the middle of uploads."""

import contextlib
import hashlib
import http.client
import json
import random
import threading

import pytest

from tests.conftest import Server

pytestmark = pytest.mark.torture

BUCKET = "killed-bucket"
SIZE = 3_000_000


def call(
    server: Server, token: str, method: str, path: str, data: bytes = b"", **more: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {"Authorization": f"Bearer {token}"}
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    with contextlib.closing(connection):
        connection.request(method, path, data, headers)
        reply = connection.getresponse()
        return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()


@pytest.fixture
def bucket(fresh_server: Server) -> Server:
    body = json.dumps({"name": BUCKET}).encode()
    status, _, _ = call(fresh_server, fresh_server.token, "POST", "/storage/v1/b?project=p", body)
    assert status == 200
    return fresh_server


def content(version: int) -> bytes:
    return hashlib.sha256(b"%d" % version).digest() * (SIZE // 32)


def test_an_object_is_its_old_or_its_new_self(bucket: Server) -> None:
    server, rng = bucket, random.Random(7)
    path = f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=hot"
    started, acknowledged = -1, -1
    for _ in range(4):
        token = server.token
        killer = threading.Timer(rng.uniform(0.05, 0.6), server.kill)
        killer.start()
        with contextlib.suppress(OSError, http.client.HTTPException):
            while True:
                started += 1
                status, _, _ = call(server, token, "POST", path, content(started))
                assert status == 200
                acknowledged = started
        killer.join()
        server.start()
        token = server.token
        status, _, body = call(server, token, "GET", f"/storage/v1/b/{BUCKET}/o/hot?alt=media")
        if acknowledged < 0:
            assert status in (200, 404)
        else:
            assert status == 200
        if status == 200:
            assert body in [content(v) for v in range(max(acknowledged, 0), started + 1)]


def test_a_resumable_upload_survives(bucket: Server) -> None:
    server, rng = bucket, random.Random(11)
    data, step = content(1), 256 * 1024
    path = f"/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable&name=long"
    _, headers, _ = call(server, server.token, "POST", path)
    location = headers["location"].removeprefix(server.url)
    done, kills = False, 0
    while not done:
        token = server.token
        status, headers, _ = call(
            server, token, "PUT", location, Content_Range=f"bytes */{len(data)}"
        )
        done = status == 200
        place = int(headers["range"].removeprefix("bytes=0-")) + 1 if "range" in headers else 0
        killer = threading.Timer(rng.uniform(0.0, 0.1), server.kill) if kills < 4 else None
        kills += 1
        if killer:
            killer.start()
        with contextlib.suppress(OSError, http.client.HTTPException):
            while not done:
                piece = data[place : place + step]
                span = f"bytes {place}-{place + len(piece) - 1}/{len(data)}"
                status, headers, _ = call(server, token, "PUT", location, piece, Content_Range=span)
                assert status in (200, 308)
                done = status == 200
                place += len(piece)
        if killer:
            killer.join()
            server.start()
    token = server.token
    status, _, body = call(server, token, "GET", f"/storage/v1/b/{BUCKET}/o/long?alt=media")
    assert status == 200
    assert body == data
    status, _, _ = call(server, token, "PUT", location, Content_Range=f"bytes */{len(data)}")
    assert status == 200
