"""Batches: up to 100 calls in one `multipart/mixed` request.

https://cloud.google.com/storage/docs/batch.
"""

import secrets
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesParser
from http import HTTPStatus
from typing import Final

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Scope
from starlette.types import Message as Event

from tensordeck.errors import InvalidArgument
from tensordeck.front.storage_api.bodies import read_limited
from tensordeck.front.storage_api.related import boundary_of

__all__ = ["answer_batch"]

_CALLS_LIMIT: Final = 100
_BYTES_LIMIT: Final = 10 * 2**20


class _Call(Struct, frozen=True):
    content_id: str
    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    body: bytes


async def answer_batch(request: Request, app: ASGIApp) -> Response:
    """Answers each call of a batch, in order; one that fails does not fail the others.

    Args:
        request: The batch.
        app: Answers one call.

    Raises:
        InvalidArgument: If the body is no batch, too large or has too many calls.
    """
    content_type = request.headers.get("content-type", "")
    boundary_of(content_type)
    body = await read_limited(request, _BYTES_LIMIT)
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    parts = BytesParser().parsebytes(head + body).get_payload()
    if not isinstance(parts, list):
        raise InvalidArgument("The batch has no parts: is its boundary right?")
    if len(parts) > _CALLS_LIMIT:
        raise InvalidArgument(f"A batch may have {_CALLS_LIMIT} calls; this has {len(parts)}.")
    boundary = f"batch_{secrets.token_hex(12)}"
    replies = [await _answer(call, request, app) for call in map(_read, parts)]
    mixed = b"".join(b"--" + boundary.encode() + b"\r\n" + reply + b"\r\n" for reply in replies)
    return Response(
        mixed + b"--" + boundary.encode() + b"--\r\n",
        media_type=f"multipart/mixed; boundary={boundary}",
    )


def _read(part: Message) -> _Call:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        raise InvalidArgument("A part of the batch is no HTTP request.")
    line, _, rest = payload.lstrip().partition(b"\n")
    words = line.decode("latin-1").split()
    if len(words) < 2:
        raise InvalidArgument("A part of the batch does not start with METHOD PATH.")
    inner = BytesParser().parsebytes(rest)
    body = inner.get_payload(decode=True)
    return _Call(
        content_id=part.get("Content-ID", "").strip("<> "),
        method=words[0].upper(),
        target=words[1],
        headers=[
            (name.lower().encode("latin-1", "replace"), str(value).encode("latin-1", "replace"))
            for name, value in inner.items()
        ],
        body=body.strip() if isinstance(body, bytes) else b"",
    )


async def _answer(call: _Call, request: Request, app: ASGIApp) -> bytes:
    path, _, query = call.target.partition("?")
    if "://" in path:
        path = "/" + path.split("://", 1)[1].partition("/")[2]
    scope: Scope = {
        **request.scope,
        "method": call.method,
        "path": path,
        "raw_path": path.encode("latin-1", "replace"),
        "query_string": query.encode("latin-1", "replace"),
        "headers": list(_headers(call, request)),
        "batched": True,
    }
    status, headers, body = 500, list[tuple[bytes, bytes]](), bytearray()

    async def receive() -> Event:
        return {"type": "http.request", "body": call.body, "more_body": False}

    async def send(event: Event) -> None:
        nonlocal status
        if event["type"] == "http.response.start":
            status = event["status"]
            headers.extend(event.get("headers", ()))
        else:
            body.extend(event.get("body", b""))

    await app(scope, receive, send)
    lines = [b"Content-Type: application/http"]
    if call.content_id:
        lines.append(f"Content-ID: <response-{call.content_id}>".encode())
    lines += [b"", f"HTTP/1.1 {status} {_phrase(status)}".encode()]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join([*lines, b"", bytes(body)])


def _headers(call: _Call, request: Request) -> Iterator[tuple[bytes, bytes]]:
    """The call's own headers, with the batch's host and credential where it has none."""
    yield b"host", request.headers.get("host", "").encode("latin-1")
    given = {name for name, _ in call.headers}
    if b"authorization" not in given and "authorization" in request.headers:
        yield b"authorization", request.headers["authorization"].encode("latin-1")
    for name, value in call.headers:
        if name not in (b"host", b"content-length"):
            yield name, value


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
