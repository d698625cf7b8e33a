"""What a TLS client offers, read from its first bytes without terminating TLS.

Record and handshake layout: RFC 8446, sections 4.1.2 and 5.1 (the same in TLS 1.2); ALPN: RFC 7301.
A ClientHello may be split over several records, and each record over several segments.
"""

from collections.abc import Iterator
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
    return None if hello is None else _alpn(hello)


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


def _alpn(hello: bytes) -> tuple[bytes, ...]:
    """The protocols that a ClientHello's body offers; every connection comes through here."""
    position = 2 + 32  # legacy_version, random
    position = _end(hello, position, 1)  # legacy_session_id
    position = _end(hello, position, 2)  # cipher_suites
    position = _end(hello, position, 1)  # legacy_compression_methods
    if position == len(hello):
        return ()  # TLS 1.2 clients may send no extensions at all
    end = _end(hello, position, 2)
    position += 2
    while position < end:
        start = position
        position = _end(hello, start + 2, 2, end)
        if hello[start] << 8 | hello[start + 1] == _ALPN:
            return tuple(_protocols(hello[start + 4 : position]))
    return ()


def _protocols(extension: bytes) -> Iterator[bytes]:
    """The names in an ALPN extension's content."""
    end = _end(extension, 0, 2)
    position = 2
    while position < end:
        start = position
        position = _end(extension, start, 1, end)
        yield extension[start + 1 : position]


def _end(data: bytes, position: int, prefix: int, limit: int = MAX_HELLO) -> int:
    """Where a field ends that starts with its length, in so many bytes.

    Raises:
        MalformedHello: If that is after the limit, or the end of the data.
    """
    start = position + prefix
    end = start + int.from_bytes(data[position:start], "big")
    if start > len(data) or end > len(data) or end > limit:
        raise MalformedHello("a field ends after the message")
    return end
