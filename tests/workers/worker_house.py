"""Servers with several workers, seen from outside."""

import contextlib
import http.client
import json
import time
from collections.abc import Callable
from typing import Any

import psutil

from tests.conftest import Server


def workers_of(server: Server) -> list[psutil.Process]:
    """A server's worker processes."""
    found = []
    for child in psutil.Process(server.process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # which one that has just died is
            if "tensordeck.workers.worker" in child.cmdline():
                found.append(child)
    return found


def connections_of(worker: psutil.Process, port: int) -> int:
    """How many connections of a port a worker holds."""
    return sum(
        connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == port
        for connection in worker.net_connections("tcp")
    )


def wait_until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    """Polls, for what another process does has nothing to wait on."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def probe(port: int, path: str) -> tuple[int, str]:
    """A new connection's answer to a GET."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    reply = connection.getresponse()
    answer = reply.status, reply.read().decode()
    connection.close()
    return answer


def call(port: int, token: str, verb: str, path: str, body: object = None) -> Any:
    """A REST call's answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(
        verb,
        f"/v1/{path}",
        None if body is None else json.dumps(body),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    reply = connection.getresponse()
    answer = json.load(reply)
    connection.close()
    assert reply.status == 200, answer
    return answer
