"""What gRPC's listener says in HTTP/2 before and around a call, to a client written by hand.

Frames: RFC 9113, sections 4.1 and 6; header fields without compression: RFC 7541, section 6.2.2.
"""

import socket
import struct
from collections.abc import Iterator

import pytest

from tests.conftest import Server

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 4, 6, 8
ACK, END_STREAM, END_HEADERS = 1, 1, 4
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 4, 5
SMALLEST_WINDOW = 65535
CALL = b"/google.cloud.aiplatform.v1.MetadataService/GetMetadataStore"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def fields(*pairs: tuple[bytes, bytes]) -> bytes:
    return b"".join(
        b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in pairs
    )


def frames(connection: socket.socket) -> Iterator[tuple[int, int, int, bytes]]:
    """Kind, flags, stream and payload of each frame, until the server ends."""
    stream = connection.makefile("rb")
    while head := stream.read(9):
        kind, flags, number = struct.unpack(">BBI", head[3:])
        yield kind, flags, number, stream.read(int.from_bytes(head[:3], "big"))


@pytest.fixture
def said(server: Server) -> list[tuple[int, int, int, bytes]]:
    """All that the server says from the beginning until it has answered a call."""
    request = b"\0" + struct.pack(">I", 2**16) + bytes(2**16)
    call = fields(
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", CALL),
        (b":authority", b"localhost"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    )
    heard = []
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0))
        arriving = frames(connection)
        for heard_frame in arriving:
            heard.append(heard_frame)
            if heard_frame[:2] == (SETTINGS, ACK):
                break
        connection.sendall(frame(SETTINGS, ACK, 0) + frame(HEADERS, END_HEADERS, 1, call))
        connection.sendall(frame(DATA, END_STREAM, 1, request))
        for heard_frame in arriving:
            heard.append(heard_frame)
            kind, flags, number, _ = heard_frame
            if (kind, number) == (HEADERS, 1) and flags & END_STREAM:
                break
    return heard


def test_a_call_is_answered_without_a_ping(said):
    kinds = [kind for kind, *_ in said]
    assert HEADERS in kinds
    assert PING not in kinds


def test_much_may_be_under_way_from_the_beginning(said):
    settings = next(payload for kind, flags, _, payload in said if kind == SETTINGS and not flags)
    given = dict(struct.iter_unpack(">HI", settings))
    more = next(
        struct.unpack(">I", payload)[0]
        for kind, _, stream, payload in said
        if (kind, stream) == (WINDOW_UPDATE, 0)
    )

    assert given[INITIAL_WINDOW_SIZE] == given[MAX_FRAME_SIZE] == 4 * 2**20
    assert SMALLEST_WINDOW + more == 4 * 2**20
