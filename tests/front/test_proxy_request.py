"""Requests to the gateway that come again with the same bytes."""

import gc
import tracemalloc

from tensordeck.front.proxy_request import ProxyRequest, SeenRequests


def head(target: str, *headers: str) -> bytes:
    return "\r\n".join([f"CONNECT {target} HTTP/1.1", *headers, "", ""]).encode()


def remembered(*heads: bytes) -> SeenRequests:
    seen = SeenRequests()
    for each in heads:
        seen.remember(each, ProxyRequest.parse(each))
    return seen


def test_the_same_bytes_are_the_same_request():
    ours = head("us-central1-aiplatform.googleapis.com:443", "User-Agent: grpc")
    seen = remembered(ours, head("other:443"))
    assert seen.find(ours) == ProxyRequest.parse(ours)
    assert seen.find(ours + b"\x16") is None
    assert seen.find(ours[:-1]) is None


def test_passwords_and_plain_requests_are_not_kept():
    secret = head("host:443", "proxy-AUTHORIZATION: Basic c2VjcmV0")
    plain = b"GET http://host/path HTTP/1.1\r\nCookie: secret\r\n\r\n"
    seen = remembered(secret, plain)
    assert seen.find(secret) is None
    assert seen.find(plain) is None


def test_many_requests_take_bounded_memory():
    seen = remembered(head("first:443"))
    tracemalloc.start()
    try:
        for number in range(2000):
            each = head(f"host{number}:443", "Padding: " + "x" * 900)
            seen.remember(each, ProxyRequest.parse(each))
            long = head(f"host{number}:443", "Padding: " + "x" * 8000)
            seen.remember(long, ProxyRequest.parse(long))
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 400_000
    finally:
        tracemalloc.stop()
    again = head("host:443")
    seen.remember(again, ProxyRequest.parse(again))
    assert seen.find(again) is not None
