"""A door with real inner listeners behind it, on a thread of its own: what the door's tests use."""

import asyncio
import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tensordeck.errors import Unauthenticated
from tensordeck.front.door import Door, Upstreams
from tensordeck.front.tls import Certificates, ensure_certificates
from tensordeck.settings import Settings

PROXY_PASSWORD = "Basic dXNlcjpzZXNhbWU="  # user:sesame


def authenticate_proxy(authorization: str | None) -> None:
    if authorization != PROXY_PASSWORD:
        raise Unauthenticated("No such credential.")


class Echo(grpc.GenericRpcHandler):
    """Answers every unary call with its own bytes; `/slow` waits until it is released."""

    def __init__(self, name: str, release: threading.Event) -> None:
        self.name = name
        self.release = release
        self.entered = threading.Event()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            context.set_trailing_metadata((("listener", self.name),))
            if details.method.endswith("slow"):
                self.entered.set()
                self.release.wait(30)
            return request

        return grpc.unary_unary_rpc_method_handler(answer)


@dataclass
class House:
    """Everything that runs.

    Attributes:
        settings: The door's.
        port: Where the door listens.
        files: Certificates.
        door: The door.
        release: Lets slow calls finish.
        slow: Is set when a slow call has come in.
    """

    settings: Settings
    port: int
    files: Certificates
    door: Door
    release: threading.Event
    slow: threading.Event
    loop: asyncio.AbstractEventLoop
    grpc_servers: list[grpc.Server]
    http_servers: list[uvicorn.Server]

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    @property
    def proxy(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), 10)
        connection.settimeout(10)
        return connection

    def stop_inner(self, seconds: float) -> None:
        for server in self.grpc_servers:
            server.stop(seconds)
        for server in self.http_servers:
            server.should_exit = True


def application(listener: str, release: threading.Event, entered: threading.Event) -> Starlette:
    async def echo(request: Request) -> Response:
        body = await request.body()
        answer = {
            "listener": listener,
            "method": request.method,
            "path": request.url.path,
            "query": request.url.query,
            "host": request.headers.get("host"),
            "headers": dict(request.headers),
            "size": len(body),
        }
        return JSONResponse(answer)

    async def slow(_request: Request) -> Response:
        entered.set()
        await asyncio.to_thread(release.wait, 30)
        return JSONResponse({"listener": listener})

    async def large(request: Request) -> Response:
        return Response(bytes(int(request.path_params["size"])))

    methods = ["GET", "POST", "PUT", "DELETE", "PATCH"]
    return Starlette(
        routes=[
            Route("/slow", slow),
            Route("/large/{size:int}", large),
            Route("/{rest:path}", echo, methods=methods),
        ]
    )


@contextlib.contextmanager
def open_house(
    folder: Path,
    door_class: Callable[..., Door] = Door,
    max_connections: int = 1024,
    **settings: Any,
) -> Iterator[House]:
    """Starts inner listeners and a door; stops them all."""
    given = Settings(data_dir=folder / "data", port=0, **settings)
    files = ensure_certificates(given, {})
    paths = Upstreams(
        grpc_tls=folder / "gt", grpc_plain=folder / "gp", https=folder / "hs", http=folder / "h"
    )
    release, entered = threading.Event(), threading.Event()
    grpc_servers = []
    pair = [(files.key.read_bytes(), files.cert.read_bytes())]
    for name, path in (("grpc_tls", paths.grpc_tls), ("grpc_plain", paths.grpc_plain)):
        echo = Echo(name, release)
        echo.entered = entered
        server = grpc.server(
            ThreadPoolExecutor(8),
            handlers=(echo,),
            options=[("grpc.max_receive_message_length", -1)],
        )
        if name == "grpc_tls":
            server.add_secure_port(f"unix:{path}", grpc.ssl_server_credentials(pair))
        else:
            server.add_insecure_port(f"unix:{path}")
        server.start()
        grpc_servers.append(server)
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    http_servers, serving = [], []
    for name, path, tls in (("https", paths.https, True), ("http", paths.http, False)):
        config = uvicorn.Config(
            application(name, release, entered),
            uds=str(path),
            log_level="error",
            lifespan="off",
            ssl_keyfile=files.key if tls else None,
            ssl_certfile=files.cert if tls else None,
        )
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None
        server.capture_signals = contextlib.nullcontext
        http_servers.append(server)
        serving.append(asyncio.run_coroutine_threadsafe(server.serve(), loop))
    door = door_class(given, paths, authenticate_proxy, max_connections)
    port = asyncio.run_coroutine_threadsafe(door.start(), loop).result(10)
    house = House(
        settings=replace(given, port=port),
        port=port,
        files=files,
        door=door,
        release=release,
        slow=entered,
        loop=loop,
        grpc_servers=grpc_servers,
        http_servers=http_servers,
    )
    try:
        yield house
    finally:
        release.set()
        house.stop_inner(0)
        house.run(door.stop(0))
        for future in serving:
            future.result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def raw_request(connection: socket.socket, request: bytes) -> bytes:
    """Sends a request and reads until the other side ends."""
    connection.sendall(request)
    return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    chunks = []
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            chunks.append(chunk)
    return b"".join(chunks)


def body_of(reply: bytes) -> dict[str, Any]:
    return json.loads(reply.partition(b"\r\n\r\n")[2])


def own_address() -> str:
    """An address of this machine that is not loopback; skips the test where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.200", 9))  # sends nothing: only asks for the route
            address = probe.getsockname()[0]
        except OSError:
            address = "127.0.0.1"
    if address.startswith("127."):
        pytest.skip("this machine has loopback only")
    return address


def trusting(house: House) -> ssl.SSLContext:
    """TLS that trusts the house's own authority."""
    return ssl.create_default_context(cafile=str(house.files.bundle))


def secure_channel(house: House, target: str, *options: tuple[str, object]) -> grpc.Channel:
    """A gRPC channel that trusts the house's own authority."""
    credentials = grpc.ssl_channel_credentials(house.files.bundle.read_bytes())
    limit = ("grpc.max_receive_message_length", -1)
    return grpc.secure_channel(target, credentials, options=(limit, *options))


def listener_of(channel: grpc.Channel, payload: bytes = b"x") -> str:
    """Which inner listener answered; it must have answered with the payload."""
    reply, call = channel.unary_unary("/test/echo").with_call(payload, timeout=20)
    assert reply == payload
    return dict(call.trailing_metadata())["listener"]
