"""`multipart/related` bodies of uploads: one part of JSON, one of bytes, which are streamed.

Format: RFC 2387 as https://cloud.google.com/storage/docs/uploading-objects#uploading-an-object has
it. gcloud ends its lines with LF, the others with CRLF; the first boundary line tells which.
"""

from collections.abc import AsyncIterator
from email.message import Message
from email.parser import BytesParser
from typing import Final

from tensordeck.errors import InvalidArgument

__all__ = ["RelatedBody", "boundary_of"]

_HEAD_LIMIT: Final = 4 * 2**20
"""Bytes of the JSON part and all headers."""


def boundary_of(content_type: str) -> bytes:
    """The boundary that a multipart content type names.

    Raises:
        InvalidArgument: If it is no multipart type or names none.
    """
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_maintype() != "multipart" or not boundary or not boundary.isascii():
        raise InvalidArgument("`Content-Type` must be multipart/related with a boundary.")
    return boundary.strip("'").encode()


class RelatedBody:
    """A two-part body that is read as it comes.

    Args:
        stream: The body.
        boundary: From its content type.

    Attributes:
        content_type: The second part's type; empty when it has none. Set by `read_metadata`.
    """

    def __init__(self, stream: AsyncIterator[bytes], boundary: bytes) -> None:
        self._stream = stream
        self._delimiter = b"--" + boundary
        self._buffer = bytearray()
        self._newline = b"\r\n"
        self.content_type = ""

    async def read_metadata(self) -> bytes:
        """Reads the first part and the second one's headers; returns the first one's body.

        Raises:
            InvalidArgument: If the body is cut off, too large here, or has another form.
        """
        line = await self._read_until(b"\n")
        if line.rstrip(b" \t\r\n") != self._delimiter:
            raise InvalidArgument("The multipart body does not start with its boundary.")
        self._newline = b"\r\n" if line.endswith(b"\r\n") else b"\n"
        self._delimiter = self._newline + self._delimiter
        await self._read_headers()
        metadata = await self._read_until(self._delimiter)
        await self._read_until(self._newline)
        headers = BytesParser().parsebytes(await self._read_headers())
        self.content_type = headers.get("content-type", "")
        return metadata[len(self._newline) : -len(self._delimiter)]

    async def media(self) -> AsyncIterator[bytes]:
        """Yields the second part's bytes.

        Raises:
            InvalidArgument: If the body ends without its closing boundary: it was cut off.
        """
        closing = self._delimiter + b"--"
        while (end := self._buffer.find(closing)) < 0 and len(self._buffer) < len(closing):
            await self._more()
        del self._buffer[: 0 if end == 0 else len(self._newline)]
        while (end := self._buffer.find(closing)) < 0:
            # What may be the start of the boundary waits for more.
            ready = len(self._buffer) - len(closing) + 1
            if ready > 0:
                yield bytes(self._buffer[:ready])
                del self._buffer[:ready]
            await self._more()
        if end:
            yield bytes(self._buffer[:end])
        self._buffer.clear()
        async for _ in self._stream:  # an epilogue means nothing
            pass

    async def _read_headers(self) -> bytes:
        """Reads header lines up to the empty one, whose line break stays: an empty body has it."""
        lines = bytearray()
        while (line := await self._read_until(b"\n")).strip():
            lines += line
        self._buffer[:0] = self._newline
        return bytes(lines)

    async def _read_until(self, mark: bytes) -> bytes:
        searched = 0
        while (place := self._buffer.find(mark, searched)) < 0:
            searched = max(0, len(self._buffer) - len(mark) + 1)
            if len(self._buffer) > _HEAD_LIMIT:
                raise InvalidArgument("The multipart body's first part is too large.")
            await self._more()
        end = place + len(mark)
        taken = bytes(self._buffer[:end])
        del self._buffer[:end]
        return taken

    async def _more(self) -> None:
        async for piece in self._stream:
            if piece:
                self._buffer += piece
                return
        raise InvalidArgument(
            "The multipart body is cut off: it ends before its closing boundary. Send it again."
        )
