"""A worker process, as its supervisor sees it."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from tensordeck.front.handed_connections import CONNECTION, DRAIN
from tensordeck.settings import Settings

__all__ = ["WorkerProcess"]

_UNTAKEN: Final = 32
"""A worker that has not taken so many connections yet gets no more: it hangs, or can't keep up."""


class WorkerProcess:
    """Starts a worker and keeps in touch with it.

    Attributes:
        number: Which of the workers it is, from 1.
        load: How many connections it has, as far as is known.
        ready: What it said when it was ready; None before.
        failure: Why it could not start, if it said so.
        closing: Whether it takes no more connections.
        retiring: Whether it asked for no more, because somebody told it to end.
        started: When, by the monotonic clock.

    Args:
        number: See above.
        settings: The server's settings.
        port: The port that connections are accepted on.
        on_change: Called when it became ready, or wants to end, or its end of the socket is closed.
    """

    def __init__(
        self,
        number: int,
        settings: Settings,
        port: int,
        on_change: Callable[["WorkerProcess"], None],
    ) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.number = number
        self.ready: dict[str, str] | None = None
        self.failure = ""
        self.closing = False
        self.retiring = False
        self.started = time.monotonic()
        self._handed = self._taken = self._open = 0
        self._on_their_way: deque[socket.socket] = deque()
        self._received = b""
        self._on_change = on_change
        self._channel = ours
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tensordeck.workers.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        ours.sendall(_settings_line(settings, port))
        ours.setblocking(False)
        asyncio.get_running_loop().add_reader(ours, self._receive)

    @property
    def load(self) -> int:
        """How many connections it has, those on their way included."""
        return self._open + self._handed - self._taken

    @property
    def takes_connections(self) -> bool:
        """Whether it is ready for more."""
        return self.ready is not None and not self.closing and self._handed - self._taken < _UNTAKEN

    def hand(self, connection: socket.socket) -> bool:
        """Hands a connection over; False if that can't be now."""
        try:
            socket.send_fds(self._channel, [CONNECTION], [connection.fileno()])
        except OSError:
            return False
        self._handed += 1
        # Kept until it is taken: with a worker that is killed goes what lies in its socket.
        self._on_their_way.append(connection.dup())
        return True

    def take_back(self) -> list[socket.socket]:
        """Connections that it never took; only once its process is gone. They are the caller's."""
        back = list(self._on_their_way)
        self._on_their_way.clear()
        return back

    def drain(self) -> None:
        """Says that the end is near."""
        with contextlib.suppress(OSError):  # it is gone, or it hangs
            self._channel.send(DRAIN)

    def finish(self) -> None:
        """Says that no more connections will come: it ends when it has served those it has."""
        self.closing = True
        with contextlib.suppress(OSError):  # it is gone
            self._channel.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Lets go of the socket, once the process is gone."""
        asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()
        for connection in self.take_back():
            connection.close()

    def _receive(self) -> None:
        try:
            data = self._channel.recv(65536)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._channel)
            self.closing = True
            self._on_change(self)
            return
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self._hear(json.loads(line))

    def _hear(self, told: dict[str, Any]) -> None:
        if "open" in told:
            self._open, self._taken = told["open"], told["taken"]
            while len(self._on_their_way) > self._handed - self._taken:
                self._on_their_way.popleft().close()
            return
        self.ready = told.get("ready", self.ready)
        self.failure = told.get("failed", self.failure)
        if told.get("closing"):
            self.retiring = True
            self.finish()
        self._on_change(self)


def _settings_line(settings: Settings, port: int) -> bytes:
    given = {field.name: getattr(settings, field.name) for field in fields(settings)}
    plain = {
        name: str(value) if isinstance(value, Path) else value for name, value in given.items()
    }
    return json.dumps({**plain, "listening_port": port}).encode() + b"\n"
