"""`serve --workers N`: one port, several processes, each of which may die."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Server, make_server
from tests.workers.worker_house import call, connections_of, probe, wait_until, workers_of

PLACE = "projects/p/locations/us-central1"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = make_server(tmp_path / "data", "--workers", "2", "--drain-seconds", "60").start()
    yield server
    server.kill()


def test_a_worker_that_dies_is_replaced_and_the_others_go_on(server: Server) -> None:
    token = server.token
    before = workers_of(server)
    assert len(before) == 2

    before[0].kill()
    for number in range(6):  # whichever worker it is that answers
        made = call(
            server.port, token, "POST", f"{PLACE}/tensorboards", {"displayName": f"t{number}"}
        )
        assert made["done"]
    wait_until(lambda: len(workers_of(server)) == 2)
    assert before[1] in workers_of(server)

    assert len(call(server.port, token, "GET", f"{PLACE}/tensorboards")["tensorboards"]) == 6
    log = server.process.stdout
    assert server.process.poll() is None
    os.kill(server.process.pid, signal.SIGTERM)
    assert server.process.wait(30) == 0
    assert "was killed by SIGKILL" in (text := log.read()), text
    assert "it is started again" in text
    assert "Traceback" not in text
    assert not (server.data_dir / "server.json").exists()


@pytest.mark.heavy
def test_connections_are_spread_evenly_and_stay(server: Server) -> None:
    held = []
    for number in range(10):
        held.append(socket.create_connection(("127.0.0.1", server.port)))
        if number % 2:  # a short one after each long one, as clients fetch tokens
            assert probe(server.port, "/healthz") == (200, "ok\n")
    first, second = workers_of(server)
    wait_until(
        lambda: connections_of(first, server.port) == connections_of(second, server.port) == 5
    )
    for one in held:
        one.close()


@pytest.mark.heavy
def test_a_worker_asked_to_end_lets_its_calls_finish_and_is_replaced(server: Server) -> None:
    token = server.token
    body = b'{"displayName": "late"}'
    late = socket.create_connection(("127.0.0.1", server.port))
    late.sendall(
        f"POST /v1/{PLACE}/tensorboards HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
    )
    wait_until(lambda: any(connections_of(w, server.port) for w in workers_of(server)))
    (holder,) = (w for w in workers_of(server) if connections_of(w, server.port))
    holder.terminate()
    wait_until(lambda: len(workers_of(server)) == 3)  # the next one comes up meanwhile
    late.sendall(body)
    assert late.recv(4096).startswith(b"HTTP/1.1 200")
    late.close()
    holder.wait(30)
    assert probe(server.port, "/readyz")[0] == 200
    assert server.stop() == 0


@pytest.mark.heavy
def test_no_worker_outlives_its_supervisor(server: Server) -> None:
    workers = workers_of(server)
    os.kill(server.process.pid, signal.SIGKILL)
    for worker in workers:
        worker.wait(30)
    assert make_server(server.data_dir).start().stop() == 0


@pytest.mark.heavy
def test_what_keeps_workers_from_starting_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tensordeck.db").write_bytes(b"no database" * 1000)
    with pytest.raises(RuntimeError) as ended:
        make_server(tmp_path / "data", "--workers", "2").start()
    assert "can't be opened" in str(ended.value)
    assert "Traceback" not in str(ended.value)


@pytest.mark.heavy
def test_one_worker_has_the_jobs_and_the_next_one_takes_them_over(server: Server) -> None:
    def holders() -> list[int]:
        held = server.data_dir / "duties.lock"
        inode = str(held.stat().st_ino) if held.exists() else "-"
        return [
            int(line.split()[4])
            for line in Path("/proc/locks").read_text().splitlines()
            if line.split()[5].endswith(f":{inode}") and "->" not in line
        ]

    wait_until(lambda: len(holders()) == 1)
    (first,) = (w for w in workers_of(server) if w.pid in holders())
    first.kill()
    wait_until(lambda: len(holders()) == 1 and holders() != [first.pid])
