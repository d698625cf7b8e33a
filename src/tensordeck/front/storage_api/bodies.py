"""Request bodies: whole and limited, or as a stream that a worker thread pulls."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import orjson
from starlette.requests import ClientDisconnect, Request

from tensordeck.errors import InvalidArgument

__all__ = ["BodyChunks", "read_json", "read_limited"]

JSON_LIMIT: Final = 4 * 2**20
_GATHER: Final = 512 * 1024
"""Bytes that cross from the event loop to a thread at once; each crossing costs some 0.1 ms."""


async def read_limited(request: Request, limit: int) -> bytes:
    """Reads a small body.

    Raises:
        InvalidArgument: If it is larger.
    """
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise InvalidArgument(f"The request's body may have {limit} bytes.")
        pieces.append(piece)
    return b"".join(pieces)


def read_json(body: bytes) -> dict[str, Any]:
    """Reads a body that must be a JSON object; an empty one counts as `{}`.

    Raises:
        InvalidArgument: If it is none.
    """
    if not body.strip():
        return {}
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"The request's body is no JSON: {error}.") from error
    if not isinstance(found, dict):
        raise InvalidArgument("The request's body must be a JSON object.")
    return found


class BodyChunks:
    """A body as an iterator for a worker thread, which pulls it from the event loop.

    Only as much is in memory as one pull brings; a slow store slows the client down.

    Args:
        stream: The body. Made and used up in the event loop that is running now.
        keep_partial: Whether a lost connection ends the iteration instead of failing it.

    Attributes:
        disconnected: Whether the connection was lost.
    """

    def __init__(self, stream: AsyncIterator[bytes], *, keep_partial: bool = False) -> None:
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._keep_partial = keep_partial
        self.disconnected = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = asyncio.run_coroutine_threadsafe(self._gather(), self._loop).result()
        if not chunk:
            raise StopIteration
        return chunk

    async def _gather(self) -> bytes:
        pieces: list[bytes] = []
        size = 0
        try:
            async for piece in self._stream:
                pieces.append(piece)
                size += len(piece)
                if size >= _GATHER:
                    break
        except ClientDisconnect:
            self.disconnected = True
            if not self._keep_partial:
                raise
        return b"".join(pieces)
