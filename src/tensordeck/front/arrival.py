"""A connection from its first byte until it is spliced to where it belongs."""

import asyncio
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, Protocol, cast

from tensordeck.errors import TensordeckError
from tensordeck.front.first_bytes import Speech, Unintelligible, recognize
from tensordeck.front.gateway import ESTABLISHED, Gateway, Refused, is_loopback
from tensordeck.front.google_hosts import is_intercepted
from tensordeck.front.proxy_request import MalformedRequest, ProxyRequest, SeenRequests
from tensordeck.front.splice import Splice

log: Final = logging.getLogger("tensordeck.front.door")

FIRST_BYTES_SECONDS: Final = 10.0
"""How long a client may take until it is clear what it speaks."""

_SEEN: Final = SeenRequests()
_INNER_CONNECT_TRIES: Final = 200
_INNER_CONNECT_PAUSE: Final = 0.025


class Host(Protocol):
    """What a connection asks of the door it came through.

    Attributes:
        paths: Unix sockets of the inner listeners.
        gateway: Reaches other hosts.
        closed: Whether it accepts no more.
    """

    paths: Mapping[Speech, str]
    gateway: Gateway
    closed: bool

    def admit(self, arrival: "Arrival") -> None:
        """Calls `arrival.begin` when it is the connection's turn."""

    def leave(self, arrival: "Arrival") -> None:
        """Hears that the connection, and what it was joined to, has ended."""

    def trusts_plaintext(self, address: str) -> bool:
        """Whether a client at an address may come without TLS."""


class Arrival(asyncio.Protocol):
    """Collects a connection's first bytes, decides what it is, and connects it.

    Args:
        door: The door it came through.
    """

    transport: asyncio.Transport

    def __init__(self, door: Host) -> None:
        self._door = door
        self._received = b""
        self._deadline: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._splice: Splice | None = None
        self._tunnel = False
        """Whether the other end is a host that is not us."""
        self._intercepted = False
        """Whether the client is inside a CONNECT to a host that we stand for."""
        self.spliced = False
        self.gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks the door for its turn; nothing is read before."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.pause_reading()
        self._door.admit(self)

    def begin(self) -> None:
        """Starts to read."""
        self._await_first_bytes()
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Collects bytes until they say where the connection belongs."""
        self._received += data
        seen = None if self._intercepted else _SEEN.find(self._received)
        if seen is not None:
            self._stop_collecting()
            self._proxy(seen, b"")
            return
        try:
            speech = recognize(self._received)
        except Unintelligible as error:
            log.debug("dropped a connection from %s: %s", self._peer(), error)
            self.transport.abort()
            return
        if speech is None:
            return
        self._stop_collecting()
        if speech is Speech.PROXY:
            self._read_proxy_request()
        elif self._may(speech):
            self._join(speech, self._received)

    def eof_received(self) -> bool:
        """Ends a connection that ends before it said anything."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- either way it is over
        """Leaves the door."""
        self.gone = True
        if self._deadline is not None:
            self._deadline.cancel()
        if self._task is not None:
            self._task.cancel()
        self._door.leave(self)

    def abort(self) -> None:
        """Drops the connection, and what it is joined to, at once."""
        if self._splice is not None:
            self._splice.abort()
        self.transport.abort()

    def drop_if_quiet(self) -> None:
        """Drops the connection if it only waits, and nothing has come since the last time."""
        if self._splice is not None:
            if not self._splice.moved and (self._tunnel or self._splice.said_goodbye):
                self.abort()
            self._splice.moved = False

    def _await_first_bytes(self) -> None:
        self._received = b""
        self._deadline = asyncio.get_running_loop().call_later(
            FIRST_BYTES_SECONDS, self.transport.abort
        )

    def _peer(self) -> str:
        return str((self.transport.get_extra_info("peername") or ("",))[0])

    def _may(self, speech: Speech) -> bool:
        """Turns away who comes without TLS and must not."""
        if speech in {Speech.GRPC_TLS, Speech.HTTPS} or self._door.trusts_plaintext(self._peer()):
            return True
        # A gRPC client shows this as well: "trying to connect an http1.x server".
        self._refuse(
            426,
            "This server takes calls without TLS from its own machine only; use https:// with the "
            "certificate authority in the file tls/ca.pem of its data directory.",
            "Upgrade: TLS/1.2, HTTP/1.1",
        )
        return False

    def _refuse(self, status: int, text: str, header: str = "") -> None:
        self.transport.write(_response(status, text, header))
        self.transport.close()

    def _stop_collecting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self.transport.pause_reading()

    def _read_proxy_request(self) -> None:
        """Reads a proxy request, whose head is complete, and serves it."""
        head, end, rest = self._received.partition(b"\r\n\r\n")
        try:
            request = ProxyRequest.parse(head + end)
        except MalformedRequest as error:
            self._refuse(400, f"The gateway can't read the request: {error}.")
            return
        _SEEN.remember(head + end, request)
        self._proxy(request, rest)

    def _proxy(self, request: ProxyRequest, rest: bytes) -> None:
        """Serves a proxy request; `rest` is what came after it."""
        local = is_loopback(self._peer())
        if self._intercepted and request.method == "CONNECT":
            self._refuse(400, "A CONNECT inside a CONNECT is not served.")
        elif local and is_intercepted(request.host):
            self._answer_ourselves(request, rest)
        else:
            self._task = asyncio.get_running_loop().create_task(self._reach(request, rest, local))

    async def _reach(self, request: ProxyRequest, rest: bytes, local: bool) -> None:
        """Joins the client to the host it asks for, if it may have it."""
        gateway = self._door.gateway
        try:
            if not local:
                await gateway.authorize(request)
            if is_intercepted(request.host):
                self._answer_ourselves(request, rest)
                return
            tunnel = request.method == "CONNECT"
            self._splice = Splice(
                self.transport,
                self._left,
                first_bytes=rest if tunnel else gateway.forwarded_head(request) + rest,
                greeting=ESTABLISHED if tunnel else b"",
                tunnel=True,
                watch=True,
            )
            await gateway.connect(request, self._splice.remote, trusted=local)
        except Refused as refused:
            log.info("gateway: %s for %s: %s", refused.status, request.address, refused.text)
            header = 'Proxy-Authenticate: Basic realm="tensordeck"' if refused.status == 407 else ""
            self._refuse(refused.status, refused.text, header)
        except TensordeckError as error:
            self._refuse(503, error.message)
        else:
            self.spliced = self._tunnel = True

    def _answer_ourselves(self, request: ProxyRequest, rest: bytes) -> None:
        """Takes the part of a host that we stand for."""
        if request.method != "CONNECT":
            if self._may(Speech.HTTP):
                self._join(Speech.HTTP, request.head(absolute=False) + rest)
            return
        self._intercepted = True
        self.transport.write(ESTABLISHED)
        self._await_first_bytes()
        self.transport.resume_reading()
        if rest:
            self.data_received(rest)

    def _join(self, speech: Speech, first_bytes: bytes) -> None:
        self._splice = Splice(
            self.transport,
            self._left,
            first_bytes=first_bytes,
            watch=speech is Speech.HTTPS,
        )
        self._task = asyncio.get_running_loop().create_task(
            self._connect_inside(speech, self._splice)
        )

    async def _connect_inside(self, speech: Speech, splice: Splice) -> None:
        loop = asyncio.get_running_loop()
        path = self._door.paths[speech]
        self.spliced = True
        for _ in range(_INNER_CONNECT_TRIES):
            try:
                await loop.create_unix_connection(lambda: splice.remote, path)
            except (BlockingIOError, FileNotFoundError, ConnectionRefusedError):
                # Its backlog is full, or it starts to listen in a moment: wait, don't refuse.
                if self._door.closed:
                    break
                await asyncio.sleep(_INNER_CONNECT_PAUSE)
            except OSError as error:
                log.warning("%s can't be reached: %s", path, error)
                break
            else:
                return
        if speech is Speech.HTTP:
            self._refuse(503, "The server is not ready to take calls; try again in a moment.")
        else:
            self.transport.abort()

    def _left(self) -> None:
        self.gone = True
        self._door.leave(self)


def _response(status: int, text: str, header: str) -> bytes:
    """A small HTTP/1.1 reply; its reason phrase is what requests and curl show of a proxy's."""
    body = text.encode() + b"\n"
    phrase = HTTPStatus(status).phrase
    if status >= 500 or status in {403, 407}:
        phrase = f"{phrase}: {text}"
    lines = [
        f"HTTP/1.1 {status} {phrase}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *([header] if header else ()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace") + body
