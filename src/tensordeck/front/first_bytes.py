"""Which protocol a connection speaks, by its first bytes."""

import re
from enum import Enum, auto
from typing import Final

from tensordeck.front.client_hello import HANDSHAKE_RECORD, MalformedHello, offered_protocols

MAX_HEAD: Final = 16384
"""Bytes that the head of a proxy request may have."""

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113, section 3.4
_REQUEST_LINE: Final = re.compile(rb"([A-Z]{1,32}) ([^ \r\n]{7}|[^ \r\n]{1,6} )")
_BEGINNING: Final = re.compile(rb"[A-Z]{1,32}(?: [^ \r\n]{0,6})?")


class Speech(Enum):
    """What a connection speaks."""

    GRPC_TLS = auto()
    HTTPS = auto()
    GRPC_PLAIN = auto()
    HTTP = auto()
    PROXY = auto()  # CONNECT, or a method with an absolute URL; the head is complete


class Unintelligible(ValueError):  # noqa: N818 -- says what it is
    """The bytes are no protocol that we speak."""


def recognize(data: bytes) -> Speech | None:
    """Tells what a connection speaks.

    TLS clients that offer `h2` and not `http/1.1` are gRPC's; browsers and HTTP libraries offer
    both or none.

    Args:
        data: The first bytes, at least one.

    Returns:
        None while they are too few to tell.

    Raises:
        Unintelligible: If no more bytes would help.
    """
    if data[0] == HANDSHAKE_RECORD:
        try:
            protocols = offered_protocols(data)
        except MalformedHello as error:
            raise Unintelligible(f"malformed ClientHello: {error}") from error
        if protocols is None:
            return None
        return (
            Speech.GRPC_TLS if b"h2" in protocols and b"http/1.1" not in protocols else Speech.HTTPS
        )
    if data.startswith(_PREFACE[: len(data)]):
        return Speech.GRPC_PLAIN if len(data) >= len(_PREFACE) else None
    line = _REQUEST_LINE.match(data)
    if line is None:
        if _BEGINNING.fullmatch(data):
            return None
        raise Unintelligible("neither TLS nor HTTP")
    if line[1] != b"CONNECT" and line[2].lower() != b"http://":
        return Speech.HTTP
    if b"\r\n\r\n" in data:
        return Speech.PROXY
    if len(data) > MAX_HEAD:
        raise Unintelligible("the head of the proxy request is too long")
    return None
