"""Two connections joined: what comes in on one goes out on the other.

Unless they are watched, bytes pass through no Python function: each side's `data_received` is the
other transport's own `write`. Back-pressure, half-closes and ends are
handled here.
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast

WRITE_BUFFER: Final = 256 * 1024
"""Bytes that may wait for a slow reader before the other side is no longer read."""

LINGER_SECONDS: Final = 30.0
"""How long a side that was closed may take to read what is still buffered for it."""

_ALERT: Final = b"\x15"  # RFC 5246, section 6.2.1
_SHORT_RECORD: Final = b"\x17\x03\x03\x00\x13"  # RFC 8446, 5.2: two bytes, type and tag
_GOODBYE_SIZE: Final = 5 + 0x13


class Splice:
    """A pair of connections that live and die together.

    The client's connection comes first, and is not read until the remote one is there; making
    that one with `Splice.remote` as its protocol joins the two.

    Args:
        client: The connection that came in; reading is paused.
        on_end: Called once, when both are gone. Not called if the two were never joined.
        first_bytes: What the client has sent already.
        greeting: What the client must get before the remote's first bytes.
        tunnel: Whether the remote is a stranger, which may end its own direction and go on
            reading. Our listeners never do: when they end, the connection is over.
        watch: Whether to keep `moved`, at the cost of a Python call for each chunk.
    """

    def __init__(
        self,
        client: asyncio.Transport,
        on_end: Callable[[], None],
        *,
        first_bytes: bytes = b"",
        greeting: bytes = b"",
        tunnel: bool = False,
        watch: bool = False,
    ) -> None:
        self._client = _Side(self, may_half_close=True)
        self._client.transport = client
        self.remote = _Side(self, may_half_close=tunnel)
        self._client.other, self.remote.other = self.remote, self._client
        self._on_end = on_end
        self._first_bytes = first_bytes
        self._greeting = greeting
        self._watch = watch
        self._pass_on(self.remote, client)
        self.moved = True
        """Whether bytes have passed since it was last set to False; only with `watch`."""
        self._last = b""

    @property
    def said_goodbye(self) -> bool:
        """Whether what passed last is TLS's close_notify; only with `watch`.

        TLS 1.3 encrypts it, but only data of two bytes makes a record as short.
        """
        last = self._last
        return last[:1] == _ALERT or last[: len(_SHORT_RECORD)] == _SHORT_RECORD

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
            self._last = data[-_GOODBYE_SIZE:]
            write(data)

        reader.data_received = watched if self._watch else write  # type: ignore[method-assign]  # on purpose, as said


class _Side(asyncio.Protocol):
    """One of the two connections."""

    other: "_Side"

    def __init__(self, splice: Splice, *, may_half_close: bool) -> None:
        self._splice = splice
        self._may_half_close = may_half_close
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
        if (
            not self._may_half_close
            or self.other.ended
            or writer is None
            or writer.is_closing()
            or not writer.can_write_eof()
        ):
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
