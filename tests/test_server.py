"""A server's files and its end: what is left, to whom it is open, and who is waited for."""

import http.client
import json
import os
import signal
import threading

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


def test_sockets_of_a_killed_server_go_with_the_next_start(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    killed = make_server(tmp_path / "killed").start()
    (abandoned,) = tmp_path.glob("tensordeck-sockets-*")
    alive = make_server(tmp_path / "alive").start()
    (kept,) = set(tmp_path.glob("tensordeck-sockets-*")) - {abandoned}
    killed.kill()
    next_one = make_server(tmp_path / "next").start()

    assert not abandoned.exists()
    assert kept.exists()
    assert alive.token  # it still takes calls
    assert next_one.stop() == alive.stop() == 0
    assert not list(tmp_path.glob("tensordeck-sockets-*"))
