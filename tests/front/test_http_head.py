"""Requests that say their length twice, as TensorFlow sends them."""

import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tensordeck.front.http_head import LenientHttpProtocol


async def echo(request: Request) -> Response:
    return Response(b"<" + await request.body() + b">")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    app = Starlette(routes=[Route("/", echo, methods=["POST"])])
    server = uvicorn.Server(
        uvicorn.Config(app, http=LenientHttpProtocol, lifespan="off", log_level="critical")
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(20)
    listener.close()


def ask(port: int, *pieces: bytes) -> list[bytes]:
    """Sends pieces; returns the replies' bodies, or status lines of refusals."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        reply = connection.makefile("rb").read()
    found = []
    for part in reply.split(b"HTTP/1.1 ")[1:]:
        head, _, body = part.partition(b"\r\n\r\n")
        found.append(body if head.startswith(b"200") else head[:3])
    return found


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "body"),
    [
        (HEAD + b"Content-Length: 2\r\n\r\nhi", b"<hi>"),
        (HEAD + b"Content-Length: 0\r\nTransfer-Encoding: identity\r\n\r\n", b"<>"),
        (HEAD + b"transfer-encoding:identity\r\nContent-Length: 2\r\n\r\nhi", b"<hi>"),
        (
            HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            b"<hi>",
        ),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", b"<hi>"),
        (
            HEAD + b"Content-Length: 31\r\n\r\n\r\nTransfer-Encoding: identity\r\n",
            b"<\r\nTransfer-Encoding: identity\r\n>",
        ),
        (HEAD + b"Transfer-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi", b"400"),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi!", b"400"),
        (b"nonsense\r\n\r\n", b"400"),
    ],
)
def test_a_length_said_twice(port: int, request_bytes: bytes, body: bytes) -> None:
    assert ask(port, request_bytes) == [body]


def test_a_head_in_pieces(port: int) -> None:
    whole = HEAD + b"Content-Length: 0\r\nTransfer-Encoding: identity\r\n\r\n"
    assert ask(port, *(whole[i : i + 1] for i in range(len(whole)))) == [b"<>"]


def test_one_connection_many_requests(port: int) -> None:
    one = HEAD + b"Content-Length: 2\r\n\r\nhi"
    odd = HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        for request in (one, odd, one, odd):
            connection.sendall(request)
            reply = b""
            while not reply.endswith(b"<hi>"):
                reply += connection.recv(4096)


def test_a_head_without_an_end(port: int) -> None:
    assert ask(port, HEAD + b"X: " + b"y" * 100_000) in ([b"400"], [])
