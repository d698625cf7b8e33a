"""Requests whose length is said twice, which TensorFlow sends, made to say it once.

TensorFlow's Cloud Storage client sends `Transfer-Encoding: identity` with `Content-Length: 0`, and
`Transfer-Encoding: chunked` with a `Content-Length`. RFC 9112 (section 6) has the first no more and
lets a server refuse the second or believe the encoding; the HTTP parser below refuses both. No
proxy of ours reads requests before this point, so that nobody can understand one differently.
"""

import asyncio
import re
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["LenientHttpProtocol"]

_HEAD_LIMIT: Final = 64 * 1024
_LENGTH: Final = re.compile(rb"\r\nContent-Length:[^\r\n]*", re.IGNORECASE)
_ENCODING: Final = re.compile(rb"\r\nTransfer-Encoding:[ \t]*([^\r\n]*)", re.IGNORECASE)


class LenientHttpProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP/1.1, for `uvicorn.Config(http=...)`, with such heads put right first."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._at_head = True
        self._head = b""

    def data_received(self, data: bytes) -> None:
        """Takes bytes of the connection; a head is passed on once it is there whole."""
        if self._at_head:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0 and len(self._head) < _HEAD_LIMIT:
                return
            data, self._head = self._head, b""
            if end >= 0:
                data = _said_once(data[:end]) + data[end:]
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Notes that a head was passed on: what follows is a body."""
        self._at_head = False
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """Notes that the next bytes are another request's."""
        self._at_head = True
        super().on_message_complete()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the class above
        """Starts afresh."""
        self._at_head, self._head = True, b""
        super().connection_made(transport)


def _said_once(head: bytes) -> bytes:
    encodings = [value.strip().lower() for value in _ENCODING.findall(head)]
    if encodings == [b"identity"]:
        return _ENCODING.sub(b"", head)
    if encodings == [b"chunked"]:
        return _LENGTH.sub(b"", head)
    return head
