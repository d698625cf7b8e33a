"""The end of a server that load balancers and clients are told of before it comes."""

import http.client
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Server, make_server
from tests.workers.worker_house import probe, wait_until

GOAWAY = 7  # RFC 9113, section 6.8
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
PLACE = "/v1/projects/p/locations/us-central1/tensorboards"


@pytest.fixture(params=["1", pytest.param("2", marks=pytest.mark.heavy)])
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    server = make_server(
        tmp_path / "data", "--drain-delay-seconds", "600", "--workers", request.param
    ).start()
    yield server
    server.kill()


def frame_kinds(connection: socket.socket) -> Iterator[int]:
    """The kinds of the HTTP/2 frames that come in until the connection ends."""
    with connection.makefile("rb") as stream:
        while len(head := stream.read(9)) == 9:
            stream.read(int.from_bytes(head[:3], "big"))
            yield head[3]


def test_readiness_ends_at_once_and_calls_in_flight_finish(server: Server) -> None:
    token = server.token
    assert probe(server.port, "/readyz") == (200, '{"ready": true}\n')
    grpc = socket.create_connection(("127.0.0.1", server.port))
    grpc.sendall(PREFACE)
    body = json.dumps({"displayName": "late"}).encode()
    late = http.client.HTTPConnection("127.0.0.1", server.port)
    late.putrequest("POST", PLACE)
    late.putheader("Authorization", f"Bearer {token}")
    late.putheader("Content-Length", str(len(body)))
    late.endheaders(body[:5])

    os.kill(server.process.pid, signal.SIGTERM)

    wait_until(lambda: probe(server.port, "/readyz")[0] == 503)
    status, text = probe(server.port, "/readyz")
    assert (status, json.loads(text)) == (
        503,
        {"ready": False, "reason": "draining: the server is about to stop"},
    )
    assert text.count("\n") == 1
    assert probe(server.port, "/healthz") == (200, "ok\n")
    assert server.token  # load balancers that have not noticed yet still send calls

    os.kill(server.process.pid, signal.SIGTERM)  # the second one waits no longer
    kinds = frame_kinds(grpc)
    assert GOAWAY in kinds
    ended: list[int] = []
    waiting = threading.Thread(target=lambda: ended.append(server.process.wait(60)))
    waiting.start()
    late.send(body[5:])
    reply = late.getresponse()
    assert reply.status == 200
    assert json.load(reply)["response"]["displayName"] == "late"
    late.close()
    grpc.close()
    waiting.join()
    assert ended == [0]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))
