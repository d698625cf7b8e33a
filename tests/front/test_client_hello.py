import ssl
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensordeck.front.client_hello import MAX_HELLO, MalformedHello, offered_protocols
from tensordeck.front.first_bytes import Speech, Unintelligible, recognize


def client_hello(protocols: list[str], version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """What OpenSSL sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = version
    if protocols:
        context.set_alpn_protocols(protocols)
    outgoing = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


def split_into_records(hello: bytes, sizes: list[int]) -> bytes:
    """The same handshake message in several TLS records."""
    message, records = hello[5:], []
    for size in [*sizes, len(message)]:
        fragment, message = message[:size], message[size:]
        if fragment:
            records.append(hello[:3] + struct.pack(">H", len(fragment)) + fragment)
    return b"".join(records)


OFFERS = [
    ([], ()),
    (["h2"], (b"h2",)),
    (["h2", "http/1.1"], (b"h2", b"http/1.1")),
    (["grpc-exp", "h2"], (b"grpc-exp", b"h2")),
]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(("protocols", "offered"), OFFERS)
def test_protocols_are_read_from_openssl_hellos(protocols, offered, version):
    hello = client_hello(protocols, version)

    assert offered_protocols(hello) == offered
    assert offered_protocols(hello + b"early data") == offered


@given(st.data(), st.sampled_from(OFFERS))
def test_a_hello_may_be_cut_anywhere(data, offer):
    protocols, offered = offer
    hello = client_hello(protocols)
    cut = data.draw(st.integers(0, len(hello) - 1))

    assert offered_protocols(hello[:cut]) is None
    assert offered_protocols(hello) == offered


@given(st.lists(st.integers(1, 200), max_size=20))
def test_a_hello_may_be_fragmented_over_records(sizes):
    hello = client_hello(["h2"])

    assert offered_protocols(split_into_records(hello, sizes)) == (b"h2",)


@given(st.binary(max_size=600))
def test_garbage_is_malformed_or_unfinished_but_never_a_crash(data):
    try:
        result = offered_protocols(b"\x16\x03\x01" + data)
    except MalformedHello:
        return
    assert result is None or all(isinstance(name, bytes) for name in result)


@given(st.data())
def test_a_damaged_hello_never_crashes(data):
    hello = bytearray(client_hello(["h2", "http/1.1"]))
    for _ in range(data.draw(st.integers(1, 8))):
        hello[data.draw(st.integers(0, len(hello) - 1))] = data.draw(st.integers(0, 255))
    try:
        offered_protocols(bytes(hello))
    except MalformedHello:
        return


def test_a_hello_that_never_ends_is_refused():
    record = b"\x16\x03\x01\x40\x00" + b"\x01\x00\x3f\xff" + bytes(MAX_HELLO - 4)
    with pytest.raises(MalformedHello, match="too long"):
        offered_protocols(record)
    tiny = b"\x16\x03\x01\x00\x01"
    with pytest.raises(MalformedHello, match="too many records"):
        offered_protocols(b"".join(tiny + bytes([byte]) for byte in (1, 0, 48, *bytes(40))))


@given(st.binary(min_size=1, max_size=200))
def test_any_first_bytes_are_recognized_refused_or_awaited(data):
    try:
        speech = recognize(data)
    except Unintelligible:
        return
    assert speech is None or isinstance(speech, Speech)


@pytest.mark.parametrize(
    ("first", "speech"),
    [
        (b"GET / HTTP/1.1\r\n", Speech.HTTP),
        (b"OPTIONS * HTTP/1.1\r\n", Speech.HTTP),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Speech.GRPC_PLAIN),
        (b"PROPFIND /x HTTP/1.1\r\n", Speech.HTTP),
        (b"CONNECT a:443 HTTP/1.1\r\n\r\n", Speech.PROXY),
        (b"CONNECTED /long/enough HTTP/1.1\r\n\r\n", Speech.HTTP),
        (b"POST HTTP://a/ HTTP/1.1\r\nA: b\r\n\r\nbody", Speech.PROXY),
    ],
)
def test_what_is_spoken_shows_whatever_the_segments(first, speech):
    seen = [recognize(first[:end]) for end in range(1, len(first) + 1)]
    known = [one for one in seen if one is not None]

    assert set(known) == {speech}
    assert seen == [None] * (len(seen) - len(known)) + known


@pytest.mark.parametrize("data", [b"\x00", b"get / HTTP/1.1", b"SSH-2.0-OpenSSH", b"GET /\r\n\r\n"])
def test_other_protocols_are_refused(data):
    with pytest.raises(Unintelligible):
        recognize(data)


def test_an_endless_proxy_head_is_refused():
    with pytest.raises(Unintelligible, match="too long"):
        recognize(b"CONNECT a:443 HTTP/1.1\r\nX: " + b"x" * 20_000)
