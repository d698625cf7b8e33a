"""The front door: one TCP port for gRPC, REST, the web pages, Cloud Storage and the gateway.

A connection's first bytes say what it speaks; it is then spliced to the inner listener for that,
a unix socket, without TLS being terminated here.
"""

import asyncio
import contextlib
import ipaddress
import logging
import resource
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from tensordeck.errors import InvalidArgument
from tensordeck.front.arrival import Arrival
from tensordeck.front.first_bytes import Speech
from tensordeck.front.gateway import Gateway, is_loopback
from tensordeck.front.handed_connections import HandedConnections
from tensordeck.front.listening import BACKLOG, listen_on
from tensordeck.settings import Settings

log: Final = logging.getLogger("tensordeck.front.door")

MAX_CONNECTIONS: Final = 8192
"""Connections that are served at a time; as many again wait for their turn."""

# The client's, ours to the inner listener, the listener's own, and one while it waits its turn.
_FILES_PER_CONNECTION: Final = 4
_FILES_FOR_THE_REST: Final = 512
_QUIET_SECONDS: Final = 0.25


class Upstreams(Struct, frozen=True):
    """The inner listeners: paths of unix sockets.

    Attributes:
        grpc_tls: gRPC with TLS.
        grpc_plain: gRPC without.
        https: HTTP/1.1 with TLS.
        http: HTTP/1.1 without.
    """

    grpc_tls: Path
    grpc_plain: Path
    https: Path
    http: Path


class Door:
    """The listener on the one port.

    Args:
        settings: For the address, and who may come without TLS.
        upstreams: Where connections go; they may start to listen a moment after the door.
        authenticate_proxy: Raises `Unauthenticated` unless a `Proxy-Authorization` value is
            good; callers from other machines need one for the gateway.
        max_connections: At most this many are served at a time.
        handed: Where connections come from that another process accepts; None to listen itself.
    """

    def __init__(
        self,
        settings: Settings,
        upstreams: Upstreams,
        authenticate_proxy: Callable[[str | None], object],
        max_connections: int = MAX_CONNECTIONS,
        handed: HandedConnections | None = None,
    ) -> None:
        self._settings = settings
        self._authenticate = authenticate_proxy
        self._servers: list[asyncio.Server] = []
        self._networks = _networks(settings.plaintext_networks)
        self.paths: Mapping[Speech, str] = {
            Speech.GRPC_TLS: str(upstreams.grpc_tls),
            Speech.GRPC_PLAIN: str(upstreams.grpc_plain),
            Speech.HTTPS: str(upstreams.https),
            Speech.HTTP: str(upstreams.http),
        }
        self._limit = max_connections
        self._handed = handed
        self._served: set[Arrival] = set()
        self._waiting: deque[Arrival] = deque()
        self._empty = asyncio.Event()
        self._empty.set()
        self.closed = False
        self.gateway: Gateway

    async def start(self) -> int:
        """Starts to accept connections; returns the port.

        Raises:
            FailedPrecondition: If the address can't be listened on, e.g. the port is in use.
            InvalidArgument: If the upstream proxy's URL can't be read.
        """
        self._limit = min(self._limit, _allowed_connections())
        handed = self._handed
        sockets = [] if handed else listen_on(self._settings.host, self._settings.port)
        port = handed.port if handed else int(sockets[0].getsockname()[1])
        try:
            self.gateway = Gateway(
                self._authenticate, self._settings.upstream_proxy, frozenset({port})
            )
        except BaseException:
            for listener in sockets:
                listener.close()
            raise
        if handed:
            handed.start(lambda: Arrival(self), lambda: sum(self.connections()))
        loop = asyncio.get_running_loop()
        for listener in sockets:
            self._servers.append(
                await loop.create_server(lambda: Arrival(self), sock=listener, backlog=BACKLOG)
            )
        return port

    def close(self) -> None:
        """Stops accepting; connections that say nothing yet are dropped, the others go on."""
        self.closed = True
        for server in self._servers:
            server.close()
        for arrival in [*self._waiting, *self._served]:
            if not arrival.spliced:
                arrival.abort()

    async def stop(self, drain_seconds: float) -> None:
        """Stops accepting and waits for the connections to end; drops what is left then.

        Ending connections gracefully is the inner listeners' part: they know which of them are
        idle. Stop them at the same time, not afterwards. Tunnels to other hosts are dropped once
        they are quiet.
        """
        self.close()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + drain_seconds
        while self._served and loop.time() < deadline:
            for arrival in list(self._served):
                arrival.drop_if_quiet()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(
                    self._empty.wait(), min(_QUIET_SECONDS, deadline - loop.time())
                )
        for arrival in list(self._served):
            arrival.abort()

    def connections(self) -> tuple[int, int]:
        """How many connections are served now, and how many wait for their turn."""
        return len(self._served), len(self._waiting)

    def admit(self, arrival: Arrival) -> None:
        """Serves a connection, or lets it wait for its turn, or drops it; `arrival` calls it."""
        if self._handed:
            self._handed.changed()
        if len(self._served) < self._limit:
            self._serve(arrival)
        elif len(self._waiting) < self._limit:
            self._waiting.append(arrival)
        else:
            log.warning("more than %d connections wait; one was dropped", self._limit)
            arrival.abort()

    def _serve(self, arrival: Arrival) -> None:
        self._served.add(arrival)
        self._empty.clear()
        arrival.begin()

    def leave(self, arrival: Arrival) -> None:
        """Forgets a connection that has ended; the next one has its turn. `arrival` calls it."""
        self._served.discard(arrival)
        if self._handed:
            self._handed.changed()
        while self._waiting and len(self._served) < self._limit:
            following = self._waiting.popleft()
            if not following.gone:
                self._serve(following)
        if not self._served:
            self._empty.set()

    def trusts_plaintext(self, address: str) -> bool:
        """Whether a client at an address may come without TLS."""
        if is_loopback(address):
            return True
        if not self._networks:
            return False
        ip = ipaddress.ip_address(address.partition("%")[0])
        mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
        return any((mapped or ip) in network for network in self._networks)


def _networks(
    given: tuple[str, ...],
) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    try:
        return [ipaddress.ip_network(network.strip(), strict=False) for network in given]
    except ValueError as error:
        raise InvalidArgument(f"plaintext-networks: {error}.") from error


def _allowed_connections() -> int:
    """How many connections the process's open files allow, after asking for as many as we want."""
    wanted = MAX_CONNECTIONS * _FILES_PER_CONNECTION + _FILES_FOR_THE_REST
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(16, (soft - _FILES_FOR_THE_REST) // _FILES_PER_CONNECTION)
