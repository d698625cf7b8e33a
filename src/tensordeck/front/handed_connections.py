"""Connections that another process accepted and hands over, one message each.

Where several worker processes share one port, one process accepts and hands each connection to the
worker that has the fewest: gRPC's connections live for hours, so that who got them decides for long
who works. The messages are bytes on a unix socket, each with the connection's descriptor
(`SCM_RIGHTS`, unix(7)); the end of the stream says that no more will come.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable
from typing import Any, Final

__all__ = ["CONNECTION", "DRAIN", "HandedConnections"]

CONNECTION: Final = b"c"
"""A message with a connection."""
DRAIN: Final = b"d"
"""A message that says to tell load balancers to look elsewhere: the end is near."""
_AT_ONCE: Final = 64
"""Messages that are taken before others have their turn."""


class HandedConnections:
    """A worker's end of the socket over which connections come.

    Args:
        channel: The socket; a stream.
        port: The port that they were accepted on.
    """

    def __init__(self, channel: socket.socket, port: int) -> None:
        channel.setblocking(False)
        self.port = port
        self.over = asyncio.Event()
        """Set once no more connections will come."""
        self._channel = channel
        self._taken = 0
        self._telling = False
        self._open: Callable[[], int] = lambda: 0
        self.on_drain: Callable[[], None] = lambda: None
        """Called when the end is near."""
        self._joining: set[asyncio.Task[Any]] = set()

    def start(
        self,
        serve: Callable[[], asyncio.BaseProtocol],
        open_connections: Callable[[], int],
    ) -> None:
        """Starts to take connections.

        Args:
            serve: Makes the protocol of a new connection.
            open_connections: How many connections are open.
        """
        self._serve = serve
        self._open = open_connections
        asyncio.get_running_loop().add_reader(self._channel, self._take)

    def tell(self, **what: Any) -> None:
        """Tells the process that accepts; a line of JSON. Nothing if that is gone."""
        # It is gone, or so far behind that a count more or less does not matter.
        with contextlib.suppress(OSError):
            self._channel.send(json.dumps(what).encode() + b"\n")

    def changed(self) -> None:
        """Tells how many connections are open, soon and once for all that change now."""
        if not self._telling:
            self._telling = True
            asyncio.get_running_loop().call_soon(self._tell_open)

    def _tell_open(self) -> None:
        self._telling = False
        self.tell(open=self._open(), taken=self._taken)

    def _take(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(_AT_ONCE):
            try:
                message, descriptors, _, _ = socket.recv_fds(self._channel, 1, 1)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                message, descriptors = b"", []
            if message == DRAIN:
                self.on_drain()
            for descriptor in descriptors:
                self._taken += 1
                self.changed()
                connection = socket.socket(fileno=descriptor)
                connection.setblocking(False)
                task = loop.create_task(self._join(connection))
                self._joining.add(task)
                task.add_done_callback(self._joining.discard)
            if not message:
                loop.remove_reader(self._channel)
                self.over.set()
                return

    async def _join(self, connection: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(self._serve, connection)
        except OSError:  # its client has gone meanwhile
            connection.close()
            self.changed()
