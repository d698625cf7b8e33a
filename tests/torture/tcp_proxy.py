"""A TCP proxy that delays, withholds or breaks what passes through it."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from tests.conftest import free_port


class TcpProxy:
    """Forwards a port of 127.0.0.1 to another, in a thread of its own.

    Args:
        target: The port to forward to.

    Attributes:
        port: Where it listens.
        delay: Seconds that each piece waits, in either direction.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.delay = 0.0
        self._target = target
        self._refusing = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._tasks: set[asyncio.Task[Any]] = set()
        threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True).start()
        self._server = self._run(asyncio.start_server(self._accept, "127.0.0.1", self.port))

    def hang(self) -> None:
        """Passes nothing on, old connections and new ones alike: nobody hears of it."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def cut(self) -> None:
        """Breaks every connection, and new ones at once."""

        async def cut() -> None:
            self._refusing = True
            for writer in list(self._writers):
                writer.transport.abort()

        self._run(cut())

    def heal(self) -> None:
        """Passes everything on again, what was withheld included."""
        self._refusing = False
        self._loop.call_soon_threadsafe(self._flowing.set)

    def close(self) -> None:
        async def close() -> None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        self._run(close())
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._flowing.wait()
            if not self._refusing:
                there, out = await asyncio.open_connection("127.0.0.1", self._target)
                self._writers.add(out)
                await asyncio.gather(
                    self._pass(reader, out),
                    self._pass(there, writer),
                )
                self._writers.discard(out)
        writer.transport.abort()
        self._writers.discard(writer)
        self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wait: Callable[[], Awaitable[Any]] = self._flowing.wait
        with contextlib.suppress(OSError):
            while piece := await reader.read(65_536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await wait()
                writer.write(piece)
                await writer.drain()
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof()
