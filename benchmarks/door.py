"""What the front door costs: CPU time of its process for each connection, request and megabyte.

    python benchmarks/door.py

The door runs in a process of its own before listeners that only answer, so that its process's CPU
time is the door's alone. `direct` is the same traffic without a door: what the clients take.
"""

import asyncio
import multiprocessing
import resource
import struct
import tempfile
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from tensordeck.front.door import Door, Upstreams
from tensordeck.settings import Settings

REQUEST = 33_000
REPLY = 60
HEAD = b"POST / HTTP/1.1\r\n\r\n"


class Listener(asyncio.Protocol):
    """Answers each `length, bytes` frame with 60 bytes; a length of 2**32-1 with a flood."""

    def connection_made(self, transport):
        self.transport = transport
        self.pending = len(HEAD)
        self.header = b""
        self.body = False

    def data_received(self, data):
        while data:
            if self.pending:
                used = min(self.pending, len(data))
                self.pending -= used
                data = data[used:]
                if not self.pending and self.body:
                    self.body = False
                    self.transport.write(bytes(REPLY))
                continue
            self.header += data[: 4 - len(self.header)]
            data = data[4 - (4 - len(self.header)) :] if len(self.header) < 4 else data[4:]
            if len(self.header) == 4:
                (self.pending,) = struct.unpack(">I", self.header)
                self.header = b""
                self.body = True


def serve_inner(path: str, ready: Connection) -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_unix_server(Listener, path, backlog=4096)
        ready.send(None)
        await asyncio.Event().wait()

    uvloop.run(main())


def serve_door(path: str, control: Connection) -> None:
    async def main() -> None:
        inner = Path(path)
        door = Door(
            Settings(port=0), Upstreams(inner, inner, inner, inner), lambda _authorization: None
        )
        control.send(await door.start())
        loop = asyncio.get_running_loop()
        while True:
            await loop.run_in_executor(None, control.recv)
            used = resource.getrusage(resource.RUSAGE_SELF)
            control.send(used.ru_utime + used.ru_stime)

    uvloop.run(main())


Open = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


async def connections(connect: Open, count: int) -> None:
    """Opens a connection for each call, as the official client does."""

    async def one() -> None:
        reader, writer = await connect()
        writer.write(HEAD + struct.pack(">I", 200) + bytes(200))
        await reader.readexactly(REPLY)
        writer.close()
        await writer.wait_closed()

    for _ in range(count // 16):
        await asyncio.gather(*(one() for _ in range(16)))


async def requests(connect: Open, count: int, size: int = REQUEST) -> None:
    """Sends requests one after another on each of 16 connections."""
    frame = struct.pack(">I", size) + bytes(size)

    async def one() -> None:
        reader, writer = await connect()
        writer.write(HEAD)
        for _ in range(count // 16):
            writer.write(frame)
            await writer.drain()
            await reader.readexactly(REPLY)
        writer.close()

    await asyncio.gather(*(one() for _ in range(16)))


async def uploads(connect: Open, count: int) -> None:
    await requests(connect, count, 64 * 2**20)


def main() -> None:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/inner"
        ready, theirs = context.Pipe()
        inner = context.Process(target=serve_inner, args=(path, theirs), daemon=True)
        inner.start()
        ready.recv()
        control, theirs = context.Pipe()
        door = context.Process(target=serve_door, args=(path, theirs), daemon=True)
        door.start()
        port = control.recv()

        def cpu() -> float:
            control.send(None)
            return float(control.recv())

        async def through() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await asyncio.open_connection("127.0.0.1", port)

        async def direct() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await asyncio.open_unix_connection(path)

        cases = (
            ("connections", 16_000, connections, 1e6, "µs a connection"),
            ("33 KB requests", 16_000, requests, 1e6, "µs a request"),
            ("64 MiB uploads", 16, uploads, 1e3 / 64, "ms a MiB"),
        )
        for name, count, work, scale, unit in cases:
            uvloop.run(work(through, max(count // 8, 16)))
            before, start = cpu(), time.perf_counter()
            uvloop.run(work(through, count))
            wall, used = time.perf_counter() - start, cpu() - before
            start = time.perf_counter()
            uvloop.run(work(direct, count))
            alone = time.perf_counter() - start
            print(
                f"{name:16} door {used / count * scale:8.2f} {unit:16}"
                f" {count / wall:9.0f}/s, direct {count / alone:9.0f}/s"
            )
        for process in (door, inner):
            process.terminate()
            process.join()


if __name__ == "__main__":
    main()
