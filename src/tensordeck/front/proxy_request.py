"""A request to a proxy: `CONNECT host:port`, or a method with an absolute URL (RFC 9110, 9112)."""

import re
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "proxy-connection"})
_FOR_US: Final = frozenset({"proxy-authorization"})

_SEEN: Final = 64
"""Heads that are kept, of at most `_SEEN_BYTES` each."""
_SEEN_BYTES: Final = 1024


class MalformedRequest(ValueError):  # noqa: N818 -- says what it is
    """The head is not a proxy request; the message says what is wrong with it."""


class ProxyRequest(Struct, frozen=True):
    """What a client asks a proxy for.

    Attributes:
        method: `CONNECT`, or the method to forward.
        host: The host, without brackets.
        port: The port.
        target: The origin form of what to ask that host for; empty for CONNECT.
        headers: Names as they came, and values, in order.
    """

    method: str
    host: str
    port: int
    target: str
    headers: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, head: bytes) -> "ProxyRequest":
        """Reads the head of a request, its empty line included.

        Raises:
            MalformedRequest: If it is none.
        """
        lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        match lines[0].split(" "):
            case [method, target, version] if version.startswith("HTTP/1."):
                pass
            case _:
                raise MalformedRequest("the request line is not METHOD TARGET HTTP/1.1")
        headers = []
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or not _TOKEN.fullmatch(name):
                raise MalformedRequest("a header line is not NAME: VALUE")
            headers.append((name, value.strip()))
        try:
            if method == "CONNECT":
                url = urlsplit(f"//{target}")
                path, port = "", url.port
            else:
                url = urlsplit(target)
                path, port = url.path or "/", url.port or 80
                if url.query:
                    path += f"?{url.query}"
        except ValueError as error:
            raise MalformedRequest(f"the target is no address: {error}") from error
        if (method == "CONNECT") == bool(url.path or url.query) or not port or url.username:
            raise MalformedRequest("the target is not HOST:PORT, or http://HOST[:PORT]/PATH")
        host = url.hostname or ""
        if not _HOST.fullmatch(host):
            raise MalformedRequest("the target names no host")
        return cls(method, host, port, path, tuple(headers))

    @property
    def address(self) -> str:
        """`host:port`, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def header(self, name: str) -> str | None:
        """The first header of a name, which is given in lower case."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    def head(self, *, absolute: bool, extra: tuple[tuple[str, str], ...] = ()) -> bytes:
        """The head to forward: this one request, after which the connection ends.

        Args:
            absolute: Whether the next server is a proxy again.
            extra: Headers to add.
        """
        target = f"http://{self.address}{self.target}" if absolute else self.target
        kept = [
            (name, value)
            for name, value in self.headers
            if name.lower() not in _HOP_BY_HOP | _FOR_US
        ]
        lines = [
            f"{self.method} {target} HTTP/1.1",
            *(f"{name}: {value}" for name, value in (*kept, *extra, ("Connection", "close"))),
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class SeenRequests:
    """Requests of late, by what came: a client asks with the same bytes for each connection.

    For the event loop. What holds a password is not kept.
    """

    def __init__(self) -> None:
        self._requests: dict[bytes, ProxyRequest] = {}

    def find(self, received: bytes) -> ProxyRequest | None:
        """The request that these bytes are, head and all, if they were seen."""
        return self._requests.get(received)

    def remember(self, head: bytes, request: ProxyRequest) -> None:
        """Keeps a request for a tunnel, under its head with the empty line."""
        if (
            request.method == "CONNECT"
            and len(head) <= _SEEN_BYTES
            and request.header("proxy-authorization") is None
        ):
            if len(self._requests) >= _SEEN:
                self._requests.clear()
            self._requests[head] = request
