"""Two connections joined: what comes in on one goes out on the other.

Between a client and one of our own listeners bytes pass through no Python function: each side's
`data_received` is the other transport's own `write`. Back-pressure, half-closes and ends are
handled here.
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast

WRITE_BUFFER: Final = 256 * 1024
"""Bytes that may wait for a slow reader before the other side is no longer read."""

LINGER_SECONDS: Final = 30.0
"""How long a side that was closed may take to read what is still buffered for it."""


class Splice:
    """A pair of connections that live and die together.

    The client's connection comes first, and is not read until the remote one is there; making
    that one with `Splice.remote` as its protocol joins the two.

    Args:
        client: The connection that came in; reading is paused.
        on_end: Called once, when both are gone. Not called if the two were never joined.
        first_bytes: What the client has sent already.
        greeting: What the client must get before the remote's first bytes.
        watch: Whether to keep `moved`, at the cost of a Python call for each chunk.
    """

    def __init__(
        self,
        client: asyncio.Transport,
        on_end: Callable[[], None],
        *,
        first_bytes: bytes = b"",
        greeting: bytes = b"",
        watch: bool = False,
    ) -> None:
        self._client = _Side(self)
        self._client.transport = client
        self.remote = _Side(self)
        self._client.other, self.remote.other = self.remote, self._client
        self._on_end = on_end
        self._first_bytes = first_bytes
        self._greeting = greeting
        self._watch = watch
        self._pass_on(self.remote, client)
        self.moved = True
        """Whether bytes have passed since it was last set to False; only with `watch`."""

    def abort(self) -> None:
        """Drops both connections at once."""
        for side in (self._client, self.remote):
            if side.transport is not None:
                side.transport.abort()

    def join(self, remote: asyncio.Transport) -> None:
        """Joins the client's connection to one that was just made; `remote` calls it."""
        client = cast("asyncio.Transport", self._client.transport)
        if client.is_closing():
            remote.abort()
            return
        client.set_write_buffer_limits(WRITE_BUFFER)
        remote.set_write_buffer_limits(WRITE_BUFFER)
        if self._greeting:
            client.write(self._greeting)
        if self._first_bytes:
            remote.write(self._first_bytes)
            self._first_bytes = b""
        self._pass_on(self._client, remote)
        client.set_protocol(self._client)
        client.resume_reading()

    def lost(self, side: "_Side") -> None:
        """Closes the other side once it has what is buffered for it; `side` calls it."""
        side.gone = True
        other = side.other
        if other.gone:
            self._on_end()
        elif other.transport is not None:
            other.transport.close()
            if other.transport.get_write_buffer_size():
                asyncio.get_running_loop().call_later(LINGER_SECONDS, other.transport.abort)

    def _pass_on(self, reader: "_Side", writer: asyncio.Transport) -> None:
        """Writes what one side receives to the other.

        An instance's attribute hides the method, so that the event loop calls the transport
        directly: half the cost of a small chunk. The loop takes hold of the attribute when the
        protocol is set, so this comes before.
        """
        write = writer.write

        def watched(data: bytes) -> None:
            self.moved = True
            write(data)

        reader.data_received = watched if self._watch else write  # type: ignore[method-assign]  # on purpose, as said


class _Side(asyncio.Protocol):
    """One of the two connections."""

    other: "_Side"

    def __init__(self, splice: Splice) -> None:
        self._splice = splice
        self.transport: asyncio.Transport | None = None
        self.ended = False
        """Whether it will send no more."""
        self.gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._splice.join(self.transport)

    def eof_received(self) -> bool:
        """Passes a half-close on; True keeps this connection open for the other direction."""
        self.ended = True
        writer = self.other.transport
        if self.other.ended or writer is None or writer.is_closing() or not writer.can_write_eof():
            return False
        writer.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- either way it is over
        self._splice.lost(self)

    def pause_writing(self) -> None:
        reader = self.other.transport
        if reader is not None and not reader.is_closing():
            reader.pause_reading()

    def resume_writing(self) -> None:
        reader = self.other.transport
        if reader is not None and not reader.is_closing():
            reader.resume_reading()
