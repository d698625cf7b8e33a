"""A server's files and its end: what is left, to whom it is open, and who is waited for."""

import http.client
import json
import os
import resource
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Server, make_server


def test_what_the_server_makes_is_private(fresh_server: Server) -> None:
    open_to_others = [
        path
        for path in fresh_server.data_dir.rglob("*")
        if path.is_file()
        and path.stat().st_mode & 0o077
        and path.name not in ("ca.pem", "server.pem", "bundle.pem")
    ]

    assert open_to_others == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_lets_a_request_in_flight_finish(fresh_server: Server, number: int) -> None:
    token = fresh_server.token
    body = json.dumps({"displayName": "late"}).encode()
    connection = http.client.HTTPConnection("127.0.0.1", fresh_server.port)
    connection.putrequest("POST", "/v1/projects/p/locations/us-central1/tensorboards")
    connection.putheader("Authorization", f"Bearer {token}")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[:5])
    # Another request's answer shows that the first one's head has been taken in.
    assert fresh_server.token
    status: list[int] = []
    finished = threading.Thread(target=lambda: status.append(fresh_server.process.wait(20)))
    os.kill(fresh_server.process.pid, number)
    finished.start()
    connection.send(body[5:])
    reply = connection.getresponse()

    assert reply.status == 200
    assert json.load(reply)["response"]["displayName"] == "late"
    connection.close()
    finished.join()
    assert status == [0]


def test_a_temporary_directory_may_have_a_long_name(tmp_path, monkeypatch) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))

    server = make_server(tmp_path / "data").start()

    assert server.token
    assert server.stop() == 0


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose name leaves room for a socket's."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


def test_sockets_of_a_killed_server_go_with_the_next_start(
    tmp_path, short_folder, monkeypatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(short_folder))
    killed = make_server(tmp_path / "killed").start()
    (abandoned,) = short_folder.glob("tensordeck-sockets-*")
    alive = make_server(tmp_path / "alive").start()
    (kept,) = set(short_folder.glob("tensordeck-sockets-*")) - {abandoned}
    killed.kill()
    next_one = make_server(tmp_path / "next").start()

    assert not abandoned.exists()
    assert kept.exists()
    assert alive.token  # it still takes calls
    assert next_one.stop() == alive.stop() == 0
    assert not list(short_folder.glob("tensordeck-sockets-*"))


def test_a_full_disk_refuses_writes_answers_reads_and_recovers(fresh_server: Server) -> None:
    """A limit on the size of the server's files stands for the disk."""
    token = fresh_server.token
    parent = "/v1/projects/p/locations/us-central1/tensorboards"

    def call(verb: str, body: object = None) -> tuple[int, dict]:
        connection = http.client.HTTPConnection("127.0.0.1", fresh_server.port, timeout=60)
        headers = {"Authorization": f"Bearer {token}"}
        connection.request(verb, parent, json.dumps(body) if body else None, headers)
        reply = connection.getresponse()
        answer = reply.status, json.load(reply)
        connection.close()
        return answer

    def create() -> tuple[int, dict]:
        return call("POST", {"displayName": "full", "description": "x" * 2000})

    assert create()[0] == 200
    pid = fresh_server.process.pid
    limit = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    largest = max(path.stat().st_size for path in fresh_server.data_dir.glob("tensordeck.db*"))
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest + 100_000, limit[1]))
    made = 1
    while (answer := create())[0] == 200:
        made += 1
        assert made < 2000

    assert answer[0] == 429
    assert answer[1]["error"]["status"] == "RESOURCE_EXHAUSTED"
    status, listed = call("GET")
    assert status == 200
    assert listed["tensorboards"]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)
    assert create()[0] == 200
