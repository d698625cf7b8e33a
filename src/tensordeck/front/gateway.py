"""The CONNECT gateway: cloud scripts run verbatim because their proxy variable names us.

For the Google hosts that we stand for, the door answers itself; every other host is reached for
the client and tunnelled untouched, through another proxy where one is set. CONNECT: RFC 9110,
section 9.3.6.
"""

import asyncio
import base64
import ipaddress
import os
import secrets
import socket
import ssl
import urllib.request
from collections.abc import Callable, Mapping
from typing import Final, cast
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from tensordeck.errors import InvalidArgument, Unauthenticated
from tensordeck.front.proxy_request import ProxyRequest

ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"

CONNECT_SECONDS: Final = 10.0
"""How long each address of a host may take to accept a connection."""

_MAX_REPLY_HEAD: Final = 16384
_VIA: Final = f"1.1 tensordeck-{secrets.token_hex(6)}"
"""Marks what this process forwards, so that a proxy that leads back to us is noticed."""


class Refused(Exception):  # noqa: N818 -- an answer, not a fault
    """The gateway does not do what it was asked for.

    Attributes:
        status: The HTTP status to answer with.
        text: One line for the caller.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class UpstreamProxy(Struct, frozen=True):
    """A proxy between us and the world.

    Attributes:
        host: Its host.
        port: Its port.
        tls: Whether it is spoken to through TLS.
        authorization: The `Proxy-Authorization` it wants; empty for none.
    """

    host: str
    port: int
    tls: bool
    authorization: str

    @classmethod
    def parse(cls, url: str) -> "UpstreamProxy":
        """Reads `http[s]://[user:password@]host[:port]`; `http://` may be left out.

        Raises:
            InvalidArgument: If it is not of that form.
        """
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise InvalidArgument(f"upstream-proxy: {url!r} is not a URL: {error}.") from error
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InvalidArgument(f"upstream-proxy: {url!r} is not like http://host:port.")
        authorization = ""
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = f"Basic {base64.b64encode(user.encode()).decode()}"
        return cls(parts.hostname, port, parts.scheme == "https", authorization)


class Gateway:
    """Reaches hosts for clients.

    Args:
        authenticate: Raises `Unauthenticated` unless a `Proxy-Authorization` value is good.
            Called in a thread.
        upstream_proxy: The setting: a URL, or empty for what the environment says.
        own_ports: The door's own port or ports: a proxy variable that names them is ours, from
            `tensordeck env`, and leads nowhere else.
        environ: The server's environment.

    Raises:
        InvalidArgument: If the proxy's URL can't be read.
    """

    def __init__(
        self,
        authenticate: Callable[[str | None], object],
        upstream_proxy: str = "",
        own_ports: frozenset[int] = frozenset(),
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._authenticate = authenticate
        self._no_proxy = {"no": environ.get("no_proxy") or environ.get("NO_PROXY") or ""}
        url = upstream_proxy or environ.get("https_proxy") or environ.get("HTTPS_PROXY") or ""
        proxy = UpstreamProxy.parse(url) if url else None
        if proxy is not None and proxy.port in own_ports and is_loopback(proxy.host):
            proxy = None
        self._proxy = proxy

    async def authorize(self, request: ProxyRequest) -> None:
        """Checks the credential of a caller from another machine.

        Raises:
            Refused: If it shows none that counts.
        """
        try:
            await asyncio.to_thread(self._authenticate, request.header("proxy-authorization"))
        except Unauthenticated as error:
            raise Refused(
                407,
                "From another machine the gateway wants a credential: set https_proxy to "
                f"http://token:ACCESS_TOKEN@host:port. {error.message}",
            ) from error

    async def connect(
        self, request: ProxyRequest, protocol: asyncio.Protocol, *, trusted: bool
    ) -> None:
        """Connects `protocol` to the host that a request names.

        Args:
            request: What the client asked for.
            protocol: Gets the connection once the host (not a proxy before it) is at its end.
            trusted: Whether the client may reach addresses that are not public: only programs on
                this machine, which can do so without us, may.

        Raises:
            Refused: If the host can't be reached, or the client may not.
        """
        if _VIA in (request.header("via") or ""):
            raise Refused(508, f"The way to {request.address} leads back to this gateway.")
        proxy = self._proxy_for(request)
        if proxy is None or not trusted:
            addresses = await _resolve(request.host, request.port)
            if not trusted and not all(_is_public(address) for address in addresses):
                raise Refused(
                    403,
                    f"{request.host} is not a public address; from another machine the gateway "
                    "reaches public ones only.",
                )
        if proxy is None:
            await _connect_any(addresses, request, protocol)
        else:
            await self._connect_through(proxy, request, protocol)

    def forwarded_head(self, request: ProxyRequest) -> bytes:
        """The head of a plain HTTP request as the connection of `connect` must get it."""
        proxy = self._proxy_for(request)
        via: tuple[tuple[str, str], ...] = (("Via", _VIA),)
        if proxy is not None and proxy.authorization:
            via = (*via, ("Proxy-Authorization", proxy.authorization))
        return request.head(absolute=proxy is not None, extra=via)

    def _proxy_for(self, request: ProxyRequest) -> UpstreamProxy | None:
        if self._proxy is None or is_loopback(request.host):
            return None
        # Reads no_proxy with the rules that curl and requests follow, too.
        bypass = urllib.request.proxy_bypass_environment(  # type: ignore[attr-defined]  # typeshed lacks it
            request.address, self._no_proxy
        )
        return None if bypass else self._proxy

    async def _connect_through(
        self, proxy: UpstreamProxy, request: ProxyRequest, protocol: asyncio.Protocol
    ) -> None:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[None] = loop.create_future()
        name = f"The upstream proxy {proxy.host}:{proxy.port}"
        if request.method == "CONNECT":
            lines = [f"CONNECT {request.address} HTTP/1.1", f"Host: {request.address}"]
            lines.append(f"Via: {_VIA}")
            if proxy.authorization:
                lines.append(f"Proxy-Authorization: {proxy.authorization}")
            head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
            factory: Callable[[], asyncio.Protocol] = lambda: _Chained(  # noqa: E731 -- one of two
                head, protocol, answered, f"{name} answered"
            )
        else:
            factory = lambda: protocol  # noqa: E731 -- the other of two
            answered.set_result(None)
        context = ssl.create_default_context() if proxy.tls else None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                transport, _ = await loop.create_connection(
                    factory, proxy.host, proxy.port, ssl=context
                )
                try:
                    await answered
                except BaseException:
                    transport.abort()
                    raise
        except TimeoutError as error:
            raise Refused(504, f"{name} did not answer within {CONNECT_SECONDS:.0f} s.") from error
        except OSError as error:
            raise Refused(502, f"{name} can't be reached ({_reason(error)}).") from error


class _Chained(asyncio.Protocol):
    """Asks another proxy for a tunnel, then hands the connection over."""

    def __init__(
        self,
        head: bytes,
        successor: asyncio.Protocol,
        answered: "asyncio.Future[None]",
        what: str,
    ) -> None:
        self._head = head
        self._successor = successor
        self._answered = answered
        self._what = what
        self._reply = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        if self._answered.done():
            return
        self._reply += data
        head, end, rest = bytes(self._reply).partition(b"\r\n\r\n")
        if not end:
            if len(head) > _MAX_REPLY_HEAD:
                self._fail("with something that is not HTTP")
            return
        status = head.split(b"\r\n")[0].split(b" ", 2)
        if len(status) < 2 or not status[0].startswith(b"HTTP/1.") or status[1][:1] != b"2":
            self._fail(b" ".join(status[1:]).decode("latin-1"))
            return
        self._answered.set_result(None)
        self._transport.set_protocol(self._successor)
        self._successor.connection_made(self._transport)
        if rest:
            self._successor.data_received(rest)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- any end is too early
        if not self._answered.done():
            self._fail("by closing the connection")

    def _fail(self, how: str) -> None:
        self._answered.set_exception(Refused(502, f"{self._what} {how}."))


async def _resolve(host: str, port: int) -> list[tuple[int, str]]:
    """Returns (address family, address) pairs of a host.

    Raises:
        Refused: If it has none.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Refused(502, f"{host} can't be resolved ({_reason(error)}).") from error
    return list(dict.fromkeys((family, str(address[0])) for family, *_, address in found))


async def _connect_any(
    addresses: list[tuple[int, str]], request: ProxyRequest, protocol: asyncio.Protocol
) -> None:
    """Connects to the first address that accepts: the checked ones, so no name is asked again."""
    loop = asyncio.get_running_loop()
    reason, status = "it has no address", 502
    for family, address in addresses:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await loop.create_connection(lambda: protocol, address, request.port, family=family)
        except TimeoutError:
            reason, status = f"no answer within {CONNECT_SECONDS:.0f} s", 504
        except OSError as error:
            reason, status = _reason(error), 502
        else:
            return
    raise Refused(status, f"{request.address} can't be reached ({reason}).")


def _reason(error: Exception) -> str:
    """What went wrong, without the event loop's preamble."""
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return getattr(error, "strerror", None) or str(error)


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    if host.lower().rstrip(".") == "localhost" or host.startswith("127."):
        return True
    try:
        return _unmapped(host).is_loopback
    except ValueError:
        return False


def _is_public(address: tuple[int, str]) -> bool:
    ip = _unmapped(address[1])
    return ip.is_global and not ip.is_multicast


_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def _unmapped(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address, without a zone; the IPv4 address inside an IPv6 one where there is one."""
    ip = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64:
            return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        return ip.ipv4_mapped or ip.sixtofour or ip
    return ip
