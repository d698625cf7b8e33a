"""Starting, refusing to start, and stopping: what the person at the terminal sees."""

import http.client
import json
import os
import signal
import socket
import subprocess
import threading

import pytest

from tests.conftest import Server, free_port, make_server, tensordeck


def _serve(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*tensordeck("serve"), *options], capture_output=True, text=True, timeout=60, check=False
    )


def _one_line(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_second_server_on_one_data_directory_is_refused(fresh_server: Server) -> None:
    result = _serve("--data-dir", str(fresh_server.data_dir), "--port", str(free_port()))

    assert str(fresh_server.data_dir) in _one_line(result)
    assert "--data-dir" in _one_line(result)


def test_port_in_use_is_said(tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = _serve("--data-dir", str(tmp_path / "data"), "--port", str(port))

    assert str(port) in _one_line(result)


def test_directory_that_is_a_file_is_said(tmp_path) -> None:
    (tmp_path / "data").write_text("")

    assert str(tmp_path / "data") in _one_line(_serve("--data-dir", str(tmp_path / "data")))


def test_damaged_database_is_said_and_left_alone(fresh_server: Server) -> None:
    fresh_server.stop()
    database = fresh_server.data_dir / "tensordeck.db"
    damaged = b"no database" * 1000
    database.write_bytes(damaged)

    line = _one_line(_serve("--data-dir", str(fresh_server.data_dir), "--port", str(free_port())))

    assert "tensordeck.db" in line
    assert database.read_bytes() == damaged


@pytest.mark.parametrize("name", ["ca.pem", "ca-key.pem"])
def test_missing_authority_is_said(fresh_server: Server, name: str) -> None:
    fresh_server.stop()
    (fresh_server.data_dir / "tls" / name).unlink()

    line = _one_line(_serve("--data-dir", str(fresh_server.data_dir), "--port", str(free_port())))

    assert name in line


def test_second_start_keeps_authority_and_credential(fresh_server: Server) -> None:
    kept = [
        fresh_server.data_dir / "tls" / "ca.pem",
        fresh_server.data_dir / "credentials" / "owner.json",
    ]
    before = [path.read_bytes() for path in kept]
    token = fresh_server.token
    fresh_server.stop()
    fresh_server.start()

    assert [path.read_bytes() for path in kept] == before
    connection = http.client.HTTPConnection("127.0.0.1", fresh_server.port)
    connection.request(
        "GET",
        "/v1/projects/p/locations/us-central1/tensorboards",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert connection.getresponse().status == 200


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


def test_word_of_the_running_server_goes_when_it_stops(tmp_path) -> None:
    server = make_server(tmp_path / "data").start()
    word = json.loads((server.data_dir / "server.json").read_text())

    assert word["port"] == server.port
    assert server.stop() == 0
    assert not (server.data_dir / "server.json").exists()


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
