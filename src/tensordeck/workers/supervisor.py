"""The process that people start with `--workers N`: it accepts, and keeps N workers alive.

It loads next to nothing and touches no data, so that there is little that could go wrong with it.
"""

import asyncio
import dataclasses
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Final

from tensordeck import data_directory
from tensordeck.data_directory import Running
from tensordeck.errors import FailedPrecondition
from tensordeck.front.listening import listen_on, shown_host
from tensordeck.settings import Settings
from tensordeck.workers.worker_process import WorkerProcess

__all__ = ["run"]

log: Final = logging.getLogger("tensordeck.workers")

STEADY_SECONDS: Final = 30.0
"""A worker that lived for so long died of something else than its start."""
LONGEST_PAUSE: Final = 30.0
"""Seconds at most between a worker's early death and its next start."""
EARLY_DEATHS: Final = 5
"""So many in a row, while no other worker serves, and the server gives up."""
_ACCEPTS_AT_ONCE: Final = 64
_FULL_SECONDS: Final = 0.02
_KILL_AFTER: Final = 10.0
"""Seconds that a worker may take longer than its drain, before it is killed."""


def run(settings: Settings, on_ready: Callable[[Running], None]) -> None:
    """Serves with several workers until SIGINT or SIGTERM, then drains.

    Args:
        settings: How, and with how many.
        on_ready: Called once every worker takes calls.

    Raises:
        TensordeckError: If it can't start, or no worker stays alive.
    """
    began = time.monotonic()
    os.umask(0o077)  # workers inherit it: nobody else may read what they make
    with data_directory.own(settings.data_dir):
        asyncio.run(_Supervisor(settings, on_ready, began).run())


class _Supervisor:
    def __init__(
        self, settings: Settings, on_ready: Callable[[Running], None], began: float
    ) -> None:
        self._settings = settings
        self._on_ready = on_ready
        self._began = began
        self._listeners: list[socket.socket] = []
        self._workers: dict[int, WorkerProcess] = {}
        self._deaths: dict[int, int] = {}
        self._pauses: set[asyncio.TimerHandle] = set()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._changed = asyncio.Event()
        self._given_up = ""
        self._served = False
        self._dying: set[WorkerProcess] = set()
        self._turn = 0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._stop)
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        self._listeners = listen_on(self._settings.host, self._settings.port)
        self._port = int(self._listeners[0].getsockname()[1])
        try:
            for number in range(1, self._settings.workers + 1):
                self._start(number)
            await self._until(
                lambda: (
                    all(worker.ready for worker in self._workers.values())
                    and len(self._workers) == self._settings.workers
                )
            )
            if not self._stopping.is_set():
                await self._serve()
        finally:
            await self._end()
        if self._given_up:
            raise FailedPrecondition(self._given_up)

    async def _serve(self) -> None:
        running = self._running()
        self._served = True
        with data_directory.announced(self._settings.data_dir, running):
            for listener in self._listeners:
                asyncio.get_running_loop().add_reader(listener, self._accept, listener)
            self._on_ready(running)
            await self._stopping.wait()
            for worker in self._workers.values():
                worker.drain()
            if not self._given_up:
                await _first(self._hurry.wait(), self._settings.drain_delay_seconds)

    def _running(self) -> Running:
        token = next(w.ready["sign_in_url"] for w in self._workers.values() if w.ready)
        return Running(
            url=self._settings.public_url
            or f"http://{shown_host(self._settings.host)}:{self._port}",
            sign_in_url=token,
            port=self._port,
            data_dir=self._settings.data_dir,
            start_seconds=time.monotonic() - self._began,
        )

    def _stop(self) -> None:
        """SIGINT or SIGTERM; the second one waits for no load balancer."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()
        self._changed.set()

    def _hang_up(self) -> None:
        """SIGHUP: whoever shows the certificate should read it anew."""
        for worker in self._workers.values():
            worker.process.send_signal(signal.SIGHUP)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition() and not self._stopping.is_set():
            await self._changed.wait()
            self._changed.clear()

    def _start(self, number: int) -> None:
        settings = self._settings
        if settings.metrics_port:  # each worker counts for itself
            settings = dataclasses.replace(
                settings, metrics_port=settings.metrics_port + number - 1
            )
        worker = self._workers[number] = WorkerProcess(
            number, settings, self._port, self._on_change
        )
        log.debug("worker %d is process %d", number, worker.process.pid)

    def _on_change(self, worker: WorkerProcess) -> None:
        self._changed.set()
        if worker.closing:
            asyncio.get_running_loop().create_task(self._bury(worker))

    async def _bury(self, worker: WorkerProcess) -> None:
        """Waits for a worker's end, and starts the next one in its place."""
        if self._workers.get(worker.number) is not worker:
            return
        del self._workers[worker.number]
        self._dying.add(worker)
        if worker.retiring and not self._stopping.is_set():
            log.info(
                "Worker %d (process %d) was told to end; another one takes its place",
                worker.number,
                worker.process.pid,
            )
            self._start(worker.number)
        status = await asyncio.to_thread(worker.process.wait)
        self._dying.discard(worker)
        if not worker.retiring and not self._stopping.is_set():
            for connection in worker.take_back():
                with connection:
                    self._hand_or_drop(connection)
        worker.close()
        if self._stopping.is_set() or worker.retiring:
            return
        lived = time.monotonic() - worker.started
        early = self._deaths[worker.number] = (
            0 if lived >= STEADY_SECONDS else self._deaths.get(worker.number, 0) + 1
        )
        reason = worker.failure or _ending(status)
        alone = not any(other.ready for other in self._workers.values())
        if (worker.failure and not self._served) or (alone and early >= EARLY_DEATHS):
            self._given_up = worker.failure or f"No worker could serve; the last one {reason}."
            self._stop()
            return
        pause = 0.0 if early <= 1 else min(LONGEST_PAUSE, 2.0 ** (early - 2))
        log.error(
            "Worker %d (process %d) %s after %.1f s; it is started again%s",
            worker.number,
            worker.process.pid,
            reason,
            lived,
            f" in {pause:g} s" if pause else "",
        )
        handle = asyncio.get_running_loop().call_later(pause, self._start, worker.number)
        self._pauses.add(handle)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTS_AT_ONCE):
            if not any(worker.takes_connections for worker in self._workers.values()):
                self._look_away(listener)
                return
            try:
                connection, _ = listener.accept()
            except OSError:  # nobody waits any more
                return
            with connection:
                self._hand_or_drop(connection)

    def _hand_or_drop(self, connection: socket.socket) -> None:
        if not self._hand(connection):
            log.warning("No worker could take a connection; it was dropped")

    def _hand(self, connection: socket.socket) -> bool:
        """Hands a connection to the worker that has the fewest; in turn where they are equal."""
        self._turn += 1
        count = self._settings.workers
        willing = [worker for worker in self._workers.values() if worker.takes_connections]
        willing.sort(key=lambda w: (w.load, (w.number + self._turn) % count))
        return any(worker.hand(connection) for worker in willing)

    def _look_away(self, listener: socket.socket) -> None:
        """Leaves connections in the kernel's queue for a moment: no worker can take them."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        loop.call_later(_FULL_SECONDS, self._look_again, listener)

    def _look_again(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    async def _end(self) -> None:
        """Lets every worker finish what it has; kills what hangs."""
        loop = asyncio.get_running_loop()
        for handle in self._pauses:
            handle.cancel()
        for listener in self._listeners:
            loop.remove_reader(listener)
            listener.close()
        self._stopping.set()
        workers = [*self._workers.values(), *self._dying]
        for worker in workers:
            worker.finish()
        ends = [asyncio.create_task(asyncio.to_thread(worker.process.wait)) for worker in workers]
        if ends:
            patience = self._settings.drain_seconds * 2 + _KILL_AFTER
            _, late = await asyncio.wait(ends, timeout=patience)
            if late:
                for worker in workers:
                    worker.process.kill()
                await asyncio.wait(late)


async def _first(waiting: object, seconds: float) -> None:
    """Waits for something, but no longer than so many seconds."""
    try:
        await asyncio.wait_for(waiting, seconds)  # type: ignore[arg-type]  # any awaitable
    except TimeoutError:
        return


def _ending(status: int) -> str:
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"
