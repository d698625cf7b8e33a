"""What a TLS client offers, read from its first bytes without terminating TLS.

Record and handshake layout: RFC 8446, sections 4.1.2 and 5.1 (the same in TLS 1.2); ALPN: RFC 7301.
A ClientHello may be split over several records, and each record over several segments.
"""

from typing import Final

HANDSHAKE_RECORD: Final = 0x16
"""The first byte that a TLS client sends."""

MAX_HELLO: Final = 16384
"""Bytes. Real ones take 0.2 to 2 KB, with post-quantum key shares."""

_MAX_RECORDS: Final = 32
_CLIENT_HELLO: Final = 1
_ALPN: Final = 16


class MalformedHello(ValueError):  # noqa: N818 -- says what it is
    """The bytes are not a ClientHello."""


def offered_protocols(data: bytes) -> tuple[bytes, ...] | None:
    """Returns the application protocols that a client offers (ALPN), in its order.

    Args:
        data: The connection's first bytes; what follows the ClientHello is not looked at.

    Returns:
        The protocols, e.g. `(b"h2", b"http/1.1")`; empty without ALPN. None while `data` ends
        before the ClientHello does.

    Raises:
        MalformedHello: If the bytes can't become a ClientHello.
    """
    hello = _handshake_message(data)
    return None if hello is None else _alpn(_Cursor(hello))


def _handshake_message(data: bytes) -> bytes | None:
    """Joins the records' content to the first handshake message's body; None if it is not whole."""
    message = bytearray()
    position = 0
    for _ in range(_MAX_RECORDS):
        header = data[position : position + 5]
        if header and header[0] != HANDSHAKE_RECORD:
            raise MalformedHello("not a handshake record")
        if len(header) > 1 and header[1] != 3:
            raise MalformedHello("not a TLS version")
        if len(header) < 5:
            return None
        length = int.from_bytes(header[3:5], "big")
        if not 0 < length <= MAX_HELLO:
            raise MalformedHello("record length")
        message += data[position + 5 : position + 5 + length]
        if message and message[0] != _CLIENT_HELLO:
            raise MalformedHello("not a ClientHello")
        if len(message) >= 4:
            end = 4 + int.from_bytes(message[1:4], "big")
            if end > MAX_HELLO:
                raise MalformedHello("too long")
            if len(message) >= end:
                return bytes(message[4:end])
        position += 5 + length
        if position > len(data):
            return None
    raise MalformedHello("too many records")


class _Cursor:
    """Reads length-prefixed fields off a byte string."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def __bool__(self) -> bool:
        return self._position < len(self._data)

    def take(self, size: int) -> bytes:
        end = self._position + size
        if end > len(self._data):
            raise MalformedHello("a field ends after the message")
        field = self._data[self._position : end]
        self._position = end
        return field

    def vector(self, prefix: int) -> bytes:
        return self.take(int.from_bytes(self.take(prefix), "big"))


def _alpn(hello: _Cursor) -> tuple[bytes, ...]:
    hello.take(2 + 32)  # legacy_version, random
    hello.vector(1)  # legacy_session_id
    hello.vector(2)  # cipher_suites
    hello.vector(1)  # legacy_compression_methods
    if not hello:
        return ()  # TLS 1.2 clients may send no extensions at all
    extensions = _Cursor(hello.vector(2))
    while extensions:
        kind = int.from_bytes(extensions.take(2), "big")
        content = extensions.vector(2)
        if kind == _ALPN:
            names = _Cursor(_Cursor(content).vector(2))
            protocols = []
            while names:
                protocols.append(names.vector(1))
            return tuple(protocols)
    return ()
